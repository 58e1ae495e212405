import { type SampleRow, contractColumns, extraColumn } from "./columns.ts";
import { trueSpellings } from "./odd-values.ts";
import { type Random, chance, draw } from "./random.ts";

// The file around the rows: its header, its line ends and quotes, and the mess in these.

/** The file being written. */
export interface Export {
  at: number;
  shape: FileShape;
  header: readonly string[];
}

interface FileShape {
  bom: boolean;
  quotedHeader: boolean;
  crlf: boolean;
  shuffledColumns: boolean;
  finalNewline: boolean;
  extraColumn: boolean;
  blankLines: boolean;
  repeatsHeader: boolean;
  needlessQuotes: boolean;
  /** `is_alarm` as each of the file's alarms spells it. */
  alarms: readonly string[];
  sentinel: Sentinel | undefined;
}

type Sentinel = (header: readonly string[]) => SampleRow;

/** The comma makes the writer quote the third; the fourth is the same line left unquoted. */
const sentinels: readonly Sentinel[] = [
  (header) => header.map((name) => (name === "ticket_id" ? "EXPORT STOPPED at 500 rows" : "")),
  () => ["EXPORT STOPPED: row limit reached"],
  () => ["EXPORT STOPPED, row limit reached"],
  () => ["EXPORT STOPPED", " row limit reached"],
];

export const cleanShape: FileShape = {
  bom: false,
  quotedHeader: false,
  crlf: false,
  shuffledColumns: false,
  finalNewline: true,
  extraColumn: false,
  blankLines: false,
  repeatsHeader: false,
  needlessQuotes: false,
  alarms: [],
  sentinel: undefined,
};

/**
 * Twelve files in a row show each trait at least once. The traits that get in each other's way,
 * the first five, have coprime periods: a long run meets every mix of them.
 */
export function messyShape(turn: number): FileShape {
  return {
    bom: turn % 2 === 1,
    quotedHeader: turn % 3 === 2,
    crlf: turn % 5 === 2,
    shuffledColumns: turn % 7 === 3,
    finalNewline: turn % 11 !== 5,
    extraColumn: turn % 9 === 4,
    blankLines: turn % 9 === 7,
    repeatsHeader: turn % 9 === 0,
    needlessQuotes: true,
    alarms: trueSpellings.filter((_, index) => index % 6 === turn % 6),
    sentinel: sentinels[turn % 8],
  };
}

export function fileHeader(shape: FileShape, random: Random): readonly string[] {
  const columns = shape.extraColumn ? [...contractColumns, extraColumn] : contractColumns;
  return shape.shuffledColumns ? draw(random, columns, columns.length) : columns;
}

export function fileBody(file: Export, rows: readonly SampleRow[], random: Random): Buffer {
  const { shape, header } = file;
  const newline = shape.crlf ? "\r\n" : "\n";
  const quotedForNothing = () => shape.needlessQuotes && chance(random, 0.02);
  const lines = [header.map((name) => csvField(name, shape.quotedHeader)).join(",")];
  if (shape.blankLines) lines.push("");
  for (const row of rows) {
    lines.push(row.map((text) => csvField(text, quotedForNothing())).join(","));
    if (shape.blankLines && chance(random, 0.05)) lines.push("");
  }
  const text = lines.join(newline) + (shape.finalNewline ? newline : "");
  return Buffer.from(shape.bom ? `\ufeff${text}` : text);
}

export function csvLine(fields: readonly string[]): string {
  return `${fields.map((text) => csvField(text, false)).join(",")}\n`;
}

function csvField(text: string, quoted: boolean): string {
  return quoted || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
