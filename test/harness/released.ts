import { cpSync, globSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Logger, migrate } from "graphile-migrate";
import { createEmptyDatabase } from "./postgres.ts";
import type { Scope } from "./scope.ts";

const COMMITTED = join(import.meta.dirname, "../../migrations/committed");

/** The newest migration of a release. */
const newestMigration = { "1.3.1": 6 } as const;

/**
 * A database as a release made it, without grants, dropped at the end of `scope`.
 *
 * @returns its address
 */
export async function createReleasedDatabase(
  scope: Scope,
  release: keyof typeof newestMigration,
): Promise<string> {
  const url = await createEmptyDatabase(scope);
  const folder = mkdtempSync(join(tmpdir(), "fleettickets-migrations-"));
  try {
    const files = globSync("*.sql", { cwd: COMMITTED }).sort().slice(0, newestMigration[release]);
    for (const file of files) {
      cpSync(join(COMMITTED, file), join(folder, "committed", basename(file)));
    }
    const quiet = new Logger(() => () => undefined);
    await migrate({ connectionString: url, migrationsFolder: folder, logger: quiet }, false, true);
  } finally {
    rmSync(folder, { recursive: true });
  }
  return url;
}
