import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import type { TimeLimits } from "./config.ts";
import type { Database } from "./database.ts";
import { DatabaseError } from "./errors.ts";

// A limit of the server's own should speak first: it says more.
const GRACE_MS = 5_000;

/**
 * Opens a session on a PostgreSQL server.
 *
 * @throws DatabaseError when there is none to be had within the limit
 */
export async function openServer(url: string, limits: TimeLimits): Promise<Database> {
  const client = new pg.Client({
    connectionString: url,
    application_name: "fleettickets",
    keepAlive: true,
    connectionTimeoutMillis: limits.stallMs,
    statement_timeout: limits.statementMs,
    lock_timeout: limits.stallMs,
    // Should this process be stopped amid a transaction, the server gives its lock to the next run.
    idle_in_transaction_session_timeout: 2 * limits.stallMs,
  });
  // What a query or a COPY meets, its own promise tells. Without a listener, a connection that
  // breaks between two of them would end the process.
  client.on("error", () => undefined);

  /** Breaks the connection off: on a dead network, everything else would wait for an answer. */
  function abandon(): void {
    (
      client as unknown as { connection: { stream: { destroy(): void } } }
    ).connection.stream.destroy();
  }

  async function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
    const late = { is: false };
    const timer = setTimeout(() => {
      late.is = true;
      abandon();
    }, limitMs);
    try {
      return await work;
    } catch (error) {
      throw late.is ? silentDatabase(limitMs, error) : databaseError(error);
    } finally {
      clearTimeout(timer);
    }
  }

  await within(limits.stallMs + GRACE_MS, client.connect());
  return {
    async query<Row>(text: string, values: readonly unknown[] = [], pace = "quick") {
      const limitMs = pace === "slow" ? limits.statementMs : limits.stallMs;
      const result = await within(limitMs + GRACE_MS, client.query(text, [...values]));
      return result.rows as Row[];
    },

    async copyIn(into, rows) {
      const late = { is: false };
      let timer: NodeJS.Timeout | undefined;
      const expectProgress = () => {
        timer = setTimeout(() => {
          late.is = true;
          abandon();
        }, limits.stallMs);
      };
      const source: { error?: unknown } = {};
      // Time counts while the server has the bytes, not while the object store looks for them.
      async function* watched() {
        let isHandedOut = false;
        try {
          for await (const chunk of rows) {
            expectProgress();
            isHandedOut = true;
            yield chunk;
            isHandedOut = false;
            clearTimeout(timer);
          }
        } catch (error) {
          // What the server's end meets is thrown in here, too, while a chunk is out.
          if (!isHandedOut) {
            source.error = error;
            // The COPY ends when the server agrees that it has failed.
            expectProgress();
          }
          throw error;
        }
        expectProgress();
      }
      try {
        await pipeline(
          Readable.from(watched(), { objectMode: false }),
          client.query(copyFrom(`copy ${into} from stdin with (format csv)`)),
        );
      } catch (error) {
        if (source.error !== undefined) throw source.error as Error;
        throw late.is ? silentDatabase(limits.stallMs, error) : databaseError(error);
      } finally {
        clearTimeout(timer);
      }
    },

    async close() {
      const timer = setTimeout(abandon, GRACE_MS);
      await client.end().catch(() => undefined);
      clearTimeout(timer);
    },
  };
}

function silentDatabase(limitMs: number, cause: unknown): DatabaseError {
  return new DatabaseError("stalled", `the database gave no answer for ${limitMs / 1000} s`, {
    hint:
      "Look at the server's log and load, then run again; nothing of the file in hand is applied. " +
      "The limits are STALL_TIMEOUT and STATEMENT_TIMEOUT",
    cause,
  });
}

/** What pg or the network reports, as a DatabaseError; errors of other makers stay as they are. */
function databaseError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (error instanceof pg.DatabaseError) {
    const { code = "unknown", message, detail, hint } = error;
    return new DatabaseError(code, message, { detail, hint, cause: error });
  }
  // EPIPE comes without a system call from a socket that the server has ended already.
  const isPeer =
    "code" in error &&
    typeof error.code === "string" &&
    ("syscall" in error || error.code === "EPIPE");
  if (
    isPeer ||
    /^(Connection terminated|timeout expired|Client has encountered)/.test(error.message)
  ) {
    return new DatabaseError("connection", `no connection to the database: ${reasonOf(error)}`, {
      hint: "Is the server up, and DATABASE_URL right? Then run again",
      cause: error,
    });
  }
  return error;
}

/** Node leaves the message empty where several addresses were tried. */
function reasonOf(error: Error): string {
  return error instanceof AggregateError
    ? error.errors.map((e) => (e instanceof Error ? e.message : String(e))).join("; ")
    : error.message;
}
