/** What of the time of a run is the database's, as PostgreSQL itself counts it. */

import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";

/** Seconds. */
export interface DatabaseTime {
  /** The run's statements, from the first to the last; COPY includes waiting for the rows. */
  database: number;
  /** Of these, `tickets.apply_file`. */
  apply: number;
}

/** Has the sessions to come of this database count the time of functions. */
export async function countFunctions(client: Client): Promise<void> {
  await client.query(`
    do $$
    begin
      -- None is called for each row: it makes no difference to what is counted.
      execute format('alter database %I set track_functions = %L', current_database(), 'pl');
    end;
    $$
  `);
}

/**
 * Runs the program, and asks what it took of the database.
 *
 * @param client a session of the database, in which nobody else is at work
 */
export async function withDatabaseTime<T>(
  client: Client,
  run: () => Promise<T>,
): Promise<T & DatabaseTime> {
  await flushOwnTime(client);
  const before = await totalsOf(client);
  const result = await run();
  await sessionsEnded(client);
  const after = await totalsOf(client);
  return {
    ...result,
    database: after.database - before.database,
    apply: after.apply - before.apply,
  };
}

/** Has what this session did until now added at once, and not at some time during the run. */
async function flushOwnTime(client: Client): Promise<void> {
  // Of a table, whichever: a session that has read none has nothing to add, PostgreSQL thinks.
  await client.query("select pg_stat_force_next_flush() from pg_database limit 1");
}

async function totalsOf(client: Client): Promise<DatabaseTime> {
  const { rows } = await client.query<DatabaseTime>(`
    select d.active_time / 1000 as database, coalesce(f.total_time, 0) / 1000 as apply
    from pg_stat_database as d
    left join pg_stat_user_functions as f
      on f.funcid = to_regproc('tickets.apply_file')
    where d.datname = current_database()
  `);
  const [totals] = rows;
  if (totals === undefined) throw new Error("the database keeps no statistics of itself");
  return totals;
}

/** A session adds what it did as it ends, a moment after the program has closed it. */
async function sessionsEnded(client: Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query(`
      select from pg_stat_activity as a
      where a.datname = current_database() and a.application_name = 'fleettickets'
    `);
    if (rows.length === 0) return;
    await sleep(5);
  }
}
