/** Runs of the loader as its users start them, and looks at what they leave behind. */

import assert from "node:assert/strict";
import { type ExitCode, exitCodes } from "../../src/errors.ts";
import { startEmbedded } from "../../src/embedded.ts";
import type { IngestResult } from "../../src/ingest.ts";
import type { Dataset } from "../../src/samples.ts";
import { type CliResult, describeRun, runCli } from "./cli.ts";
import type { EmbeddedDatabase } from "./embedded.ts";
import type { ExpectedTicket } from "./model.ts";
import { type TestDatabase, createDatabase } from "./postgres.ts";
import { type S3Fixture, startS3 } from "./s3.ts";
import type { Scope } from "./scope.ts";

export type Query = <Row>(text: string, values?: readonly unknown[]) => Promise<Row[]>;

/** A database of either kind, for the program and for a look at it. */
export interface LoaderDatabase {
  url: string;
  /** Hands out queries. The program must not run meanwhile: an embedded database has one user. */
  look: <T>(work: (query: Query) => Promise<T>) => Promise<T>;
}

/** What `ingest --json` and `retry --json` print. */
export interface IngestReport {
  datasets: IngestResult[];
  exit_code: number;
}

/** A database and a bucket, and the program between them. */
export interface Loader {
  db: LoaderDatabase;
  s3: S3Fixture;
  env: Record<string, string>;
  /** Runs the command and sees to it that it ends with the exit code. */
  run: (args: readonly string[], code?: ExitCode) => Promise<CliResult>;
  /** The same with `--json`: returns the report, which says the same exit code. */
  report: (args: readonly string[], code?: ExitCode) => Promise<IngestReport>;
}

export function serverDatabase({ url, pool }: TestDatabase): LoaderDatabase {
  return {
    url,
    look: (work) =>
      work(async <Row>(text: string, values: readonly unknown[] = []) => {
        const { rows } = await pool.query(text, [...values]);
        return rows as Row[];
      }),
  };
}

export function embeddedDatabase({ url, folder }: EmbeddedDatabase): LoaderDatabase {
  return {
    url,
    async look(work) {
      const { db, release } = await startEmbedded(folder);
      try {
        return await work(async <Row>(text: string, values: readonly unknown[] = []) => {
          const { rows } = await db.query<Row>(text, [...values]);
          return rows;
        });
      } finally {
        await release();
      }
    },
  };
}

export function loader(db: LoaderDatabase, s3: S3Fixture): Loader {
  const env = { ...s3.env, DATABASE_URL: db.url };

  async function run(args: readonly string[], code: ExitCode = exitCodes.done): Promise<CliResult> {
    const result = await runCli([...args], { env });
    assert.equal(result.code, code, describeRun([...args], result));
    return result;
  }

  return {
    db,
    s3,
    env,
    run,
    async report(args, code = exitCodes.done) {
      const { json } = await run([...args, "--json"], code);
      const report = json as IngestReport;
      assert.equal(report.exit_code, code);
      return report;
    },
  };
}

/** A fresh database on the test server and an empty bucket, gone at the end of `scope`. */
export async function startLoader(
  scope: Scope,
  create: (scope: Scope) => Promise<LoaderDatabase> = createServerDatabase,
): Promise<Loader> {
  return loader(await create(scope), await startS3(scope));
}

export async function createServerDatabase(scope: Scope): Promise<LoaderDatabase> {
  return serverDatabase(await createDatabase(scope));
}

/** The nth export time of a day, as it stands in the names of files. */
export function exportTime(n: number): string {
  const [hour, minute] = [6 + Math.floor(n / 3), 20 * (n % 3)];
  return `2026-06-15T${String(hour).padStart(2, "0")}-${String(minute).padStart(2, "0")}-00`;
}

/** The key of the nth change file. */
export function changeKey(n: number, dataset: Dataset = "inc"): string {
  return `automations/${dataset}/changes/${exportTime(n)}.csv`;
}

/** Where an export ends that was loaded. */
export function archiveKey(key: string): string {
  return key.replace(/(changes\/)?(?=[^/]*$)/, "processed/");
}

