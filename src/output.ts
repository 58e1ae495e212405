import { randomInt } from "node:crypto";
import { styleText } from "node:util";
import { printable, printableInLine, printableJson } from "./printable.ts";
import { clearProgress } from "./progress.ts";

/** Writes a result for a person to stdout, as a terminal may have it. */
export function print(text: string): void {
  write(withColours(printable(text)));
}

/** One machine-readable result on stdout. */
export function printJson(result: unknown): void {
  write(printableJson(result));
}

/** Everything that the program prints to stdout goes through here. */
function write(text: string): void {
  clearProgress();
  process.stdout.write(`${text}\n`);
}

export interface Column {
  title: string;
  align: "left" | "right";
}

/**
 * A table for a person: a title row, a line, the rows, all padded to the widest cell. Whatever is in
 * a cell, it stays in its line.
 */
export function table(
  columns: readonly Column[],
  foreignRows: readonly (readonly string[])[],
): string {
  const rows = foreignRows.map((row) => row.map(printableInLine));
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

// `print` takes every control character out of a text, so that a colour is only a mark until then.
// The marks begin with what no text of others can hold, since it is made anew for each run.
const MARK = String.fromCodePoint(...[0, 0, 0].map(() => randomInt(0xf_0000, 0xf_fffe)));
const COLOUR_MARK = new RegExp(`${MARK}(\\d+)m`, "gu");

/** A word in colour, where stdout takes colours: a terminal, or what NO_COLOR and FORCE_COLOR say. */
export function coloured(colour: "green" | "yellow" | "red" | "dim", text: string): string {
  return styleText(colour, printableInLine(text), { stream: process.stdout }).replaceAll(
    "\u001b[",
    MARK,
  );
}

function withColours(text: string): string {
  return text.replace(COLOUR_MARK, "\u001b[$1m");
}

function widthOf(cell: string): number {
  return cell.replace(COLOUR_MARK, "").length;
}
