import { clearProgress } from "./progress.ts";
import { withoutSecrets } from "./secrets.ts";

/** Writes a result to stdout. Everything that the program prints there goes through here. */
export function print(text: string): void {
  clearProgress();
  process.stdout.write(`${withoutSecrets(text)}\n`);
}

/** One machine-readable result on stdout. */
export function printJson(result: unknown): void {
  print(JSON.stringify(result));
}

export interface Column {
  title: string;
  align: "left" | "right";
}

/** A table for a person: a title row, a line, the rows, all padded to the widest cell. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map(({ title }, i) =>
    Math.max(title.length, ...rows.map((row) => (row[i] ?? "").length)),
  );
  const line = (cells: readonly string[]) =>
    columns
      .map(({ align }, i) =>
        align === "right"
          ? (cells[i] ?? "").padStart(widths[i] ?? 0)
          : (cells[i] ?? "").padEnd(widths[i] ?? 0),
      )
      .join("  ")
      .trimEnd();
  const titles = line(columns.map(({ title }) => title));
  const rule = widths.map((width) => "─".repeat(width)).join("──");
  return [titles, rule, ...rows.map(line)].join("\n");
}
