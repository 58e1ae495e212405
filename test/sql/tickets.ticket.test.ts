import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { Client, type ClientBase, escapeIdentifier } from "pg";
import { pino } from "pino";
import { migrate } from "../../src/migrate.ts";
import { createDatabase, databaseUrl } from "../harness/postgres.ts";
import type { Scope } from "../harness/scope.ts";
import { only, ticketRow, ticketRows } from "./staging.ts";
import { anyText, textOf } from "./texts.ts";

const database = await createDatabase({ after });

const textColumns = [
  "normalized_status",
  "raw_status",
  "bucket",
  "cluster",
  "region",
  "location_name",
  "assigned_team",
  "owner",
  "sla_status",
];
const timeColumns = [
  "created_at_service",
  "scheduled_at",
  "closed_at",
  "first_seen_at",
  "last_seen_at",
  "source_created_at",
  "source_updated_at",
];
const derivedColumns = [...textColumns, ...timeColumns, "is_actionable", "is_open", "mttr"];

/** Writes a ticket as a person would, past all functions. */
async function insertTicket(client: ClientBase, raw: object, ticketId = "T1", table = "inc") {
  await client.query(`insert into tickets.${table} (ticket_id, raw) values ($1, $2)`, [
    ticketId,
    { ticket_id: ticketId, ...raw },
  ]);
}

/** One typed column of tickets that differ in one key of raw, by the text under that key. */
async function typed(
  client: ClientBase,
  column: string,
  key: string,
  texts: readonly string[],
): Promise<Record<string, unknown>> {
  await client.query(
    `insert into tickets.inc (ticket_id, raw)
     select 'T' || t.n, jsonb_build_object('ticket_id', 'T' || t.n, $2::text, t.text)
     from unnest($1::text[]) with ordinality as t (text, n)`,
    [texts, key],
  );
  const tickets = await ticketRows(client);
  return Object.fromEntries(tickets.map((ticket) => [String(ticket.raw[key]), ticket[column]]));
}

test("the columns of text say what raw says", () =>
  database.rolledBack(async (client) => {
    const raw = Object.fromEntries(textColumns.map((column) => [column, `  ${column} é"'; `]));
    await insertTicket(client, raw);
    const ticket = await ticketRow(client, "T1");
    assert.deepEqual(
      Object.fromEntries(textColumns.map((column) => [column, ticket[column]])),
      raw,
    );
  }));

test("the columns of time say what raw says, in Nairobi", () =>
  database.rolledBack(async (client) => {
    const texts = timeColumns.map((_, n) => `2026-06-15 1${n}:04:00`);
    const raw = Object.fromEntries(timeColumns.map((column, n) => [column, texts[n]]));
    await insertTicket(client, raw);
    const ticket = await ticketRow(client, "T1");
    assert.deepEqual(
      timeColumns.map((column) => ticket[column]),
      timeColumns.map((_, n) => `2026-06-15T${String(7 + n).padStart(2, "0")}:04:00+00:00`),
    );
  }));

test("a ticket without any value has typed columns without any, and is open", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, {});
    const places = ["latitude", "longitude", "geom", "geog"];
    const empty = [...derivedColumns, ...places];
    const unknown = ["source_key", "exported_at", "previous_source_key", "previous_exported_at"];
    assert.deepEqual(await ticketRow(client, "T1"), {
      ...Object.fromEntries([...empty, ...unknown].map((column) => [column, null])),
      dataset: "inc",
      ticket_id: "T1",
      raw: { ticket_id: "T1" },
      is_open: true,
      geo_source: "none",
    });
  }));

test("mttr is digits with an optional fraction, rounded half up; nothing else casts", () =>
  database.rolledBack(async (client) => {
    const expected = {
      "0": 0,
      "95": 95,
      "007": 7,
      " 12\r\n": 12,
      "2.4": 2,
      "2.5": 3,
      "3.5": 4,
      "0.49999999999999999999": 0,
      "2147483647.4": 2147483647,
      "2147483647.5": null,
      "2147483648": null,
      "99999999999999999999999999999999999999999999999999": null,
      "n/a": null,
      "-5": null,
      "+5": null,
      "1e3": null,
      "12.": null,
      ".5": null,
      "1,5": null,
      "1 000": null,
      "0x10": null,
      "1_000": null,
      "12 min": null,
      NaN: null,
      Infinity: null,
      "١٢": null,
    };
    assert.deepEqual(await typed(client, "mttr", "mttr", Object.keys(expected)), expected);
  }));

