import { backendOf } from "./api/session.ts";
import type { Database } from "./database.ts";
import { CodedError, DatabaseError } from "./errors.ts";

// On an idle pooler the first round tells; under load another client can come in between.
const ROUNDS = 5;

/**
 * Makes sure that a session keeps its server process: locks and settings of a session are worth
 * nothing where a pooler hands it on between two transactions.
 *
 * A server announces the process that will answer. A pooler announces a number that it made up, in
 * every mode. Only then a second session is opened: a pooler that shares server processes between
 * transactions gives it the one that the first has just used.
 *
 * @param announced the process that the start of the session named
 * @throws DatabaseError `pooler` where the process changes or is shared
 */
export async function refuseSharedSession(
  db: Database,
  announced: number | null,
  openAnother: () => Promise<Database>,
): Promise<void> {
  const own = await backendOf(db);
  if (own === announced) return;
  let other: Database | undefined;
  try {
    other = await openAnother();
    for (let round = 0; round < ROUNDS; round++) {
      await other.query("begin");
      const taken = await backendOf(other);
      await other.query("commit");
      // Twice: a pooler that takes its servers in turn could have come round once.
      const answering = [await backendOf(db), await backendOf(db)];
      if (taken === own || answering.some((pid) => pid !== own)) throw sharedSession();
    }
  } catch (error) {
    // A pool that has nothing left for a second session has not shared that of the first.
    if (!(error instanceof CodedError) || error.code === "pooler") throw error;
  } finally {
    await other?.close();
  }
}

function sharedSession(): DatabaseError {
  return new DatabaseError(
    "pooler",
    "the pooler in DATABASE_URL changes the session between transactions",
    {
      detail: "Locks and time limits of a session would not hold.",
      hint:
        "Name the server itself in DATABASE_URL, or a pool in session mode " +
        "(PgBouncer: pool_mode=session for this user or database)",
    },
  );
}
