import { contractColumns } from "../../src/samples.ts";

/** What a row says, by column; the columns that it leaves out are blank. */
export type Row = Readonly<Record<string, string>>;

/** An export with these rows and, unless another header is given, the contract's columns. */
export function csvOf(rows: readonly Row[], header: readonly string[] = contractColumns): string {
  const lines = rows.map((row) => header.map((name) => field(row[name] ?? "")).join(","));
  return [header.map(field).join(","), ...lines, ""].join("\n");
}

function field(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
