import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as api from "../api/demo.ts";
import { type Database, openDatabase } from "../database.ts";
import { requireEmbedded } from "../embedded-packages.ts";
import { type ExitCode, exitCodes } from "../errors.ts";
import { type IngestResult, everyNewFile, ingest } from "../ingest.ts";
import type { Logger } from "../log.ts";
import { migrate } from "../migrate.ts";
import { print, printJson, table } from "../output.ts";
import { sampleExports } from "../samples.ts";
import { type CommonFlags, type Session, runCommand } from "../session.ts";
import { type Store, openStore } from "../store.ts";
import { summary } from "../summary.ts";

const FOLDER = "fleettickets-demo";
const SEED = 20260615;
const CLUSTER_POINTS = new URL("../../migrations/seeds/clusters.sql", import.meta.url);
const PLACES = 12;
// When the last sample export is a few minutes old.
const NOW = "2026-06-15 08:05:00+03";
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
  requireEmbedded("database", "object store");
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
    const overview = await api.overview(db);
    tell(`\nWhat the database holds now:\n\n${overviewTable(overview)}`);

    tell(
      `\nGiving clusters their points, and ${PLACES} places invented ones. The tickets follow …`,
    );
    await api.runScript(db, await readFile(CLUSTER_POINTS, "utf8"));
    await api.inventPlaces(db, PLACES);
    await api.stopClock(db, NOW);
    const headlines = await api.headlines(db);
    const map = await api.mapSummary(db);
    tell(`\nWhat the dashboards say, as of ${NOW}:\n\n${headlinesTable(headlines)}`);
    tell(`\nOn the map: ${mapLine(map)}\n\n${whatNext()}`);
    if (asJson) printJson({ first, second, overview, headlines, map, exit_code: exitCodes.done });
    return exitCodes.done;
  } finally {
    store.close();
    await db.close();
    await s3.stop();
  }
}

/** What the demo puts into its bucket. */
export function sampleFiles(): { key: string; body: Buffer }[] {
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
    const result = await ingest(everyNewFile(dataset), {
      db,
      store,
      log,
      shouldStop: () => false,
    });
    if (result.error !== null) throw new Error(`the demo failed: ${result.error.message}`);
    results.push(result);
  }
  return results;
}

function overviewTable(rows: readonly api.DatasetOverview[]): string {
  return tableByDataset(rows, [
    ["tickets", (r) => r.tickets],
    ["open", (r) => r.open],
    ["closed", (r) => r.closed],
    ["closures", (r) => r.closures],
    ["status changes", (r) => r.status_changes],
    ["rejected rows", (r) => r.rejected_rows],
    ["values that did not cast", (r) => r.bad_values],
  ]);
}

function headlinesTable(rows: readonly api.Headlines[]): string {
  return tableByDataset(rows, [
    ["open", (r) => r.open_total],
    ["actionable", (r) => r.open_actionable],
    ["within SLA", (r) => r.open_within],
    ["at risk", (r) => r.open_at_risk],
    ["breached", (r) => r.open_breached],
    ["closed", (r) => r.closed_in_window],
    [
      "median repair",
      ({ mttr_median_minutes: m }) => (m === null ? "" : `${(m / 60).toFixed(1)} h`),
    ],
    ["located", ({ located_pct: pct }) => (pct === null ? "" : `${pct} %`)],
  ]);
}

function tableByDataset<Row extends { dataset: string }>(
  rows: readonly Row[],
  columns: readonly (readonly [title: string, cell: (row: Row) => string | number])[],
): string {
  return table(
    [
      { title: "", align: "left" },
      ...columns.map(([title]) => ({ title, align: "right" as const })),
    ],
    rows.map((row) => [row.dataset.toUpperCase(), ...columns.map(([, cell]) => String(cell(row)))]),
  );
}

function mapLine({
  total,
  located,
  by_geo_source: { feed = 0, location = 0, cluster = 0 },
}: api.MapSummary): string {
  return (
    `${located} of ${total} tickets, ${cluster} at their cluster, ${location} at their place, ` +
    `${feed} at coordinates of their own`
  );
}

function whatNext(): string {
  return `What to try next:

  Look at the map and the charts (the exports are of June 2026, so ask for all of time):
    DATABASE_URL=pglite:${FOLDER}/db npx fleettickets preview
    http://127.0.0.1:4700/?status=all&window=all

  The exports are in ${FOLDER}/automations. Load one of them by hand, as a dry run:
    DATABASE_URL=pglite:${FOLDER}/db npx fleettickets ingest inc --csv \\
      ${FOLDER}/automations/inc/changes/2026-06-15T08-00-00.csv

  See what a geocoder would be asked for:
    DATABASE_URL=pglite:${FOLDER}/db npx fleettickets geocode locations

  Do the real thing: copy .env.example to .env, name your database and your bucket in it, then
    npx fleettickets migrate
    npx fleettickets ingest all            # a dry run: what would happen
    npx fleettickets ingest all --apply`;
}
