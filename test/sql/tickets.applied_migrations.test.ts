import assert from "node:assert/strict";
import { after, test } from "node:test";
import { committedMigrations } from "../../src/migrate.ts";
import { createDatabase } from "../harness/postgres.ts";

const database = await createDatabase({ after });

test("a database that is up to date has seen what the program brings along, in order", async () => {
  const { rows } = await database.pool.query<{ hash: string }>(
    "select m.hash from tickets.applied_migrations() as m",
  );
  assert.deepEqual(
    rows.map(({ hash }) => hash),
    committedMigrations().map(({ hash }) => hash),
  );
});
