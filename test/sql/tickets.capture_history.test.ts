import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { nodesOf, plansWithin } from "./plans.ts";
import { applyFile, changeKey, closureRows, freezeTime, ownError } from "./staging.ts";

const database = await createDatabase({ after });

async function captureHistory(
  client: ClientBase,
  dataset: string | null = null,
): Promise<unknown[]> {
  const { rows } = await client.query<Record<string, unknown>>(
    "select * from tickets.capture_history(p_dataset => $1::text)",
    [dataset],
  );
  return rows;
}

async function insertTicket(client: ClientBase, raw: { ticket_id: string }, table = "inc") {
  await client.query(`insert into tickets.${table} (ticket_id, raw) values ($1, $2)`, [
    raw.ticket_id,
    raw,
  ]);
}

async function dailySnapshot(client: ClientBase, ...without: string[]): Promise<unknown[]> {
  const { rows } = await client.query<{ row: unknown }>(
    `select to_jsonb(d) - $1::text[] as row
     from tickets.daily_snapshot as d order by d.dataset, d.day, d.cluster`,
    [["actionable", "breached", ...without]],
  );
  return rows.map(({ row }) => row);
}

const closed = { bucket: "closed", closed_at: "2026-06-15 06:05:00", cluster: "QOA", mttr: "9" };

test("closures that nobody recorded are, whoever wrote the tickets", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    await applyFile(client, {
      key: changeKey("2026-06-15T06-00-00"),
      rows: [{ ...closed, ticket_id: "T1" }],
    });
    await insertTicket(client, { ...closed, ticket_id: "T2" });
    await insertTicket(client, { ticket_id: "T3" });
    await client.query("update tickets.inc set raw = raw || $1 where ticket_id = 'T3'", [
      { bucket: "closed", owner: "Ann" },
    ]);
    assert.deepEqual(await captureHistory(client, "inc"), [
      { dataset: "inc", closures: 2, clusters: 2 },
    ]);
    const { rows } = await client.query(
      `select e.ticket_id, e.closed_at, e.mttr, e.cluster, e.owner, e.observed_at, e.source_key
       from tickets.closure_events as e where e.ticket_id <> 'T1' order by e.ticket_id`,
    );
    const observed_at = new Date("2026-06-15T06:30:00Z");
    assert.deepEqual(rows, [
      {
        ticket_id: "T2",
        closed_at: new Date("2026-06-15T03:05:00Z"),
        mttr: 9,
        cluster: "QOA",
        owner: null,
        observed_at,
        source_key: null,
      },
      {
        ticket_id: "T3",
        closed_at: null,
        mttr: null,
        cluster: null,
        owner: "Ann",
        observed_at,
        source_key: null,
      },
    ]);
  }));

test("running it again writes nothing but that today's snapshot was looked at", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    await insertTicket(client, { ...closed, ticket_id: "T1" });
    await insertTicket(client, { ticket_id: "T2" });
    await insertTicket(client, { ...closed, ticket_id: "T1" }, "crq");
    assert.deepEqual(await captureHistory(client), [
      { dataset: "crq", closures: 1, clusters: 1 },
      { dataset: "inc", closures: 1, clusters: 2 },
    ]);
    const before = [await closureRows(client), await dailySnapshot(client, "captured_at")];
    await freezeTime(client, "2026-06-15T06:50:00Z");
    assert.deepEqual(await captureHistory(client), [
      { dataset: "crq", closures: 0, clusters: 0 },
      { dataset: "inc", closures: 0, clusters: 0 },
    ]);
    assert.deepEqual(
      [await closureRows(client), await dailySnapshot(client, "captured_at")],
      before,
    );
    const { rows } = await client.query(
      "select f.dataset, f.last_run_at from tickets.freshness as f order by f.dataset",
    );
    const last_run_at = new Date("2026-06-15T06:50:00Z");
    assert.deepEqual(rows, [
      { dataset: "crq", last_run_at },
      { dataset: "inc", last_run_at },
    ]);
  }));

test("what a person closes is recorded, also in the transaction that applied a file", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    await applyFile(client, {
      key: changeKey("2026-06-15T06-00-00"),
      rows: [{ ticket_id: "T1" }, { ...closed, ticket_id: "T2" }],
    });
    await client.query("update tickets.inc set raw = raw || $1 where ticket_id = 'T1'", [closed]);
    const again = { closed_at: "2026-06-15 06:10:00" };
    await client.query("update tickets.inc set raw = raw || $1 where ticket_id = 'T2'", [again]);
    // As it was recorded already.
    await client.query("update tickets.inc set raw = raw || $1 where ticket_id = 'T2'", [closed]);
    assert.deepEqual(await captureHistory(client, "inc"), [
      // QOA, and those without a cluster, of whom there are none any more.
      { dataset: "inc", closures: 1, clusters: 2 },
    ]);
    assert.deepEqual(
      await closureRows(client),
      ["T1", "T2"].map((ticket_id) => ({
        dataset: "inc",
        ticket_id,
        closed_at: "2026-06-15T03:05:00+00:00",
      })),
    );
  }));

