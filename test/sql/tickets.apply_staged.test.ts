import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { ClientBase } from "pg";
import type { FileCounts } from "../../src/api/load.ts";
import { contractColumns } from "../../src/samples.ts";
import { findPostgres } from "../harness/find-postgres.ts";
import { type TestDatabase, createDatabase } from "../harness/postgres.ts";
import type { Scope } from "../harness/scope.ts";
import {
  type Row,
  applyFile,
  assertAccountedFor,
  changeKey,
  countsOf,
  freezeTime,
  only,
  ownError,
  ticketRow,
  ticketRows,
} from "./staging.ts";

const database = await createDatabase({ after });

const pending = { ticket_id: "T1", bucket: "pending", raw_status: "OPEN", owner: "Ann" };
const manualKey = /^manual:\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{6}$/;

/** Stages rows as one statement of a person does: just the columns that she names. */
async function stageByHand(
  client: ClientBase,
  rows: readonly Row[],
  { table = "inc_staging", columns = Object.keys(rows[0] ?? {}), name = "" } = {},
): Promise<void> {
  // In a session of her own, no file of the loader has left its name.
  await client.query("select set_config('tickets.source_key', $1, true)", [name]);
  await client.query(
    `insert into tickets.${table} (${columns.join(", ")})
     select * from unnest(${columns.map((_, index) => `$${index + 1}::text[]`).join(", ")})`,
    columns.map((column) => rows.map((row) => row[column] ?? null)),
  );
}

/** Applies what is staged; the counts are checked to account for every row. */
async function applyStaged(
  client: ClientBase,
  dataset: string | null = null,
): Promise<FileCounts[]> {
  const { rows } = await client.query<FileCounts>(
    "select * from tickets.apply_staged(p_dataset => $1::text)",
    [dataset],
  );
  for (const counts of rows) await assertAccountedFor(client, counts);
  return rows;
}

async function importState(client: ClientBase): Promise<unknown> {
  const { rows } = await client.query<{ state: unknown }>(
    "select tickets.import_state('inc') as state",
  );
  return only(rows).state;
}

test("what is staged is applied and taken out of staging, and nothing staged is no row", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(await applyStaged(client), []);
    await stageByHand(client, [pending, { ...pending, ticket_id: "T2" }]);
    const counts = only(await applyStaged(client));
    assert.match(counts.source_key, manualKey);
    assert.deepEqual(counts, countsOf(counts.source_key, { staged: 2, inserted: 2 }));
    assert.deepEqual((await ticketRow(client, "T1")).raw, pending);
    assert.equal((await client.query("select from tickets.staging")).rowCount, 0);
    assert.deepEqual(await applyStaged(client), []);
  }));

test("with nothing staged, nothing is written", () =>
  database.rolledBack(async (client) => {
    await applyStaged(client);
    for (const table of ["ingest_files", "daily_snapshot", "closure_events"]) {
      assert.equal((await client.query(`select from tickets.${table}`)).rowCount, 0, table);
    }
  }));

test("a dataset that is named is applied alone, without a name all are", () =>
  database.rolledBack(async (client) => {
    const stageBoth = async () => {
      await stageByHand(client, [pending]);
      await stageByHand(client, [pending], { table: "crq_staging" });
    };
    await stageBoth();
    assert.deepEqual(
      (await applyStaged(client, "crq")).map(({ dataset }) => dataset),
      ["crq"],
    );
    assert.equal((await client.query("select from tickets.inc_staging")).rowCount, 1);
    await client.query("truncate tickets.inc_staging");

    await stageBoth();
    assert.deepEqual((await applyStaged(client)).map(({ dataset }) => dataset).sort(), [
      "crq",
      "inc",
    ]);
    assert.equal((await client.query("select from tickets.staging")).rowCount, 0);
  }));

