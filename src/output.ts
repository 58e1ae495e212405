import { stripVTControlCharacters, styleText } from "node:util";
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
    Math.max(title.length, ...rows.map((row) => widthOf(row[i] ?? ""))),
  );
  const pad = (cell: string, i: number) => " ".repeat((widths[i] ?? 0) - widthOf(cell));
  const line = (cells: readonly string[]) =>
    columns
      .map(({ align }, i) => {
        const cell = cells[i] ?? "";
        return align === "right" ? pad(cell, i) + cell : cell + pad(cell, i);
      })
      .join("  ")
      .trimEnd();
  const titles = line(columns.map(({ title }) => title));
  const rule = widths.map((width) => "─".repeat(width)).join("──");
  return [titles, rule, ...rows.map(line)].join("\n");
}

/** A word in colour, where stdout takes colours: a terminal, or what NO_COLOR and FORCE_COLOR say. */
export function coloured(colour: "green" | "yellow" | "red" | "dim", text: string): string {
  return styleText(colour, text, { stream: process.stdout });
}

function widthOf(cell: string): number {
  return stripVTControlCharacters(cell).length;
}