test("a ticket closed and opened again by hand in between was not observed closed", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, { ...closed, ticket_id: "T1" });
    await client.query(`update tickets.inc set raw = raw || '{"bucket": "pending"}'`);
    assert.deepEqual(await captureHistory(client, "inc"), [
      { dataset: "inc", closures: 0, clusters: 1 },
    ]);
  }));

test("with nothing new it reads by indexes, not all tickets", () =>
  database.rolledBack(async (client) => {
    // Of the wide rows of tickets, so that a scan of all is what the planner would avoid.
    await client.query(
      `insert into tickets.inc (ticket_id, raw)
       select 'T' || n, jsonb_build_object(
         'ticket_id', 'T' || n, 'cluster', 'cluster ' || n % 10, 'location_name', repeat('a', 500),
         'bucket', case when n % 100 = 0 then 'pending' else 'closed' end,
         'first_seen_at', (date '2020-01-01' + n % 2000)::text,
         'closed_at', (date '2020-01-02' + n % 2000)::text
       )
       from generate_series(1, 5000) as n`,
    );
    await captureHistory(client, "inc");
    await client.query("analyze tickets.ticket");
    await client.query("analyze tickets.closure_events");
    const plans = await plansWithin(client, "select * from tickets.capture_history('inc')");
    const scans = plans
      .flatMap(nodesOf)
      .filter((node) => ["inc", "closure_events"].includes(node["Relation Name"] ?? ""))
      .map((node) => node["Node Type"]);
    assert.notEqual(scans.length, 0);
    assert.ok(!scans.includes("Seq Scan"), scans.join(", "));
  }));

test("a day has a snapshot of its own, and those of other days stay as they were", () =>
  database.rolledBack(async (client) => {
    const row = (day: string, captured_at: string, open: number) => ({
      dataset: "inc",
      day,
      cluster: "QOA",
      open,
      created: 0,
      closed: 0,
      captured_at,
    });
    // The evening in Nairobi: the day before in most of the world.
    await freezeTime(client, "2026-06-15T20:59:59Z");
    await insertTicket(client, { ticket_id: "T1", ...{ cluster: "QOA" } });
    await captureHistory(client, "inc");
    await freezeTime(client, "2026-06-15T21:00:00Z");
    await captureHistory(client, "inc");
    await freezeTime(client, "2026-06-15T21:20:00Z");
    await insertTicket(client, { ticket_id: "T2", ...{ cluster: "QOA" } });
    await captureHistory(client, "inc");
    assert.deepEqual(await dailySnapshot(client), [
      row("2026-06-15", "2026-06-15T20:59:59+00:00", 1),
      row("2026-06-16", "2026-06-15T21:20:00+00:00", 2),
    ]);
  }));

test("a cluster that all tickets have left is not in today's snapshot any more", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    await insertTicket(client, { ticket_id: "T1", ...{ cluster: "QOA" } });
    await captureHistory(client, "inc");
    await client.query(`update tickets.inc set raw = raw || '{"cluster": "PTMP"}'`);
    await captureHistory(client, "inc");
    const { rows } = await client.query(
      "select d.cluster, d.open from tickets.daily_snapshot as d",
    );
    assert.deepEqual(rows, [{ cluster: "PTMP", open: 1 }]);
  }));

test("what counts as breached is older than the target in the dataset's configuration", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T09:00:00Z");
    const breached = async () => {
      await captureHistory(client, "crq");
      const { rows } = await client.query<{ breached: number }>(
        "select d.breached from tickets.crq_daily_snapshot as d",
      );
      return rows.map((row) => row.breached);
    };
    const opened = { created_at_service: "2026-06-08 11:59:59", first_seen_at: "2026-06-15" };
    await insertTicket(client, { ticket_id: "T1", ...opened }, "crq");
    assert.deepEqual(await breached(), [1]);
    await client.query("update tickets.datasets set sla_target = '8 days' where dataset = 'crq'");
    assert.deepEqual(await breached(), [0]);
  }));

