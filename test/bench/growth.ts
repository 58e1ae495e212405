/** How the cost of a load grows with its rows, and with the tickets that are there already. */

import assert from "node:assert/strict";
import { table } from "../../src/output.ts";
import { sampleChanges, sampleCsv } from "../../src/samples.ts";
import { type IngestReport, changeKey, onlyDataset } from "../harness/loader.ts";
import type { Scope } from "../harness/scope.ts";
import { type DatabaseTime, countFunctions, withDatabaseTime } from "./database-time.ts";
import {
  type Judgement,
  type Outcome,
  type Spread,
  type Surroundings,
  figureTable,
  judge,
  mapValues,
  numberColumns,
  spreadOf,
  surroundingsOf,
  surroundingsText,
  tell,
} from "./report.ts";
import {
  type MeasuredRun,
  type Stage,
  appliedFile,
  runMeasured,
  sampleTickets,
  settle,
  snapshotKey,
  startAll,
} from "./servers.ts";

export const CHANGE_FILE_ROWS = 300;

// Below, what a file costs whatever its size is much of what it costs by row.
const MANY_ROWS = 200_000;
// What the promise of a change file is about.
const PROMISED_TICKETS = 1_000_000;

/** What is promised, each a number that may not be exceeded. */
const targets = {
  // From 200,000 rows to 2,000,000, sorting for the indexes grows by a fifth for each row, and 2 GB
  // of tickets have left the memory when the indexes are built, of which 225 MB are still there.
  // What does not grow with the rows alone shows by far: what is quadratic would be 10.
  first_load_growth_ratio: 1.5,
  change_file_seconds: 1,
  // Independent of the number of tickets: 1, but for noise.
  noop_growth_ratio: 1.25,
} as const;

type Figure = keyof typeof targets;

export interface GrowthOptions {
  /** Numbers of tickets, each in a database of its own. */
  sizes: readonly number[];
  /** How many change files each gets, with a run with nothing new after each. */
  repeat: number;
}

type TimedRun = MeasuredRun & DatabaseTime;

/** A database with so many tickets, and what was measured in it. */
interface Filled {
  rows: number;
  stage: Stage;
  firstLoad: TimedRun;
  changeFiles: TimedRun[];
  noops: TimedRun[];
}

/** Seconds of a whole run, and what of them the database says were its own. */
interface RunReport {
  seconds: Spread;
  database_seconds: Spread;
}

interface SizeReport {
  rows: number;
  first_load: { seconds: number; microseconds_per_row: number; apply_seconds: number };
  change_file: RunReport & { apply_seconds: Spread };
  noop: RunReport;
}

/** What `--json` prints. */
interface Report extends Surroundings {
  repeat: number;
  sizes: SizeReport[];
  /** Each with the numbers of tickets that it is about. */
  figures: Record<Figure, Judgement & { value: number; rows: number[] }>;
}

/**
 * Loads exports of several sizes, each into an empty database, and then change files, by turns, with
 * a run with nothing new after each. All runs are the whole command, as cron starts it: that of a
 * change file also moves it into the archive, that of a first load does not.
 */
export async function growth(scope: Scope, { sizes, repeat }: GrowthOptions): Promise<Outcome> {
  const filled: Filled[] = [];
  // The largest first: it leaves the server with the files of its log that one has which is not new.
  for (const rows of [...sizes].sort((one, other) => other - one)) {
    tell(`first load of ${rows} rows`);
    filled.unshift(await fill(scope, rows));
  }
  // By turns, so that the moods of the machine meet all sizes alike.
  for (let revision = 1; revision <= repeat; revision++) {
    tell(`change file ${revision} of ${repeat}`);
    for (const each of filled) await change(each, revision);
  }

  const [smallest] = filled;
  assert.ok(smallest);
  const reports = filled.map(reportOf);
  const report: Report = {
    repeat,
    sizes: reports,
    figures: figuresOf(reports),
    ...(await surroundingsOf(smallest.stage.client)),
  };
  return { report, sections: sectionsOf(report) };
}

