// What `npm test` runs: makes the servers that the tests need, runs the tests, removes the servers.
//
//   node test/run.ts [--s3 seaweedfs] [file or glob…]

import { globSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { join, resolve } from "node:path";
import { finished } from "node:stream/promises";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { parseArgs } from "node:util";
import { pino } from "pino";
import { migrate } from "../src/migrate.ts";
import { embeddedUrl } from "./harness/embedded.ts";
import { installBrowserIfMissing } from "./harness/find-browser.ts";
import {
  PostgresMissing,
  installPgbouncerIfMissing,
  installPostgresIfMissing,
} from "./harness/find-postgres.ts";
import { guardedFolder } from "./harness/guarded-folder.ts";
import { createTemplate, dropTemplate, startCluster } from "./harness/postgres.ts";
import { SeaweedfsUnavailable, startSeaweedfs } from "./harness/seaweedfs.ts";

const TEST_FOLDER = import.meta.dirname;
const FILES_AT_ONCE = 2;
const TEST_TIMEOUT_MS = 10 * 60_000;

const log = pino({ level: "warn" }, pino.destination(2));
const cleanUps: (() => Promise<void>)[] = [];
const interruption = new AbortController();
let interruptedBy: NodeJS.Signals | undefined;

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  // A second one ends us at once; the guards of our folders then clean up.
  process.once(signal, () => {
    interruptedBy = signal;
    interruption.abort(new Error(`stopped by ${signal}`));
  });
}
process.exit(await main());

async function main(): Promise<number> {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { s3: { type: "string" } },
    });
    const files = testFiles(positionals);
    if (values.s3 !== undefined) await useS3Server(values.s3);
    await usePostgres();
    if (files.some(usesBrowser)) installBrowserIfMissing();
    if (files.some(usesPgbouncer)) installPgbouncerIfMissing();
    if (files.some(usesEmbeddedDatabase)) await useEmbeddedTemplate();
    return await runTests(files);
  } catch (error) {
    if (interruptedBy) return 128 + constants.signals[interruptedBy];
    if (error instanceof SeaweedfsUnavailable) {
      console.error(`SKIPPED: no SeaweedFS here, its tests did not run. ${error.message}`);
      return 0;
    }
    console.error(error instanceof PostgresMissing ? error.message : error);
    return 1;
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}

/** The files that match the patterns; all but the slow suites when there are none. */
function testFiles(patterns: string[]): string[] {
  if (patterns.length === 0) {
    return globSync("**/*.test.ts", { cwd: TEST_FOLDER, exclude: ["crash/**", "package/**"] })
      .sort()
      .map((file) => join(TEST_FOLDER, file));
  }
  return patterns.flatMap((pattern) => {
    const files = globSync(pattern).sort();
    if (files.length === 0) throw new Error(`no test file matches ${pattern}`);
    return files.map((file) => resolve(file));
  });
}

async function useS3Server(name: string): Promise<void> {
  if (name !== "seaweedfs") throw new Error(`--s3 knows seaweedfs, not ${name}`);
  const server = await startSeaweedfs();
  cleanUps.push(server.stop);
  Object.assign(process.env, server.env);
}

/** The server named by TEST_DATABASE_URL, or a throw-away one; with the template in it. */
async function usePostgres(): Promise<void> {
  const serverUrl = process.env["TEST_DATABASE_URL"] ?? (await startThrowAwayServer());
  interruption.signal.throwIfAborted();
  const template = await createTemplate(serverUrl, (url) => migrate(url, log));
  cleanUps.push(() => dropTemplate(serverUrl, template));
  interruption.signal.throwIfAborted();
  process.env["TEST_SERVER_URL"] = serverUrl;
  process.env["TEST_TEMPLATE"] = template;
}

async function startThrowAwayServer(): Promise<string> {
  installPostgresIfMissing();
  const cluster = await startCluster({ durable: false });
  cleanUps.push(cluster.stop);
  return cluster.url;
}

// Building the embedded template takes longer than most test files: only for those that use it.
function usesEmbeddedDatabase(file: string): boolean {
  return readFileSync(file, "utf8").includes("harness/embedded.ts");
}

function usesBrowser(file: string): boolean {
  return readFileSync(file, "utf8").includes("harness/browser.ts");
}

function usesPgbouncer(file: string): boolean {
  return readFileSync(file, "utf8").includes("harness/pgbouncer.ts");
}

async function useEmbeddedTemplate(): Promise<void> {
  const folder = await guardedFolder("embedded");
  cleanUps.push(folder.remove);
  const template = join(folder.path, "template");
  await migrate(embeddedUrl(template), log);
  interruption.signal.throwIfAborted();
  process.env["TEST_EMBEDDED_TEMPLATE"] = template;
}

async function runTests(files: string[]): Promise<number> {
  let success = false;
  let ran = 0;
  const events = run({
    files,
    concurrency: FILES_AT_ONCE,
    timeout: TEST_TIMEOUT_MS,
    signal: interruption.signal,
  });
  events.on("test:summary", (summary) => {
    // Each file has a summary of its own, unless there is no test in it: then the run's summary
    // counts the file itself as a test that passed.
    if (summary.file === undefined) success = summary.success;
    else ran += summary.counts.tests - summary.counts.skipped;
  });
  const report = events.compose(new spec());
  report.pipe(process.stdout);
  await finished(report);
  interruption.signal.throwIfAborted();
  if (success && ran === 0) throw new Error("no test ran");
  return success ? 0 : 1;
}
