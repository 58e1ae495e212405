import { type Logger, pino } from "pino";
import {
  CodedError,
  GeocoderError,
  ObjectStoreError,
  UsageError,
  describeError,
} from "./errors.ts";
import { printable, printableInLine, printableJson } from "./printable.ts";
import { clearProgress } from "./progress.ts";

export type { Logger };

export const logLevels = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

let failure: Error | undefined;

/** Why something could not be logged: a full disk, or whoever read the log has gone. */
export function logFailure(): Error | undefined {
  return failure;
}

/** Without a listener, what cannot be written would end the process in the middle of its work. */
function surviveFullDisk(): void {
  if (process.stderr.listeners("error").includes(noteFailure)) return;
  process.stderr.on("error", noteFailure);
}

function noteFailure(error: Error): void {
  failure = error;
}

/**
 * The program's log on stderr: JSON lines, or text for a person where stderr is a terminal.
 * Results go to stdout and never through here. What cannot be written is left out, and the work
 * goes on: see logFailure.
 */
export async function createLog(level: LogLevel): Promise<Logger> {
  surviveFullDisk();
  const format = process.stderr.isTTY ? await formatForPeople() : formatForMachines;
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    {
      write(line: string) {
        clearProgress();
        process.stderr.write(format(line));
      },
    },
  );
}

async function formatForPeople(): Promise<(line: string) => string> {
  // Of no use to cron, and not free to load.
  const { default: pretty } = await import("pino-pretty");
  const format = pretty.prettyFactory({
    colorize: process.stderr.hasColors(),
    translateTime: "SYS:HH:MM:ss",
  });
  return (line) =>
    format(
      JSON.parse(line, (name, value: unknown) => {
        if (typeof value !== "string") return value;
        return name === "stack" ? printable(value) : printableInLine(value);
      }),
    );
}

function formatForMachines(line: string): string {
  return `${printableJson(JSON.parse(line))}\n`;
}

/** Logs what ended a run, with all that it says of its cure. */
export function reportError(error: unknown, log: Logger): void {
  if (error instanceof UsageError) {
    for (const problem of error.message.split("\n")) log.fatal(problem);
  } else if (
    error instanceof CodedError ||
    error instanceof ObjectStoreError ||
    error instanceof GeocoderError
  ) {
    const { message, ...facts } = describeError(error);
    log.fatal(facts, message);
  } else {
    // Nothing that was foreseen: whoever mends it needs the stack.
    log.fatal({ err: error }, "unexpected error");
  }
}
