// What `npm run bench` runs: measures the speed that the project promises, as ratios to a floor that
// is measured beside it. docs/performance.md tells how, and what came of it.
//
//   node test/bench/run.ts [--rows n] [--repeat n] [--json]

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import type { Client } from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { table } from "../../src/output.ts";
import { contractColumns, sampleCsv } from "../../src/samples.ts";
import { openStore } from "../../src/store.ts";
import type { IngestReport } from "../harness/loader.ts";
import { createDatabase } from "../harness/postgres.ts";
import { startS3 } from "../harness/s3.ts";
import type { Scope } from "../harness/scope.ts";
import { type Breakdown, breakDown } from "./breakdown.ts";
import { type Question, readingSeconds } from "./reading.ts";
import { runMeasured, secondsSince, useObjectStore, useServer } from "./servers.ts";

const SEED = 1;
const PROCESSED_FILES = 20_000;
const MEBIBYTE = 1024 * 1024;

/** What is promised, each a number that may not be exceeded. */
const targets = {
  first_load_ratio: 4,
  unchanged_ratio: 2,
  changed10_ratio: 3.5,
  node_rss_mb: 150,
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

// The clusters of the sample tickets, as a map calls them. Where they are does not matter.
const clusters = [
  "Embakasi",
  "Karen",
  "Kasarani",
  "Kilimani",
  "Langata",
  "Pipeline",
  "Quarry Road",
  "Rongai",
  "Ruaka",
  "Syokimau",
  "Thika",
  "Westlands",
];

// What a run imports that finds nothing new.
const libraries = ["@aws-sdk/client-s3", "commander", "pg", "pg-copy-streams", "pino"];

// What decides how much the server writes, how safely, and in how much memory.
const serverSettings = [
  "fsync",
  "full_page_writes",
  "max_wal_size",
  "server_version",
  "shared_buffers",
  "synchronous_commit",
  "work_mem",
];

/** Full snapshots of the same tickets: in the second nothing changed, in the third a tenth. */
const snapshots = [
  { name: "first", revision: 0, changedShare: 0.1 },
  { name: "unchanged", revision: 1, changedShare: 0 },
  { name: "changed10", revision: 2, changedShare: 0.1 },
] as const;

type Files = Record<(typeof snapshots)[number]["name"], { path: string; key: string }>;

interface Spread {
  median: number;
  min: number;
  max: number;
}

type FigureReport = Spread & { target: number; is_met: boolean };

/** What `--json` prints. */
interface Report {
  rows: number;
  repeat: number;
  figures: Record<Figure, FigureReport>;
  seconds: Record<string, Spread>;
  rows_per_second: number;
  breakdown: Record<string, Breakdown>;
  machine: { cpu: string; cpus: number; memory_mb: number; node: string };
  server: Record<string, string>;
}

await withScope(main);

async function main(scope: Scope): Promise<void> {
  const { rows, repeat, json } = readOptions();
  const files = await writeExports(scope, rows);
  await useServer(scope);
  await useObjectStore(scope);

  // First: it leaves the server with the files of its log that one has which is not new.
  tell("where the time goes");
  const { breakdown, server } = await withScope((each) => lookCloser(each, files));
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
    machine: machine(),
    server,
  };
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : forPeople(report));
}

function readOptions(): { rows: number; repeat: number; json: boolean } {
  const { values } = parseArgs({
    options: {
      rows: { type: "string", default: "200000" },
      repeat: { type: "string", default: "3" },
      json: { type: "boolean", default: false },
    },
  });
  const [rows, repeat] = [Number(values.rows), Number(values.repeat)];
  // A tenth of fewer rows is no whole number of them.
  if (!Number.isInteger(rows) || rows < 10) throw new Error("--rows takes a number from 10 on");
  if (!Number.isInteger(repeat) || repeat < 1) throw new Error("--repeat takes a number from 1 on");
  return { rows, repeat, json: values.json };
}

async function writeExports(scope: Scope, rows: number): Promise<Files> {
  const folder = await mkdtemp(join(tmpdir(), "fleettickets-bench-"));
  scope.after(() => rm(folder, { recursive: true }));
  tell(`writing ${snapshots.length} exports of ${rows} rows`);
  const files = snapshots.map(async ({ name, revision, changedShare }) => {
    const path = join(folder, `${name}.csv`);
    const csv = sampleCsv({ dataset: "inc", seed: SEED, rows, revision, changedShare });
    await pipeline(Readable.from(csv), createWriteStream(path));
    return [name, { path, key: `automations/inc/2026-06-15T0${6 + revision}-00-00.csv` }] as const;
  });
  return Object.fromEntries(await Promise.all(files)) as Files;
}

