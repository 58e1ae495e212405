/**
 * A reader of whole files, to compare the gate with. It is made for being read: the file is one
 * string, each rule of the contract one line, and nothing is streamed.
 */

/** What is left of a file that is loaded. */
export interface StrictFile {
  header: string[];
  rows: { line: number; fields: string[] }[];
  /** EXPORT STOPPED lines that are not of full width. */
  droppedLines: number;
}

interface CsvRecord {
  /** Where it begins, from 1. */
  line: number;
  text: string;
  fields: { value: string; isQuoted: boolean }[];
}

/** Thrown for what RFC 4180 does not allow. */
class NotCsv extends Error {
  override name = "NotCsv";
}

// In a file of few columns, a text of some lines may have as many commas as its rows.
const MIN_COLUMNS_TO_TELL_ROWS = 10;

/** What is to become of a file; undefined: it is refused. */
export function readStrictly(body: Buffer): StrictFile | undefined {
  try {
    return readFile(body);
  } catch (error) {
    if (error instanceof NotCsv) return undefined;
    throw error;
  }
}

/** The fields of each record of a text that needs no more than to be CSV. */
export function fieldsOf(csv: string): string[][] {
  return recordsOf(csv).map(valuesOf);
}

function readFile(body: Buffer): StrictFile {
  const text = decoded(body).replace(/^\ufeff/, "");
  refuseIf(text.includes("\0"));
  const [firstLine = ""] = text.replace(/^[ \t\v\f\r\n]+/, "").split("\n", 1);
  refuseIf(/^(<|PK\x03\x04|BZh)/.test(firstLine));
  refuseIf(/[;\t|]/.test(firstLine) && !firstLine.includes(","));

  const records = recordsOf(text).filter((record) => !isBlank(record));
  const headerAt = records.findIndex((record) => !isStop(record));
  const header = records[headerAt];
  if (header === undefined) throw new NotCsv();
  refuseIf(records.slice(0, headerAt + 1).some(hasLoneReturn));
  const columns = header.fields.length;
  const file: StrictFile = {
    header: valuesOf(header).map((name) => name.trim()),
    rows: [],
    droppedLines: headerAt,
  };
  for (const record of records.slice(headerAt + 1)) {
    refuseIf(record.text === "\\.");
    // A lone carriage return is data, but where it may have ended a line.
    const isAmbiguous = columns === 1 || record.fields.length !== columns || isStop(record);
    refuseIf(hasLoneReturn(record) && isAmbiguous);
    refuseIf(record.fields.some((field) => field.isQuoted && holdsRows(field.value, columns)));
    if (record.fields.length === columns) {
      file.rows.push({ line: record.line, fields: valuesOf(record) });
    } else {
      refuseIf(!isStop(record));
      file.droppedLines++;
    }
  }
  return file;
}

function recordsOf(text: string): CsvRecord[] {
  const records: CsvRecord[] = [];
  for (let at = 0, line = 1; at < text.length;) {
    const fields: CsvRecord["fields"] = [];
    let end = at;
    for (;;) {
      const field = text[end] === '"' ? quotedField(text, end) : plainField(text, end);
      fields.push(field);
      end = field.end;
      if (text[end] !== ",") break;
      end++;
    }
    const lineEnd = /^(\n|\r\n|\r?$)/.exec(text.slice(end, end + 3))?.[0];
    if (lineEnd === undefined) throw new NotCsv();
    records.push({ line, text: text.slice(at, end), fields });
    end += lineEnd.length;
    line += text.slice(at, end).split("\n").length - 1;
    at = end;
  }
  return records;
}

function quotedField(text: string, start: number) {
  let end = text.indexOf('"', start + 1);
  while (end !== -1 && text[end + 1] === '"') end = text.indexOf('"', end + 2);
  refuseIf(end === -1);
  const value = text.slice(start + 1, end).replaceAll('""', '"');
  return { value, isQuoted: true, end: end + 1 };
}

function plainField(text: string, start: number) {
  let end = start;
  while (end < text.length && !',"\n'.includes(text[end] as string)) end++;
  refuseIf(text[end] === '"');
  // The return of a line end is no part of the value.
  if (end > start && text[end - 1] === "\r" && text[end] !== ",") end--;
  return { value: text.slice(start, end), isQuoted: false, end };
}

function isBlank({ fields, text }: CsvRecord): boolean {
  return fields.length === 1 && /^[ \t]*$/.test(text);
}

function isStop({ text }: CsvRecord): boolean {
  return /^\s*"?\s*export stopped/i.test(text);
}

function hasLoneReturn({ fields }: CsvRecord): boolean {
  return fields.some(({ value, isQuoted }) => !isQuoted && value.includes("\r"));
}

/** Whether a quoted field has as many commas as the rows would have that it has swallowed. */
function holdsRows(value: string, columns: number): boolean {
  const [breaks, commas] = [value.split("\n").length - 1, value.split(",").length - 1];
  return columns >= MIN_COLUMNS_TO_TELL_ROWS && breaks > 0 && commas >= breaks * (columns - 1);
}

function valuesOf({ fields }: CsvRecord): string[] {
  return fields.map(({ value }) => value);
}

function decoded(body: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  } catch (cause) {
    throw new NotCsv("not UTF-8", { cause });
  }
}

function refuseIf(isWrong: boolean): void {
  if (isWrong) throw new NotCsv();
}
