import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { applyFile, countsOf, freezeTime, ownError } from "./staging.ts";

const database = await createDatabase({ after });

const key = "automations/inc/2026-06-15T06-00-00.csv";

async function skipFile(client: ClientBase, { dataset = "inc", etag = "1" } = {}): Promise<void> {
  await client.query(
    "select tickets.skip_file(p_dataset => $1, p_source_key => $2, p_etag => $3, p_bytes => 10)",
    [dataset, key, etag],
  );
}

async function ledger(client: ClientBase): Promise<{ etag: string }[]> {
  const { rows } = await client.query<{ file: { etag: string } }>(
    "select to_jsonb(f) as file from tickets.ingest_files as f order by f.etag",
  );
  return rows.map(({ file }) => file);
}

test("a skipped snapshot is in the ledger once, with nothing counted, and moves the watermark", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    await skipFile(client);
    const skipped = {
      ...countsOf(key, {}),
      etag: "1",
      bytes: 10,
      exported_at: "2026-06-15T03:00:00+00:00",
      status: "skipped",
      error_code: null,
      error: null,
      error_line: null,
      extra_columns: [],
      missing_columns: [],
      export_stopped: false,
      seen_at: "2026-06-15T06:30:00+00:00",
      applied_at: null,
      archived_at: null,
      is_replaced: false,
      earlier_loads: [],
    };
    assert.deepEqual(await ledger(client), [skipped]);
    await freezeTime(client, "2026-06-15T07:30:00Z");
    await skipFile(client);
    assert.deepEqual(await ledger(client), [skipped]);
    const { rows } = await client.query("select tickets.import_state('inc') as state");
    assert.deepEqual(rows, [{ state: { source_max_key: key } }]);
  }));

test("what is applied or refused already stays so", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key, etag: "1", rows: [{ ticket_id: "T1" }] });
    await client.query("select tickets.refuse_file('inc', $1, '2', 10, 'TK021', 'why')", [key]);
    const before = await ledger(client);
    await skipFile(client, { etag: "2" });
    await skipFile(client, { etag: "1" });
    // The content that was looked at last is the one that counts.
    assert.deepEqual(
      await ledger(client),
      before.map((file) => ({ ...file, is_replaced: file.etag === "2" })),
    );
  }));

test("a skipped snapshot can be applied later", () =>
  database.rolledBack(async (client) => {
    await skipFile(client);
    await applyFile(client, { key, etag: "1", rows: [{ ticket_id: "T1" }], isSnapshot: true });
    const { rows } = await client.query("select f.status from tickets.ingest_files as f");
    assert.deepEqual(rows, [{ status: "applied" }]);
  }));

test("what is no dataset is TK001, one that another session is loading TK002", async (t) => {
  await database.rolledBack((client) =>
    assert.rejects(skipFile(client, { dataset: "nope" }), ownError("TK001")),
  );
  const loader = await database.connect();
  t.after(() => loader.query("select tickets.finish_run('inc')"));
  await loader.query("select tickets.start_run('inc')");
  await database.rolledBack((client) => assert.rejects(skipFile(client), ownError("TK002")));
});
