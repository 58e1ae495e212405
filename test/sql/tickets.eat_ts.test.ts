import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { Client, type ClientBase, type DatabaseError } from "pg";
import { pino } from "pino";
import { migrate } from "../../src/migrate.ts";
import { createDatabase } from "../harness/postgres.ts";
import { createReleasedDatabase } from "../harness/released.ts";
import { ticketRows } from "./staging.ts";
import { anyText, textOf } from "./texts.ts";

const database = await createDatabase({ after });

const hour = 3_600_000;

/** What it says, which is what the expression for many texts at once says, too, with care. */
async function eatTs(
  texts: readonly (string | null)[],
  client: ClientBase | typeof database.pool = database.pool,
) {
  const { rows } = await client.query<{ at: Date | null; at_once: Date | null }>(
    `select tickets.eat_ts(t.text) as at,
       tickets._instant(t.text, null) as at_once
     from unnest($1::text[]) with ordinality as t (text, n) order by t.n`,
    [texts],
  );
  assert.deepEqual(
    rows.map((row) => row.at_once),
    rows.map((row) => row.at),
  );
  return rows.map((row) => row.at?.toISOString() ?? null);
}

async function assertInstants(expected: Record<string, string | null>): Promise<void> {
  const texts = Object.keys(expected);
  const found = await eatTs(texts);
  assert.deepEqual(Object.fromEntries(texts.map((text, n) => [text, found[n]])), expected);
}

test("a timestamp without an offset is wall time in Nairobi", () =>
  assertInstants({
    "2026-06-15 17:04:00": "2026-06-15T14:04:00.000Z",
    "2026-06-15T17:04:00": "2026-06-15T14:04:00.000Z",
    "2026-06-15 17:04": "2026-06-15T14:04:00.000Z",
    "2026-06-15T17:04": "2026-06-15T14:04:00.000Z",
    "2026-06-15 17:04:00.5": "2026-06-15T14:04:00.500Z",
    "2026-06-15T17:04:00.123456": "2026-06-15T14:04:00.123Z",
    "2026-06-15": "2026-06-14T21:00:00.000Z",
    "2026-01-01 02:59:59": "2025-12-31T23:59:59.000Z",
    "2024-02-29 00:00:00": "2024-02-28T21:00:00.000Z",
    "2026-12-31": "2026-12-30T21:00:00.000Z",
    " 2026-06-15 17:04:00\r\n": "2026-06-15T14:04:00.000Z",
  }));

test("an explicit offset is honoured", () =>
  assertInstants({
    "2026-06-15T17:04:00Z": "2026-06-15T17:04:00.000Z",
    "2026-06-15 17:04Z": "2026-06-15T17:04:00.000Z",
    "2026-06-15 17:04:00+03:00": "2026-06-15T14:04:00.000Z",
    "2026-06-15 17:04:00+03": "2026-06-15T14:04:00.000Z",
    "2026-06-15 17:04:00+0300": "2026-06-15T14:04:00.000Z",
    "2026-06-15T17:04:00.250-05:30": "2026-06-15T22:34:00.250Z",
    "2026-06-15 17:04:00+00:00": "2026-06-15T17:04:00.000Z",
  }));

test("EAT is UTC+3 in every year from 1900 to 2200, and no other year casts", () =>
  assertInstants({
    "1899-12-31 23:59:59": null,
    "1899-12-31T20:59:59Z": null,
    "1899-12-31T21:00:00Z": "1899-12-31T21:00:00.000Z",
    "1900-01-01": "1899-12-31T21:00:00.000Z",
    "1900-01-01T00:00:00+05:00": null,
    "1908-04-30 12:00:00": "1908-04-30T09:00:00.000Z",
    "1928-07-01 00:00:00": "1928-06-30T21:00:00.000Z",
    "1937-01-01 00:00:00": "1936-12-31T21:00:00.000Z",
    "1959-12-31 23:59:59": "1959-12-31T20:59:59.000Z",
    "2200-12-31 23:59:59": "2200-12-31T20:59:59.000Z",
    "2200-12-31 23:59:59.9999999": null,
    "2200-12-31T21:00:00Z": null,
    "2201-01-01 00:00:00": null,
    "2201-01-01 00:00:00+03:30": "2200-12-31T20:30:00.000Z",
    "0001-01-01": null,
    "0001-01-01 00:00:00+14": null,
    "9999-12-31 23:59:59": null,
    "9999-12-31 23:59:59-14": null,
  }));

