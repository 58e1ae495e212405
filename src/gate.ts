import { isUtf8 } from "node:buffer";
import { createByteBuffer } from "./byte-buffer.ts";
import { RefusedFile } from "./errors.ts";
import { collectGarbage } from "./garbage.ts";
import { MAX_HEADER_BYTES, createScanner } from "./scanner.ts";
import { excerpt } from "./secrets.ts";

// COPY lets damaged files through without a word: quotes that fuse rows, a lone `\.` that ends the
// data early, an object cut in its last field, an error page. This gate stands in front of it.

/** A file whose header is read and whose records are still to come. */
export interface GatedFile {
  /** The names of the columns, in the file's order. */
  header: string[];
  /** CSV records for COPY, each with the line of the file at which it begins as a first field. */
  records: AsyncGenerator<Buffer, void, undefined>;
  /** What has come through; final once `records` has ended. */
  counts: () => { rows: number; droppedLines: number };
  /** Lets go of the source, wherever it stands. */
  close: () => Promise<void>;
}

// Chunks leave garbage behind in V8's old space, 25 KiB for each MiB. Left to itself, V8 lets it lie
// until there is a lot of it: with a file of 2 GiB, 161 MiB were resident, so collected 132.
const BYTES_BETWEEN_COLLECTIONS = 256 * 1024 * 1024;

// How much of a file that is no CSV an error quotes.
const MAX_QUOTED_LENGTH = 80;

const SPACE = 0x20;
const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

// What the first bytes give away.
const signatures: readonly { bytes: number[]; code: string; what: string }[] = [
  { bytes: [0x1f, 0x8b], code: "TK102", what: "gzip" },
  { bytes: [0x50, 0x4b, 0x03, 0x04], code: "TK102", what: "zip" },
  { bytes: [0x42, 0x5a, 0x68], code: "TK102", what: "bzip2" },
  { bytes: [0x28, 0xb5, 0x2f, 0xfd], code: "TK102", what: "zstd" },
  { bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a], code: "TK102", what: "xz" },
  { bytes: [0xff, 0xfe], code: "TK106", what: "UTF-16" },
  { bytes: [0xfe, 0xff], code: "TK106", what: "UTF-16" },
];

/**
 * Opens a file's stream as far as its header. From then on the records stream through, and the
 * gate closes, with an error, at the first thing that COPY would take wrongly.
 *
 * @param source the bytes of the file. If it ends by an error, that is thrown on, and an incomplete
 *   last record is not judged
 * @throws RefusedFile TK101 to TK114, here or from `records`
 */