test("columns that a statement does not name keep their value, those that it leaves blank do not", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, {
      key: changeKey("2026-06-15T06-20-00"),
      rows: [{ ...pending, cluster: "QOA", mttr: "5" }],
    });
    await stageByHand(client, [{ ticket_id: "T1", owner: "Bob", mttr: " " }]);
    const { source_key } = only(await applyStaged(client));
    assert.deepEqual((await ticketRow(client, "T1")).raw, {
      ...pending,
      cluster: "QOA",
      owner: "Bob",
    });
    const { rows } = await client.query<{ missing: string[]; extra: string[] }>(
      `select f.missing_columns as missing, f.extra_columns as extra
       from tickets.ingest_files as f where f.source_key = $1`,
      [source_key],
    );
    const { missing, extra } = only(rows);
    assert.deepEqual(extra, []);
    assert.deepEqual(
      missing.toSorted(),
      contractColumns.filter((name) => !["ticket_id", "owner", "mttr"].includes(name)).sort(),
    );
  }));

test("two statements that give themselves the same name may name different columns", () =>
  database.rolledBack(async (client) => {
    const name = "manual:2026-06-15T06-20-00";
    await stageByHand(client, [pending], { name });
    await stageByHand(client, [{ ticket_id: "T2", owner: "Bob" }], { name });
    const counts = await applyStaged(client);
    assert.equal(
      counts.reduce((sum, { inserted }) => sum + inserted, 0),
      2,
    );
    // Each row says what its columns say; a column that is not there says nothing.
    assert.deepEqual(
      (await ticketRows(client)).map(({ raw }) => raw),
      [pending, { ticket_id: "T2", owner: "Bob" }],
    );
  }));

test("two statements before one call are two rows, in their order", () =>
  database.rolledBack(async (client) => {
    await stageByHand(client, [pending]);
    await stageByHand(client, [{ ...pending, owner: "Bob" }, { ticket_id: "T2" }]);
    const [one, other, ...more] = await applyStaged(client);
    assert.ok(one && other);
    assert.deepEqual(more, []);
    assert.ok(one.source_key < other.source_key);
    assert.deepEqual(
      [one, other],
      [
        countsOf(one.source_key, { staged: 1, inserted: 1 }),
        countsOf(other.source_key, { staged: 2, inserted: 1, updated: 1 }),
      ],
    );
    const ticket = await ticketRow(client, "T1");
    assert.equal(ticket["owner"], "Bob");
    assert.deepEqual(
      [ticket.source_key, ticket.previous_source_key],
      [other.source_key, one.source_key],
    );
  }));

test("rows staged by hand are newer than all that was exported before", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: changeKey("2026-06-15T06-20-00"), rows: [pending] });
    await stageByHand(client, [{ ...pending, owner: "Bob" }]);
    assert.equal(only(await applyStaged(client)).updated, 1);
  }));

test("a time in the name that a person chooses is the file's place in time", () =>
  database.rolledBack(async (client) => {
    const key = changeKey("2026-06-15T06-20-00");
    await applyFile(client, { key, rows: [pending] });
    const name = "manual:2026-06-15T06-10-00 mended";
    await stageByHand(client, [{ ...pending, owner: "Bob" }], { name });
    assert.deepEqual(await applyStaged(client), [countsOf(name, { staged: 1, stale: 1 })]);
    const ticket = await ticketRow(client, "T1");
    assert.deepEqual(
      [ticket.source_key, ticket.previous_source_key, ticket.previous_exported_at],
      [key, name, "2026-06-15T03:10:00+00:00"],
    );
  }));

test("rows staged by hand never move the watermark, whatever name they are given", () =>
  database.rolledBack(async (client) => {
    const key = changeKey("2026-06-15T06-20-00");
    await applyFile(client, { key, rows: [pending] });
    for (const name of [
      "",
      "manual:2027-01-01T00-00-00",
      changeKey("2027-01-01T00-00-00"),
      "mended by Ann",
    ]) {
      await stageByHand(client, [pending], { name });
      const counts = only(await applyStaged(client));
      assert.deepEqual(await importState(client), { source_max_key: key }, name);
      assert.match(counts.source_key, /^manual:/);
    }
  }));

