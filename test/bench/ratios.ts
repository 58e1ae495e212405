/** How long loads and answers take, beside a floor that is measured with them. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Client } from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { table } from "../../src/output.ts";
import { contractColumns, sampleCsv } from "../../src/samples.ts";
import { type Scope, withScope } from "../harness/scope.ts";
import { type Breakdown, breakDown } from "./breakdown.ts";
import { type Question, readingSeconds } from "./reading.ts";
import {
  MEMORY_TARGET_MB,
  type Judgement,
  type Outcome,
  type Spread,
  type Surroundings,
  figureTable,
  judge,
  mapValues,
  mebibytes,
  median,
  numberColumns,
  spreadOf,
  surroundingsOf,
  surroundingsText,
  tell,
} from "./report.ts";
import {
  appliedFile,
  runMeasured,
  sampleTickets,
  secondsSince,
  settle,
  snapshotKey,
  startAll,
} from "./servers.ts";

const PROCESSED_FILES = 20_000;

/** What is promised, each a number that may not be exceeded. */
const targets = {
  first_load_ratio: 4,
  unchanged_ratio: 2,
  changed10_ratio: 3.5,
  node_rss_mb: MEMORY_TARGET_MB,
  noop_ratio: 2,
  // Independent of the number of files: 1, but for noise.
  noop_growth_ratio: 1.25,
  map_ratio: 1.5,
  dashboard_ratio: 1.5,
} as const;

type Figure = keyof typeof targets;

type Measured =
  | "bare_copy"
  | "copy"
  | "insert"
  | "first_load"
  | "unchanged"
  | "changed10"
  | "archive"
  | "import"
  | "noop"
  | "noop_after_many_files"
  | Question;

/** What one repetition has measured: the figures, and the seconds that they are made of. */
interface Repetition {
  figures: Record<Figure, number>;
  seconds: Record<Measured, number>;
}

// What a run imports that finds nothing new.
const libraries = ["@aws-sdk/client-s3", "commander", "pg", "pg-copy-streams", "pino"];

/** Full snapshots of the same tickets: in the second nothing changed, in the third a tenth. */
const snapshots = [
  { name: "first", revision: 0, changedShare: 0.1 },
  { name: "unchanged", revision: 1, changedShare: 0 },
  { name: "changed10", revision: 2, changedShare: 0.1 },
] as const;

type Files = Record<(typeof snapshots)[number]["name"], { path: string; key: string }>;

export interface RatiosOptions {
  /** Tickets of an export. */
  rows: number;
  repeat: number;
}

/** What `--json` prints. */
interface Report extends Surroundings {
  rows: number;
  repeat: number;
  figures: Record<Figure, Spread & Judgement>;
  seconds: Record<string, Spread>;
  rows_per_second: number;
  breakdown: Record<string, Breakdown>;
}

/**
 * Loads a first export, one in which nothing has changed and one in which a tenth has, each run the
 * whole command, beside what PostgreSQL takes for the same bytes and rows at the least; asks for map
 * and dashboard beside plain queries.
 */
export async function ratios(scope: Scope, { rows, repeat }: RatiosOptions): Promise<Outcome> {
  const files = await writeExports(scope, rows);

  // First: it leaves the server with the files of its log that one has which is not new.
  tell("where the time goes");
  const { breakdown, surroundings } = await withScope((each) => lookCloser(each, files));
  const repetitions: Repetition[] = [];
  for (let n = 1; n <= repeat; n++) {
    tell(`repetition ${n} of ${repeat}`);
    repetitions.push(await withScope((each) => repetition(each, files)));
  }
  const report: Report = {
    rows,
    repeat,
    figures: figuresOf(repetitions),
    seconds: spreads(repetitions.map((each) => each.seconds)),
    rows_per_second: Math.round(rows / median(repetitions.map((r) => r.seconds.first_load))),
    breakdown,
    ...surroundings,
  };
  return { report, sections: sectionsOf(report) };
}