export async function openGate(source: AsyncIterable<Buffer>): Promise<GatedFile> {
  const chunks = withGarbageCollected(source);
  const scanner = createScanner();
  const utf8 = createUtf8Check();
  let ready: Buffer[] = [];

  function scan(chunk: Buffer): void {
    // What stands before the first bad character is judged before it, however the file is cut.
    const valid = utf8.push(chunk);
    ready.push(...scanner.push(chunk.subarray(0, valid)));
    if (valid < chunk.length) throw notUtf8(scanner.line());
  }

  /** Scans the blank lines at the beginning and returns the line behind them, or enough of it. */
  async function firstLine(): Promise<Buffer> {
    const held = createByteBuffer();
    let isBeginning = true;
    for (;;) {
      const { done, value } = await chunks.next();
      if (value !== undefined) held.append(value);
      const isLast = done === true;
      if (isBeginning && held.length() < BOM.length && !isLast) continue;
      if (isBeginning) held.drop(bomLength(held.bytes()));
      isBeginning = false;
      const blank = blankLength(held.bytes());
      scan(held.bytes().subarray(0, blank));
      held.drop(blank);
      const line = held.bytes();
      if (isLast || line.length > MAX_HEADER_BYTES || line.includes(LF)) return line;
    }
  }

  async function close(): Promise<void> {
    await chunks.return();
  }

  async function* records() {
    for (;;) {
      yield* ready;
      ready = [];
      const { done, value } = await chunks.next();
      if (done === true) break;
      scan(value);
    }
    if (!utf8.isWhole()) throw notUtf8(scanner.line());
    yield* scanner.end();
  }

  try {
    const beginning = await firstLine();
    sniff(beginning.subarray(0, MAX_HEADER_BYTES), scanner.line());
    scan(beginning);
    // Blank lines may stand before the header, and the file may end with it.
    while (scanner.header() === undefined) {
      const { done, value } = await chunks.next();
      if (done === true) break;
      scan(value);
    }
    if (scanner.header() === undefined) ready.push(...scanner.end());
    const header = scanner.header();
    if (header === undefined) throw empty();
    return { header: namesOf(header), records: records(), counts: scanner.counts, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function* withGarbageCollected(
  source: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer, void, undefined> {
  let bytes = 0;
  let nextCollection = BYTES_BETWEEN_COLLECTIONS;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes >= nextCollection) {
      collectGarbage();
      nextCollection += BYTES_BETWEEN_COLLECTIONS;
    }
    yield chunk;
  }
}

/** Refuses what is no CSV file at all, by how its first line begins. */
function sniff(beginning: Buffer, line: number): void {
  for (const { bytes, code, what } of signatures) {
    if (bytes.every((byte, i) => beginning[i] === byte)) {
      throw new RefusedFile(code, `line ${line}: this is ${what}, not CSV text in UTF-8`, { line });
    }
  }
  const [text = ""] = beginning.toString().split("\n", 1);
  if (text.startsWith("<")) {
    throw new RefusedFile("TK103", `line ${line}: this is HTML or XML, not CSV`, {
      line,
      detail: `It begins: ${JSON.stringify(excerpt(text, MAX_QUOTED_LENGTH))}`,
    });
  }
  const [separator] = /[;\t|]/.exec(text) ?? [];
  if (separator !== undefined && !text.includes(",")) {
    throw new RefusedFile("TK104", `line ${line}: the columns are not separated by commas`, {
      line,
      detail: `They seem to be separated by ${JSON.stringify(separator)}.`,
    });
  }
}

function empty(): RefusedFile {
  return new RefusedFile("TK101", "the object is empty: it has no header");
}

function bomLength(beginning: Buffer): number {
  return beginning.subarray(0, BOM.length).equals(BOM) ? BOM.length : 0;
}

/** How many bytes at the beginning are blanks and line ends. */
function blankLength(bytes: Buffer): number {
  let length = 0;
  while (length < bytes.length && isBlank(bytes[length] as number)) length++;
  return length;
}

function isBlank(byte: number): boolean {
  return byte === SPACE || (byte >= TAB && byte <= CR);
}

/** A check of one chunk after the other; a character may lie across two of them. */
function createUtf8Check(): {
  /** Returns how many bytes of the chunk come before the first character that is none. */
  push(chunk: Buffer): number;
  /** Whether no character is cut at the end of what came. */
  isWhole(): boolean;
} {
  let cut = Buffer.alloc(0);
  return {
    push(chunk) {
      const bytes = cut.length === 0 ? chunk : Buffer.concat([cut, chunk]);
      const valid = isUtf8ButForItsEnd(bytes)
        ? chunk.length
        : Math.max(0, validLength(bytes) - cut.length);
      cut = Buffer.from(bytes.subarray(bytes.length - bytesOfCutCharacter(bytes)));
      return valid;
    },
    isWhole: () => cut.length === 0,
  };
}

function notUtf8(line: number): RefusedFile {
  return new RefusedFile("TK106", `line ${line}: this is not UTF-8`, {
    line,
    detail: "The export may have been written as Latin-1 or Windows-1252.",
  });
}

function isUtf8ButForItsEnd(bytes: Buffer): boolean {
  return isUtf8(bytes.subarray(0, bytes.length - bytesOfCutCharacter(bytes)));
}

/** How many bytes come before the first character that is none, found by halving. */
function validLength(bytes: Buffer): number {
  let valid = 0;
  let invalid = bytes.length;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    if (isUtf8ButForItsEnd(bytes.subarray(0, middle))) valid = middle;
    else invalid = middle;
  }
  return valid;
}

/** How many bytes at the end may be the beginning of a character. */
function bytesOfCutCharacter(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? back : 0;
  }
  return 0;
}

/** The column names of a header that the scanner has found well-formed. */
function namesOf(header: Buffer): string[] {
  const fields = `,${header.toString("utf8")}`.matchAll(/,(?:"((?:[^"]|"")*)"|([^,]*))/g);
  return Array.from(fields, ([, quoted, plain]) =>
    (quoted?.replaceAll('""', '"') ?? plain ?? "").trim(),
  );
}
