/** Files for the tests of the SQL: staged and applied as the loader does it, without the loader. */

import assert from "node:assert/strict";
import type { ClientBase } from "pg";
import type { FileCounts, OpenedFile } from "../../src/api/load.ts";
import { contractColumns, type Dataset } from "../../src/samples.ts";

/** What a row of a file says, by column; the columns that it leaves out are blank. */
export type Row = Readonly<Record<string, string>>;

export interface StagedFile {
  key: string;
  rows: readonly Row[];
  dataset?: Dataset;
  etag?: string;
  bytes?: number;
  header?: readonly string[];
  /** Line of each row; without it, as if each row were one line below a header. */
  lines?: readonly number[];
  droppedLines?: number;
  isSnapshot?: boolean;
  /** How many rows the loader claims to have sent. */
  rowsSent?: number;
}

export interface Ticket {
  dataset: Dataset;
  ticket_id: string;
  raw: Row;
  source_key: string | null;
  exported_at: string | null;
  previous_source_key: string | null;
  previous_exported_at: string | null;
  [column: string]: unknown;
}

export interface Closure {
  dataset: Dataset;
  ticket_id: string;
  closed_at: string | null;
}

/** The key of a change file, by the time in its name, `2026-06-15T06-20-00`. */
export function changeKey(time: string, dataset: Dataset = "inc"): string {
  return `automations/${dataset}/changes/${time}.csv`;
}

/** Stands still in time till the end of the transaction. */
export async function freezeTime(client: ClientBase, instant: string): Promise<void> {
  await client.query("select set_config('tickets.now', $1, true)", [instant]);
}

export async function openFile(
  client: ClientBase,
  { dataset = "inc", key, header = contractColumns }: Omit<StagedFile, "rows">,
): Promise<OpenedFile> {
  const { rows } = await client.query<OpenedFile>(
    `select f.* from tickets.open_file(
       p_dataset => $1::text, p_source_key => $2::text, p_header => $3::text[]
     ) as f`,
    [dataset, key, header],
  );
  return only(rows);
}

/** Puts the rows of an opened file where COPY would put them; they carry the key by themselves. */
export async function stageRows(
  client: ClientBase,
  { staging_table, copy_columns }: OpenedFile,
  { header = contractColumns, rows, lines = rows.map((_, index) => index + 2) }: StagedFile,
): Promise<void> {
  const columns = ["line", ...copy_columns];
  const types = ["bigint[]", ...copy_columns.map(() => "text[]")];
  const values = header.map((name) => rows.map((row) => row[name] ?? null));
  await client.query(
    `insert into ${staging_table} (${columns.join(", ")})
     select * from unnest(${types.map((type, index) => `$${index + 1}::${type}`).join(", ")})`,
    [lines, ...values],
  );
}

/**
 * Opens, stages and applies a file in the client's transaction.
 *
 * @returns its counts, which are checked to account for every row and to be the ledger's, too
 */
export async function applyFile(client: ClientBase, file: StagedFile): Promise<FileCounts> {
  const { dataset = "inc", key, etag = "etag", header = contractColumns } = file;
  await stageRows(client, await openFile(client, file), file);
  const { rows } = await client.query<FileCounts>(
    `select f.* from tickets.apply_file(
       p_dataset => $1::text, p_source_key => $2::text, p_etag => $3::text, p_bytes => $4::bigint,
       p_header => $5::text[], p_rows => $6::bigint, p_dropped_lines => $7::integer,
       p_is_snapshot => $8::boolean
     ) as f`,
    [
      dataset,
      key,
      etag,
      file.bytes ?? 1000,
      header,
      file.rowsSent ?? file.rows.length,
      file.droppedLines ?? 0,
      file.isSnapshot ?? false,
    ],
  );
  const counts = only(rows);
  await assertAccountedFor(client, counts, etag);
  return counts;
}

/** What a file's counts are, those that are not 0 given. */
export function countsOf(key: string, some: Partial<FileCounts>): FileCounts {
  return {
    dataset: "inc",
    source_key: key,
    staged: 0,
    dropped_alarm: 0,
    dropped_sentinel: 0,
    rejected: 0,
    duplicates: 0,
    stale: 0,
    inserted: 0,
    updated: 0,
    unchanged: 0,
    closures: 0,
    ...some,
  };
}

/** Whether each staged row is in one count, and the ledger says the same. */
export async function assertAccountedFor(
  client: ClientBase,
  counts: FileCounts,
  etag = "",
): Promise<void> {
  const { dropped_alarm, dropped_sentinel, rejected, duplicates } = counts;
  const { stale, inserted, updated, unchanged } = counts;
  const dropped = dropped_alarm + dropped_sentinel + rejected + duplicates;
  assert.equal(counts.staged, dropped + stale + inserted + updated + unchanged);
  const { rows } = await client.query<FileCounts>(
    `select f.dataset, f.source_key, f.staged, f.dropped_alarm, f.dropped_sentinel, f.rejected,
       f.duplicates, f.stale, f.inserted, f.updated, f.unchanged, f.closures
     from tickets.ingest_files as f
     where f.dataset = $1 and f.source_key = $2 and f.etag = $3 and f.status = 'applied'`,
    [counts.dataset, counts.source_key, etag],
  );
  assert.deepEqual(rows, [counts]);
}

/** All tickets but for what depends on when and how they were written. */
export async function ticketRows(client: ClientBase): Promise<Ticket[]> {
  const { rows } = await client.query<{ ticket: Ticket }>(
    `select to_jsonb(t) - array['ingested_at', 'text_hash'] as ticket
     from tickets.ticket as t
     order by t.dataset, t.ticket_id`,
  );
  return rows.map((row) => row.ticket);
}

/** The one ticket there is, under this number. */
export async function ticketRow(client: ClientBase, ticketId: string): Promise<Ticket> {
  return only((await ticketRows(client)).filter((ticket) => ticket.ticket_id === ticketId));
}

/** Where the rows of the tickets lie, and who wrote or locked them: changes when they do. */
export async function ticketVersions(client: ClientBase): Promise<unknown[]> {
  const { rows } = await client.query<Record<string, unknown>>(
    `select t.tableoid::regclass::text as partition, t.ticket_id, t.ctid::text, t.xmin::text,
       t.xmax::text
     from tickets.ticket as t
     order by t.dataset, t.ticket_id`,
  );
  return rows;
}

export async function closureRows(client: ClientBase): Promise<Closure[]> {
  const { rows } = await client.query<Closure>(
    `select e.dataset, e.ticket_id, to_jsonb(e.closed_at) as closed_at
     from tickets.closure_events as e
     order by e.dataset, e.ticket_id, e.closed_at`,
  );
  return rows;
}

/** An error of our own says what happened, the facts, and what to do now. */
export function ownError(code: string): (error: unknown) => boolean {
  return (error) => {
    const raised = error as { code?: string; detail?: string; hint?: string };
    assert.equal(raised.code, code, String(error));
    assert.ok(raised.detail, `${code} states no facts`);
    assert.ok(raised.hint, `${code} names no next step`);
    return true;
  };
}

/** A row but for some of its columns. */
export function without<T extends object, K extends keyof T>(row: T, ...columns: K[]): Omit<T, K> {
  const names: readonly PropertyKey[] = columns;
  return Object.fromEntries(
    Object.entries(row).filter(([column]) => !names.includes(column)),
  ) as Omit<T, K>;
}

export function only<T>(rows: readonly T[]): T {
  const [row, ...others] = rows;
  assert.ok(row !== undefined && others.length === 0, `${rows.length} rows instead of one`);
  return row;
}
