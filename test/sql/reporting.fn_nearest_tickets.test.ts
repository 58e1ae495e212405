import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { nodesOf, plansWithin } from "./plans.ts";
import { ownError } from "./staging.ts";

const database = await createDatabase({ after });

interface Question {
  lat?: number | string | null;
  lng?: number | string | null;
  limit?: number | null;
  dataset?: string | null;
}

const nairobi = { lat: -1.2921, lng: 36.8219 };
const call = `select n.* from reporting.fn_nearest_tickets(
  p_lat => $1::float8, p_lng => $2::float8, p_limit => $3::integer, p_dataset => $4::text
) as n`;

function valuesOf({ lat = nairobi.lat, lng = nairobi.lng, limit = 20, dataset }: Question) {
  return [lat, lng, limit, dataset ?? null];
}

async function nearest(client: ClientBase, question: Question = {}) {
  const { rows } = await client.query<{ dataset: string; ticket_id: string; metres: number }>(
    call,
    valuesOf(question),
  );
  return rows;
}

async function namesOf(client: ClientBase, question: Question = {}): Promise<string[]> {
  return (await nearest(client, question)).map((row) => `${row.dataset} ${row.ticket_id}`);
}

async function insertTicket(
  client: ClientBase,
  ticket_id: string,
  [lat, lng]: readonly [number, number],
  more: Record<string, string> = {},
  table = "inc",
): Promise<void> {
  const raw = { ticket_id, is_actionable: "true", latitude: String(lat), longitude: String(lng) };
  await client.query(`insert into tickets.${table} (ticket_id, raw) values ($1, $2)`, [
    ticket_id,
    { ...raw, ...more },
  ]);
}

test("tickets come by their distance, in metres", () =>
  database.rolledBack(async (client) => {
    // A degree of latitude is 110.6 km at the equator, one of longitude 111.3 km.
    await insertTicket(client, "T1", [-1.2921, 37.8219]);
    await insertTicket(client, "T2", [-1.3021, 36.8219], {}, "crq");
    await insertTicket(client, "T3", [-1.2921, 36.8219]);
    const rows = await nearest(client);
    assert.deepEqual(
      rows.map((row) => [row.dataset, row.ticket_id]),
      [
        ["inc", "T3"],
        ["crq", "T2"],
        ["inc", "T1"],
      ],
    );
    const [at, near, far] = rows.map(({ metres }) => metres);
    assert.equal(at, 0);
    assert.ok(Math.abs((near ?? 0) - 1105.7) < 0.5, String(near));
    assert.ok(Math.abs((far ?? 0) - 111291) < 50, String(far));
  }));

test("a row says what the ticket is about", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, "T1", [-1.3, 36.8], {
      normalized_status: "open",
      raw_status: "ASSIGNED",
      cluster: "QOA",
      region: "nairobi",
      location_name: "NW_KILIMANI_FDT12",
      assigned_team: "North",
      owner: "Ann",
      first_seen_at: "2026-06-15 08:00:00",
      scheduled_at: "2026-06-16 10:00:00",
    });
    const { metres, ...row } = (await nearest(client))[0] ?? { metres: Number.NaN };
    assert.ok(Math.abs(metres - 2586) < 10, String(metres));
    assert.deepEqual(row, {
      dataset: "inc",
      ticket_id: "T1",
      normalized_status: "open",
      raw_status: "ASSIGNED",
      cluster: "QOA",
      region: "nairobi",
      location_name: "NW_KILIMANI_FDT12",
      assigned_team: "North",
      owner: "Ann",
      opened_at: new Date("2026-06-15T05:00:00Z"),
      scheduled_at: new Date("2026-06-16T07:00:00Z"),
      latitude: -1.3,
      longitude: 36.8,
      geo_source: "feed",
    });
  }));

test("only open, actionable tickets with a point", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, "closed", [-1.29, 36.82], { bucket: "closed" });
    await insertTicket(client, "not actionable", [-1.29, 36.82], { is_actionable: "false" });
    await insertTicket(client, "unstated", [-1.29, 36.82], { is_actionable: "" });
    await insertTicket(client, "nowhere", [0, 0]);
    await insertTicket(client, "T1", [-1.4, 36.9]);
    assert.deepEqual(await namesOf(client), ["inc T1"]);
  }));

test("those of the same distance come by dataset and number, also where the limit cuts them", () =>
  database.rolledBack(async (client) => {
    const here = [-1.2, 36.8] as const;
    for (const number of ["T4", "T2", "t1", "T3", "T1"]) await insertTicket(client, number, here);
    await insertTicket(client, "T0", here, {}, "crq");
    await insertTicket(client, "T9", [-1.29, 36.82]);
    assert.deepEqual(await namesOf(client, { limit: 5 }), [
      "inc T9",
      "crq T0",
      "inc T1",
      "inc T2",
      "inc T3",
    ]);
  }));

test("one dataset alone, however near the other's tickets are", () =>
  database.rolledBack(async (client) => {
    for (let n = 0; n < 5; n++) await insertTicket(client, `T${n}`, [-1.2921, 36.8219], {}, "crq");
    await insertTicket(client, "T7", [-4.05, 39.66]);
    assert.deepEqual(await namesOf(client, { limit: 3, dataset: "inc" }), ["inc T7"]);
    assert.deepEqual(await namesOf(client, { limit: 1, dataset: "crq" }), ["crq T0"]);
  }));

test("an empty database has none near", () =>
  database.rolledBack(async (client) => {
    assert.deepEqual(await namesOf(client), []);
  }));

