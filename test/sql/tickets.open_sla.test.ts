import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { insertTicket } from "./reading.ts";
import { freezeTime } from "./staging.ts";

const database = await createDatabase({ after });

async function statesOf(client: ClientBase, view = "inc_open_sla") {
  const { rows } = await client.query<{ ticket_id: string; sla_state: string }>(
    `select s.ticket_id, s.sla_state from tickets.${view} as s order by s.ticket_id`,
  );
  return Object.fromEntries(rows.map(({ ticket_id, sla_state }) => [ticket_id, sla_state]));
}

test("an INC ticket is at risk from 36 hours, and breached beyond 48", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:00:00Z");
    await insertTicket(client, "T1", { created_at_service: "2026-06-15 09:00:00" });
    await insertTicket(client, "T2", { created_at_service: "2026-06-13 21:00:01" });
    await insertTicket(client, "T3", { created_at_service: "2026-06-13 21:00:00" });
    await insertTicket(client, "T4", { created_at_service: "2026-06-13 09:00:00" });
    await insertTicket(client, "T5", { created_at_service: "2026-06-13 08:59:59" });
    assert.deepEqual(await statesOf(client), {
      T1: "within",
      T2: "within",
      T3: "at_risk",
      T4: "at_risk",
      T5: "breached",
    });
  }));

test("a CRQ ticket is at risk from five days and six hours, and breached beyond seven days", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:00:00Z");
    await insertTicket(client, "T1", { created_at_service: "2026-06-10 03:00:01" }, "crq");
    await insertTicket(client, "T2", { created_at_service: "2026-06-10 03:00:00" }, "crq");
    await insertTicket(client, "T3", { created_at_service: "2026-06-08 09:00:00" }, "crq");
    await insertTicket(client, "T4", { created_at_service: "2026-06-08 08:59:59" }, "crq");
    assert.deepEqual(await statesOf(client, "crq_open_sla"), {
      T1: "within",
      T2: "at_risk",
      T3: "at_risk",
      T4: "breached",
    });
  }));

test("a ticket was opened at created_at_service, else at first_seen_at, else nobody knows", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:00:00Z");
    const first_seen_at = "2026-06-01 09:00:00";
    await insertTicket(client, "T1", { first_seen_at, created_at_service: "2026-06-15 06:00:00" });
    await insertTicket(client, "T2", { first_seen_at, created_at_service: "2026-02-30" });
    await insertTicket(client, "T3", { source_created_at: "2026-06-01 09:00:00" });
    const { rows } = await client.query(
      `select s.ticket_id, s.opened_at, extract(epoch from s.age)::integer as age, s.due_at,
         s.sla_state
       from tickets.inc_open_sla as s order by s.ticket_id`,
    );
    const hour = 3600;
    assert.deepEqual(rows, [
      {
        ticket_id: "T1",
        opened_at: new Date("2026-06-15T03:00:00Z"),
        age: 3 * hour,
        due_at: new Date("2026-06-17T03:00:00Z"),
        sla_state: "within",
      },
      {
        ticket_id: "T2",
        opened_at: new Date("2026-06-01T06:00:00Z"),
        age: 14 * 24 * hour,
        due_at: new Date("2026-06-03T06:00:00Z"),
        sla_state: "breached",
      },
      { ticket_id: "T3", opened_at: null, age: null, due_at: null, sla_state: "unknown" },
    ]);
  }));

test("each view has the open tickets of its dataset, open_sla those of all", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, "INC1");
    await insertTicket(client, "INC2", { bucket: "closed" });
    await insertTicket(client, "CRQ1", {}, "crq");
    assert.deepEqual(Object.keys(await statesOf(client)), ["INC1"]);
    assert.deepEqual(Object.keys(await statesOf(client, "crq_open_sla")), ["CRQ1"]);
    assert.deepEqual(Object.keys(await statesOf(client, "open_sla")), ["CRQ1", "INC1"]);
    const { rows } = await client.query(
      `select s.ticket_id, s.age, s.sla_state from tickets.ticket_sla as s
       where not s.is_open`,
    );
    assert.deepEqual(rows, [{ ticket_id: "INC2", age: null, sla_state: null }]);
  }));

test("target and share are those of the dataset's configuration", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:00:00Z");
    await insertTicket(client, "T1", { created_at_service: "2026-06-15 07:00:00" });
    await client.query(
      "update tickets.datasets set sla_target = '4 hours', sla_at_risk_share = 0.5",
    );
    assert.deepEqual(await statesOf(client), { T1: "at_risk" });
    await client.query("update tickets.datasets set sla_at_risk_share = 0.51");
    assert.deepEqual(await statesOf(client), { T1: "within" });
    await client.query("update tickets.datasets set sla_target = '119 minutes'");
    assert.deepEqual(await statesOf(client), { T1: "breached" });
  }));

test("a day has 24 hours, also where the session's clocks are changed", () =>
  database.rolledBack(async (client) => {
    // In Berlin, clocks went forward on 29 March 2026 at 01:00 UTC.
    await client.query("set timezone = 'Europe/Berlin'");
    await freezeTime(client, "2026-04-01T06:00:00Z");
    await insertTicket(client, "T1", { created_at_service: "2026-03-25 09:00:00Z" }, "crq");
    await insertTicket(client, "T2", { created_at_service: "2026-03-25 05:59:59Z" }, "crq");
    await insertTicket(client, "T3", { created_at_service: "2026-03-25 06:00:00Z" }, "crq");
    assert.deepEqual(await statesOf(client, "crq_open_sla"), {
      T1: "at_risk",
      T2: "breached",
      T3: "at_risk",
    });
  }));

test("as many are breached as the day's snapshot says", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:00:00Z");
    for (const [index, time] of ["08:59:59", "09:00:00", "09:00:01"].entries()) {
      await insertTicket(client, `T${index}`, { created_at_service: `2026-06-13 ${time}` });
    }
    await client.query("select tickets.capture_history('inc')");
    const { rows } = await client.query<{ snapshot: number; view: number }>(
      `select (select sum(d.breached)::integer from tickets.inc_daily_snapshot as d) as snapshot,
         (select count(*)::integer from tickets.inc_open_sla as s where s.sla_state = 'breached')
           as view`,
    );
    assert.deepEqual(rows, [{ snapshot: 1, view: 1 }]);
  }));
