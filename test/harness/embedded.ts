import { constants, cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Scope } from "./scope.ts";

/** A migrated database folder for the embedded PostgreSQL. */
export interface EmbeddedDatabase {
  folder: string;
  /** For DATABASE_URL. */
  url: string;
}

/** A fresh copy of the embedded template, removed at the end of `scope`. */
export async function createEmbeddedDatabase(scope: Scope): Promise<EmbeddedDatabase> {
  const template = process.env["TEST_EMBEDDED_TEMPLATE"];
  if (!template) {
    const file = process.argv[1] ?? "test/x.test.ts";
    throw new Error(`this test needs the folder that the runner makes: npm test -- ${file}`);
  }
  const parent = await mkdtemp(join(tmpdir(), "fleettickets-embedded-"));
  scope.after(() => rm(parent, { recursive: true }));
  const folder = join(parent, "data");
  // Where the file system can, the copy shares the template's blocks.
  await cp(template, folder, { recursive: true, mode: constants.COPYFILE_FICLONE });
  return { folder, url: embeddedUrl(folder) };
}

/** The form in which DATABASE_URL names a database folder. */
export function embeddedUrl(folder: string): string {
  return `pglite:${folder}`;
}
