import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type DatasetOverview, overview } from "../api.ts";
import { type Database, openDatabase } from "../database.ts";
import { type ExitCode, exitCodes } from "../errors.ts";
import { type IngestResult, ingest } from "../ingest.ts";
import type { Logger } from "../log.ts";
import { migrate } from "../migrate.ts";
import { print, printJson, table } from "../output.ts";
import { sampleExports } from "../samples.ts";
import { type CommonFlags, type Session, runCommand } from "../session.ts";
import { type Store, openStore } from "../store.ts";
import { summary } from "../summary.ts";

const FOLDER = "fleettickets-demo";
const SEED = 20260615;
const datasets = ["inc", "crq"] as const;

// What a bucket behind a failing gateway ends up with, sooner or later.
const errorPage = {
  key: "automations/inc/changes/2026-06-15T08-20-00.csv",
  body: Buffer.from(
    "<!DOCTYPE html>\n<html><body><h1>503 Service Unavailable</h1></body></html>\n",
  ),
};

/** `fleettickets demo`: the whole job, with nothing but this program. */
export function demoCommand(flags: CommonFlags): Promise<void> {
  return runCommand({ logLevel: "silent", ...flags }, [], (session) =>
    runDemo(session, flags.json === true),
  );
}

async function runDemo({ config, log }: Session, asJson: boolean): Promise<ExitCode> {
  const tell = asJson ? () => undefined : print;
  const databaseUrl = `pglite:${FOLDER}/db`;

  tell(`Making a PostgreSQL + PostGIS database in ${FOLDER}/db, inside this process …`);
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER);
  await migrate(databaseUrl, log);

  tell("Starting an S3 server inside this process, with sample exports in it …");
  // Of weight, and of no use to any other command.
  const { startEmbeddedS3 } = await import("../embedded-s3.ts");
  const s3 = await startEmbeddedS3(config.bucket.bucket);
  const samples = sampleFiles();
  for (const { key, body } of samples) {
    await s3.put(key, body);
    await keep(key, body);
  }

  const db = await openDatabase(databaseUrl, config.limits);
  const store = openStore(s3.config, config.limits.stallMs);
  try {
    tell(`\n$ fleettickets ingest all --apply      # ${samples.length} objects in the bucket\n`);
    const first = await ingestAll(db, store, log);
    tell(summary(first));
    tell("\n$ fleettickets ingest all --apply      # once more\n");
    const second = await ingestAll(db, store, log);
    tell(summary(second));
    const datasetsNow = await overview(db);
    tell(`\nWhat the database holds now:\n\n${overviewTable(datasetsNow)}\n\n${whatNext()}`);
    if (asJson) printJson({ first, second, overview: datasetsNow, exit_code: exitCodes.done });
    return exitCodes.done;
  } finally {
    store.close();
    await db.close();
    await s3.stop();
  }
}

function sampleFiles(): { key: string; body: Buffer }[] {
  const exports = datasets.flatMap((dataset) =>
    sampleExports({ dataset, seed: SEED, files: 6, ticketsPerFile: dataset === "inc" ? 120 : 60 }),
  );
  return [...exports, errorPage];
}

async function keep(key: string, body: Buffer): Promise<void> {
  const path = join(FOLDER, key);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, body);
}

async function ingestAll(db: Database, store: Store, log: Logger): Promise<IngestResult[]> {
  const results: IngestResult[] = [];
  for (const dataset of datasets) {
    const result = await ingest(
      {
        dataset,
        apply: true,
        source: { from: "changes" },
        reseed: false,
        archive: true,
        maxFiles: Infinity,
      },
      { db, store, log, shouldStop: () => false },
    );
    if (result.error !== null) throw new Error(`the demo failed: ${result.error.message}`);
    results.push(result);
  }
  return results;
}

function overviewTable(rows: readonly DatasetOverview[]): string {
  const titles = [
    "tickets",
    "open",
    "closed",
    "located",
    "closures",
    "status changes",
    "rejected rows",
    "values that did not cast",
  ] as const;
  return table(
    [{ title: "", align: "left" }, ...titles.map((title) => ({ title, align: "right" as const }))],
    rows.map((r) =>
      [
        r.dataset.toUpperCase(),
        ...[r.tickets, r.open, r.closed, r.located, r.closures],
        ...[r.status_changes, r.rejected_rows, r.bad_values],
      ].map(String),
    ),
  );
}

function whatNext(): string {
  return `What to try next:

  The exports are in ${FOLDER}/automations. Load one of them by hand, as a dry run:
    DATABASE_URL=pglite:${FOLDER}/db npx fleettickets ingest inc --csv \\
      ${FOLDER}/automations/inc/changes/2026-06-15T08-00-00.csv

  Do the real thing: copy .env.example to .env, name your database and your bucket in it, then
    npx fleettickets migrate
    npx fleettickets ingest all            # a dry run: what would happen
    npx fleettickets ingest all --apply`;
}