test("sentinels, alarms, duplicates and rejected rows are counted as in any other file", () =>
  database.rolledBack(async (client) => {
    const rows = [
      ...Array.from({ length: 20 }, (_, n) => ({ ticket_id: `T${n}` })),
      { ticket_id: "A1", is_alarm: "Yes" },
      { ticket_id: "EXPORT STOPPED" },
      { ticket_id: "T1", owner: "Bob" },
      { ticket_id: " ", owner: "Ann" },
    ];
    await stageByHand(client, rows, { columns: ["ticket_id", "is_alarm", "owner"] });
    const counts = only(await applyStaged(client));
    assert.deepEqual(
      counts,
      countsOf(counts.source_key, {
        staged: 24,
        dropped_alarm: 1,
        dropped_sentinel: 1,
        rejected: 1,
        duplicates: 1,
        inserted: 20,
      }),
    );
    assert.equal((await ticketRow(client, "T1"))["owner"], "Bob");
  }));

test("a rejected row is noted with its place below the header, the whole row as it was staged", () =>
  database.rolledBack(async (client) => {
    const rows = Array.from({ length: 30 }, (_, n) => ({ ticket_id: `T${n}`, extra_2: "x" }));
    await stageByHand(client, rows);
    const bad = { ticket_id: "", owner: " O'Neil ", week_start: "24", extra_2: "7" };
    await stageByHand(client, [...rows, bad], { columns: Object.keys(bad) });
    const [, second] = await applyStaged(client);
    const { rows: found } = await client.query(
      "select r.dataset, r.source_key, r.line::int, r.raw from tickets.rejected_rows as r",
    );
    assert.deepEqual(found, [
      {
        dataset: "inc",
        source_key: second?.source_key,
        line: 32,
        raw: { owner: " O'Neil ", week_start: "24", extra_2: "7" },
      },
    ]);
  }));

test("values in spare columns are kept under the names of those", () =>
  database.rolledBack(async (client) => {
    await stageByHand(client, [
      { ticket_id: "T1", extra_1: "one", extra_32: " two " },
      { ticket_id: "T2", extra_1: " ", extra_32: "three" },
    ]);
    await applyStaged(client);
    assert.deepEqual(
      (await ticketRows(client)).map(({ raw }) => raw),
      [
        { ticket_id: "T1", extra_1: "one", extra_32: " two " },
        { ticket_id: "T2", extra_32: "three" },
      ],
    );
  }));

test("closures are counted, and recorded with the time at which they were applied", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    await stageByHand(client, [{ ticket_id: "T1", closed_at: "2026-06-15 06:05:00" }]);
    const { source_key, closures } = only(await applyStaged(client));
    const { rows } = await client.query(
      "select e.ticket_id, e.source_key, e.observed_at from tickets.closure_events as e",
    );
    assert.equal(closures, 1);
    assert.deepEqual(rows, [
      { ticket_id: "T1", source_key, observed_at: new Date("2026-06-15T06:30:00Z") },
    ]);
  }));

test("the loader's role may stage and apply, though it may not touch a ticket", (t) =>
  database.rolledBack(async (client) => {
    const { rowCount } = await client.query(
      "select from pg_roles where rolname = 'fleettickets_loader'",
    );
    if (rowCount === 0) {
      t.skip("the role fleettickets_loader is not there");
      return;
    }
    await client.query("set local role fleettickets_loader");
    await stageByHand(client, [pending]);
    assert.equal(only(await applyStaged(client)).inserted, 1);
    await assert.rejects(client.query("delete from tickets.inc"), { code: "42501" });
  }));

test("what is no dataset is TK001", () =>
  database.rolledBack((client) => assert.rejects(applyStaged(client, "nope"), ownError("TK001"))));