test("days are those of Nairobi, whatever the time zone of the session", () =>
  database.rolledBack(async (client) => {
    // In New York, this day has 23 hours.
    await freezeTime(client, "2026-03-08T20:00:00Z");
    await insertTicket(client, {
      ticket_id: "T1",
      ...{ created_at_service: "2026-03-08 00:00:00", closed_at: "2026-03-08 23:59:59" },
    });
    await insertTicket(client, { ticket_id: "T2", ...{ first_seen_at: "2026-03-07 23:59:59" } });
    await insertTicket(client, { ticket_id: "T3", ...{ first_seen_at: "2026-03-09 00:00:00" } });
    // Seven days ago, and half an hour.
    await insertTicket(client, { ticket_id: "T4", ...{ first_seen_at: "2026-03-01 22:30:00" } });
    await client.query("update tickets.datasets set sla_target = '7 days' where dataset = 'inc'");
    const found: unknown[] = [];
    for (const timeZone of ["UTC", "America/New_York", "Pacific/Kiritimati"]) {
      await client.query("select set_config('TimeZone', $1, true)", [timeZone]);
      await captureHistory(client, "inc");
      const { rows } = await client.query(
        "select d.day::text, d.open, d.breached, d.created, d.closed from tickets.daily_snapshot d",
      );
      found.push(rows);
    }
    const day = { day: "2026-03-08", open: 3, breached: 1, created: 1, closed: 1 };
    assert.deepEqual(found, [[day], [day], [day]]);
  }));

test("a cluster of which there is nothing to count has a row of zeros", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:30:00Z");
    const old = { bucket: "closed", closed_at: "2026-05-01", first_seen_at: "2026-05-01" };
    await insertTicket(client, { ...old, ticket_id: "T1", ...{ cluster: "QOA" } });
    await insertTicket(client, { ...old, ticket_id: "T2" });
    await insertTicket(client, { ticket_id: "T3", ...{ cluster: "PTMP" } });
    await captureHistory(client, "inc");
    const { rows } = await client.query(
      `select d.cluster, array[d.open, d.actionable, d.breached, d.created, d.closed] as counts
       from tickets.inc_daily_snapshot as d order by d.cluster`,
    );
    assert.deepEqual(rows, [
      { cluster: "PTMP", counts: [1, 0, 0, 0, 0] },
      { cluster: "QOA", counts: [0, 0, 0, 0, 0] },
      { cluster: null, counts: [0, 0, 0, 0, 0] },
    ]);
  }));

test("a dataset without tickets has an empty snapshot", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(await captureHistory(client), [
      { dataset: "crq", closures: 0, clusters: 0 },
      { dataset: "inc", closures: 0, clusters: 0 },
    ]);
    assert.deepEqual(await dailySnapshot(client), []);
  }));

test("names of ten thousand characters are clusters as others", () =>
  database.rolledBack(async (client) => {
    const cluster = "é'; --".repeat(2000);
    await insertTicket(client, { ticket_id: "T1", ...{ cluster } });
    await insertTicket(client, { ticket_id: "T2", ...{ cluster: `${cluster}2` } });
    await insertTicket(client, { ticket_id: "T3", ...{ cluster: `${cluster}2` } });
    await insertTicket(client, { ticket_id: "T4", ...{ cluster: cluster.slice(0, 255) } });
    await insertTicket(client, { ticket_id: "T5", ...{ cluster: cluster.slice(0, 256) } });
    assert.deepEqual(await captureHistory(client, "inc"), [
      { dataset: "inc", closures: 0, clusters: 4 },
    ]);
    const open = async (name: string) => {
      const { rows } = await client.query<{ open: number }>(
        `select b.open
         from (select (now() at time zone interval '3 hours')::date as today) as d
         cross join lateral reporting.fn_backlog('inc', d.today, d.today, $1) as b`,
        [name],
      );
      return rows[0]?.open;
    };
    assert.equal(await open(cluster), 1);
    assert.equal(await open(`${cluster}2`), 2);
    assert.equal(await open(cluster.slice(0, 255)), 1);
    assert.equal(await open(`${cluster}3`), 0);
  }));

test("what is no dataset is TK001, one that another session is loading TK002", async (t) => {
  await database.rolledBack((client) =>
    assert.rejects(captureHistory(client, "nope"), ownError("TK001")),
  );
  const loader = await database.connect();
  t.after(() => loader.query("select tickets.finish_run('inc')"));
  await loader.query("select tickets.start_run('inc')");
  await database.rolledBack((client) =>
    assert.rejects(captureHistory(client, "inc"), ownError("TK002")),
  );
  await database.rolledBack((client) => assert.rejects(captureHistory(client), ownError("TK002")));
  await database.rolledBack((client) => captureHistory(client, "crq"));
});
