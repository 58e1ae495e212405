import type { TimeLimits } from "../config.ts";
import { type Database, queryRow } from "../database.ts";

// What the program asks of a session before it does anything else with it.

/** The server process that answers. */
export async function backendOf(db: Database): Promise<number> {
  const { pid } = await queryRow<{ pid: number }>(db, "select pg_backend_pid() as pid");
  return pid;
}

/** Limits what the server may take over a statement, a lock and a transaction that nobody ends. */
export async function limitSession(db: Database, limits: TimeLimits): Promise<void> {
  await db.query(
    `select set_config('statement_timeout', $1, false), set_config('lock_timeout', $2, false),
       set_config('idle_in_transaction_session_timeout', $3, false)`,
    // Should this process be stopped amid a transaction, the server gives its lock to the next run.
    [limits.statementMs, limits.stallMs, 2 * limits.stallMs].map(String),
  );
}
