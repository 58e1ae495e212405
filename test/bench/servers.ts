/** What a measurement needs: a database server, an object store, and runs of the program. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Client } from "pg";
import { pino } from "pino";
import { migrate } from "../../src/migrate.ts";
import { type Store, openStore } from "../../src/store.ts";
import { describeRun } from "../harness/cli.ts";
import { installPostgresIfMissing } from "../harness/find-postgres.ts";
import { type IngestReport, exportTime, onlyDataset } from "../harness/loader.ts";
import { runCliMeasured } from "../harness/memory.ts";
import { createDatabase, createTemplate, dropTemplate, startCluster } from "../harness/postgres.ts";
import { type S3Bucket, startS3 } from "../harness/s3.ts";
import type { Scope } from "../harness/scope.ts";

const OBJECT_STORE = fileURLToPath(new URL("object-store.ts", import.meta.url));
const RUN_LIMIT_MS = 30 * 60_000;

/** The tickets that all is measured with, as many of them as are asked for. */
export const sampleTickets = { dataset: "inc", seed: 1 } as const;

// Their clusters, as a map calls them. Where they are does not matter.
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

/** A database with a point for every cluster, a bucket, and ways to both. */
export interface Stage {
  /** What the program needs to find them. */
  env: Record<string, string>;
  client: Client;
  s3: S3Bucket;
  store: Store;
}

/** A run of the program. */
export interface MeasuredRun {
  seconds: number;
  peakBytes: number;
  /** What it printed with `--json`. */
  json: unknown;
}

/**
 * Makes ready what `createDatabase` copies: on the server named by TEST_DATABASE_URL, or else on
 * one of our own that would survive a crash. One that need not is faster at writing: most of the
 * loader's work, and little of COPY's.
 */
export async function useServer(scope: Scope): Promise<void> {
  const serverUrl = process.env["TEST_DATABASE_URL"] ?? (await startDurableServer(scope));
  const log = pino({ level: "warn" }, pino.destination(2));
  const template = await createTemplate(serverUrl, (url) => migrate(url, log));
  scope.after(() => dropTemplate(serverUrl, template));
  process.env["TEST_SERVER_URL"] = serverUrl;
  process.env["TEST_TEMPLATE"] = template;
}

async function startDurableServer(scope: Scope): Promise<string> {
  installPostgresIfMissing();
  const cluster = await startCluster({ durable: true });
  scope.after(cluster.stop);
  return cluster.url;
}

/** Has `startS3` use the server named by TEST_S3_ENDPOINT, or else one that runs beside us. */
export async function useObjectStore(scope: Scope): Promise<void> {
  if (process.env["TEST_S3_ENDPOINT"] !== undefined) return;
  const server = spawn(process.execPath, [OBJECT_STORE], { stdio: ["pipe", "pipe", "inherit"] });
  scope.after(async () => {
    const ended = once(server, "exit");
    server.stdin.end();
    await ended;
  });
  const [address] = (await once(createInterface(server.stdout), "line")) as [string];
  process.env["TEST_S3_ENDPOINT"] = address;
  process.env["TEST_S3_ACCESS_KEY"] = "bench-access-key";
  process.env["TEST_S3_SECRET_KEY"] = "bench-secret-key";
}

/** An empty database and an empty bucket, gone at the end of `scope`. */
export async function startAll(scope: Scope): Promise<Stage> {
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
export async function settle(client: Client): Promise<void> {
  await client.query("vacuum (analyze)");
  await client.query("checkpoint");
}

/** The key of the nth full snapshot, of which there is one an hour. */
export function snapshotKey(n: number): string {
  return `automations/inc/${exportTime(3 * n)}.csv`;
}

/** Runs `fleettickets <args> --json` from its start to its end, which must be a good one. */
export async function runMeasured(
  args: readonly string[],
  env: Record<string, string>,
): Promise<MeasuredRun> {
  const allArgs = [...args, "--json", "--log-level", "warn"];
  const startedAt = performance.now();
  const result = await runCliMeasured(allArgs, { env, timeoutMs: RUN_LIMIT_MS });
  const seconds = secondsSince(startedAt);
  if (result.code !== 0) throw new Error(describeRun(allArgs, result));
  return { seconds, peakBytes: result.peakBytes, json: result.json };
}

/** The only file of a run, which must be this one and applied. */
export function appliedFile({ json }: MeasuredRun, key: string) {
  const [file, ...others] = onlyDataset(json as IngestReport).files;
  const isSo = file?.key === key && file.status === "applied" && others.length === 0;
  assert.ok(isSo, `${key} is to be the only file, and applied: ${JSON.stringify(json)}`);
  return file;
}

/** @param startedAt what performance.now() said */
export function secondsSince(startedAt: number): number {
  return (performance.now() - startedAt) / 1000;
}
