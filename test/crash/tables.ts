import assert from "node:assert/strict";
import { Client } from "pg";
import type { Dataset } from "../../src/samples.ts";

/** What stands in the tables of one dataset, by table: its rows as JSON, sorted. */
export type Tables = ReadonlyMap<string, readonly string[]>;

export interface Queryable {
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
}

// Numbers from sequences leave gaps wherever a transaction was rolled back; which files are in the
// archive is compared by itself. All times are compared: the clock of these databases stands still.
const contents: Record<string, string> = {
  ticket: "to_jsonb(t) from tickets.ticket as t",
  ticket_repeats: "to_jsonb(t) from tickets.ticket_repeats as t",
  snapshot_fence: "to_jsonb(t) from tickets.snapshot_fence as t",
  ingest_files: "to_jsonb(t) - 'archived_at' from tickets.ingest_files as t",
  unarchived: `to_jsonb(t.source_key) from (
    select * from tickets.ingest_files where archived_at is null
  ) as t`,
  rejected_rows: "to_jsonb(t) from tickets.rejected_rows as t",
  closure_events: "to_jsonb(t) - 'closure_event_id' from tickets.closure_events as t",
  status_events: "to_jsonb(t) - 'status_event_id' from tickets.status_events as t",
  daily_snapshot: "to_jsonb(t) from tickets.daily_snapshot as t",
  import_meta: "t.metadata from tickets.import_meta as t",
  staging: "to_jsonb(t) from tickets.staging as t",
};

const SHOWN_ROWS = 3;

export const stoppedAt = "2026-06-16T12:00:00+03:00";

/** Stops the clock of a database, so that the same run writes the same times. */
export async function stopClock(database: Queryable): Promise<void> {
  const { rows } = await database.query("select quote_ident(current_database()) as name");
  const [{ name } = { name: "" }] = rows as { name: string }[];
  await database.query(`alter database ${name} set tickets.now = '${stoppedAt}'`);
}

export async function readTables(database: Queryable, dataset: Dataset): Promise<Tables> {
  const tables = new Map<string, string[]>();
  for (const [table, content] of Object.entries(contents)) {
    const { rows } = await database.query(
      `select row::text from (select ${content} where t.dataset = $1) as t (row)
       order by row::text collate "C"`,
      [dataset],
    );
    tables.set(
      table,
      rows.map((each) => (each as { row: string }).row),
    );
  }
  return tables;
}

/** Over a connection of its own: the last one may have died with the server. */
export async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined); // the query that meets it says so
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** How many files the ledger has, whatever came of them. */
export function filesDone(tables: Tables): number {
  return tables.get("ingest_files")?.length ?? 0;
}

/** Fails with the rows that are too many and those that are missing, table by table. */
export function assertSameTables(
  actual: Tables,
  expected: Tables | undefined,
  when: string,
  { except = [] }: { except?: string[] } = {},
): void {
  assert.ok(expected, `${when}: there are no so many`);
  const differences = [...expected.keys()]
    .filter((table) => !except.includes(table))
    .flatMap((table) => differenceOf(table, actual.get(table) ?? [], expected.get(table) ?? []));
  if (differences.length > 0) assert.fail(`${when}\n${differences.join("\n")}`);
}

function differenceOf(
  table: string,
  actual: readonly string[],
  expected: readonly string[],
): string[] {
  const unexpected = without(actual, expected);
  const missing = without(expected, actual);
  if (unexpected.length + missing.length === 0 && actual.length === expected.length) return [];
  return [
    `tickets.${table}: ${actual.length} rows instead of ${expected.length}`,
    ...sample("unexpected", unexpected),
    ...sample("missing", missing),
  ];
}

function without(rows: readonly string[], others: readonly string[]): string[] {
  const known = new Set(others);
  return rows.filter((row) => !known.has(row));
}

function sample(kind: string, rows: string[]): string[] {
  if (rows.length === 0) return [];
  return [`  ${rows.length} ${kind}:`, ...rows.slice(0, SHOWN_ROWS).map((row) => `    ${row}`)];
}
