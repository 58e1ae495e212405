// Events are what was observed: they are added, and never change.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { applyFile, changeKey, ownError } from "./staging.ts";

const database = await createDatabase({ after });

async function loadHistory(client: ClientBase): Promise<void> {
  for (const [n, bucket] of ["pending", "closed"].entries()) {
    const key = changeKey(`2026-06-15T06-0${n}-00`);
    await applyFile(client, { key, rows: [{ ticket_id: "T1", bucket }] });
  }
}

for (const [table, column] of [
  ["closure_events", "owner"],
  ["status_events", "to_owner"],
]) {
  for (const statement of [
    `update tickets.${table} set ${column} = 'Ann'`,
    `delete from tickets.${table}`,
    `delete from tickets.${table} where ticket_id = 'nobody'`,
    `truncate tickets.${table}`,
  ]) {
    test(`TK039, also to the owner: ${statement}`, () =>
      database.rolledBack(async (client) => {
        await loadHistory(client);
        const rows = async (): Promise<unknown[]> =>
          (await client.query<object>(`select * from tickets.${table}`)).rows;
        const before = await rows();
        assert.equal(before.length, 1);
        await client.query("savepoint before");
        await assert.rejects(client.query(statement), ownError("TK039"));
        await client.query("rollback to before");
        assert.deepEqual(await rows(), before);
      }));
  }
}
