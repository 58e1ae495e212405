import assert from "node:assert/strict";
import { basename } from "node:path/posix";
import { setTimeout as sleep } from "node:timers/promises";
import { type Dataset, sampleExports } from "../../src/samples.ts";
import { type CliResult, describeRun } from "../harness/cli.ts";
import { type FaultyS3, startFaultyS3 } from "../harness/faulty-s3.ts";
import { type TestDatabase, createDatabase } from "../harness/postgres.ts";
import type { Scope } from "../harness/scope.ts";
import { startCli } from "./cli.ts";
import {
  type Queryable,
  type Tables,
  assertSameTables,
  filesDone,
  readTables,
  stopClock,
  withClient,
} from "./tables.ts";
import { type Tap, startTap } from "./tap.ts";

export const ingestAll = ["ingest", "all", "--apply"];

// In the order in which a run takes them.
const datasets = ["inc", "crq"] as const;

/** An object of the bucket before a run. */
export interface Export {
  dataset: Dataset;
  key: string;
  body: Buffer;
  isRefused: boolean;
}

/** A database and a bucket full of exports. */
export interface Place {
  s3: FaultyS3;
  /** For a run that nothing holds. */
  directEnv: Record<string, string>;
  /** Once no loader has a session any more. */
  readTables(): Promise<Record<Dataset, Tables>>;
}

/** The same on a server, with ways to see and hold what goes on between a run and the database. */
export interface Stage extends Place {
  database: TestDatabase;
  tap: Tap;
  /** For a run that passes the tap. */
  env: Record<string, string>;
}

/** What runs that nobody disturbs make of some exports. */
export interface Reference {
  exports: readonly Export[];
  /** The tables of a dataset after so many of its files. */
  tables: Record<Dataset, Tables[]>;
}

const sessionsLimitMs = 20_000;

/**
 * Exports for one run, oldest first, one at least of each dataset. The first one of INC is large.
 *
 * @param refused with one of INC that is no CSV, before the last one
 */