test("a flag is true/t/1/yes or false/f/0/no in any case, else NULL", () =>
  database.rolledBack(async (client) => {
    const yes = ["true", "TRUE", "True", "t", "T", "1", "yes", "YES", " yes "];
    const no = ["false", "FALSE", "False", "f", "F", "0", "no", "NO", "\tno\n"];
    const neither = ["y", "n", "on", "off", "2", "-1", "maybe", "tru", "nope", "null"];
    assert.deepEqual(
      await typed(client, "is_actionable", "is_actionable", [...yes, ...no, ...neither]),
      Object.fromEntries([
        ...yes.map((text) => [text, true]),
        ...no.map((text) => [text, false]),
        ...neither.map((text) => [text, null]),
      ]),
    );
  }));

test("bucket decides whether a ticket is open, else its closing time does", () =>
  database.rolledBack(async (client) => {
    const closed_at = "2026-06-15 17:04:00";
    const cases: [object, boolean][] = [
      [{ bucket: "closed" }, false],
      [{ bucket: "closed", closed_at }, false],
      [{ bucket: "pending" }, true],
      [{ bucket: "pending", closed_at }, true],
      [{ bucket: " Closed " }, false],
      [{ bucket: "PENDING", closed_at }, true],
      [{}, true],
      [{ closed_at }, false],
      [{ closed_at: "2026-02-30" }, true],
      [{ bucket: "unknown" }, true],
      [{ bucket: "unknown", closed_at }, false],
    ];
    for (const [n, [raw]] of cases.entries()) await insertTicket(client, raw, `T${100 + n}`);
    assert.deepEqual(
      (await ticketRows(client)).map((ticket) => ticket["is_open"]),
      cases.map(([, isOpen]) => isOpen),
    );
  }));

test("coordinates of the feed become the ticket's point", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, { latitude: "-1.2921", longitude: " 36.8219 " });
    const { rows } = await client.query(
      `select t.latitude, t.longitude, public.st_asewkt(t.geom) as geom,
         public.st_asewkt(t.geog) as geog, t.geo_source
       from tickets.inc as t`,
    );
    assert.deepEqual(rows, [
      {
        latitude: -1.2921,
        longitude: 36.8219,
        geom: "SRID=4326;POINT(36.8219 -1.2921)",
        geog: "SRID=4326;POINT(36.8219 -1.2921)",
        geo_source: "feed",
      },
    ]);
  }));

test("coordinates at the edges of their ranges count, the equator among them", () =>
  database.rolledBack(async (client) => {
    const points = [
      ["90", "180"],
      ["-90", "-180"],
      ["0", "36.8219"],
      ["-1.2921", "0"],
      ["+1.5", "36"],
    ];
    for (const [n, [latitude, longitude]] of points.entries()) {
      await insertTicket(client, { latitude, longitude }, `T${n}`);
    }
    assert.deepEqual(
      (await ticketRows(client)).map(({ latitude, longitude, geo_source }) => [
        latitude,
        longitude,
        geo_source,
      ]),
      [
        [90, 180, "feed"],
        [-90, -180, "feed"],
        [0, 36.8219, "feed"],
        [-1.2921, 0, "feed"],
        [1.5, 36, "feed"],
      ],
    );
  }));

test("coordinates that are out of range, 0,0 or no numbers count as missing", () =>
  database.rolledBack(async (client) => {
    const pairs = [
      ["90.0001", "36.8"],
      ["-91", "36.8"],
      ["-1.29", "180.5"],
      ["-1.29", "-181"],
      ["368219", "-12921"],
      ["0", "0"],
      ["0.0", "-0.000"],
      ["-1.29", undefined],
      [undefined, "36.8"],
      ["-1.29", "n/a"],
      ["-1,29", "36,8"],
      ["NaN", "NaN"],
      ["Infinity", "36.8"],
      ["1e1", "36.8"],
      ["0x1", "36.8"],
      ["-1.29 S", "36.8 E"],
      ["١", "36.8"],
      ["-1.29\u{a0}", "36.8"],
      ["-1.29", "36.8\u{2003}"],
      ["\u{3000}-1.29", "36.8"],
    ];
    for (const [n, [latitude, longitude]] of pairs.entries()) {
      await insertTicket(client, { latitude, longitude }, `T${n}`);
    }
    const found = (await ticketRows(client)).map(
      ({ raw, latitude, longitude, geom, geog, geo_source }) => ({
        raw: [raw["latitude"], raw["longitude"]],
        columns: [latitude, longitude, geom, geog, geo_source],
      }),
    );
    assert.deepEqual(
      found.filter(({ columns }) => columns.some((value) => value !== null && value !== "none")),
      [],
    );
    assert.equal(found.length, pairs.length);
  }));

