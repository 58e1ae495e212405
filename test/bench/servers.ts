/** What a measurement needs: a database server, an object store, and runs of the program. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { migrate } from "../../src/migrate.ts";
import { describeRun, runCli } from "../harness/cli.ts";
import { installPostgresIfMissing } from "../harness/find-postgres.ts";
import { createTemplate, dropTemplate, startCluster } from "../harness/postgres.ts";
import type { Scope } from "../harness/scope.ts";

const OBJECT_STORE = fileURLToPath(new URL("object-store.ts", import.meta.url));
const PEAK_MEMORY = new URL("peak-memory.ts", import.meta.url).href;
const RUN_LIMIT_MS = 30 * 60_000;

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

/** Runs `fleettickets <args> --json` from its start to its end, which must be a good one. */
export async function runMeasured(
  args: readonly string[],
  env: Record<string, string>,
): Promise<MeasuredRun> {
  const folder = await mkdtemp(join(tmpdir(), "fleettickets-bench-"));
  const file = join(folder, "peak-memory");
  const allArgs = [...args, "--json", "--log-level", "warn"];
  try {
    const startedAt = performance.now();
    const result = await runCli(allArgs, {
      env: { ...env, NODE_OPTIONS: `--import=${PEAK_MEMORY}`, PEAK_MEMORY_FILE: file },
      timeoutMs: RUN_LIMIT_MS,
    });
    const seconds = secondsSince(startedAt);
    if (result.code !== 0) throw new Error(describeRun(allArgs, result));
    return { seconds, peakBytes: Number(await readFile(file, "utf8")), json: result.json };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** @param startedAt what performance.now() said */
export function secondsSince(startedAt: number): number {
  return (performance.now() - startedAt) / 1000;
}
