// Today's snapshot is kept by difference: whatever is loaded, written by hand and taken away, while
// time goes on, it is what counting all tickets comes to.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { type Row, applyFile, changeKey, freezeTime } from "./staging.ts";

const database = await createDatabase({ after });

const hour = 3_600_000;
const start = Date.UTC(2026, 5, 15, 5);

type Step =
  | { do: "load"; isLate: boolean; isSnapshot: boolean; rows: readonly Row[] }
  | { do: "write" | "delete"; row: Row }
  | { do: "empty" | "look" }
  | { do: "wait"; hours: number }
  | { do: "target"; hours: number };

const row: fc.Arbitrary<Row> = fc.record(
  {
    ticket_id: fc.constantFrom("T1", "T2", "T3", "T4"),
    bucket: fc.constantFrom("pending", "pending", "closed"),
    cluster: fc.constantFrom("QOA", "Ruaka", "é".repeat(300), `${"é".repeat(300)}2`),
    is_actionable: fc.constantFrom("true", "false"),
    // Wall time in Nairobi, three hours ahead: the day before, the first one, and the next.
    created_at_service: fc.constantFrom(
      "2026-06-14 20:00:00",
      "2026-06-15 00:00:00",
      "2026-06-15 09:30:00",
      "2026-06-16 01:00:00",
    ),
    first_seen_at: fc.constantFrom("2026-06-15 07:00:00", "2026-06-15 23:59:59"),
    closed_at: fc.constantFrom("2026-06-15 08:00:00", "2026-06-16 00:00:00", "2026-02-30 08:00:00"),
  },
  { requiredKeys: ["ticket_id"] },
);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("load" as const),
      isLate: fc.boolean(),
      isSnapshot: fc.boolean(),
      rows: fc.array(row, { minLength: 1, maxLength: 6 }),
    }),
  },
  fc.record({ do: fc.constantFrom("write" as const, "delete" as const), row }),
  fc.record({ do: fc.constantFrom("empty" as const, "look" as const) }),
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("wait" as const), hours: fc.constantFrom(1, 6, 20) }),
  },
  fc.record({ do: fc.constant("target" as const), hours: fc.constantFrom(2, 12, 48) }),
);

/** What is in today's snapshot, and what counting the tickets one by one comes to. */
async function snapshotAndCount(client: ClientBase): Promise<[unknown, unknown]> {
  const { rows } = await client.query<{ kept: unknown; counted: unknown }>(
    `with now as (
       select tickets._now() as at, (tickets._now() at time zone interval '3 hours')::date as today
     ),
     counted as (
       select t.cluster,
         count(*) filter (where t.is_open) as open,
         count(*) filter (where t.is_open and t.is_actionable) as actionable,
         count(*) filter (where t.is_open and o.opened_at < n.at - d.sla_target) as breached,
         count(*) filter (where (o.opened_at at time zone interval '3 hours')::date = n.today)
           as created,
         count(*) filter (where (t.closed_at at time zone interval '3 hours')::date = n.today)
           as closed
       from tickets.inc as t
       join tickets.datasets as d on d.dataset = t.dataset
       cross join now as n
       cross join lateral (select coalesce(t.created_at_service, t.first_seen_at) as opened_at) as o
       group by t.cluster
     ),
     kept as (
       -- By the names that tickets have, of which the snapshot has only the beginning.
       select k.cluster, s.open, s.actionable, s.breached, s.created, s.closed
       from tickets.inc_daily_snapshot as s
       join now as n on n.today = s.day
       left join (select distinct t.cluster from tickets.inc as t) as k
         on s.cluster = tickets._cluster_key(k.cluster)
     )
     select (select json_agg(k order by k.cluster) from kept as k) as kept,
       (select json_agg(c order by c.cluster) from counted as c) as counted`,
  );
  return [rows[0]?.kept, rows[0]?.counted];
}

/** Does one thing. Returns whether today's snapshot is promised to be right after it. */
async function take(client: ClientBase, step: Step, n: number, now: number): Promise<boolean> {
  switch (step.do) {
    case "load": {
      const minute = String(n).padStart(2, "0");
      await applyFile(client, {
        key: changeKey(`2026-06-15T0${step.isLate ? 6 : 7}-${minute}-00`),
        rows: step.rows,
        isSnapshot: step.isSnapshot,
      });
      return true;
    }
    case "write":
      await client.query(
        `insert into tickets.inc as t (ticket_id, raw) values ($1, $2)
         on conflict (ticket_id, dataset) do update set raw = excluded.raw`,
        [step.row["ticket_id"], step.row],
      );
      return false;
    case "delete":
      await client.query("delete from tickets.inc where ticket_id = $1", [step.row["ticket_id"]]);
      return false;
    case "empty":
      await client.query("truncate tickets.inc");
      return false;
    case "wait":
      await freezeTime(client, new Date(now + step.hours * hour).toISOString());
      return false;
    case "target":
      await client.query("update tickets.datasets set sla_target = make_interval(hours => $1)", [
        step.hours,
      ]);
      return false;
    case "look":
      await client.query("select * from tickets.capture_history('inc')");
      return true;
  }
}

test("today's snapshot is what counting all tickets comes to, whatever was done", () =>
  database.rolledBack(async (client) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (steps) => {
        await client.query("savepoint before");
        let now = start;
        await freezeTime(client, new Date(now).toISOString());
        for (const [n, each] of [...steps, { do: "look" as const }].entries()) {
          const isRight = await take(client, each, n, now);
          if (each.do === "wait") now += each.hours * hour;
          if (!isRight) continue;
          const [kept, counted] = await snapshotAndCount(client);
          assert.deepEqual(kept, counted);
        }
        await client.query("rollback to before");
      }),
      { numRuns: 60 },
    );
  }));

test("a file counts what it changes, not all that are open", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T05:00:00Z");
    const rows = ["T1", "T2"].map((ticket_id) => ({ ticket_id, cluster: "QOA" }));
    await applyFile(client, { key: changeKey("2026-06-15T06-00-00"), rows });
    // Nobody but a count of all would set it right.
    await client.query("update tickets.inc_daily_snapshot set open = 100");
    await client.query("select * from tickets.capture_history('inc')");
    await applyFile(client, {
      key: changeKey("2026-06-15T06-20-00"),
      rows: [{ ticket_id: "T1", cluster: "QOA", bucket: "closed" }],
    });
    const { rows: kept } = await client.query("select s.open from tickets.inc_daily_snapshot as s");
    assert.deepEqual(kept, [{ open: 99 }]);
    await freezeTime(client, "2026-06-15T22:00:00Z");
    await client.query("select * from tickets.capture_history('inc')");
    const { rows: next } = await client.query(
      "select s.open from tickets.inc_daily_snapshot as s order by s.day",
    );
    assert.deepEqual(next, [{ open: 99 }, { open: 1 }]);
  }));