test("what is no timestamp is NULL", () =>
  assertInstants(
    Object.fromEntries(
      [
        "",
        " ",
        "n/a",
        "yesterday",
        "now",
        "infinity",
        "-infinity",
        "epoch",
        "2026-02-30",
        "2026-02-29",
        "1900-02-29",
        "2026-04-31 10:00:00",
        "2026-13-01",
        "2026-00-10",
        "2026-06-00",
        "0000-06-15",
        "2026-06-15 24:00:00",
        "2026-06-15 17:60:00",
        "2026-06-15 17:04:60",
        "2026-06-15 17",
        "2026-06-15 17:04:00 PM",
        "2026-06-15 17:04:00 EAT",
        "2026-06-15 17:04:00+25:00",
        "2026-06-15 17:04:00+03:75",
        "2026-06-15Z",
        "2026-6-15",
        "15/06/2026",
        "06/15/2026 17:04",
        "20260615",
        "20260615T170400",
        "2026-W25-1",
        "1781532240",
        "2026-06-15 17:04:00'; drop table tickets.ticket; --",
        "12026-06-15",
        "2026-06-15\n2026-06-16",
      ].map((text) => [text, null]),
    ),
  ));

test("NULL is no timestamp", async () => {
  assert.deepEqual(await eatTs([null]), [null]);
});

test("any instant comes back from each way to write it", async () => {
  const instants = fc.array(
    fc.integer({ min: Date.UTC(1900, 0, 1), max: Date.UTC(2200, 11, 31) }),
    { minLength: 50, maxLength: 200 },
  );
  await fc.assert(
    fc.asyncProperty(instants, async (milliseconds) => {
      const expected = milliseconds.map((ms) => new Date(ms).toISOString());
      const inNairobi = milliseconds.map((ms) => new Date(ms + 3 * hour).toISOString());
      for (const texts of [
        expected,
        inNairobi.map((iso) => iso.slice(0, -1)),
        inNairobi.map((iso) => iso.slice(0, -1).replace("T", " ")),
        inNairobi.map((iso) => iso.replace("Z", "+03:00")),
      ]) {
        assert.deepEqual(await eatTs(texts), expected);
      }
    }),
    { numRuns: 20 },
  );
});

test("every day of a century is a timestamp, and no other", async () => {
  const days = Array.from({ length: 100 * 12 * 31 }, (_, n) => {
    const [year, month, day] = [1900 + Math.floor(n / 372), Math.floor(n / 31) % 12, (n % 31) + 1];
    const midnight = new Date(Date.UTC(year, month, day));
    const text = `${year}-${String(month + 1).padStart(2, "0")}-${String(day).padStart(2, "0")}`;
    const exists = midnight.getUTCDate() === day;
    return { text, at: exists ? new Date(midnight.getTime() - 3 * hour).toISOString() : null };
  });
  assert.deepEqual(
    await eatTs(days.map((day) => day.text)),
    days.map((day) => day.at),
  );
});

test("no text makes it fail", async () => {
  const nearly = textOf("0123456789-:T Z+.\n", 30);
  const mutated = fc
    .tuple(fc.nat(22), fc.constantFrom("9", "0", "-", " ", "T", ":", "é", "'", ""))
    .map(
      ([at, text]) => `2026-06-15 17:04:00.5+03`.slice(0, at) + text + "1:04:00.5+03".slice(at % 9),
    );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(nearly, mutated, anyText()), { minLength: 100, maxLength: 500 }),
      async (texts) => {
        assert.equal((await eatTs(texts)).length, texts.length);
      },
    ),
    { numRuns: 30 },
  );
});

test("without care a text means the same, or fails as the wrong data that it is", async () => {
  const client = await database.connect();
  await client.query("set datestyle = 'ISO, YMD'");
  const nearly = fc
    .tuple(
      fc.constantFrom("2026-06-15 17:04:00", "2024-02-29 00:00:59"),
      fc.nat(18),
      textOf("0123456789-:T Z+.é", 3),
    )
    .map(([text, at, other]) => text.slice(0, at) + other + text.slice(at + other.length));
  const wrong = fc.constantFrom(
    ...["2026-02-30 10:00:00", "2026-06-15 24:00:00", "2026-06-15 17:04:60", "2026-06-15  7:04:00"],
    ...["2026-06-15 +7:04:00", "infinity", "20 June 2026 at two", "2026-06-15 17:04:00"],
  );
  await fc.assert(
    fc.asyncProperty(fc.oneof(nearly, wrong, anyText()), async (text) => {
      const { rows } = await client.query<{ at: Date | null }>("select tickets.eat_ts($1) as at", [
        text,
      ]);
      let quick: Date | null;
      try {
        const answer = await client.query<{ at: Date | null }>(
          "select tickets._instant($1, tickets._wall_time($1, p_is_careful => false)) as at",
          [text],
        );
        quick = answer.rows[0]?.at ?? null;
      } catch (error) {
        assert.match((error as DatabaseError).code ?? "", /^22/);
        assert.equal(rows[0]?.at, null);
        return;
      }
      assert.deepEqual(quick, rows[0]?.at);
    }),
    { numRuns: 500 },
  );
});