/** A database with the tickets of a first export, which the bucket then no longer has. */
async function fill(scope: Scope, rows: number): Promise<Filled> {
  const stage = await startAll(scope);
  const { client, env, s3 } = stage;
  await countFunctions(client);
  await s3.putStream(snapshotKey(0), sampleCsv({ ...sampleTickets, rows }));
  await settle(client);
  const args = ["ingest", "inc", "--snapshot", "--apply"];
  const firstLoad = await withDatabaseTime(client, () =>
    runMeasured([...args, "--no-archive"], env),
  );
  assert.equal(appliedFile(firstLoad, snapshotKey(0)).inserted, rows);

  // Into the archive, which the runs to come would have to do, and out of the server's memory.
  await runMeasured(args, env);
  for (const key of await s3.keys()) await s3.remove(key);
  return { rows, stage, firstLoad, changeFiles: [], noops: [] };
}

/** The next change file, and then a run with nothing new. */
async function change(filled: Filled, revision: number): Promise<void> {
  const { rows, stage, changeFiles, noops } = filled;
  const { client, env, s3 } = stage;
  const run = () => withDatabaseTime(client, () => runMeasured(["ingest", "inc", "--apply"], env));
  const changed = CHANGE_FILE_ROWS / 2;
  const known = rows + changed * (revision - 1);
  const file = { ...sampleTickets, rows: CHANGE_FILE_ROWS, known, revision };
  await s3.put(changeKey(revision), sampleChanges(file));
  await settle(client);
  const changeFile = await run();
  const { inserted, updated } = appliedFile(changeFile, changeKey(revision));
  assert.deepEqual({ inserted, updated }, { inserted: changed, updated: changed });
  changeFiles.push(changeFile);
  const noop = await run();
  assert.deepEqual(onlyDataset(noop.json as IngestReport).files, []);
  noops.push(noop);
}

function reportOf({ rows, firstLoad, changeFiles, noops }: Filled): SizeReport {
  return {
    rows,
    first_load: {
      seconds: firstLoad.seconds,
      microseconds_per_row: (firstLoad.seconds * 1_000_000) / rows,
      apply_seconds: firstLoad.apply,
    },
    change_file: {
      ...runReport(changeFiles),
      apply_seconds: spreadOf(changeFiles.map(({ apply }) => apply)),
    },
    noop: runReport(noops),
  };
}

function runReport(runs: readonly TimedRun[]): RunReport {
  return {
    seconds: spreadOf(runs.map(({ seconds }) => seconds)),
    database_seconds: spreadOf(runs.map(({ database }) => database)),
  };
}

/** @param sizes the smallest first */
function figuresOf(sizes: readonly SizeReport[]): Report["figures"] {
  const [smallest, largest] = [sizes[0], sizes.at(-1)];
  assert.ok(smallest && largest);
  const many = sizes.find(({ rows }) => rows >= MANY_ROWS) ?? smallest;
  const promised = sizes.findLast(({ rows }) => rows <= PROMISED_TICKETS) ?? smallest;
  const values: Record<Figure, { value: number; rows: number[] }> = {
    first_load_growth_ratio: {
      value: largest.first_load.microseconds_per_row / many.first_load.microseconds_per_row,
      rows: [many.rows, largest.rows],
    },
    change_file_seconds: {
      value: promised.change_file.seconds.median,
      rows: [promised.rows],
    },
    noop_growth_ratio: {
      value: largest.noop.seconds.median / smallest.noop.seconds.median,
      rows: [smallest.rows, largest.rows],
    },
  };
  return mapValues(values, (figure, name) => ({
    ...figure,
    ...judge(figure.value, targets[name]),
  }));
}

function sectionsOf(report: Report): string[] {
  const sizes = table(
    numberColumns("tickets", [
      "first load",
      "µs a row",
      "apply_file",
      `${CHANGE_FILE_ROWS} rows`,
      "database",
      "apply_file",
      "nothing new",
      "database",
    ]),
    report.sizes.map(({ rows, first_load, change_file, noop }) => [
      String(rows),
      first_load.seconds.toFixed(2),
      first_load.microseconds_per_row.toFixed(1),
      first_load.apply_seconds.toFixed(2),
      change_file.seconds.median.toFixed(3),
      change_file.database_seconds.median.toFixed(3),
      change_file.apply_seconds.median.toFixed(3),
      noop.seconds.median.toFixed(3),
      noop.database_seconds.median.toFixed(3),
    ]),
  );
  const figures = Object.entries(report.figures).map(
    ([name, figure]) => [`${name} (${figure.rows.join(" to ")} tickets)`, figure] as const,
  );
  return [
    `Seconds of the whole command and, of these, of the database; medians of ${report.repeat}, but for the first load`,
    sizes,
    figureTable(["value"], Object.fromEntries(figures)),
    surroundingsText(report),
  ];
}