test("a change of raw by hand changes the typed columns as if it had been inserted", () =>
  database.rolledBack(async (client) => {
    const value = (...texts: string[]) => fc.option(fc.constantFrom(...texts), { nil: undefined });
    const raw = fc.record({
      bucket: value("closed", "pending", "other"),
      owner: value("Ann", "Bo'b"),
      mttr: value("12", "12.5", "n/a"),
      is_actionable: value("yes", "no", "?"),
      closed_at: value("2026-06-15", "2026-06-15T10:00Z", "2026-02-30"),
      created_at_service: value("2026-06-01 08:00", "soon"),
      latitude: value("-1.29", "0", "91"),
      longitude: value("36.82", "0", "x"),
    });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom("inc", "crq"), raw, raw, async (table, before, now) => {
        await client.query("delete from tickets.ticket");
        await insertTicket(client, before, "T1", table);
        await client.query("update tickets.ticket set raw = $1", [{ ticket_id: "T1", ...now }]);
        const updated = await ticketRow(client, "T1");
        await client.query("delete from tickets.ticket");
        await insertTicket(client, now, "T1", table);
        assert.deepEqual(updated, await ticketRow(client, "T1"));
      }),
      { numRuns: 60 },
    );
  }));

test("no text in raw keeps a ticket from being written", () =>
  database.rolledBack(async (client) => {
    // Near what casts, since that is what a guard may let through to a cast that fails.
    const nearly = textOf("0123456789.+-: TZeE\t\n\v\f\r\u{85}\u{a0}\u{2003}\u{3000}\u{feff}١", 12);
    const texts = fc.array(fc.oneof(nearly, anyText()), {
      minLength: 1,
      maxLength: 200,
      size: "max",
    });
    const keys = [...derivedColumns, "latitude", "longitude"];
    await fc.assert(
      fc.asyncProperty(texts, async (all) => {
        const raws = all.flatMap((text) => [
          Object.fromEntries(keys.map((key) => [key, text])),
          { latitude: text, longitude: "36.8" },
        ]);
        await client.query("savepoint before");
        try {
          await client.query(
            `insert into tickets.inc (ticket_id, raw)
             select t.n, t.raw from unnest($1::jsonb[]) with ordinality as t (raw, n)`,
            [raws.map((raw) => JSON.stringify(raw))],
          );
        } finally {
          await client.query("rollback to before");
        }
      }),
      { numRuns: 30 },
    );
  }));

test("digits and blanks of other scripts cast to nothing on a database with an ICU locale", async (t) => {
  const client = await connectToIcuDatabase(t);
  if (client === undefined) {
    t.skip("this PostgreSQL is built without ICU");
    return;
  }
  for (const raw of [
    { mttr: "١٢" },
    { mttr: "12.٥" },
    { closed_at: "٢٠٢٦-06-15" },
    { latitude: "-١", longitude: "36.8" },
    { latitude: "-1\u{2003}", longitude: "36.8" },
  ]) {
    await insertTicket(client, raw, JSON.stringify(raw));
  }
  const found = await ticketRows(client);
  assert.deepEqual(
    found.map(({ mttr, closed_at, geo_source }) => [mttr, closed_at, geo_source]),
    found.map(() => [null, null, "none"]),
  );
});

/** A migrated database in which text sorts and matches by ICU; undefined where there is no ICU. */
async function connectToIcuDatabase(scope: Scope): Promise<Client | undefined> {
  const serverUrl = process.env["TEST_SERVER_URL"] ?? "";
  // The runner drops what bears the template's name, should this process end before it does.
  const name = `${process.env["TEST_TEMPLATE"] ?? ""}_icu_${randomBytes(4).toString("hex")}`;
  const url = databaseUrl(serverUrl, name);
  const server = new Client({ connectionString: serverUrl });
  const client = new Client({ connectionString: url });
  await server.connect();
  scope.after(async () => {
    await client.end();
    // The migration lets go of its connections a moment later, and ends the process if one breaks.
    while (
      (await server.query("select from pg_stat_activity where datname = $1", [name])).rowCount
    ) {
      await sleep(20);
    }
    await server.query(`drop database if exists ${escapeIdentifier(name)}`);
    await server.end();
  });
  const { rowCount } = await server.query(`select where to_regcollation('"und-x-icu"') is null`);
  if (rowCount !== 0) return undefined;
  await server.query(
    `create database ${escapeIdentifier(name)} template template0
       encoding 'UTF8' locale_provider icu icu_locale 'en-US'`,
  );
  await migrate(url, pino({ level: "silent" }));
  await client.connect();
  return client;
}