test("digits of another script are no timestamp, whatever the locale", async (t) => {
  const collations = await database.pool.query(
    "select where to_regcollation('\"und-x-icu\"') is null",
  );
  if (collations.rowCount !== 0) {
    t.skip("this PostgreSQL is built without ICU");
    return;
  }
  const { rows } = await database.pool.query(
    `select tickets.eat_ts('٢٠٢٦-06-15' collate "und-x-icu") as day,
       tickets.eat_ts('٢٠٢٦-06-15 17:04:00' collate "und-x-icu") as second`,
  );
  assert.deepEqual(rows, [{ day: null, second: null }]);
});

test("neither DateStyle nor TimeZone has a say", () =>
  database.rolledBack(async (client) => {
    const texts = ["2026-06-07 17:04:00", "2026-06-07", "2026-06-07T17:04:00.5-05:30", "2026-07Z"];
    const expected = await eatTs(texts, client);
    for (const dateStyle of ["ISO, DMY", "SQL, DMY", "German, DMY", "Postgres, MDY"]) {
      for (const timeZone of ["UTC", "Pacific/Kiritimati", "America/New_York"]) {
        await client.query("select set_config('DateStyle', $1, true)", [dateStyle]);
        await client.query("select set_config('TimeZone', $1, true)", [timeZone]);
        // As a number: how an instant is printed does depend on DateStyle.
        const { rows } = await client.query<{ at: number | null }>(
          `select extract(epoch from tickets.eat_ts(t.text))::float8 * 1000 as at
           from unnest($1::text[]) with ordinality as t (text, n) order by t.n`,
          [texts],
        );
        assert.deepEqual(
          rows.map(({ at }) => (at === null ? null : new Date(at).toISOString())),
          expected,
        );
      }
    }
  }));

test("it is immutable, so that plans may compute it ahead", async () => {
  const { rows } = await database.pool.query(
    "select provolatile from pg_proc where oid = 'tickets.eat_ts(text)'::regprocedure",
  );
  assert.deepEqual(rows, [{ provolatile: "i" }]);
});

test("an upgrade casts anew what was cast by the zone database, once and for all", async (t) => {
  const url = await createReleasedDatabase(t, "1.3.1");
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  t.after(() => client.end());
  const texts = {
    old: "1900-01-01",
    stated: "1950-06-15T12:00:00+00:00",
    early: "1899-12-31 23:59:59",
    late: "2999-01-01 10:00:00",
    usual: "2026-06-15 10:00:00",
  };
  for (const [ticket_id, closed_at] of Object.entries(texts)) {
    const raw = { ticket_id, bucket: "closed", closed_at, first_seen_at: closed_at };
    await client.query("insert into tickets.inc (ticket_id, raw) values ($1, $2)", [
      ticket_id,
      raw,
    ]);
  }
  await client.query("select tickets.capture_history('inc')");
  const before = await rowVersions(client);
  await migrate(url, pino({ level: "silent" }));
  // The migration lets go of its connections a moment later, and ends the process if one breaks.
  const others = `select from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()`;
  while ((await client.query(others)).rowCount) await sleep(20);

  const expected = {
    early: null,
    late: null,
    old: "1899-12-31T21:00:00+00:00",
    stated: "1950-06-15T12:00:00+00:00",
    usual: "2026-06-15T07:00:00+00:00",
  };
  const tickets = await ticketRows(client);
  for (const column of ["closed_at", "first_seen_at"]) {
    assert.deepEqual(
      Object.fromEntries(tickets.map((ticket) => [ticket.ticket_id, ticket[column]])),
      expected,
    );
  }
  assert.equal((await rowVersions(client))["usual"], before["usual"]);

  await client.query("set timezone = 'UTC'");
  for (const closures of [0, 0]) {
    const { rows } = await client.query(
      "select c.closures from tickets.capture_history('inc') as c",
    );
    assert.deepEqual(rows, [{ closures }]);
    const events = await client.query<{ ticket_id: string; closed_at: string | null }>(
      `select e.ticket_id, to_json(e.closed_at) #>> '{}' as closed_at
       from tickets.closure_events as e`,
    );
    assert.equal(events.rowCount, 5);
    assert.deepEqual(
      Object.fromEntries(events.rows.map(({ ticket_id, closed_at }) => [ticket_id, closed_at])),
      expected,
    );
  }
  await assert.rejects(client.query("delete from tickets.closure_events"), { code: "TK039" });
});

async function rowVersions(client: ClientBase): Promise<Record<string, string>> {
  const { rows } = await client.query<{ ticket_id: string; xmin: string }>(
    "select t.ticket_id, t.xmin from tickets.ticket as t",
  );
  return Object.fromEntries(rows.map(({ ticket_id, xmin }) => [ticket_id, xmin]));
}
