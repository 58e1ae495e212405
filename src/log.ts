import { type Logger, pino } from "pino";
import {
  CodedError,
  GeocoderError,
  ObjectStoreError,
  UsageError,
  describeError,
} from "./errors.ts";
import { textOfLogLine } from "./log-text.ts";
import { clearProgress } from "./progress.ts";
import { withoutSecrets } from "./secrets.ts";

export type { Logger };

export const logLevels = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/**
 * The program's log on stderr: JSON lines, or text for a person where stderr is a terminal.
 * Results go to stdout and never through here.
 */
export function createLog(level: LogLevel): Logger {
  const format = process.stderr.isTTY ? textOfLogLine : (line: string) => line;
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    {
      write(line: string) {
        clearProgress();
        process.stderr.write(withoutSecrets(format(line)));
      },
    },
  );
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
