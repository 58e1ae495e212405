import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { limitSession } from "./api/session.ts";
import type { TimeLimits } from "./config.ts";
import type { Database } from "./database.ts";
import { CodedError, DatabaseError } from "./errors.ts";
import { refuseSharedSession } from "./pooler.ts";
import { addressesToTry, tlsCure } from "./tls.ts";

// A limit of the server's own should speak first: it says more.
const GRACE_MS = 5_000;

// How long a second session through a pooler is waited for.
const POOL_WAIT_MS = 2_000;

/** A session as it was opened, without limits of time on the server's side. */
interface Connection {
  db: Database;
  /** The server process that the server, or a pooler, said would answer. */
  announced: number | null;
}

/**
 * Opens a session on a PostgreSQL server.
 *
 * @throws DatabaseError when there is none to be had within the limit, or none of its own
 */
export async function openServer(url: string, limits: TimeLimits): Promise<Database> {
  return (await openFirst(url, limits)).db;
}

/**
 * The address for those who connect by node-postgres themselves: it was tried, and a session there
 * is one of its own.
 *
 * @throws DatabaseError as openServer
 */
export async function findServer(url: string, limits: TimeLimits): Promise<string> {
  const { db, address } = await openFirst(url, limits);
  await db.close();
  return address;
}

/** With and without TLS, where the address leaves that open. */
async function openFirst(
  url: string,
  limits: TimeLimits,
): Promise<{ db: Database; address: string }> {
  let refusal: unknown;
  for (const address of addressesToTry(url)) {
    try {
      return { db: await openSession(address, limits), address };
    } catch (error) {
      if (!(error instanceof DatabaseError) || /^(stalled|pooler)$/.test(error.code)) throw error;
      // What the server itself said tells more than a failed try at TLS.
      refusal = isServers(refusal) ? refusal : error;
    }
  }
  throw refusal;
}

function isServers(error: unknown): boolean {
  return error instanceof CodedError && /^[0-9A-Z]{5}$/.test(error.code);
}

async function openSession(address: string, limits: TimeLimits): Promise<Database> {
  const { db, announced } = await connect(address, limits);
  try {
    await refuseSharedSession(db, announced, async () => {
      const stallMs = Math.min(limits.stallMs, POOL_WAIT_MS);
      return (await connect(address, { ...limits, stallMs })).db;
    });
    await limitSession(db, limits);
    return db;
  } catch (error) {
    await db.close();
    throw error;
  }
}

async function connect(address: string, limits: TimeLimits): Promise<Connection> {
  // No limits here: a pooler refuses to begin a session with settings that it does not know.
  const client = new pg.Client({
    connectionString: address,
    application_name: "fleettickets",
    keepAlive: true,
    connectionTimeoutMillis: limits.stallMs,
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

  await within(limits.stallMs + GRACE_MS, client.connect().catch(failedConnect));
  const db: Database = {
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
  return { db, announced: (client as unknown as { processID: number | null }).processID };
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
  if (!(error instanceof Error) || error instanceof CodedError) return error;
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
    return noConnection(error);
  }
  return error;
}

/** Whatever keeps a session from beginning, a failed handshake or a strange answer, is no defect. */
function failedConnect(error: unknown): never {
  const known = databaseError(error);
  throw known instanceof CodedError || !(known instanceof Error) ? known : noConnection(known);
}

function noConnection(error: Error): DatabaseError {
  const cure = tlsCure(error);
  return new DatabaseError(
    cure === undefined ? "connection" : "tls",
    `no connection to the database: ${reasonOf(error)}`,
    {
      hint: cure ?? "Is the server up, and DATABASE_URL right? Then run again",
      cause: error,
    },
  );
}

/** Node leaves the message empty where several addresses were tried. */
function reasonOf(error: Error): string {
  return error instanceof AggregateError
    ? error.errors.map((e) => (e instanceof Error ? e.message : String(e))).join("; ")
    : error.message;
}