/** The only dataset of a report. */
export function onlyDataset({ datasets }: IngestReport): IngestResult {
  const [result, ...others] = datasets;
  assert.ok(result !== undefined && others.length === 0, `${datasets.length} datasets`);
  return result;
}

/** The tickets of a dataset as the reference model has them, by number. */
export async function ticketsOf(
  query: Query,
  dataset: Dataset,
): Promise<Map<string, ExpectedTicket>> {
  const utc = (column: string) =>
    `to_char(t.${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as ${column}`;
  const rows = await query<ExpectedTicket & { ticket_id: string }>(
    `select t.ticket_id, t.raw, t.source_key, t.is_open, t.mttr,
       ${utc("closed_at")}, ${utc("created_at_service")}, ${utc("scheduled_at")}
     from tickets.${dataset} as t
     order by t.ticket_id`,
  );
  return new Map(rows.map(({ ticket_id, ...ticket }) => [ticket_id, ticket]));
}

/** A file of the ledger. */
export interface LedgerRow {
  dataset: string;
  source_key: string;
  status: string;
  error_code: string | null;
  error_line: number | null;
  is_archived: boolean;
  staged: number;
  dropped_alarm: number;
  dropped_sentinel: number;
  rejected: number;
  duplicates: number;
  stale: number;
  inserted: number;
  updated: number;
  unchanged: number;
  closures: number;
  extra_columns: string[];
  missing_columns: string[];
  export_stopped: boolean;
}

/** The ledger, by dataset and key. */
export async function ledgerOf(query: Query): Promise<LedgerRow[]> {
  return query<LedgerRow>(
    `select f.dataset, f.source_key, f.status, f.error_code, f.error_line::integer as error_line,
       f.archived_at is not null as is_archived, f.staged, f.dropped_alarm, f.dropped_sentinel,
       f.rejected, f.duplicates, f.stale, f.inserted, f.updated, f.unchanged, f.closures,
       f.extra_columns, f.missing_columns, f.export_stopped
     from tickets.ingest_files as f
     order by f.dataset, f.source_key, f.seen_at`,
  );
}

/** The watermark of a dataset. */
export async function watermarkOf(query: Query, dataset: Dataset): Promise<string | undefined> {
  const [row] = await query<{ watermark: string | null }>(
    `select m.metadata ->> 'source_max_key' as watermark
     from tickets.import_meta as m where m.dataset = $1`,
    [dataset],
  );
  return row?.watermark ?? undefined;
}

/**
 * Everything in the tables, the place of each row included, so that it shows when one is written
 * again: but for the time at which today's snapshot was looked at.
 */
export async function dumpOf(query: Query): Promise<Record<string, unknown[]>> {
  const tables = await query<{ name: string }>(
    `select c.oid::regclass::text as name
     from pg_class as c
     where c.relnamespace = 'tickets'::regnamespace and c.relkind = 'r'
     order by 1`,
  );
  const dump: Record<string, unknown[]> = {};
  for (const { name } of tables) {
    const place = name.endsWith("_daily_snapshot") ? "" : ", t.ctid::text, t.xmin::text";
    dump[name] = await query(
      `select to_jsonb(t) - 'captured_at' as row${place} from ${name} as t order by t::text`,
    );
  }
  return dump;
}

/** The raw of the one INC ticket there is. */
export async function rawOf(query: Query): Promise<Record<string, string>> {
  const [ticket, ...others] = (await ticketsOf(query, "inc")).values();
  assert.ok(ticket !== undefined && others.length === 0);
  return ticket.raw;
}

/** Where the tickets lie, and who wrote or locked them: changes when somebody does. */
export function ticketPlacesOf(query: Query): Promise<unknown[]> {
  return query(
    `select t.dataset, t.ticket_id, t.ctid::text, t.xmin::text, t.xmax::text
     from tickets.ticket as t order by t.dataset, t.ticket_id`,
  );
}

/** What is in the bucket, by key. */
export async function objectsOf(s3: S3Fixture): Promise<Record<string, string>> {
  const objects: Record<string, string> = {};
  for (const key of await s3.keys()) objects[key] = (await s3.get(key)).toString("base64");
  return objects;
}
