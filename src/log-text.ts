import { styleText } from "node:util";
import { pino } from "pino";

const styles: Readonly<Record<string, Parameters<typeof styleText>[0]>> = {
  debug: "blue",
  info: "green",
  warn: "yellow",
  error: "red",
  fatal: "red",
};

/** A line of pino's log as text for a person: time, level and message, then the facts, one a line. */
export function textOfLogLine(line: string): string {
  const { level, time, msg, ...facts } = JSON.parse(line) as {
    level: number;
    time: string;
    msg?: string;
  } & Record<string, unknown>;
  const name = pino.levels.labels[level] ?? String(level);
  const label = styleText(styles[name] ?? "gray", name.toUpperCase(), { stream: process.stderr });
  const clock = new Date(time).toTimeString().slice(0, 8);
  const more = Object.entries(facts).map(([key, value]) => `${key}: ${textOf(value)}`);
  const text = [msg ?? "", ...more].join("\n").replaceAll("\n", "\n    ");
  return `[${clock}] ${label}: ${withoutControls(text)}\n`;
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  // An error: its stack begins with its type and message.
  if (typeof value === "object" && value !== null && "stack" in value) {
    const others = Object.entries(value).filter(([key]) => !/^(type|message|stack)$/.test(key));
    return [String(value.stack), ...others.map(([key, v]) => `${key}: ${textOf(v)}`)].join("\n");
  }
  return JSON.stringify(value);
}

/** What a key or a value has in it must not steer the terminal. */
function withoutControls(text: string): string {
  return text.replaceAll(
    /[^\P{Cc}\n\t]/gu,
    (sign) => `\\x${sign.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
