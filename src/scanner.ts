import { createByteBuffer } from "./byte-buffer.ts";
import { RefusedFile } from "./errors.ts";

/** The bytes of a CSV file in, its records out, ready for COPY: see `createScanner`. */
export interface Scanner {
  /** Takes the next bytes of the file and returns the records that they complete. */
  push: (chunk: Buffer) => Buffer[];
  /** Ends the file and returns the records that were not returned yet. */
  end: () => Buffer[];
  /** The first record, to the letter, once it is complete. */
  header: () => Buffer | undefined;
  /** Records passed on, and EXPORT STOPPED lines of no full width dropped. */
  counts: () => { rows: number; droppedLines: number };
  /** The line that the scan has come to, from 1. */
  line: () => number;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const LF = 0x0a;
const CR = 0x0d;
const NUL = 0x00;
const SPACE = 0x20;
const TAB = 0x09;
const BACKSLASH = 0x5c;
const DOT = 0x2e;

/** A header of 32 columns has some 500 bytes. */
export const MAX_HEADER_BYTES = 64 * 1024;
// As many as a table of PostgreSQL can have. The database has room for far fewer (TK013).
const MAX_COLUMNS = 1600;
// Nobody writes a ticket of this size: a quote was left open.
const MAX_RECORD_BYTES = 4 * 1024 * 1024;
const OUT_BYTES = 256 * 1024;
// A line number, a comma and a line end.
const MAX_ADDED_BYTES = 20;
// In a file of few columns, a text of some lines may well have as many commas as its rows.
const MIN_COLUMNS_TO_TELL_ROWS = 10;

// The bytes that may change where the scan stands. It runs over all others without a second look.
const isSpecial = new Uint8Array(256);
for (const byte of [QUOTE, COMMA, LF, CR, NUL]) isSpecial[byte] = 1;

// Where the scan stands: before a field, in one without quotes, in one with, behind a quote in one
// with (its end, or the first of a doubled one), behind a carriage return that may end the line, behind
// one that must, since a closing quote is before it.
const FIELD_START = 0;
const IN_FIELD = 1;
const IN_QUOTES = 2;
const AFTER_QUOTE = 3;
const AFTER_RETURN = 4;
const AFTER_QUOTED_RETURN = 5;

/**
 * Watches the bytes of an RFC 4180 file go by and passes its records on as they are, each with the
 * line at which it begins in front. Line ends become LF; blank lines and bare EXPORT STOPPED lines
 * are left out. No record is taken apart into values, and no more than one is held.
 *
 * A carriage return without a line feed is data where the header ends with a line feed and the row is
 * whole. COPY would take it for the end of a line, so its field is passed on in quotes.
 *
 * All methods throw RefusedFile: TK105 or TK107 to TK112 for what COPY would take wrongly, TK108, TK113
 * or TK114 for what is too large.
 */
export function createScanner(): Scanner {
  let state = FIELD_START;
  let line = 1;
  let header: Buffer | undefined;
  let columns = 0;
  let maxBytes = MAX_HEADER_BYTES;
  let rows = 0;
  let droppedLines = 0;

  // The record that is under way.
  let recordLine = 1;
  let commas = 0;
  let hasQuotes = false;
  // Where its first carriage return is that is no part of a line end; 0: there is none.
  let returnLine = 0;
  const held = createByteBuffer();

  // The quoted field that is under way, or was last.
  let quoteLine = 1;
  let quotedCommas = 0;
  let quotedBreaks = 0;

  let out = Buffer.allocUnsafe(OUT_BYTES);
  let outEnd = 0;
  let done: Buffer[] = [];

  function push(chunk: Buffer): Buffer[] {
    const { length } = chunk;
    let start = 0;
    let i = 0;
    // Where the scan ends: behind the byte with which a record is too long, so that a file is refused
    // for the same reason however it is cut.
    let limit = Math.min(length, maxBytes - held.length() + 1);
    while (i < limit) {
      if (state === FIELD_START && chunk[i] === QUOTE) {
        state = IN_QUOTES;
        hasQuotes = true;
        quoteLine = line;
        quotedCommas = 0;
        quotedBreaks = 0;
        i++;
        continue;
      }
      if (state <= IN_QUOTES) {
        const from = i;
        while (i < limit && isSpecial[chunk[i] as number] === 0) i++;
        if (i > from && state === FIELD_START) state = IN_FIELD;
        if (i === limit) break;
      }
      const byte = chunk[i] as number;
      i++;
      if (byte === NUL) throw refused("TK105", "NUL byte", line);

      if (state === IN_QUOTES) {
        if (byte === QUOTE) state = AFTER_QUOTE;
        else if (byte === COMMA) quotedCommas++;
        else if (byte === LF) {
          quotedBreaks++;
          line++;
        }
        continue;
      }
      if (state === AFTER_QUOTE) {
        if (byte === QUOTE) {
          state = IN_QUOTES;
          continue;
        }
        endQuotes(byte);
      }
      if (state >= AFTER_RETURN && byte !== LF) {
        // In a file of one column, each row is whole: it may as well be two.
        const canBeData = state === AFTER_RETURN && header !== undefined && columns > 1;
        if (!canBeData) throw strayReturn(line);
        if (returnLine === 0) returnLine = line;
        state = IN_FIELD;
        i--;
        continue;
      }

      if (byte === COMMA) {
        commas++;
        state = FIELD_START;
      } else if (byte === LF) {
        endRecord(chunk, start, i - 1);
        line++;
        recordLine = line;
        start = i;
        limit = Math.min(length, start + maxBytes + 1);
      } else if (byte === CR) {
        state = state === AFTER_QUOTE ? AFTER_QUOTED_RETURN : AFTER_RETURN;
      } else {
        throw refused("TK107", "a quote within a field that does not begin with one", line);
      }
    }
    if (held.length() + limit - start > maxBytes) throw tooLong();
    // The rest of a chunk is the beginning of a record: it waits for the next chunk.
    held.append(chunk.subarray(start));
    return take();
  }

  function tooLong(): RefusedFile {
    const at = hasQuotes ? quoteLine : recordLine;
    const detail = `It is longer than ${maxBytes} bytes: a quote may have been left open.`;
    return header === undefined
      ? refused("TK113", "the header is too long", at, detail)
      : refused("TK108", "a row that does not end", at, detail);
  }

  /** A quoted field ends where a comma or the end of the line follows its quote. */
  function endQuotes(next: number): void {
    if (next !== COMMA && next !== LF && next !== CR) {
      throw quotedBreaks === 0
        ? refused("TK107", "text behind the closing quote of a field", line)
        : refused(
            "TK107",
            `the quote opened here is closed on line ${line}, amid a field`,
            quoteLine,
            "One of the two quotes is stray; between them, rows have become one field.",
          );
    }
    // Quotes at the right places can swallow rows, too: the field then has all of their commas.
    if (
      quotedBreaks > 0 &&
      columns >= MIN_COLUMNS_TO_TELL_ROWS &&
      quotedCommas >= quotedBreaks * (columns - 1)
    ) {
      throw refused(
        "TK111",
        `a quoted field from here to line ${line} looks like whole rows`,
        quoteLine,
        `It holds ${quotedBreaks} line breaks and ${quotedCommas} commas.`,
      );
    }
  }

  function endRecord(chunk: Buffer, chunkStart: number, chunkEnd: number): void {
    let record = chunk;
    let start = chunkStart;
    let end = chunkEnd;
    if (held.length() > 0) {
      held.append(chunk.subarray(start, end));
      record = held.bytes();
      start = 0;
      end = record.length;
      held.clear();
    }
    if (state >= AFTER_RETURN) end--;

    const fields = commas + 1;
    const firstReturn = returnLine;
    const isBlank = fields === 1 && !hasQuotes && isWhite(record, start, end);
    state = FIELD_START;
    commas = 0;
    hasQuotes = false;
    returnLine = 0;

    if (isBlank) return;
    if (header === undefined && isStop(record, start, end)) {
      droppedLines++;
      return;
    }
    if (header === undefined) {
      if (fields > MAX_COLUMNS) {
        throw refused(
          "TK114",
          `the header has ${fields} columns`,
          recordLine,
          `No more than ${MAX_COLUMNS} are read.`,
        );
      }
      header = Buffer.from(record.subarray(start, end));
      columns = fields;
      maxBytes = MAX_RECORD_BYTES;
      return;
    }
    if (end - start === 2 && record[start] === BACKSLASH && record[start + 1] === DOT) {
      throw refused("TK110", "a lone \\.", recordLine, "Some servers take it for the end of data.");
    }
    if (firstReturn > 0) {
      // Else it ends a line, and two rows are fused.
      if (fields !== columns || isStop(record, start, end)) throw strayReturn(firstReturn);
      const quoted = withReturnsQuoted(record.subarray(start, end), columns);
      pass(quoted, 0, quoted.length);
    } else if (fields === columns) {
      pass(record, start, end);
    } else if (isStop(record, start, end)) {
      droppedLines++;
    } else {
      throw refused(
        "TK109",
        `${fields} fields in a row, ${columns} in the header`,
        recordLine,
        fields < columns ? "The row may be cut, or a quote or comma be missing." : undefined,
      );
    }
  }

  /** Copies a record, in pieces where it is large: large buffers stay in memory for long. */
  function pass(record: Buffer, start: number, end: number): void {
    if (outEnd + end - start + MAX_ADDED_BYTES > OUT_BYTES) flush();
    outEnd += out.write(`${recordLine},`, outEnd, "latin1");
    for (let from = start; from < end;) {
      if (outEnd === OUT_BYTES) flush();
      const copied = record.copy(out, outEnd, from, end);
      outEnd += copied;
      from += copied;
    }
    if (outEnd === OUT_BYTES) flush();
    out[outEnd++] = LF;
    rows++;
  }

  function flush(): void {
    if (outEnd === 0) return;
    done.push(out.subarray(0, outEnd));
    out = Buffer.allocUnsafe(OUT_BYTES);
    outEnd = 0;
  }

  function take(): Buffer[] {
    const taken = done;
    done = [];
    return taken;
  }

  function end(): Buffer[] {
    if (state === IN_QUOTES) {
      throw refused("TK108", "the quote opened here is not closed", quoteLine);
    }
    if (state === AFTER_QUOTE) endQuotes(LF);
    if (held.length() > 0) endRecord(Buffer.alloc(0), 0, 0);
    flush();
    return take();
  }

  return {
    push,
    end,
    header: () => header,
    counts: () => ({ rows, droppedLines }),
    line: () => line,
  };
}

/** The record with quotes around each field that has a carriage return and no quotes. */
function withReturnsQuoted(record: Buffer, columns: number): Buffer {
  const quoted = Buffer.allocUnsafe(record.length + 2 * columns);
  let length = 0;
  let start = 0;
  let inQuotes = false;
  for (let i = 0; i <= record.length; i++) {
    if (record[i] === QUOTE) inQuotes = !inQuotes;
    if (i < record.length && (record[i] !== COMMA || inQuotes)) continue;
    const field = record.subarray(start, i);
    const needsQuotes = field[0] !== QUOTE && field.includes(CR);
    if (needsQuotes) quoted[length++] = QUOTE;
    length += field.copy(quoted, length);
    if (needsQuotes) quoted[length++] = QUOTE;
    if (i < record.length) quoted[length++] = COMMA;
    start = i + 1;
  }
  return quoted.subarray(0, length);
}

function strayReturn(line: number): RefusedFile {
  return refused("TK112", "a carriage return may end a line here, or be part of a value", line);
}

function isWhite(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] !== SPACE && bytes[i] !== TAB) return false;
  return true;
}

/** Whether a record is the line with which an export says that it was cut short. */
function isStop(bytes: Buffer, start: number, end: number): boolean {
  const beginning = bytes.toString("latin1", start, Math.min(end, start + 100));
  return /^\s*"?\s*export stopped/i.test(beginning);
}

function refused(code: string, message: string, line: number, detail?: string): RefusedFile {
  return new RefusedFile(code, `line ${line}: ${message}`, { line, detail });
}
