import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { PGlite } from "@electric-sql/pglite";
import { postgis } from "@electric-sql/pglite-postgis";
import type { Database } from "./database.ts";
import { CodedError, DatabaseError } from "./errors.ts";

const LOCK_RETRY_MS = 20;
// Between making the lock and writing into it lies no time to speak of.
const LOCK_WRITTEN_MS = 2000;

/**
 * Opens the PostgreSQL + PostGIS that runs inside this process, with its data in `folder`.
 *
 * @throws CodedError TK002 while another process has the folder; DatabaseError when it cannot open
 */
export async function openEmbedded(folder: string): Promise<Database> {
  const { db, release } = await startEmbedded(folder);
  return {
    async query<Row>(text: string, values: readonly unknown[] = []) {
      try {
        return (await db.query<Row>(text, [...values])).rows;
      } catch (error) {
        throw databaseError(error);
      }
    },

    async copyIn(into, rows) {
      // PGlite takes the data of a COPY as one blob, not as a stream.
      const chunks: Uint8Array<ArrayBuffer>[] = [];
      for await (const chunk of rows) chunks.push(Uint8Array.from(chunk));
      try {
        await db.query(`copy ${into} from '/dev/blob' with (format csv)`, [], {
          blob: new Blob(chunks),
        });
      } catch (error) {
        throw databaseError(error);
      }
    },

    close: release,
  };
}

/** The embedded server itself, for those who need more than a session. */
export async function startEmbedded(
  folder: string,
): Promise<{ db: PGlite; release: () => Promise<void> }> {
  await mkdir(dirname(resolve(folder)), { recursive: true });
  const unlock = await lockFolder(folder);
  try {
    const db = await PGlite.create({ dataDir: folder, extensions: { postgis } });
    return {
      db,
      async release() {
        await db.close();
        await unlock();
      },
    };
  } catch (error) {
    await unlock();
    throw new DatabaseError("embedded", `the embedded database in ${folder} does not open`, {
      detail: error instanceof Error ? error.message : String(error),
      hint: "Is it a folder that this program made, and may it write there?",
      cause: error,
    });
  }
}

/**
 * Two processes in one folder would ruin it, and PGlite does not look.
 *
 * The lock is a file that names its process. That of a dead process is removed by one process at a
 * time, which looks again first: the others would remove the lock of whoever came after it.
 */
async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const path = `${resolve(folder)}.lock`;
  while (!(await createLock(path))) {
    const owner = await ownerOf(path);
    if (owner === undefined) {
      await removeStaleLock(path);
    } else if (owner !== 0) {
      throw new CodedError("TK002", `the embedded database in ${folder} is in use`, {
        detail: `Process ${owner} has it open.`,
        hint:
          "One process at a time: wait for it to end, or use a PostgreSQL server. " +
          `Should ${owner} be another program, remove ${path}`,
      });
    }
    await sleep(LOCK_RETRY_MS);
  }
  return () => rm(path, { force: true });
}

async function createLock(path: string): Promise<boolean> {
  try {
    await writeFile(path, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}

/** The living process that a lock names; 0: it is just being written; undefined: nobody has it. */
async function ownerOf(path: string): Promise<number | undefined> {
  try {
    const pid = Number(await readFile(path, "utf8"));
    if (pid !== 0) return isRunning(pid) ? pid : undefined;
    const { mtimeMs } = await stat(path);
    return Date.now() - mtimeMs < LOCK_WRITTEN_MS ? 0 : undefined;
  } catch {
    return undefined; // gone by now
  }
}

async function removeStaleLock(path: string): Promise<void> {
  const guard = `${path}.stale`;
  if (await createLock(guard)) {
    if ((await ownerOf(path)) === undefined) await rm(path, { force: true });
    await rm(guard, { force: true });
  } else if ((await ownerOf(guard)) === undefined) {
    await rm(guard, { force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

function databaseError(error: unknown): unknown {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") {
    return error;
  }
  const text = (name: "detail" | "hint") => {
    const value = (error as unknown as Record<string, unknown>)[name];
    return typeof value === "string" ? value : undefined;
  };
  return new DatabaseError(error.code, error.message, {
    detail: text("detail"),
    hint: text("hint"),
    cause: error,
  });
}
