import { type Database, queryRow } from "../database.ts";
import { DatabaseError } from "../errors.ts";

// What a run over a dataset calls: public functions of schema `tickets`, whose own comments say what
// they do (`\sf tickets.apply_file`).

/** Where a file that is to be copied goes. */
export interface OpenedFile {
  staging_table: string;
  /** The staging column of each column of the file, in the file's order. */
  copy_columns: string[];
  extra_columns: string[];
  missing_columns: string[];
}

/** What came of a file; `staged` is the sum of the counts from `dropped_alarm` to `unchanged`. */
export interface FileCounts {
  dataset: string;
  source_key: string;
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
}

/** A listed object as the ledger sees it. */
export interface SortedFile {
  source_key: string;
  etag: string;
  status: "new" | "applied" | "rejected" | "skipped";
  is_archived: boolean;
}

/** An object as the ledger names it. */
export interface FileId {
  dataset: string;
  key: string;
  etag: string;
  bytes: number;
}

/**
 * Takes the dataset's lock for this session. Returns the prefix of the dataset's keys.
 *
 * @throws DatabaseError 25006 on a standby: it has a lock of its own, and its ledger is that of the
 *   primary, so that a run would move objects before it comes to what it cannot write
 */
export async function startRun(db: Database, dataset: string): Promise<string> {
  const { key_prefix, is_standby } = await queryRow<{ key_prefix: string; is_standby: boolean }>(
    db,
    `select tickets.start_run(p_dataset => $1::text) as key_prefix,
       pg_is_in_recovery() as is_standby`,
    [dataset],
  );
  if (is_standby)
    throw new DatabaseError("25006", "this server is a standby, nothing can be loaded");
  return key_prefix;
}

export async function finishRun(db: Database, dataset: string): Promise<void> {
  await db.query("select tickets.finish_run(p_dataset => $1::text)", [dataset]);
}

/** The datasets that are configured, INC before CRQ. */
export async function listDatasets(db: Database): Promise<string[]> {
  const rows = await db.query<{ dataset: string }>(
    "select d.dataset from tickets.datasets as d order by d.dataset desc",
  );
  return rows.map((row) => row.dataset);
}

/** @throws DatabaseError TK003 when the key belongs to no dataset */
export async function datasetOfKey(db: Database, key: string): Promise<string> {
  const { dataset } = await queryRow<{ dataset: string }>(
    db,
    "select tickets.dataset_of_key(p_source_key => $1::text) as dataset",
    [key],
  );
  return dataset;
}

/**
 * What the ledger says of listed objects, oldest first.
 *
 * What stands behind the prefix of an export is ASCII. Other keys are no exports and stay here:
 * PostgreSQL's text takes no NUL, no lone surrogate, and only what the database's encoding has.
 */
export async function sortFiles(
  db: Database,
  { dataset, keyPrefix }: { dataset: string; keyPrefix: string },
  listed: readonly { key: string; etag: string }[],
): Promise<SortedFile[]> {
  const objects = listed.filter(({ key }) => /^[ -~]*$/.test(key.slice(keyPrefix.length)));
  if (objects.length === 0) return [];
  return db.query<SortedFile>(
    `select f.source_key, f.etag, f.status, f.is_archived
     from tickets.sort_files(
       p_dataset => $1::text, p_source_keys => $2::text[], p_etags => $3::text[]
     ) as f`,
    [dataset, objects.map((o) => o.key), objects.map((o) => o.etag)],
  );
}

/** Makes ready to copy a file into staging within this transaction. */
export async function openFile(
  db: Database,
  dataset: string,
  key: string,
  header: readonly string[],
): Promise<OpenedFile> {
  return queryRow<OpenedFile>(
    db,
    `select f.staging_table, f.copy_columns, f.extra_columns, f.missing_columns
     from tickets.open_file(
       p_dataset => $1::text, p_source_key => $2::text, p_header => $3::text[]
     ) as f`,
    [dataset, key, header],
  );
}

/** Applies the file that this transaction has copied into staging. */
export async function applyFile(
  db: Database,
  file: FileId,
  staged: { header: readonly string[]; rows: number; droppedLines: number; isSnapshot: boolean },
): Promise<FileCounts> {
  return queryRow<FileCounts>(
    db,
    `select f.*
     from tickets.apply_file(
       p_dataset => $1::text, p_source_key => $2::text, p_etag => $3::text, p_bytes => $4::bigint,
       p_header => $5::text[], p_rows => $6::bigint, p_dropped_lines => $7::integer,
       p_is_snapshot => $8::boolean
     ) as f`,
    [
      file.dataset,
      file.key,
      file.etag,
      file.bytes,
      staged.header,
      staged.rows,
      staged.droppedLines,
      staged.isSnapshot,
    ],
    "slow",
  );
}

/** Writes into the ledger that a file is refused. Returns what a person can do about it. */
export async function refuseFile(
  db: Database,
  file: FileId,
  reason: { code: string; message: string; line: number | null },
): Promise<string> {
  const { hint } = await queryRow<{ hint: string }>(
    db,
    `select tickets.refuse_file(
       p_dataset => $1::text, p_source_key => $2::text, p_etag => $3::text, p_bytes => $4::bigint,
       p_error_code => $5::text, p_error => $6::text, p_error_line => $7::bigint
     ) as hint`,
    [file.dataset, file.key, file.etag, file.bytes, reason.code, reason.message, reason.line],
  );
  return hint;
}

/** Writes into the ledger that a snapshot needs no loading. */
export async function skipFile(db: Database, file: FileId): Promise<void> {
  await db.query(
    `select tickets.skip_file(
       p_dataset => $1::text, p_source_key => $2::text, p_etag => $3::text, p_bytes => $4::bigint
     )`,
    [file.dataset, file.key, file.etag, file.bytes],
  );
}

/** The objects that are done with and not known to be in the archive yet. */
export async function unarchivedFiles(
  db: Database,
  dataset: string,
): Promise<{ source_key: string; etag: string }[]> {
  return db.query(
    "select f.source_key, f.etag from tickets.unarchived_files(p_dataset => $1::text) as f",
    [dataset],
  );
}

/** Writes into the ledger that a file is safe in the archive. */
export async function markArchived(
  db: Database,
  dataset: string,
  file: { key: string; etag: string },
): Promise<void> {
  await db.query(
    `select tickets.mark_archived(
       p_dataset => $1::text, p_source_key => $2::text, p_etag => $3::text
     )`,
    [dataset, file.key, file.etag],
  );
}

/** Watermark and last snapshot ETag of a dataset; absent until something was loaded. */
export interface ImportState {
  source_max_key?: string;
  source_etag?: string;
}

export async function importState(db: Database, dataset: string): Promise<ImportState> {
  const { state } = await queryRow<{ state: ImportState }>(
    db,
    "select tickets.import_state(p_dataset => $1::text) as state",
    [dataset],
  );
  return state;
}

/** What recording the history by itself has found. */
export interface CapturedHistory {
  dataset: string;
  closures: number;
  clusters: number;
}

/** Records closures not recorded yet and today's snapshot; of all datasets where none is named. */
export async function captureHistory(
  db: Database,
  dataset: string | null,
): Promise<CapturedHistory[]> {
  return db.query<CapturedHistory>(
    `select h.dataset, h.closures, h.clusters
     from tickets.capture_history(p_dataset => $1::text) as h`,
    [dataset],
    "slow",
  );
}
