import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";

const database = await createDatabase({ after });

async function stage(client: ClientBase, table: string, key: string, ids: string[]) {
  await client.query("select set_config('tickets.source_key', $1, true)", [key]);
  await client.query(`insert into tickets.${table} (ticket_id) select unnest($1::text[])`, [ids]);
}

async function stagedRows(client: ClientBase, dataset: string): Promise<unknown[]> {
  const { rows } = await client.query<Record<string, unknown>>(
    "select s.source_key, s.rows::integer from tickets.staged_rows(p_dataset => $1) as s",
    [dataset],
  );
  return rows;
}

test("staging that is empty has no row", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(await stagedRows(client, "inc"), []);
  }));

test("each file staged by hand is a row, in the order of staging, until it is applied", () =>
  database.rolledBack(async (client) => {
    await stage(client, "inc_staging", "manual:b", ["T1", "T2"]);
    await stage(client, "inc_staging", "manual:a", ["T3"]);
    assert.deepEqual(await stagedRows(client, "inc"), [
      { source_key: "manual:b", rows: 2 },
      { source_key: "manual:a", rows: 1 },
    ]);
    await client.query("select tickets.apply_staged('inc')");
    assert.deepEqual(await stagedRows(client, "inc"), []);
  }));

test("the datasets have each its own staging", () =>
  database.rolledBack(async (client) => {
    await stage(client, "crq_staging", "manual:a", ["T1"]);
    assert.deepEqual(await stagedRows(client, "inc"), []);
    assert.deepEqual(await stagedRows(client, "crq"), [{ source_key: "manual:a", rows: 1 }]);
  }));

test("another dataset's staging may be locked meanwhile", async () => {
  const other = await database.connect();
  await other.query("begin");
  await other.query("lock table tickets.crq_staging in access exclusive mode");
  await database.rolledBack(async (client) => {
    await client.query("set local lock_timeout = '1s'");
    assert.deepEqual(await stagedRows(client, "inc"), []);
  });
  await other.query("rollback");
});