test("wherever the point, they are those that a sort of all by distance begins with", () =>
  database.rolledBack(async (client) => {
    // East to west and north to south around the point, where sphere and spheroid disagree most.
    await client.query(
      `insert into tickets.inc (ticket_id, raw)
       select 'T' || n, jsonb_build_object(
         'ticket_id', 'T' || n, 'is_actionable', 'true',
         'latitude', round((4 * cos(n * 0.7) * (1 + n / 400.0))::numeric, 4)::text,
         'longitude', round((36 + 4 * sin(n * 0.7) * (1 + n / 400.0))::numeric, 4)::text
       )
       from generate_series(1, 200) as n`,
    );
    await fc.assert(
      fc.asyncProperty(
        fc.double({ min: -90, max: 90, noNaN: true }),
        fc.double({ min: -180, max: 180, noNaN: true }),
        fc.boolean(),
        fc.integer({ min: 1, max: 30 }),
        async (anyLat, anyLng, isNear, limit) => {
          const [lat, lng] = isNear ? [anyLat / 90, 36 + anyLng / 180] : [anyLat, anyLng];
          const { rows } = await client.query<{ name: string }>(
            `select 'inc ' || t.ticket_id as name from tickets.inc as t
             order by st_distance(t.geog, st_setsrid(st_makepoint($2, $1), 4326)::geography),
               t.ticket_id
             limit $3`,
            [lat, lng, limit],
          );
          assert.deepEqual(
            await namesOf(client, { lat, lng, limit }),
            rows.map(({ name }) => name),
          );
        },
      ),
      { numRuns: 60 },
    );
  }));

test("also at the poles and where longitudes begin anew, by any name of a place", () =>
  database.rolledBack(async (client) => {
    const places = [
      ...([
        [0, 180],
        [0, -180],
        [0.001, 179.9999],
        [10, 179.9],
        [10, -179.9],
      ] as const),
      ...([
        [90, 0],
        [90, 180],
        [90, -120],
        [89.9999, 60],
        [-90, 50],
        [-90, -180],
      ] as const),
    ];
    for (const [n, place] of places.entries()) await insertTicket(client, `T${n + 10}`, place);
    await client.query("analyze tickets.ticket");
    for (const isIndexed of [true, false]) {
      await client.query("select set_config('enable_seqscan', $1, true)", [
        isIndexed ? "off" : "on",
      ]);
      for (const lat of [0, 10, 90, -89.99999]) {
        for (const lng of [180, -180, -179.99999, 60]) {
          for (const limit of [3, 20]) {
            const { rows } = await client.query<{ name: string }>(
              `select 'inc ' || t.ticket_id as name from tickets.inc as t
               order by st_distance(t.geog, st_setsrid(st_makepoint($2, $1), 4326)::geography),
                 t.ticket_id
               limit $3`,
              [lat, lng, limit],
            );
            assert.deepEqual(
              await namesOf(client, { lat, lng, limit }),
              rows.map(({ name }) => name),
              `${limit} around ${lat} ${lng}`,
            );
          }
        }
      }
    }
  }));

for (const dataset of [null, "inc"]) {
  test(`of ${dataset ?? "both datasets"}, the index finds them, and no scan looks at all`, () =>
    database.rolledBack(async (client) => {
      for (const table of ["inc", "crq"]) {
        await client.query(
          `insert into tickets.${table} (ticket_id, raw)
           select 'T' || n, jsonb_build_object(
             'ticket_id', 'T' || n, 'is_actionable', (n % 2 = 0)::text,
             'bucket', case when n % 5 = 0 then 'pending' else 'closed' end,
             'latitude', (-1.2 - n % 97 / 1000.0)::text, 'longitude', (36.7 + n % 89 / 1000.0)::text
           )
           from generate_series(1, 4000) as n`,
        );
      }
      await client.query("analyze tickets.ticket");
      const plans = await plansWithin(client, call, valuesOf({ dataset }));
      const nodes = plans.flatMap(nodesOf);
      const scans = nodes.filter((node) => ["inc", "crq"].includes(node["Relation Name"] ?? ""));
      const tables = dataset === null ? ["crq", "inc"] : ["inc"];
      // One time by distance, and one time for what lies within it.
      assert.deepEqual(
        scans.map((node) => node["Relation Name"]).sort(),
        [...tables, ...tables].sort(),
      );
      const byDistance = nodes.filter((node) => JSON.stringify(node["Order By"] ?? "") !== '""');
      assert.deepEqual(byDistance.map((node) => node["Relation Name"]).sort(), tables);
      const kinds = new Set(scans.map((node) => node["Node Type"]));
      assert.ok(!kinds.has("Seq Scan"), [...kinds].join(", "));
      const sorts = plans.filter((plan) => JSON.stringify(plan).includes('"Order By"'));
      assert.ok(!sorts.flatMap(nodesOf).some((node) => /Sort/.test(node["Node Type"])));
    }));
}

test("a point or a limit out of range is TK036, what is no dataset TK001", async () => {
  const cases: [Question, string][] = [
    [{ lat: 90.01 }, "TK036"],
    [{ lat: -90.01 }, "TK036"],
    [{ lng: 180.01 }, "TK036"],
    [{ lng: -180.01 }, "TK036"],
    [{ lat: "NaN" }, "TK036"],
    [{ lng: "Infinity" }, "TK036"],
    [{ lat: null }, "TK036"],
    [{ lng: null }, "TK036"],
    [{ limit: 0 }, "TK036"],
    [{ limit: 1001 }, "TK036"],
    [{ limit: null }, "TK036"],
    [{ dataset: "nope" }, "TK001"],
  ];
  for (const [question, code] of cases) {
    await database.rolledBack((client) =>
      assert.rejects(nearest(client, question), ownError(code)),
    );
  }
});
