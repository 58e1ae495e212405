// With tickets.unarchived_files, whose answer it is there to change.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { applyFile, changeKey, freezeTime } from "./staging.ts";

const database = await createDatabase({ after });

const [first, second, third] = [0, 1, 2].map((n) => changeKey(`2026-06-15T06-${n}0-00`)) as [
  string,
  string,
  string,
];

async function unarchivedFiles(client: ClientBase, dataset = "inc"): Promise<unknown[]> {
  const { rows } = await client.query<Record<string, unknown>>(
    "select f.source_key, f.etag, f.bytes::int from tickets.unarchived_files(p_dataset => $1) as f",
    [dataset],
  );
  return rows;
}

async function markArchived(client: ClientBase, key: string, etag: string, dataset = "inc") {
  await client.query(
    "select tickets.mark_archived(p_dataset => $1, p_source_key => $2, p_etag => $3)",
    [dataset, key, etag],
  );
}

async function archivedAt(client: ClientBase): Promise<unknown[]> {
  const { rows } = await client.query<Record<string, unknown>>(
    `select f.source_key, f.etag, f.archived_at
     from tickets.ingest_files as f where f.archived_at is not null`,
  );
  return rows;
}

test("applied and skipped objects wait for the archive, oldest first, till they are marked", () =>
  database.rolledBack(async (client) => {
    const snapshot = "automations/inc/2026-06-15T06-15-00.csv";
    await applyFile(client, { key: third, etag: "c", bytes: 3, rows: [] });
    await applyFile(client, { key: first, etag: "a", bytes: 1, rows: [] });
    await client.query("select tickets.skip_file('inc', $1, 'b', 2)", [snapshot]);
    assert.deepEqual(await unarchivedFiles(client), [
      { source_key: first, etag: "a", bytes: 1 },
      { source_key: snapshot, etag: "b", bytes: 2 },
      { source_key: third, etag: "c", bytes: 3 },
    ]);
    await markArchived(client, first, "a");
    await markArchived(client, snapshot, "b");
    assert.deepEqual(await unarchivedFiles(client), [{ source_key: third, etag: "c", bytes: 3 }]);
  }));

test("neither refused files nor those staged by hand go to the archive", () =>
  database.rolledBack(async (client) => {
    await client.query("select tickets.refuse_file('inc', $1, 'a', 1, 'TK021', 'why')", [first]);
    await applyFile(client, { key: "manual:2026-06-15T06-00-00.csv", rows: [] });
    assert.deepEqual(await unarchivedFiles(client), []);
  }));

test("the datasets have each its own files", () =>
  database.rolledBack(async (client) => {
    const key = changeKey("2026-06-15T06-00-00", "crq");
    await applyFile(client, { dataset: "crq", key, rows: [] });
    assert.deepEqual(await unarchivedFiles(client, "inc"), []);
    await markArchived(client, key, "etag", "inc");
    assert.equal((await unarchivedFiles(client, "crq")).length, 1);
  }));

test("what is marked is this key with this ETag, and when it was marked first", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, etag: "1", rows: [] });
    await applyFile(client, { key: first, etag: "2", rows: [] });
    await applyFile(client, { key: second, etag: "1", rows: [] });
    await freezeTime(client, "2026-06-15T06:30:00Z");
    await markArchived(client, first, "1");
    await freezeTime(client, "2026-06-15T07:30:00Z");
    await markArchived(client, first, "1");
    assert.deepEqual(await archivedAt(client), [
      { source_key: first, etag: "1", archived_at: new Date("2026-06-15T06:30:00Z") },
    ]);
  }));

test("a file that is not in the ledger is no error", () =>
  database.rolledBack(async (client) => {
    await markArchived(client, first, "1");
    assert.deepEqual(await archivedAt(client), []);
  }));

test("a file that is applied again waits for the archive again", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, etag: "1", rows: [] });
    await markArchived(client, first, "1");
    await applyFile(client, { key: first, etag: "1", rows: [] });
    assert.equal((await unarchivedFiles(client)).length, 1);
  }));