export function makeExports(
  seed: number,
  { files, refused = false }: { files: Record<Dataset, number>; refused?: boolean },
): Export[] {
  const inc = { dataset: "inc" as const, seed };
  return [
    ...sampleExports({
      ...inc,
      files: 1,
      ticketsPerFile: 1200,
      firstExport: "2026-06-15T05-00-00",
    }),
    ...sampleExports({ ...inc, files: files.inc - 1, ticketsPerFile: 30, repeatShare: 0.3 }),
    ...(refused ? [errorPage] : []),
    ...sampleExports({ dataset: "crq", seed, files: files.crq, ticketsPerFile: 30 }),
  ]
    .map(({ key, body }) => ({
      dataset: key.includes("/inc/") ? ("inc" as const) : ("crq" as const),
      key,
      body,
      isRefused: key === errorPage.key,
    }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
}

const errorPage = {
  key: "automations/inc/changes/2026-06-15T06-50-00.csv",
  body: Buffer.from("<html><h1>502 Bad Gateway</h1></html>\n"),
};

export async function setStage(scope: Scope, exports: readonly Export[]): Promise<Stage> {
  const s3 = await fillBucket(scope, exports);
  const cleanUps: (() => Promise<void>)[] = [];
  const database = await createDatabase({ after: (cleanUp) => cleanUps.push(cleanUp) });
  const tap = await startTap(scope, database.url);
  // Last, because it fails when the server is down.
  for (const cleanUp of cleanUps) scope.after(cleanUp);
  await stopClock(database.pool);
  return {
    database,
    tap,
    s3,
    env: { ...s3.env, DATABASE_URL: tap.url, STALL_TIMEOUT: "20" },
    directEnv: { ...s3.env, DATABASE_URL: database.url },
    async readTables() {
      await sessionsEnded(database.url);
      return withClient(database.url, readDatasets);
    },
  };
}

export async function fillBucket(scope: Scope, exports: readonly Export[]): Promise<FaultyS3> {
  const s3 = await startFaultyS3(scope);
  for (const { key, body } of exports) await s3.put(key, body);
  return s3;
}

export async function readDatasets(database: Queryable): Promise<Record<Dataset, Tables>> {
  return { inc: await readTables(database, "inc"), crq: await readTables(database, "crq") };
}

/** Loads the exports file by file, undisturbed. */
export async function makeReference(place: Place, exports: readonly Export[]): Promise<Reference> {
  const empty = await place.readTables();
  const tables = { inc: [empty.inc], crq: [empty.crq] };
  for (const { dataset, key } of exports) {
    await startCli(["ingest", dataset, "--apply", "--max-files", "1"], place.directEnv).ended;
    const now = (await place.readTables())[dataset];
    tables[dataset].push(now);
    assert.equal(filesDone(now), tables[dataset].length - 1, `${key} was not taken`);
  }
  const reference = { exports, tables };
  await assertComplete(place, reference, "the reference");
  return reference;
}

/**
 * Now there may be whole files only, and a run that nothing disturbs must end by itself and leave
 * everything as the reference has it.
 */
export async function assertPlainRunCompletes(
  place: Place,
  reference: Reference,
  when: string,
): Promise<void> {
  const left = await assertNothingHalf(place, reference, when);
  const result = await startCli(ingestAll, place.directEnv).ended;
  assertCode(result, left.some((each) => each.isRefused) ? 6 : 0, when);
  await assertComplete(place, reference, `${when}, then a plain run`);
}

async function assertComplete(place: Place, reference: Reference, when: string): Promise<void> {
  const { exports, tables } = reference;
  const actual = await place.readTables();
  for (const dataset of datasets) {
    assertSameTables(actual[dataset], tables[dataset].at(-1), `${when}: ${dataset}`);
  }
  const bucket = exports.map(({ key, body, isRefused }) => ({
    key: isRefused ? key : archiveKey(key),
    body: body.toString(),
  }));
  assert.deepEqual(await readBucket(place.s3), sortedByKey(bucket), `${when}: the bucket`);
}

/**
 * The tables must be those after so many whole files as the ledger has, and no object may be lost;
 * what is in the archive may lag behind.
 *
 * @returns the files that the ledger lacks
 */
export async function assertNothingHalf(
  place: Place,
  reference: Reference,
  when: string,
): Promise<Export[]> {
  const { exports, tables } = reference;
  const actual = await place.readTables();
  const left = datasets.flatMap((dataset) => {
    const done = filesDone(actual[dataset]);
    const expected = tables[dataset][done];
    assertSameTables(actual[dataset], expected, `${when}: ${dataset} after ${done} files`, {
      except: ["unarchived"],
    });
    return exports.filter((each) => each.dataset === dataset).slice(done);
  });
  await assertNoObjectLost(place, reference, left, when);
  return left;
}

/** Each object must be in its place or in the archive, to the byte; not loaded, it must not move. */
async function assertNoObjectLost(
  { s3 }: Place,
  { exports }: Reference,
  left: readonly Export[],
  when: string,
): Promise<void> {
  const bucket = new Map((await readBucket(s3)).map(({ key, body }) => [key, body]));
  for (const each of exports) {
    const places = left.includes(each) ? [each.key] : [each.key, archiveKey(each.key)];
    const copies = places.map((key) => bucket.get(key)).filter((body) => body !== undefined);
    assert.notEqual(copies.length, 0, `${when}: ${each.key} is gone`);
    for (const copy of copies) {
      assert.equal(copy, each.body.toString(), `${when}: ${each.key} is another one`);
    }
  }
}

/** Waits for the server to see that the loaders' connections are gone, and to roll back. */
export async function sessionsEnded(url: string): Promise<void> {
  const deadline = Date.now() + sessionsLimitMs;
  await withClient(url, async (client) => {
    for (;;) {
      const { rows } = await client.query<{ query: string; state: string }>(
        `select state, wait_event, query from pg_stat_activity
         where datname = current_database() and application_name = 'fleettickets'`,
      );
      if (rows.length === 0) return;
      if (Date.now() > deadline) assert.fail(`a session stays: ${JSON.stringify(rows)}`);
      await sleep(20);
    }
  });
}

export function assertCode(result: CliResult, code: number | null, when: string): void {
  assert.equal(result.code, code, `${when}: ${describeRun(ingestAll, result)}`);
}

async function readBucket(s3: FaultyS3): Promise<{ key: string; body: string }[]> {
  const keys = await s3.keys();
  return Promise.all(keys.map(async (key) => ({ key, body: (await s3.get(key)).toString() })));
}

function sortedByKey<T extends { key: string }>(objects: T[]): T[] {
  return objects.sort((a, b) => (a.key < b.key ? -1 : 1));
}

function archiveKey(key: string): string {
  return key.replace(`changes/${basename(key)}`, `processed/${basename(key)}`);
}
