/** Who writes tickets: files, and people beside them. Both in one way, and in turns. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import type { ClientBase } from "pg";
import { type Dataset, contractColumns } from "../../src/samples.ts";
import { createDatabase } from "../harness/postgres.ts";
import { applyFile, changeKey, only, ticketRow, ticketRows } from "./staging.ts";
import { anyText } from "./texts.ts";

const database = await createDatabase({ after });

const [first, second] = [0, 1].map((n) => changeKey(`2026-06-15T06-${n}0-00`)) as [string, string];
const ruaka = {
  ticket_id: "T1",
  bucket: "pending",
  cluster: "Ruaka",
  location_name: "NW_Limuru Rd",
};

/** As the loader does: everything of a file in one transaction. */
async function committed<T>(client: ClientBase, work: () => Promise<T>): Promise<T> {
  await client.query("begin");
  const result = await work();
  await client.query("commit");
  return result;
}

/** The indexes of a dataset's tickets: their names, and whether the planner may use them. */
async function indexesOf(client: ClientBase, dataset: string): Promise<Record<string, boolean>> {
  const { rows } = await client.query<{ name: string; valid: boolean }>(
    `select c.name, i.indisvalid and i.indisready as valid
     from pg_index as i
     cross join lateral (select i.indexrelid::regclass::text collate "C" as name) as c
     where i.indrelid = format('tickets.%I', $1::text)::regclass
     order by c.name`,
    [dataset],
  );
  return Object.fromEntries(rows.map(({ name, valid }) => [name, valid]));
}

function allIndexesOf(dataset: string): Record<string, boolean> {
  const names = ["closed_at_idx", "cluster_idx", "geog_idx", "geom_idx", "open_geog_idx"];
  const all = [...names, "open_idx", "opened_at_idx", "pkey"];
  return Object.fromEntries(all.map((name) => [`tickets.${dataset}_${name}`, true]));
}

test("a dataset has its indexes before its first file, after it and after the next one", () =>
  database.rolledBack(async (client) => {
    for (const dataset of ["inc", "crq"] as const) {
      assert.deepEqual(await indexesOf(client, dataset), allIndexesOf(dataset));
      for (const key of [first, second]) {
        await applyFile(client, { key, dataset, rows: [ruaka] });
        assert.deepEqual(await indexesOf(client, dataset), allIndexesOf(dataset), key);
      }
    }
  }));

test("the indexes are built after a large first file, and stay as they are from then on", () =>
  database.rolledBack(async (client) => {
    const rows = Array.from({ length: 1000 }, (_, n) => ({ ...ruaka, ticket_id: `T${n}` }));
    const built = async () => {
      const { rows } = await client.query<{ index: number }>(
        "select 'tickets.inc_geog_idx'::regclass::oid as index",
      );
      return rows;
    };
    const atFirst = await built();
    await applyFile(client, { key: first, rows });
    const after = await built();
    assert.notDeepEqual(after, atFirst);
    assert.deepEqual(await indexesOf(client, "inc"), allIndexesOf("inc"));
    await applyFile(client, { key: second, rows: rows.map((row) => ({ ...row, owner: "Ann" })) });
    assert.deepEqual(await built(), after);
  }));

test("while somebody reads, the first file is loaded with the indexes as they are", async (t) => {
  const apart = await createDatabase(t);
  const [reader, loader] = [await apart.connect(), await apart.connect()];
  await reader.query("begin");
  await reader.query("select from tickets.inc");
  const rows = Array.from({ length: 1000 }, (_, n) => ({ ...ruaka, ticket_id: `T${n}` }));
  await committed(loader, () => applyFile(loader, { key: first, rows }));
  await reader.query("commit");
  assert.deepEqual(await indexesOf(loader, "inc"), allIndexesOf("inc"));
  assert.equal((await ticketRows(loader)).length, 1000);
});

test("a dataset that is a row and a partition gets its indexes with its first file", () =>
  database.rolledBack(async (client) => {
    await client.query(`
      insert into tickets.datasets (dataset, key_prefix, sla_target)
      values ('noc', 'automations/noc/', interval '4 hours');
      insert into tickets.import_meta (dataset) values ('noc');
      create table tickets.noc partition of tickets.ticket for values in ('noc');
      alter table tickets.noc alter column dataset set default 'noc';
      create unlogged table tickets.noc_staging
        (like tickets.inc_staging including defaults);
      alter table tickets.noc_staging alter column dataset set default 'noc';
      alter table tickets.staging attach partition tickets.noc_staging for values in ('noc');
      create table tickets.noc_daily_snapshot
        partition of tickets.daily_snapshot for values in ('noc');
    `);
    const key = "automations/noc/changes/2026-06-15T06-00-00.csv";
    await applyFile(client, { key, dataset: "noc" as Dataset, rows: [ruaka] });
    assert.deepEqual(await indexesOf(client, "noc"), allIndexesOf("noc"));
    assert.equal(only(await ticketRows(client)).dataset, "noc");
  }));

