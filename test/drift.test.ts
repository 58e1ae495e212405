import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { globSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { findPostgres } from "./harness/find-postgres.ts";
import { createDatabase } from "./harness/postgres.ts";

const MIGRATIONS = join(import.meta.dirname, "../migrations");
const SCHEMA = join(MIGRATIONS, "schema.sql");

test("schema.sql is what the committed migrations make", async (t) => {
  const { url } = await createDatabase(t);
  const dump = await dumpSchema(url);
  if (process.env["WRITE_SCHEMA"] === "1") writeFileSync(SCHEMA, dump);
  const committed = readFileSync(SCHEMA, "utf8");
  if (versionOf(committed) !== versionOf(dump)) {
    t.skip(`schema.sql is of ${versionOf(committed)}, this server is ${versionOf(dump)}`);
    return;
  }
  assert.equal(dump, committed, "npm run schema writes it anew");
});

test("running every fixture again changes nothing", async (t) => {
  const { url, pool } = await createDatabase(t);
  const before = await dumpSchema(url);
  for (const file of globSync("fixtures/**/*.sql", { cwd: MIGRATIONS })) {
    await pool.query(readFileSync(join(MIGRATIONS, file), "utf8"));
  }
  assert.equal(await dumpSchema(url), before);
});

test("every fixture is in a committed migration as it is now", () => {
  const committed = globSync("committed/*.sql", { cwd: MIGRATIONS })
    .map((file) => readFileSync(join(MIGRATIONS, file), "utf8"))
    .join("\n")
    // Migration 7 altered the search path of the functions that were there.
    .replaceAll("set search_path = ''", "set search_path = pg_catalog, pg_temp");
  for (const file of globSync("fixtures/{functions,views}/*.sql", { cwd: MIGRATIONS })) {
    const fixture = readFileSync(join(MIGRATIONS, file), "utf8").trim();
    assert.ok(committed.includes(fixture), `${file} is not: include it in current.sql and commit`);
  }
});

test("the working migration is one file, and blank", () => {
  assert.equal(readlinkSync(join(MIGRATIONS, "current.sql")), "../current.sql");
  const statements = readFileSync(join(MIGRATIONS, "current.sql"), "utf8").replaceAll(
    /^--.*$/gm,
    "",
  );
  assert.equal(statements.trim(), "");
});

test("graphile-migrate finds nothing to do in a migrated database", async (t) => {
  const { url } = await createDatabase(t);
  const { PATH } = process.env;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [join(MIGRATIONS, "../node_modules/.bin/graphile-migrate"), "status"],
    // It wants to be told of a shadow database, and does not open it.
    {
      cwd: join(MIGRATIONS, ".."),
      env: { PATH, DATABASE_URL: url, SHADOW_DATABASE_URL: `${url}_` },
    },
  );
  assert.match(stdout, /up to date/i);
});

/** The two schemas with their rights, without what changes from one dump to the next. */
async function dumpSchema(url: string): Promise<string> {
  const { stdout } = await promisify(execFile)(
    join(findPostgres().binDir, "pg_dump"),
    ["--schema-only", "--no-owner", "-n", "tickets", "-n", "reporting", "-d", url],
    { maxBuffer: 64 * 1024 * 1024 },
  );
  return stdout
    .replaceAll(/^(\\(un)?restrict .*|SET .*|SELECT pg_catalog\.set_config.*)\n/gm, "")
    .replace(/^-- Dumped by .*\n/m, "")
    .replace(/^(-- Dumped from database version \d+).*$/m, "$1");
}

function versionOf(dump: string): string {
  return /version (\d+)/.exec(dump)?.[0] ?? "no version";
}