test("with too many rows rejected, nothing at all is applied and staging stays: TK021", async (t) => {
  const client = await (await createDatabase(t)).connect();
  await stageByHand(client, [pending], { table: "crq_staging" });
  await stageByHand(client, [pending]);
  await stageByHand(client, [{ ticket_id: "T2" }, { ticket_id: "" }]);
  await assert.rejects(applyStaged(client), ownError("TK021"));
  for (const [table, count] of [
    ["ticket", 0],
    ["ingest_files", 0],
    ["rejected_rows", 0],
    ["daily_snapshot", 0],
    ["crq_staging", 1],
    ["inc_staging", 3],
  ] as const) {
    assert.equal((await client.query(`select from tickets.${table}`)).rowCount, count, table);
  }
  // Its way out, as the hint says.
  await client.query("delete from tickets.inc_staging where ticket_id = ''");
  assert.equal((await applyStaged(client)).length, 3);
});

test("a line break within a ticket_id is TK022", () =>
  database.rolledBack(async (client) => {
    await stageByHand(client, [pending, { ticket_id: "T2\nT3" }]);
    await assert.rejects(applyStaged(client), ownError("TK022"));
  }));

test("a dataset that another session is loading is TK002; the other one is not held up", async (t) => {
  const [loader, byHand] = [await database.connect(), await database.connect()];
  t.after(() => loader.query("select tickets.finish_run('inc')"));
  await loader.query("select tickets.start_run('inc')");
  await byHand.query("begin");
  await assert.rejects(applyStaged(byHand, "inc"), ownError("TK002"));
  await byHand.query("rollback");
  await assert.rejects(applyStaged(byHand), ownError("TK002"));
  assert.deepEqual(await applyStaged(byHand, "crq"), []);
  // Whoever has the lock may apply what is staged.
  assert.deepEqual(await applyStaged(loader), []);
});

test("rows that are being staged meanwhile stay for the next call", async (t) => {
  const apart = await createDatabase(t);
  const [one, other] = [await apart.connect(), await apart.connect()];
  await stageByHand(one, [pending]);
  await other.query("begin");
  await stageByHand(other, [{ ticket_id: "T2" }]);
  assert.equal(only(await applyStaged(one)).staged, 1);
  await other.query("commit");
  assert.equal(only(await applyStaged(one)).staged, 1);
  assert.equal((await ticketRows(one)).length, 2);
});

test("rows that join a file while it is applied are TK023, and nothing is lost", async (t) => {
  const apart = await createDatabase(t);
  const [one, other, third] = [await apart.connect(), await apart.connect(), await apart.connect()];
  await one.query("begin");
  await stageByHand(one, [pending], { name: "manual:mine" });
  await one.query("commit");
  await other.query("begin");
  await stageByHand(other, [{ ticket_id: "T2" }], { name: "manual:mine" });
  // Holds up the file's last step.
  await third.query("begin");
  await third.query("lock table tickets.ingest_files in share mode");
  const applied = assert.rejects(applyStaged(one), ownError("TK023"));
  while (!(await isWaiting(third))) await sleep(5);
  await other.query("commit");
  await third.query("commit");
  await applied;
  assert.equal(only(await applyStaged(one)).staged, 2);
});

/** Whether a session of this database waits for a table. */
async function isWaiting(client: ClientBase): Promise<boolean> {
  const { rowCount } = await client.query(
    `select from pg_stat_activity as a
     join pg_locks as l on l.pid = a.pid and l.relation = 'tickets.ingest_files'::regclass
     where not l.granted`,
  );
  return rowCount !== 0;
}

