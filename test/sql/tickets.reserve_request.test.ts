// With tickets.pause_requests, which holds the reservations off.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { freezeTime, only } from "./staging.ts";

const database = await createDatabase({ after });

interface Turn {
  wait_ms: number | null;
  quota_until: Date | null;
}

async function reserve(client: ClientBase, perSecond = 1, service = "stub"): Promise<Turn> {
  const { rows } = await client.query<Turn>(
    "select r.* from tickets.reserve_request(p_service => $1, p_per_second => $2) as r",
    [service, perSecond],
  );
  return only(rows);
}

async function waits(client: ClientBase, count: number, perSecond = 1, service = "stub") {
  const found: (number | null)[] = [];
  for (let n = 0; n < count; n++) found.push((await reserve(client, perSecond, service)).wait_ms);
  return found;
}

async function limit(client: ClientBase, limits: Record<string, number>): Promise<void> {
  await client.query(
    `insert into tickets.geocoder_services (service, per_second, per_minute, per_day)
     values ('stub', $1, $2, $3)`,
    [limits["per_second"], limits["per_minute"], limits["per_day"]],
  );
}

/** A transaction in which time stands still, at ten in the morning of UTC. */
function frozen(work: (client: ClientBase) => Promise<void>): Promise<void> {
  return database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T10:00:00Z");
    await work(client);
  });
}

test("the first request goes at once, the next ones as far apart as the caller wants", () =>
  frozen(async (client) => {
    assert.deepEqual(await waits(client, 3), [0, 1000, 2000]);
    assert.deepEqual(await waits(client, 1, 4), [2250]);
    assert.deepEqual(await waits(client, 1, 0.1), [12_250]);
  }));

test("a service's own limit a second counts where it is lower", () =>
  frozen(async (client) => {
    await limit(client, { per_second: 2 });
    assert.deepEqual(await waits(client, 3, 100), [0, 500, 1000]);
    assert.deepEqual(await waits(client, 1, 0.5), [3000]);
  }));

test("time that has passed is not waited for again", () =>
  frozen(async (client) => {
    await waits(client, 2);
    await freezeTime(client, "2026-06-15T10:00:01.4Z");
    assert.deepEqual(await waits(client, 1), [600]);
    await freezeTime(client, "2026-06-15T10:05:00Z");
    assert.deepEqual(await waits(client, 1), [0]);
  }));

test("no minute, wherever it begins, has more requests than the limit", () =>
  frozen(async (client) => {
    await limit(client, { per_minute: 3 });
    assert.deepEqual(await waits(client, 7, 10), [0, 100, 200, 60_000, 60_100, 60_200, 120_000]);
  }));

test("the requests of a day end with it, in UTC", () =>
  frozen(async (client) => {
    await limit(client, { per_day: 2 });
    await waits(client, 2);
    const midnight = new Date("2026-06-16T00:00:00Z");
    assert.deepEqual(await reserve(client), { wait_ms: null, quota_until: midnight });
    await freezeTime(client, "2026-06-15T23:59:59Z");
    assert.deepEqual(await reserve(client), { wait_ms: null, quota_until: midnight });
    await freezeTime(client, "2026-06-16T00:00:00Z");
    assert.deepEqual(await waits(client, 2), [0, 1000]);
    assert.equal((await reserve(client)).wait_ms, null);
  }));

test("a request that has to wait past midnight counts for the day on which it is made", () =>
  frozen(async (client) => {
    await limit(client, { per_day: 1 });
    await freezeTime(client, "2026-06-15T23:59:59.5Z");
    await waits(client, 1);
    await client.query("select tickets.pause_requests('stub', 1000)");
    assert.deepEqual(await waits(client, 1), [1000]);
    assert.equal((await reserve(client)).wait_ms, null);
  }));

test("a pause holds off all that come after, the longest of several counts", () =>
  frozen(async (client) => {
    await waits(client, 1);
    await client.query("select tickets.pause_requests('stub', 30000)");
    await client.query("select tickets.pause_requests('stub', 5000)");
    assert.deepEqual(await waits(client, 2), [30_000, 31_000]);
  }));

test("services do not wait for each other", () =>
  frozen(async (client) => {
    await waits(client, 3);
    assert.deepEqual(await waits(client, 1, 1, "another"), [0]);
  }));

test("the free plans' limits are there", () =>
  database.rolledBack(async (client) => {
    const { rows } = await client.query(
      `select s.service, s.per_second, s.per_minute, s.per_day
       from tickets.geocoder_services as s order by s.service`,
    );
    assert.deepEqual(rows, [
      { service: "locationiq", per_second: 2, per_minute: 60, per_day: 5000 },
      { service: "nominatim", per_second: 1, per_minute: null, per_day: null },
      { service: "opencage", per_second: 1, per_minute: null, per_day: 2500 },
    ]);
  }));

test("what no limit needs any more is forgotten", () =>
  frozen(async (client) => {
    await waits(client, 5);
    await freezeTime(client, "2026-06-16T10:00:00Z");
    await reserve(client);
    const { rows } = await client.query(
      "select count(*)::int as left from tickets.geocoder_requests",
    );
    assert.deepEqual(rows, [{ left: 1 }]);
  }));

test("two sessions at once get turns of their own, which outlive them", async () => {
  const [one, other] = [await database.connect(), await database.connect()];
  const at = "2026-06-15T10:00:00Z";
  for (const client of [one, other]) {
    await client.query("select set_config('tickets.now', $1, false)", [at]);
  }
  const turns = await Promise.all([waits(one, 10, 1, "both"), waits(other, 10, 1, "both")]);
  assert.deepEqual(
    turns.flat().sort((a, b) => Number(a) - Number(b)),
    Array.from({ length: 20 }, (_, n) => n * 1000),
  );
  await one.end();
  await other.end();
  const later = await database.connect();
  await later.query("select set_config('tickets.now', $1, false)", [at]);
  assert.deepEqual(await waits(later, 1, 1, "both"), [20_000]);
});