async function writeExports(scope: Scope, rows: number): Promise<Files> {
  const folder = await mkdtemp(join(tmpdir(), "fleettickets-bench-"));
  scope.after(() => rm(folder, { recursive: true }));
  tell(`writing ${snapshots.length} exports of ${rows} rows`);
  const files = snapshots.map(async ({ name, revision, changedShare }) => {
    const path = join(folder, `${name}.csv`);
    const csv = sampleCsv({ ...sampleTickets, rows, revision, changedShare });
    await pipeline(Readable.from(csv), createWriteStream(path));
    return [name, { path, key: snapshotKey(revision) }] as const;
  });
  return Object.fromEntries(await Promise.all(files)) as Files;
}

/** Everything once, from an empty database on; what is compared is measured right after each other. */
async function repetition(scope: Scope, files: Files): Promise<Repetition> {
  const { env, client, s3 } = await startAll(scope);
  const load = (args: readonly string[]) => runMeasured(["ingest", "inc", "--apply", ...args], env);

  async function loadSnapshot({ path, key }: Files["first"]) {
    await s3.put(key, await readFile(path));
    const { floor: copy, result: run } = await between(
      async () => {
        await settle(client);
        const seconds = await copySeconds(client, path, "tickets.inc_staging");
        await client.query("truncate tickets.inc_staging");
        return seconds;
      },
      () => load(["--snapshot", "--no-archive"]),
    );
    appliedFile(run, key);
    return { copy, run };
  }

  /** The median of several runs with nothing new: one of them is short. */
  async function noopSeconds(): Promise<number> {
    const runs = [await load([]), await load([]), await load([])];
    return median(runs.map(({ seconds }) => seconds));
  }

  await client.query(
    `create unlogged table public.bare_staging (${contractColumns.map((c) => `${c} text`).join()})`,
  );
  const bareCopy = await copySeconds(client, files.first.path, "public.bare_staging");
  await client.query("drop table public.bare_staging");
  const first = await loadSnapshot(files.first);
  const insert = await insertSeconds(client);
  const unchanged = await loadSnapshot(files.unchanged);
  const changed10 = await loadSnapshot(files.changed10);
  const archived = await load(["--snapshot"]);

  await settle(client);
  const { floor: libraries, result: noop } = await between(importSeconds, noopSeconds);
  await processFiles(client);
  const noopAfterMany = await noopSeconds();
  const reading = await readingSeconds(client);

  const runs = [first.run, unchanged.run, changed10.run, archived];
  return {
    figures: {
      first_load_ratio: first.run.seconds / (first.copy + insert),
      unchanged_ratio: unchanged.run.seconds / unchanged.copy,
      changed10_ratio: changed10.run.seconds / changed10.copy,
      node_rss_mb: mebibytes(Math.max(...runs.map(({ peakBytes }) => peakBytes))),
      noop_ratio: noop / libraries,
      noop_growth_ratio: noopAfterMany / noop,
      map_ratio: reading.map / reading.plain_map,
      dashboard_ratio: reading.dashboard / reading.plain_dashboard,
    },
    seconds: {
      bare_copy: bareCopy,
      copy: first.copy,
      insert,
      first_load: first.run.seconds,
      unchanged: unchanged.run.seconds,
      changed10: changed10.run.seconds,
      archive: archived.seconds,
      import: libraries,
      noop,
      noop_after_many_files: noopAfterMany,
      ...reading,
    },
  };
}

async function lookCloser(
  scope: Scope,
  files: Files,
): Promise<{ breakdown: Report["breakdown"]; surroundings: Surroundings }> {
  const { client, s3, store } = await startAll(scope);
  const breakdown: Record<string, Breakdown> = {};
  for (const { name } of snapshots) {
    const { path, key } = files[name];
    await s3.put(key, await readFile(path));
    const object = await store.head(key);
    if (object === undefined) throw new Error(`${key} is not in the bucket`);
    await settle(client);
    breakdown[name] = await breakDown(client, store, object);
    await client.query("truncate tickets.inc_staging");
  }
  return { breakdown, surroundings: await surroundingsOf(client) };
}

