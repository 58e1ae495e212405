/**
 * Sample exports: seeded INC and CRQ files as messy as the real ones, for `demo`, tests and bench.
 *
 * A run keeps a book of tickets and moves them through their life from file to file, so that the
 * files together tell a story: tickets open, change hands, close and sometimes reopen. The same
 * options give the same bytes on every machine; nothing here reads the clock or the locale.
 */

import { badRows, mingle, noBadRows } from "./samples/bad-rows.ts";
import { type SampleRow, type Values, contractColumns, layOut } from "./samples/columns.ts";
import { type Dataset, type Profile, exportKey, profiles } from "./samples/datasets.ts";
import { cleanShape, csvLine, fileBody, fileHeader, messyShape } from "./samples/file.ts";
import { seededRandom } from "./samples/random.ts";
import { type Run, type SampleOptions, exportTickets, startRun } from "./samples/run.ts";
import { advanceTicket, meetTicket, provenanceValues, ticketValues } from "./samples/tickets.ts";
import {
  defaultEveryMinutes,
  defaultFirstExport,
  minute,
  parseExportTime,
} from "./samples/time.ts";

export { contractColumns };
export type { Dataset, SampleOptions, SampleRow };

/** What loading a file must count, under the ledger's names. */
export interface SampleCounts {
  staged: number;
  dropped_alarm: number;
  dropped_sentinel: number;
  rejected: number;
  duplicates: number;
}

export interface SampleFile {
  /** Object key, `automations/<dataset>/changes/<time>.csv`. */
  key: string;
  exportedAt: Date;
  header: readonly string[];
  /** Every record after the header in file order, the ones that must not load included. */
  rows: readonly SampleRow[];
  body: Buffer;
  expected: SampleCounts;
}

export interface SampleCsvOptions {
  dataset: Dataset;
  seed: number;
  rows: number;
  /** Which export of the same tickets this is, from 0, each one 20 minutes after the last. */
  revision?: number;
  /** Share of the tickets (0 to 1) that change with every revision; the same ones each time. */
  changedShare?: number;
}

export interface SampleChangesOptions {
  dataset: Dataset;
  seed: number;
  rows: number;
  /** How many tickets there are already, as `sampleCsv` makes them for the same seed. */
  known: number;
  /** Which export this is, from 1, each one 20 minutes after the last. */
  revision: number;
}

const chunkLength = 256 * 1024;
// Its multiples, cut to what is behind the point, keep apart from each other.
const goldenRatio = (1 + Math.sqrt(5)) / 2;

/**
 * Makes a run of change files, oldest first.
 *
 * @returns each file's bytes, and beside them its records and the counts loading it must give
 */
export function sampleExports(options: SampleOptions): SampleFile[] {
  const run = startRun(options);
  return Array.from({ length: options.files }, (_, index) => exportFile(run, index));
}

function exportFile(run: Run, index: number): SampleFile {
  const shape = run.mess ? messyShape(run.firstTurn + index) : cleanShape;
  const header = fileHeader(shape, run.random);
  const file = { at: run.firstExport + index * run.interval, shape, header };
  const tickets = exportTickets(run, file).map((values) => layOut(values, header));
  const bad = run.mess ? badRows(run, file, tickets) : noBadRows;
  const rows = mingle(tickets, bad, run.random);
  return {
    key: exportKey(run.profile.dataset, file.at),
    exportedAt: new Date(file.at),
    header,
    rows,
    body: fileBody(file, rows, run.random),
    expected: {
      staged: rows.length,
      dropped_alarm: bad.alarms.length,
      dropped_sentinel: bad.sentinels.length,
      rejected: bad.rejected.length,
      duplicates: bad.superseded.length,
    },
  };
}

/**
 * Streams one big clean file, the same tickets for the same seed, without holding it in memory.
 *
 * Between any two revisions exactly `changedShare` of the tickets differ in what is loaded. The
 * columns that ingest drops name the export and so differ in every row, as they do in the source.
 *
 * @returns chunks of about 256 KiB, cut between rows
 */
export function* sampleCsv(options: SampleCsvOptions): Generator<Buffer> {
  yield* csvChunks(sampleCsvRows(options));
}

/**
 * Makes a clean change file, as the source exports one every 20 minutes: half of its rows change a
 * ticket that is known, spread over all of these, the others bring the next new ones.
 *
 * A file of a later revision takes those that earlier files have brought for known: add them up.
 */
export function sampleChanges(options: SampleChangesOptions): Buffer {
  return Buffer.concat([...csvChunks(sampleChangesRows(options))]);
}

function* csvChunks(rows: Iterable<Values>): Generator<Buffer> {
  let pending = csvLine(contractColumns);
  for (const row of rows) {
    pending += csvLine(layOut(row, contractColumns));
    if (pending.length >= chunkLength) {
      yield Buffer.from(pending);
      pending = "";
    }
  }
  yield Buffer.from(pending);
}

function* sampleCsvRows(options: SampleCsvOptions): Generator<Values> {
  const { dataset, seed, rows, revision = 0, changedShare = 0 } = options;
  const profile = profiles[dataset];
  const provenance = provenanceValues(profile, exportTime(revision));
  for (let number = 1; number <= rows; number++) {
    const changes = isInShare(number, changedShare) ? revision : 0;
    const changedIn = Array.from({ length: changes }, (_, index) => index + 1);
    yield { ...ticketRow(profile, seed, number, 0, changedIn), ...provenance };
  }
}

function* sampleChangesRows(options: SampleChangesOptions): Generator<Values> {
  const { dataset, seed, rows, known, revision } = options;
  const profile = profiles[dataset];
  const provenance = provenanceValues(profile, exportTime(revision));
  const changed = Math.floor(rows / 2);
  // Far from those of other revisions, whose neighbours a database still has at hand.
  const offset = (revision * goldenRatio) % 1;
  for (let nth = 0; nth < changed; nth++) {
    const number = 1 + Math.floor(((nth + offset) * known) / changed);
    yield { ...ticketRow(profile, seed, number, 0, [revision]), ...provenance };
  }
  for (let number = known + 1; number <= known + rows - changed; number++) {
    yield { ...ticketRow(profile, seed, number, revision, []), ...provenance };
  }
}

/** What an export writes of a ticket that one export met and later ones changed. */
function ticketRow(
  profile: Profile,
  seed: number,
  number: number,
  metIn: number,
  changedIn: readonly number[],
): ReturnType<typeof ticketValues> {
  // One generator a ticket: its row depends on nothing before it, so nothing must be remembered.
  const random = seededRandom(profile.salt ^ (seed + Math.imul(number, 0x9e3779b1)));
  const ticket = meetTicket(profile, number, exportTime(metIn), random);
  for (const nth of changedIn) advanceTicket(profile, ticket, exportTime(nth), random);
  return ticketValues(ticket, exportTime(changedIn.at(-1) ?? metIn));
}

function exportTime(nth: number): number {
  return parseExportTime(defaultFirstExport) + nth * defaultEveryMinutes * minute;
}

/** Spreads the share evenly over the numbers, so that any file has exactly that share. */
function isInShare(number: number, share: number): boolean {
  return Math.floor(number * share) > Math.floor((number - 1) * share);
}