/** Everything once, from an empty database on; what is compared is measured right after each other. */
async function repetition(scope: Scope, files: Files): Promise<Repetition> {
  const { env, client, s3 } = await startAll(scope);
  const load = (args: readonly string[]) => runMeasured(["ingest", "inc", "--apply", ...args], env);

  async function loadSnapshot({ path, key }: Files["first"]) {
    await s3.put(key, await readFile(path));
    await settle(client);
    const copy = await copySeconds(client, path, "tickets.inc_staging");
    await client.query("truncate tickets.inc_staging");
    const run = await load(["--snapshot", "--no-archive"]);
    assertApplied(run.json, key);
    return { copy, run };
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
  const libraries = await importSeconds();
  const noop = (await load([])).seconds;
  await processFiles(client);
  const noopAfterMany = (await load([])).seconds;
  const reading = await readingSeconds(client);

  const runs = [first.run, unchanged.run, changed10.run, archived];
  return {
    figures: {
      first_load_ratio: first.run.seconds / (first.copy + insert),
      unchanged_ratio: unchanged.run.seconds / unchanged.copy,
      changed10_ratio: changed10.run.seconds / changed10.copy,
      node_rss_mb: Math.max(...runs.map(({ peakBytes }) => peakBytes)) / MEBIBYTE,
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
): Promise<Pick<Report, "breakdown" | "server">> {
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
  return { breakdown, server: await settingsOf(client) };
}

/** A database with a point for every cluster, a bucket, and ways to both. */
async function startAll(scope: Scope) {
  const database = await createDatabase(scope);
  const s3 = await startS3(scope);
  const store = openStore(
    {
      endpoint: s3.endpoint,
      bucket: s3.bucket,
      region: s3.env["RUSTFS_REGION"] ?? "",
      credentials: {
        accessKeyId: s3.env["RUSTFS_ACCESS_KEY"] ?? "",
        secretAccessKey: s3.env["RUSTFS_SECRET_KEY"] ?? "",
      },
    },
    60_000,
  );
  scope.after(() => {
    store.close();
    return Promise.resolve();
  });
  const client = await database.connect();
  await client.query(
    `insert into tickets.geo_clusters (cluster, geom)
     select c.name, public.st_setsrid(public.st_makepoint(36.7 + c.n * 0.02, -1.3), 4326)
     from unnest($1::text[]) with ordinality as c (name, n)`,
    [clusters],
  );
  return { env: { ...s3.env, DATABASE_URL: database.url }, client, s3, store };
}

/** What the server does by itself in the minutes between two exports, before and not while we look. */
async function settle(client: Client): Promise<void> {
  await client.query("vacuum (analyze)");
  await client.query("checkpoint");
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

function assertApplied(json: unknown, key: string): void {
  const { datasets } = json as IngestReport;
  const files = datasets.flatMap(({ files }) => files.map((f) => [f.key, f.status]));
  assert.deepEqual(files, [[key, "applied"]]);
}

async function settingsOf(client: Client): Promise<Record<string, string>> {
  const { rows } = await client.query<{ name: string; setting: string }>(
    `select s.name, current_setting(s.name) as setting
     from pg_settings as s
     where s.name = any ($1)
     order by s.name`,
    [serverSettings],
  );
  return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
}

function machine(): Report["machine"] {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cpus: availableParallelism(),
    memory_mb: Math.round(totalmem() / MEBIBYTE),
    node: process.versions.node,
  };
}

// Medians, and what is printed

function figuresOf(repetitions: readonly Repetition[]): Record<Figure, FigureReport> {
  const measured = spreads(repetitions.map((each) => each.figures));
  return mapValues(measured, (spread, name) => ({
    ...spread,
    target: targets[name],
    is_met: spread.median <= targets[name],
  }));
}

function spreads<Name extends string>(each: readonly Record<Name, number>[]): Record<Name, Spread> {
  const [one] = each;
  if (one === undefined) throw new RangeError("nothing was measured");
  return mapValues(one, (_, name) => {
    const values = each.map((numbers) => numbers[name]);
    return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
  });
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.slice((sorted.length - 1) >> 1, (sorted.length >> 1) + 1);
  return middle.reduce((sum, value) => sum + value, 0) / middle.length;
}

function mapValues<Name extends string, From, To>(
  object: Record<Name, From>,
  make: (value: From, name: Name) => To,
): Record<Name, To> {
  const entries = Object.entries<From>(object) as [Name, From][];
  return Object.fromEntries(entries.map(([name, value]) => [name, make(value, name)])) as Record<
    Name,
    To
  >;
}

function forPeople(report: Report): string {
  const left = (title: string) => ({ title, align: "left" as const });
  const right = (title: string) => ({ title, align: "right" as const });
  const figures = table(
    [left(""), right("median"), right("min"), right("max"), right("target"), left("")],
    Object.entries(report.figures).map(([name, figure]) => [
      name,
      ...[figure.median, figure.min, figure.max].map((number) => number.toFixed(2)),
      `≤ ${figure.target}`,
      figure.is_met ? "met" : "not met",
    ]),
  );
  const seconds = table(
    [left("seconds"), right("median"), right("min"), right("max")],
    Object.entries(report.seconds).map(([name, { median, min, max }]) => [
      name,
      ...[median, min, max].map((number) => number.toFixed(3)),
    ]),
  );
  const names = Object.keys(report.breakdown);
  const parts = Object.keys(Object.values(report.breakdown)[0] ?? {});
  const breakdown = table(
    [left("seconds, step by step"), ...names.map(right)],
    parts.map((part) => [part, ...names.map((n) => report.breakdown[n]?.[part]?.toFixed(3) ?? "")]),
  );
  const { cpu, cpus, memory_mb, node } = report.machine;
  const settings = Object.entries(report.server).map(([name, value]) => `${name} ${value}`);
  return [
    `${report.rows} rows, ${report.rows_per_second} a second in the first load`,
    figures,
    seconds,
    breakdown,
    `${cpu}, ${cpus} CPUs, ${memory_mb} MB, Node ${node}\n${settings.join(", ")}`,
    "",
  ].join("\n\n");
}

/** What a person sees meanwhile. */
function tell(text: string): void {
  process.stderr.write(`${text} …\n`);
}

/** Undoes in the end, last things first, whatever `work` has set up. */
async function withScope<T>(work: (scope: Scope) => Promise<T>): Promise<T> {
  const cleanUps: (() => Promise<void>)[] = [];
  try {
    return await work({ after: (cleanUp) => cleanUps.push(cleanUp) });
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}