test("a number stands once in a dataset, and may stand in both", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, {}, "T1", "inc");
    await insertTicket(client, {}, "T1", "crq");
    assert.deepEqual(
      (await ticketRows(client)).map(({ dataset, ticket_id }) => [dataset, ticket_id]),
      [
        ["crq", "T1"],
        ["inc", "T1"],
      ],
    );
    await assert.rejects(insertTicket(client, {}, "T1", "inc"), { code: "23505" });
  }));

test("numbers that differ in case or in an accent are different tickets", () =>
  database.rolledBack(async (client) => {
    for (const id of ["inc1", "INC1", "INC1 ", "ÏNC1", "I\u{308}NC1"])
      await insertTicket(client, {}, id);
    assert.equal((await ticketRows(client)).length, 5);
  }));

test("the number may not contradict raw, whether inserted or updated", async () => {
  const other = JSON.stringify({ ticket_id: "T2" });
  await database.rolledBack(async (client) => {
    await assert.rejects(
      client.query("insert into tickets.inc (ticket_id, raw) values ('T1', $1)", [other]),
      { code: "23514" },
    );
  });
  for (const change of ["raw = $1", "ticket_id = $1::jsonb ->> 'ticket_id'"]) {
    await database.rolledBack(async (client) => {
      await insertTicket(client, {});
      await assert.rejects(client.query(`update tickets.inc set ${change}`, [other]), {
        code: "23514",
      });
    });
  }
});

test("raw is an object", () =>
  database.rolledBack(async (client) => {
    for (const raw of ["[]", "1", '"T1"', "null"]) {
      await client.query("savepoint before");
      await assert.rejects(
        client.query("insert into tickets.inc (ticket_id, raw) values ('T1', $1)", [raw]),
        { code: "23514" },
        `raw = ${raw}`,
      );
      await client.query("rollback to before");
    }
  }));

test("a ticket cannot be written into the partition of another dataset", () =>
  database.rolledBack(async (client) => {
    await assert.rejects(
      client.query(
        "insert into tickets.inc (dataset, ticket_id, raw) values ('crq', 'T1', '{}'::jsonb)",
      ),
      /another partition/,
    );
  }));

const placeColumns = ["latitude", "longitude", "geom", "geog", "geo_source"];

test("no derived column can be written, nor emptied", () =>
  database.rolledBack(async (client) => {
    // Two tickets that differ in every one of these columns.
    const [one, other] = [1, 2].map((n) => ({
      ...Object.fromEntries(textColumns.map((column) => [column, `${column} ${n}`])),
      ...Object.fromEntries(timeColumns.map((column) => [column, `2026-06-1${n} 12:00:00`])),
      bucket: n === 1 ? "closed" : "pending",
      is_actionable: n === 1 ? "true" : "false",
      mttr: `${n}`,
      latitude: `${n}`,
      longitude: `${n}`,
    }));
    await insertTicket(client, one ?? {}, "T1");
    await insertTicket(client, other ?? {}, "T2");
    await insertTicket(client, {}, "T3");
    const before = await ticketRows(client);
    for (const column of [...derivedColumns, ...placeColumns]) {
      const from = column === "geo_source" ? "T3" : "T2";
      const value = `(select o.${column} from tickets.inc as o where o.ticket_id = '${from}')`;
      for (const statement of [
        `update tickets.inc set ${column} = ${value} where ticket_id = 'T1'`,
        `update tickets.inc set ${column} = null where ticket_id = 'T1'`,
        `insert into tickets.inc (ticket_id, raw, ${column})
         select 'T4', raw || '{"ticket_id": "T4"}', ${value}
         from tickets.inc where ticket_id = 'T1'`,
      ]) {
        await client.query("savepoint before");
        const error = { code: "TK041", message: `${column} of a ticket cannot be written` };
        await assert.rejects(client.query(statement), error, statement);
        await client.query("rollback to before");
      }
    }
    assert.deepEqual(await ticketRows(client), before);
  }));

test("what is written beside a derived column's own value is written", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, { owner: "Ann" });
    await client.query("update tickets.inc set owner = 'Ann', raw = raw || '{\"owner\": \"Bob\"}'");
    assert.equal((await ticketRow(client, "T1"))["owner"], "Bob");
  }));

test("both datasets have the same columns", () =>
  database.rolledBack(async (client) => {
    const { rows } = await client.query<{ same: boolean }>(
      `select count(distinct c.columns) = 1 as same
       from (
         select array_agg(
           (a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated)::text
           order by a.attname
         ) as columns
         from pg_attribute as a
         where a.attrelid in ('tickets.inc'::regclass, 'tickets.crq'::regclass) and a.attnum > 0
         group by a.attrelid
       ) as c`,
    );
    assert.equal(only(rows).same, true);
  }));