/** A floor right before and right after what is measured by it: a machine's moods change in seconds. */
async function between<Result>(
  floor: () => Promise<number>,
  work: () => Promise<Result>,
): Promise<{ floor: number; result: Result }> {
  const before = await floor();
  const result = await work();
  const after = await floor();
  return { floor: (before + after) / 2, result };
}

async function copySeconds(client: Client, path: string, into: string): Promise<number> {
  const startedAt = performance.now();
  await pipeline(
    createReadStream(path, { highWaterMark: 256 * 1024 }),
    client.query(
      copyFrom(`copy ${into} (${contractColumns.join()}) from stdin with (format csv, header)`),
    ),
  );
  return secondsSince(startedAt);
}

/** An insert of all that the tickets are made of, into a table that has no more than that. */
async function insertSeconds(client: Client): Promise<number> {
  await client.query(
    "create table public.finished as select t.ticket_id, t.raw from tickets.inc as t",
  );
  await client.query("create table public.bare (ticket_id text primary key, raw jsonb not null)");
  await settle(client);
  const startedAt = performance.now();
  await client.query("insert into public.bare select f.ticket_id, f.raw from public.finished as f");
  const seconds = secondsSince(startedAt);
  await client.query("drop table public.bare, public.finished");
  return seconds;
}

/** How long Node takes to import what a run imports that has nothing to do, and to end. */
async function importSeconds(): Promise<number> {
  const imports = libraries.map((name) => `import ${JSON.stringify(name)};`).join("");
  const startedAt = performance.now();
  const child = spawn(process.execPath, ["--input-type=module", "--eval", imports], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`the import of ${libraries.join(", ")} failed`);
  return secondsSince(startedAt);
}

/** A ledger of as many files as come in most of a year. */
async function processFiles(client: Client): Promise<void> {
  await client.query(
    `insert into tickets.ingest_files (
       dataset, source_key, etag, bytes, exported_at, status, applied_at, archived_at
     )
     select 'inc', format('automations/inc/changes/%s.csv', to_char(e.at, 'YYYY-MM-DD"T"HH24-MI-SS')),
       md5(e.at::text), 1, e.at, 'applied', e.at, e.at
     from (
       select timestamptz '2025-06-15' + n * interval '20 minutes' from generate_series(1, $1) as n
     ) as e (at)`,
    [PROCESSED_FILES],
  );
  await settle(client);
}

function figuresOf(repetitions: readonly Repetition[]): Report["figures"] {
  const measured = spreads(repetitions.map((each) => each.figures));
  return mapValues(measured, (spread, name) => ({
    ...spread,
    ...judge(spread.median, targets[name]),
  }));
}

function spreads<Name extends string>(each: readonly Record<Name, number>[]): Record<Name, Spread> {
  const [one] = each;
  if (one === undefined) throw new RangeError("nothing was measured");
  return mapValues(one, (_, name) => spreadOf(each.map((numbers) => numbers[name])));
}

function sectionsOf(report: Report): string[] {
  const seconds = table(
    numberColumns("seconds", ["median", "min", "max"]),
    Object.entries(report.seconds).map(([name, { median, min, max }]) => [
      name,
      ...[median, min, max].map((number) => number.toFixed(3)),
    ]),
  );
  const names = Object.keys(report.breakdown);
  const parts = Object.keys(Object.values(report.breakdown)[0] ?? {});
  const breakdown = table(
    numberColumns("seconds, step by step", names),
    parts.map((part) => [part, ...names.map((n) => report.breakdown[n]?.[part]?.toFixed(3) ?? "")]),
  );
  return [
    `${report.rows} rows, ${report.rows_per_second} a second in the first load`,
    figureTable(["median", "min", "max"], report.figures),
    seconds,
    breakdown,
    surroundingsText(report),
  ];
}
