import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { applyFile, changeKey } from "./staging.ts";

const database = await createDatabase({ after });

type Listed = readonly [key: string, etag: string];

async function sortFiles(
  client: ClientBase | typeof database.pool,
  listed: readonly Listed[],
  dataset = "inc",
) {
  const { rows } = await client.query<{
    source_key: string;
    etag: string;
    exported_at: string;
    status: string;
    is_archived: boolean;
  }>(
    `select f.source_key, f.etag, to_jsonb(f.exported_at) as exported_at, f.status, f.is_archived
     from tickets.sort_files(
       p_dataset => $1, p_source_keys => $2::text[], p_etags => $3::text[]
     ) as f`,
    [dataset, listed.map(([key]) => key), listed.map(([, etag]) => etag)],
  );
  return rows;
}

const snapshotKey = (time: string) => `automations/inc/${time}.csv`;
const [first, second, third] = [0, 1, 2].map((n) => changeKey(`2026-06-15T06-${n}0-00`)) as [
  string,
  string,
  string,
];

test("listed files come oldest first, by the time in their name", async () => {
  const listed = [third, first, second, changeKey("2025-12-31T23-59-59")];
  assert.deepEqual(
    await sortFiles(
      database.pool,
      listed.map((key) => [key, "e"]),
    ),
    [
      [changeKey("2025-12-31T23-59-59"), "2025-12-31T20:59:59+00:00"],
      [first, "2026-06-15T03:00:00+00:00"],
      [second, "2026-06-15T03:10:00+00:00"],
      [third, "2026-06-15T03:20:00+00:00"],
    ].map(([source_key, exported_at]) => ({
      source_key,
      etag: "e",
      exported_at,
      status: "new",
      is_archived: false,
    })),
  );
});

test("files of the same time come in the order of their keys' bytes", async () => {
  const keys = [first, snapshotKey("2026-06-15T06-00-00")];
  const sorted = await sortFiles(
    database.pool,
    keys.map((key) => [key, "e"]),
  );
  assert.deepEqual(
    sorted.map(({ source_key }) => source_key),
    [snapshotKey("2026-06-15T06-00-00"), first],
  );
});

test("files come in one order, however they were listed", async () => {
  const pad = (n: number) => String(n).padStart(2, "0");
  const key = fc
    .record({
      folder: fc.constantFrom("", "changes/"),
      day: fc.integer({ min: 1, max: 28 }),
      minute: fc.nat(59),
    })
    .map(
      ({ folder, day, minute }) =>
        `automations/inc/${folder}2026-06-${pad(day)}T06-${pad(minute)}-00.csv`,
    );
  const name = (listed: string) => listed.slice(listed.lastIndexOf("/"));
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(key, { maxLength: 30 }), async (keys) => {
      const sorted = await sortFiles(
        database.pool,
        keys.map((each) => [each, "e"]),
      );
      // Their times sort like the text that they are written as.
      assert.deepEqual(
        sorted.map(({ source_key }) => source_key),
        keys.toSorted((one, other) =>
          Buffer.compare(Buffer.from(`${name(one)}${one}`), Buffer.from(`${name(other)}${other}`)),
        ),
      );
    }),
    { numRuns: 50 },
  );
});

test("keys that name no export are left out", async () => {
  const listed = [
    "automations/inc/changes/",
    "automations/inc/changes/readme.txt",
    "automations/inc/changes/2026-06-15.csv",
    "automations/inc/changes/2026-06-15T06-20.csv",
    "automations/inc/changes/2026-02-30T06-20-00.csv",
    "automations/inc/changes/2026-06-15T24-00-00.csv",
    "automations/inc/changes/2026-06-15T06-60-00.csv",
    "automations/inc/changes/2026-06-15T06:20:00.csv",
    "automations/inc/changes/2026-06-15T06-20-00.csv.tmp",
    "automations/inc/changes/2026-06-15T06-20-00 (1).csv",
    "automations/inc/changes/copy-2026-06-15T06-20-00.csv",
    "automations/inc/changes/old/2026-06-15T06-20-00.csv",
    "automations/inc/processed/2026-06-15T06-20-00.csv",
    "automations/crq/changes/2026-06-15T06-20-00.csv",
    "elsewhere/2026-06-15T06-20-00.csv",
    "automations/inc/changes/٢٠٢٦-06-15T06-20-00.csv",
    "",
    "'; drop table tickets.ticket; --",
  ];
  assert.deepEqual(
    await sortFiles(
      database.pool,
      listed.map((key) => [key, "e"]),
    ),
    [],
  );
  assert.deepEqual(await sortFiles(database.pool, []), []);
});

test("a file has the status that the ledger has of this key with this ETag", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, etag: "1", rows: [] });
    await client.query(
      `select tickets.refuse_file('inc', $1, '1', 10, 'TK021', 'bad', null),
         tickets.skip_file('inc', $2, '1', 10),
         tickets.mark_archived('inc', $3, '1')`,
      [second, third, first],
    );
    const statusOf = async (etag: string, dataset?: string) =>
      (
        await sortFiles(
          client,
          [first, second, third].map((key) => [key, etag]),
          dataset,
        )
      ).map(({ status, is_archived }) => [status, is_archived]);
    assert.deepEqual(await statusOf("1"), [
      ["applied", true],
      ["rejected", false],
      ["skipped", false],
    ]);
    // Another object under the same key is another file, and so is one of another dataset.
    assert.deepEqual(await statusOf("2"), [
      ["new", false],
      ["new", false],
      ["new", false],
    ]);
    assert.deepEqual(await statusOf("1", "crq"), []);
  }));

test("a content that was replaced is new when it is put back, one of a refused file is not", () =>
  database.rolledBack(async (client) => {
    const statusOf = async (etag: string) =>
      (await sortFiles(client, [[first, etag]])).map(({ status }) => status);
    await applyFile(client, { key: first, etag: "1", rows: [] });
    await client.query("select tickets.refuse_file('inc', $1, '2', 10, 'TK021', 'bad')", [first]);
    assert.deepEqual([await statusOf("1"), await statusOf("2")], [["applied"], ["rejected"]]);
    await applyFile(client, { key: first, etag: "3", rows: [] });
    assert.deepEqual([await statusOf("1"), await statusOf("2")], [["new"], ["new"]]);
    await applyFile(client, { key: first, etag: "1", rows: [] });
    assert.deepEqual([await statusOf("1"), await statusOf("3")], [["applied"], ["new"]]);
  }));