test("a ticket has the same columns, whether a file or a person wrote its raw", () =>
  database.rolledBack(async (client) => {
    await client.query(
      `insert into tickets.geo_clusters (cluster, geom)
       values ('Ruaka', public.st_setsrid(public.st_makepoint(36.1, -1), 4326))`,
    );
    const value = fc.oneof(
      anyText(),
      fc.constantFrom(
        "true",
        "N",
        "1",
        "closed",
        "pending",
        "Closed ",
        "Ruaka",
        "0",
        "36.8",
        "-1.3",
      ),
      fc.constantFrom("2026-06-15 17:04:00", "2026-06-31 17:04:00", "2026-06-15", "12.5", "n/a"),
    );
    // From normalized_status to longitude: what columns follow from.
    const columns = contractColumns.slice(1, 21);
    const row = fc.record(Object.fromEntries(columns.map((column) => [column, value])), {
      requiredKeys: [],
    });
    await fc.assert(
      fc.asyncProperty(row, row, async (one, other) => {
        await client.query("savepoint before");
        // Inserted by a file, and then changed by one.
        for (const [key, written] of [
          [first, one],
          [second, other],
        ] as const) {
          await applyFile(client, { key, rows: [{ ...written, ticket_id: "T1" }] });
          const byFile = await ticketRow(client, "T1");
          await client.query("savepoint by_file");
          await client.query("delete from tickets.inc");
          await client.query("insert into tickets.inc (ticket_id, raw) values ('T1', $1)", [
            byFile.raw,
          ]);
          const places = ["source_key", "exported_at", "previous_source_key"] as const;
          const unknown = [...places, "previous_exported_at"];
          const byHand = await ticketRow(client, "T1");
          for (const name of unknown) byHand[name] = byFile[name];
          assert.deepEqual(byFile, byHand);
          await client.query("rollback to by_file");
        }
        await client.query("rollback to before");
      }),
      { numRuns: 60 },
    );
  }));

/** Waits until another session of this database waits for a lock: its promise would not tell. */
async function untilWaiting(client: ClientBase): Promise<void> {
  for (;;) {
    const { rowCount } = await client.query(
      `select from pg_stat_activity as a
       where a.datname = current_database() and a.wait_event_type = 'Lock'`,
    );
    if (rowCount !== 0) return;
    await sleep(5);
  }
}

test("whoever writes a ticket by hand waits for the file that is being applied", async (t) => {
  const apart = await createDatabase(t);
  const [loader, person] = [await apart.connect(), await apart.connect()];
  const rows = ["T1", "T2"].map((ticket_id) => ({ ...ruaka, ticket_id }));
  await committed(loader, () => applyFile(loader, { key: first, rows }));
  const statements = [
    `update tickets.inc set raw = raw || '{"owner": "by hand"}' where ticket_id = 'T1'`,
    `insert into tickets.inc (ticket_id, raw) values ('T3', '{"ticket_id": "T3"}')`,
    "delete from tickets.inc where ticket_id = 'T2'",
  ];
  for (const [n, statement] of statements.entries()) {
    const key = changeKey(`2026-06-15T07-0${n}-00`);
    await loader.query("begin");
    const ids = ["T1", "T2", "T3"];
    const owner = `file ${n}`;
    await applyFile(loader, {
      key,
      rows: ids.map((ticket_id) => ({ ...ruaka, ticket_id, owner })),
    });
    const written = person.query(statement).catch((error: unknown) => error);
    await untilWaiting(loader);
    await loader.query("commit");
    const outcome = await written;
    // The third one is there already, since the file brought it.
    if (n === 1) assert.equal((outcome as { code?: string }).code, "23505");
    else assert.equal((outcome as { rowCount?: number }).rowCount, 1);
  }
  assert.deepEqual(
    (await ticketRows(loader)).map(({ ticket_id, owner }) => [ticket_id, owner]),
    [
      ["T1", "file 2"],
      ["T3", "file 2"],
    ],
  );
});

test("a file waits for whoever is writing a ticket by hand, and sees it", async (t) => {
  const apart = await createDatabase(t);
  const [loader, person] = [await apart.connect(), await apart.connect()];
  await person.query("begin");
  await person.query(
    `insert into tickets.inc (ticket_id, raw) values ('T1', '{"ticket_id": "T1"}')`,
  );
  const applied = committed(loader, () => applyFile(loader, { key: first, rows: [ruaka] }));
  await untilWaiting(person);
  await person.query("commit");
  assert.deepEqual([(await applied).inserted, (await applied).updated], [0, 1]);
});