describe("by psql", { skip: psqlProgram() === undefined && "psql is not installed" }, () => {
  test("a file with all columns is staged by \\copy and applied by one call", async (t) => {
    const byPsql = await psqlDatabase(t);
    await writeFile(
      join(byPsql.folder, "f.csv"),
      csv(contractColumns, [
        { ...pending, location_name: 'Argwings "Kodhek" Rd, block\n2', latitude: "-1.2921" },
        { ...pending, ticket_id: "T2", owner: "é'; --", week_start: "2026-06-15" },
      ]),
    );
    const output = await byPsql.psql(`
      \\copy tickets.inc_staging (${contractColumns.join(", ")}) from 'f.csv' with (format csv, header match)
      select dataset, staged, inserted, source_key like 'manual:%' from tickets.apply_staged();
    `);
    assert.equal(output, "inc,2,2,t\n");
    assert.deepEqual(
      await byPsql.rolledBack(async (client) => (await ticketRows(client)).map(({ raw }) => raw)),
      [
        { ...pending, location_name: 'Argwings "Kodhek" Rd, block\n2', latitude: "-1.2921" },
        { ...pending, ticket_id: "T2", owner: "é'; --" },
      ],
    );
  });

  test("a \\copy that names some columns leaves the others as they are", async (t) => {
    const byPsql = await psqlDatabase(t);
    await writeFile(join(byPsql.folder, "whole.csv"), csv(contractColumns, [pending]));
    await writeFile(
      join(byPsql.folder, "some.csv"),
      csv(
        ["owner", "ticket_id", "cluster", "bucket"],
        [{ ticket_id: "T1", owner: "Bob", cluster: "QOA", bucket: "" }],
      ),
    );
    const output = await byPsql.psql(`
      \\copy tickets.inc_staging (${contractColumns.join(", ")}) from 'whole.csv' with (format csv, header match)
      \\copy tickets.inc_staging (owner, ticket_id, cluster, bucket) from 'some.csv' with (format csv, header match)
      select staged, inserted, updated from tickets.apply_staged('inc');
      select * from tickets.apply_staged('inc');
      select count(*) from tickets.inc_staging;
      select metadata from tickets.import_meta where dataset = 'inc';
    `);
    assert.equal(output, "1,1,0\n1,0,1\n0\n{}\n");
    assert.deepEqual(
      await byPsql.rolledBack(async (client) => (await ticketRow(client, "T1")).raw),
      {
        ticket_id: "T1",
        raw_status: "OPEN",
        owner: "Bob",
        cluster: "QOA",
      },
    );
  });
});

/** A database, and psql in a folder of its own with a session on it. */
async function psqlDatabase(
  scope: Scope,
): Promise<TestDatabase & { folder: string; psql: (script: string) => Promise<string> }> {
  const created = await createDatabase(scope);
  const folder = await mkdtemp(join(tmpdir(), "fleettickets-psql-"));
  scope.after(() => rm(folder, { recursive: true }));
  return {
    ...created,
    folder,
    async psql(script) {
      const args = ["--no-psqlrc", "--quiet", "--tuples-only", "--csv", "--set=ON_ERROR_STOP=1"];
      const running = promisify(execFile)(psqlProgram() ?? "psql", [...args, created.url], {
        cwd: folder,
        env: { PATH: process.env["PATH"], PGCLIENTENCODING: "UTF8" },
      });
      running.child.stdin?.end(script);
      return (await running).stdout;
    },
  };
}

function psqlProgram(): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  try {
    folders.push(findPostgres().binDir);
  } catch {
    // The tests run on a server elsewhere.
  }
  return folders.map((folder) => join(folder, "psql")).find((program) => existsSync(program));
}

function csv(header: readonly string[], rows: readonly Row[]): string {
  const field = (value: string) =>
    /[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  return [header, ...rows.map((row) => header.map((name) => row[name] ?? ""))]
    .map((values) => `${values.map(field).join(",")}\n`)
    .join("");
}

for (const key of ["", "f.csv", changeKey("2030-01-01T00-00-00")]) {
  test(`rows cannot be staged by hand under the key '${key}'`, () =>
    database.rolledBack(async (client) => {
      await assert.rejects(
        client.query("insert into tickets.inc_staging (ticket_id, source_key) values ('T1', $1)", [
          key,
        ]),
        ownError("TK024"),
      );
    }));
}

test("rows that pretend to be of an open object are TK024 for apply_staged and for its file", () =>
  database.rolledBack(async (client) => {
    const key = changeKey("2030-01-01T00-00-00");
    await client.query("select set_config('tickets.object_key', $1, true)", [key]);
    await client.query("insert into tickets.inc_staging (ticket_id) values ('T1')");
    await client.query("savepoint staged");
    await assert.rejects(applyStaged(client), ownError("TK024"));
    await client.query("rollback to staged");
    await assert.rejects(
      client.query("select tickets.open_file('inc', $1, array['ticket_id'])", [key]),
      ownError("TK024"),
    );
  }));
