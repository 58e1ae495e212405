import type { Config, TimeLimits } from "./config.ts";
import { requireEmbedded } from "./embedded-packages.ts";
import { findServer, openServer } from "./server.ts";

/** One session of a database, on a server or embedded. Its failures are DatabaseErrors. */
export interface Database {
  /**
   * Runs a statement and returns its rows.
   *
   * @param pace slow: a statement that may use the whole time of a statement, without being taken
   *   for a database that is stuck
   */
  query<Row>(text: string, values?: readonly unknown[], pace?: "quick" | "slow"): Promise<Row[]>;
  /**
   * Streams CSV records into a table.
   *
   * @param into the table and its columns, `schema.table (column, …)`
   */
  copyIn(into: string, records: AsyncIterable<Buffer>): Promise<void>;
  /** Ends the session; what is not committed is rolled back. Never fails, never waits long. */
  close(): Promise<void>;
}

/**
 * Opens a session, within the limits of time whatever the network does.
 *
 * @param url `postgres://…`, or `pglite:<folder>` for the embedded PostgreSQL
 * @throws UsageError when the embedded one is asked for and not installed
 */
export async function openDatabase(url: string, limits: TimeLimits): Promise<Database> {
  const folder = embeddedFolder(url);
  if (folder === undefined) return openServer(url, limits);
  requireEmbedded("database");
  // A megabyte of code that most runs have no use for.
  const { openEmbedded } = await import("./embedded.ts");
  return openEmbedded(folder);
}

/** Opens the database that is configured for `work`, and closes it however that ends. */
export async function withDatabase<T>(
  { databaseUrl, limits }: Pick<Config, "databaseUrl" | "limits">,
  work: (db: Database) => Promise<T>,
): Promise<T> {
  const db = await openDatabase(databaseUrl, limits);
  try {
    return await work(db);
  } finally {
    await db.close();
  }
}

/**
 * The address of a database for another program than this module's: node-postgres reads it as this
 * module does, and a session there was opened. That of an embedded database stays as it is.
 *
 * @throws DatabaseError as openDatabase
 */
export async function findDatabase(url: string, limits: TimeLimits): Promise<string> {
  return embeddedFolder(url) === undefined ? findServer(url, limits) : url;
}

/** The folder that a database address names; undefined when it names a server. */
export function embeddedFolder(url: string): string | undefined {
  return url.startsWith("pglite:") ? url.slice("pglite:".length) : undefined;
}

/** Runs a statement that always returns one row, such as the call of a function. */
export async function queryRow<Row>(
  db: Database,
  ...statement: Parameters<Database["query"]>
): Promise<Row> {
  const [row] = await db.query<Row>(...statement);
  if (row === undefined) throw new Error("a statement that returns one row returned none");
  return row;
}

/** Runs `work` in a transaction: committed when it returns, rolled back when it throws. */
export async function inTransaction<T>(db: Database, work: () => Promise<T>): Promise<T> {
  await db.query("begin");
  return endWith(db, "commit", "rollback", work);
}

/** Runs `work` in a transaction that can write nothing, and in which all it reads fits together. */
export async function inReadOnlyTransaction<T>(db: Database, work: () => Promise<T>): Promise<T> {
  await db.query("begin isolation level repeatable read, read only");
  return endWith(db, "commit", "rollback", work);
}

/** Runs `work` in a part of a transaction that is undone alone when it throws. */
export async function inSavepoint<T>(db: Database, work: () => Promise<T>): Promise<T> {
  await db.query("savepoint file");
  return endWith(db, "release savepoint file", "rollback to savepoint file", work);
}

async function endWith<T>(
  db: Database,
  keep: string,
  undo: string,
  work: () => Promise<T>,
): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    // Over a broken connection there is nothing to undo: the server has done it.
    await db.query(undo).catch(() => undefined);
    throw error;
  }
  await db.query(keep);
  return result;
}
