import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { LogFunctionFactory } from "graphile-migrate";
import { embeddedFolder } from "./database.ts";
import { requireEmbedded } from "./embedded-packages.ts";
import { DatabaseError } from "./errors.ts";
import type { Logger } from "./log.ts";

// Beside src in a checkout and beside dist in the package.
const MIGRATIONS = fileURLToPath(new URL("../migrations", import.meta.url));

const ATTEMPTS = 5;

// graphile-migrate lets go of its connections a moment after it has ended, and takes one that breaks
// before for a reason to end the process.
const POOL_LINGERS_MS = 300;

/**
 * Brings the schema of a database up to date: runs the committed migrations that it has not seen,
 * then the grants, which also pick up roles that were created since.
 *
 * @param databaseUrl `postgres://…` or `pglite:<folder>`
 * @throws DatabaseError; UsageError when the embedded database is asked for and not installed
 */
export async function migrate(databaseUrl: string, log: Logger): Promise<void> {
  const folder = embeddedFolder(databaseUrl);
  if (folder === undefined) return migrateServer(databaseUrl, log);
  requireEmbedded("database");
  const { startEmbedded } = await import("./embedded.ts");
  const { PGLiteSocketServer } = await import("@electric-sql/pglite-socket");
  const { db, release } = await startEmbedded(folder);
  // graphile-migrate speaks to a server only: here is one, for the time of the migration.
  const server = new PGLiteSocketServer({ db, host: "127.0.0.1", port: 0, maxConnections: 4 });
  try {
    await server.start();
    await migrateServer(`postgres://postgres@${server.getServerConn()}/postgres`, log);
    await sleep(POOL_LINGERS_MS);
    while (server.getStats().activeConnections > 0) await sleep(50);
  } finally {
    await server.stop();
    await release();
  }
}

/** The migrations that this program brings along, in their order. */
export function committedMigrations(): { filename: string; hash: string }[] {
  const files = globSync("committed/*.sql", { cwd: MIGRATIONS }).sort();
  return files.map((filename) => {
    const hash = /^--! Hash: (\S+)$/m.exec(readFileSync(join(MIGRATIONS, filename), "utf8"))?.[1];
    if (hash === undefined) throw new Error(`no hash in ${filename}`);
    return { filename, hash };
  });
}

async function migrateServer(connectionString: string, log: Logger): Promise<void> {
  if (!existsSync(MIGRATIONS)) throw new Error(`no migrations in ${MIGRATIONS}`);
  // Takes as long to load as all that a run without a new file needs.
  const graphile = await import("graphile-migrate");
  for (let attempt = 1; ; attempt++) {
    try {
      const settings = {
        connectionString,
        migrationsFolder: MIGRATIONS,
        afterAllMigrations: ["fixtures/grants.sql"],
        logger: new graphile.Logger(logFunctionFactory(log)),
      };
      await graphile.migrate(settings, false, true);
      return;
    } catch (error) {
      if (!isLockConflict(error) || attempt === ATTEMPTS) {
        // Whoever handles this error may drop the database next.
        await sleep(POOL_LINGERS_MS);
        throw migrationError(error);
      }
      log.info({ attempt }, "another migration is running, waiting for it");
      await sleep(500 * attempt);
    }
  }
}

/** graphile-migrate's messages in our log. */
function logFunctionFactory(log: Logger): LogFunctionFactory<object> {
  const levels: Record<string, "error" | "warn" | "info" | "debug"> = {
    error: "error",
    warning: "warn",
    info: "info",
  };
  return () => (level, message) => {
    log[levels[level] ?? "debug"](message);
  };
}

function isLockConflict(error: unknown): boolean {
  return error instanceof Error && error.message === "Failed to get exclusive lock";
}

function migrationError(error: unknown): DatabaseError {
  const { message, code, detail, hint } = error as Error & Record<string, string | undefined>;
  return new DatabaseError(code ?? "migration", `the migration failed: ${message}`, {
    detail,
    hint:
      hint ??
      // A standby: what is said of that leads further.
      (code === "25006"
        ? undefined
        : "Nothing of the migration at fault is left; mend the cause, then: fleettickets migrate"),
    cause: error,
  });
}
