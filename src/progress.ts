import { posix } from "node:path";
import { formatDuration } from "./duration.ts";
import { printableInLine } from "./printable.ts";

const BAR_WIDTH = 24;
const EVERY_MS = 100;
// Before that, the time left would be a guess.
const FORECAST_AFTER_MS = 2_000;

let shown = false;
let lastDrawn = 0;

/** Takes the bar off the terminal, so that something else can be printed. */
export function clearProgress(): void {
  if (!shown) return;
  process.stderr.write("\r\u001b[K");
  shown = false;
}

/** How far a run is with its files. */
export interface Progress {
  /** More files that are to be loaded. */
  expect(files: readonly { bytes: number }[]): void;
  begin(file: { key: string; bytes: number }): void;
  /** So many more bytes of the file are read, so many rows in all of it are on their way. */
  read(bytes: number, rows: number): void;
  /** All of the file is read; now the database has it. */
  apply(rows: number): void;
  end(): void;
}

/** What the bar tells. */
export interface ProgressState {
  files: number;
  filesDone: number;
  bytes: number;
  bytesDone: number;
  rows: number;
  key: string;
  isApplying: boolean;
  elapsedMs: number;
}

/** A bar on the terminal, where stderr is one; nothing anywhere else. */
export function openProgress(): Progress {
  const total = { files: 0, bytes: 0 };
  const done = { files: 0, bytes: 0, rows: 0 };
  let file = { key: "", bytes: 0, passed: 0, rows: 0 };
  let startedAt: number | undefined;

  function draw(isApplying: boolean): void {
    if (!isDue(isApplying)) return;
    const line = progressLine(
      {
        files: Math.max(total.files, done.files + 1),
        filesDone: done.files,
        bytes: Math.max(total.bytes, done.bytes + file.bytes),
        bytesDone: done.bytes + file.passed,
        rows: done.rows + file.rows,
        key: file.key,
        isApplying,
        elapsedMs: Date.now() - (startedAt ?? Date.now()),
      },
      process.stderr.columns,
    );
    show(line);
  }

  return {
    expect(files) {
      total.files += files.length;
      total.bytes += files.reduce((sum, { bytes }) => sum + bytes, 0);
    },
    begin({ key, bytes }) {
      startedAt ??= Date.now();
      file = { key, bytes, passed: 0, rows: 0 };
    },
    read(bytes, rows) {
      file.passed += bytes;
      file.rows = rows;
      draw(false);
    },
    apply(rows) {
      file.rows = rows;
      draw(true);
    },
    end() {
      done.files++;
      done.bytes += file.bytes;
      done.rows += file.rows;
      clearProgress();
    },
  };
}

/** The bar of a run of questions: so many answered of so many, and what is asked now. */
export function openQuestionBar(total: number): (answered: number, question: string) => void {
  const startedAt = Date.now();
  return (answered, question) => {
    if (!isDue(false)) return;
    const share = answered / total;
    const parts = [
      bar(share),
      `question ${answered + 1} of ${total}`,
      ...forecast(Date.now() - startedAt, share),
      question,
    ];
    show(fitted(parts, process.stderr.columns));
  };
}

/** The line of the bar; what a narrow terminal has no room for is left out from its end. */
export function progressLine(state: ProgressState, width: number): string {
  const { files, filesDone, bytes, bytesDone, rows, key, isApplying, elapsedMs } = state;
  const share = bytes === 0 ? 1 : Math.min(1, bytesDone / bytes);
  return fitted(
    [
      bar(share),
      `${megabytes(bytesDone)} of ${megabytes(bytes)} MB`,
      `${isApplying ? "applying " : ""}${rows.toLocaleString("en")} rows`,
      `file ${filesDone + 1} of ${files}`,
      ...forecast(elapsedMs, share),
      posix.basename(key),
    ],
    width,
  );
}

function isDue(always: boolean): boolean {
  return process.stderr.isTTY && (always || Date.now() - lastDrawn >= EVERY_MS);
}

function show(line: string): void {
  lastDrawn = Date.now();
  process.stderr.write(`\r\u001b[K${line}`);
  shown = true;
}

function bar(share: number): string {
  const filled = Math.round(share * BAR_WIDTH);
  return `${"█".repeat(filled)}${"░".repeat(BAR_WIDTH - filled)} ${Math.floor(share * 100)} %`;
}

function forecast(elapsedMs: number, share: number): string[] {
  if (elapsedMs < FORECAST_AFTER_MS || share <= 0 || share >= 1) return [];
  return [`${formatDuration((elapsedMs / 1000) * (1 / share - 1))} left`];
}

function fitted(parts: readonly string[], width: number): string {
  let line = "";
  for (const part of parts.map(printableInLine)) {
    const longer = line === "" ? part : `${line} · ${part}`;
    // The last column makes some terminals begin a new line.
    if (longer.length >= width) break;
    line = longer;
  }
  return line;
}

function megabytes(bytes: number): string {
  return (bytes / 1_000_000).toFixed(1);
}
