import assert from "node:assert/strict";
import { after, test } from "node:test";
import { VectorTile, type VectorTileFeature } from "@mapbox/vector-tile";
import { PbfReader } from "pbf";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { nodesOf, plansWithin } from "./plans.ts";
import { ownError } from "./staging.ts";

const database = await createDatabase({ after });

type Tile = readonly [z: number | null, x: number | null, y: number | null];

const world: Tile = [0, 0, 0];

async function tileBytes(client: ClientBase, tile: Tile, filters?: string): Promise<Buffer> {
  const { rows } = await client.query<{ tile: Buffer }>(
    filters === undefined
      ? "select reporting.tickets_mvt($1::integer, $2::integer, $3::integer) as tile"
      : "select reporting.tickets_mvt($1::integer, $2::integer, $3::integer, $4::json) as tile",
    filters === undefined ? [...tile] : [...tile, filters],
  );
  assert.equal(rows.length, 1);
  return rows[0]?.tile ?? assert.fail("NULL is no tile");
}

async function featuresOf(
  client: ClientBase,
  tile: Tile,
  filters?: object,
): Promise<VectorTileFeature[]> {
  const bytes = await tileBytes(client, tile, filters && JSON.stringify(filters));
  const { layers } = new VectorTile(new PbfReader(bytes));
  if (bytes.length === 0) return [];
  assert.deepEqual(Object.keys(layers), ["tickets"]);
  const layer = layers["tickets"] ?? assert.fail();
  assert.equal(layer.extent, 4096);
  return Array.from({ length: layer.length }, (_, index) => layer.feature(index));
}

async function numbersOf(client: ClientBase, tile: Tile, filters?: object): Promise<unknown[]> {
  const features = await featuresOf(client, tile, filters);
  return features.map(({ properties }) => properties["ticket_id"]);
}

async function insertTicket(
  client: ClientBase,
  ticket_id: string,
  [lng, lat]: readonly [number, number],
  more: Record<string, string> = {},
  table = "inc",
): Promise<void> {
  const raw = { ticket_id, latitude: String(lat), longitude: String(lng), ...more };
  await client.query(`insert into tickets.${table} (ticket_id, raw) values ($1, $2)`, [
    ticket_id,
    raw,
  ]);
}

/** The tile that a point is in, and how far into it, from 0 to 1, by the formula of web maps. */
function tileOf(z: number, [lng, lat]: readonly [number, number]) {
  const radians = (lat * Math.PI) / 180;
  const x = ((lng + 180) / 360) * 2 ** z;
  const y = ((1 - Math.asinh(Math.tan(radians)) / Math.PI) / 2) * 2 ** z;
  const tile: Tile = [z, Math.floor(x), Math.floor(y)];
  return { tile, within: [x % 1, y % 1] as const };
}

test("a ticket is where it is, at every zoom level", () =>
  database.rolledBack(async (client) => {
    const point = [36.8219, -1.2921] as const;
    await insertTicket(client, "T1", point);
    for (const z of [0, 1, 5, 10, 14, 18, 22, 24, 30]) {
      const { tile, within } = tileOf(z, point);
      const [feature, ...others] = await featuresOf(client, tile);
      assert.equal(others.length, 0);
      assert.equal(feature?.type, 1);
      const [[place] = []] = feature?.loadGeometry() ?? [];
      // From zoom level 24 on, a unit is below a hundredth of a millimetre of the sixth decimal.
      const tolerance = z < 24 ? 1 : 2;
      assert.ok(place && Math.abs(place.x - within[0] * 4096) <= tolerance, `${z}: ${place?.x}`);
      assert.ok(Math.abs(place.y - within[1] * 4096) <= tolerance, `${z}: ${place.y}`);
      if (z !== 14) continue;
      // The library's own way back to degrees.
      const { geometry } = feature?.toGeoJSON(tile[1] ?? 0, tile[2] ?? 0, z) ?? assert.fail();
      assert.ok(geometry.type === "Point");
      assert.ok(Math.abs((geometry.coordinates[0] ?? 0) - point[0]) < 1e-5);
      assert.ok(Math.abs((geometry.coordinates[1] ?? 0) - point[1]) < 1e-5);
    }
  }));

test("a feature has what a map shows, and nothing for what is not known", () =>
  database.rolledBack(async (client) => {
    await client.query("set local timezone = 'America/New_York'");
    await insertTicket(client, "T1", [36.8, -1.3], {
      normalized_status: "closed",
      raw_status: "RESOLVED",
      bucket: "closed",
      is_actionable: "false",
      cluster: "QOA",
      region: "nairobi",
      location_name: "NW_KILIMANI_FDT12",
      assigned_team: "North",
      owner: "Ann",
      sla_status: "met",
      mttr: "90",
      created_at_service: "2026-06-15 08:00:00",
      first_seen_at: "2026-06-15 08:20:00",
      scheduled_at: "2026-06-15 09:00:00",
      closed_at: "2026-06-15 23:30:00",
    });
    await insertTicket(client, "T2", [36.9, -1.3], { first_seen_at: "2026-06-15" }, "crq");
    const features = await featuresOf(client, world, { status: "all" });
    assert.deepEqual(
      features.map(({ properties }) => ({ ...properties })),
      [
        {
          dataset: "crq",
          ticket_id: "T2",
          is_open: true,
          opened_at: "2026-06-15T00:00:00+03:00",
          geo_source: "feed",
        },
        {
          dataset: "inc",
          ticket_id: "T1",
          normalized_status: "closed",
          raw_status: "RESOLVED",
          bucket: "closed",
          is_open: false,
          is_actionable: false,
          cluster: "QOA",
          region: "nairobi",
          location_name: "NW_KILIMANI_FDT12",
          assigned_team: "North",
          owner: "Ann",
          sla_status: "met",
          mttr: 90,
          opened_at: "2026-06-15T08:00:00+03:00",
          scheduled_at: "2026-06-15T09:00:00+03:00",
          closed_at: "2026-06-15T23:30:00+03:00",
          geo_source: "feed",
        },
      ],
    );
  }));

test("open tickets, unless the filters ask for others", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, "T1", [36.8, -1.3], { cluster: "QOA" });
    await insertTicket(client, "T2", [36.8, -1.3], { cluster: "QOA", bucket: "closed" });
    await insertTicket(client, "T3", [36.8, -1.3], { cluster: "9" }, "crq");
    await insertTicket(client, "T4", [0, 0], { cluster: "QOA" });
    const cases: [object | undefined, string[]][] = [
      [undefined, ["T3", "T1"]],
      [{}, ["T3", "T1"]],
      [{ status: "open" }, ["T3", "T1"]],
      [{ status: "closed" }, ["T2"]],
      [{ status: " Closed" }, ["T2"]],
      [{ status: "all" }, ["T3", "T1", "T2"]],
      [{ status: null, dataset: null, cluster: null }, ["T3", "T1"]],
      [{ dataset: "inc" }, ["T1"]],
      [{ dataset: "inc", status: "all" }, ["T1", "T2"]],
      [{ cluster: "QOA", status: "all" }, ["T1", "T2"]],
      // Martin reads a parameter that looks like a number as one.
      [{ cluster: 9 }, ["T3"]],
      [{ cluster: "nowhere" }, []],
      [{ access_token: "for somebody else" }, ["T3", "T1"]],
    ];
    for (const [filters, expected] of cases) {
      assert.deepEqual(await numbersOf(client, world, filters), expected, JSON.stringify(filters));
    }
  }));

test("a tile without a ticket has no bytes, nor has one of an empty database", () =>
  database.rolledBack(async (client) => {
    assert.equal((await tileBytes(client, world)).length, 0);
    await insertTicket(client, "T1", [36.8219, -1.2921]);
    assert.notEqual((await tileBytes(client, world)).length, 0);
    assert.equal((await tileBytes(client, [5, 0, 0])).length, 0);
  }));

test("a ticket right beside a tile is in its margin, one farther away is not", () =>
  database.rolledBack(async (client) => {
    // Greenwich and the equator are the borders of these tiles; a margin is 64 of 4096 units.
    const unit = 360 / 2 ** 10 / 4096;
    await insertTicket(client, "T1", [60 * unit, 60 * unit]);
    await insertTicket(client, "T2", [70 * unit, 60 * unit]);
    const [place] = (await featuresOf(client, [10, 511, 512]))[0]?.loadGeometry() ?? [];
    assert.deepEqual(
      place?.map(({ x, y }) => [x, y]),
      [[4096 + 60, -60]],
    );
    assert.deepEqual(await numbersOf(client, [10, 511, 512]), ["T1"]);
    assert.deepEqual(await numbersOf(client, [10, 512, 511]), ["T1", "T2"]);
  }));

test("the edge of the world is an edge of its tiles", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, "east", [179.9999, 10]);
    await insertTicket(client, "west", [-179.9999, -10]);
    await insertTicket(client, "north", [5, 89.9]);
    assert.deepEqual(await numbersOf(client, world), ["east", "west"]);
    assert.deepEqual(await numbersOf(client, [1, 1, 0]), ["east"]);
    assert.deepEqual(await numbersOf(client, [1, 0, 1]), ["west"]);
    for (const z of [2, 6, 12]) {
      const { tile } = tileOf(z, [179.9999, 10]);
      assert.deepEqual(await numbersOf(client, tile), ["east"], String(z));
      const other = tileOf(z, [-179.9999, -10]);
      assert.deepEqual(await numbersOf(client, other.tile), ["west"], String(z));
    }
  }));

test("the index finds what is in a tile, and no scan looks at all tickets", () =>
  database.rolledBack(async (client) => {
    await client.query(
      `insert into tickets.inc (ticket_id, raw)
       select 'T' || n, jsonb_build_object(
         'ticket_id', 'T' || n,
         'latitude', (-4 + n % 97 / 12.0)::text, 'longitude', (34 + n % 89 / 12.0)::text
       )
       from generate_series(1, 4000) as n`,
    );
    await client.query("analyze tickets.ticket");
    const { tile } = tileOf(10, [36.8219, -1.2921]);
    assert.notDeepEqual(await numbersOf(client, tile, { dataset: "inc" }), []);
    const plans = await plansWithin(
      client,
      `select reporting.tickets_mvt($1, $2, $3, '{"dataset": "inc"}')`,
      [...tile],
    );
    const scans = plans
      .flatMap(nodesOf)
      .filter((node) => node["Index Name"] !== undefined || node["Relation Name"] === "inc");
    assert.ok(scans.some((node) => /geom/.test(node["Index Name"] ?? "")));
    assert.ok(!scans.some((node) => node["Node Type"] === "Seq Scan"));
  }));

test("times are of EAT in every year", () =>
  database.rolledBack(async (client) => {
    const times = { created_at_service: "1900-01-01", scheduled_at: "1938-01-01 12:00:00" };
    await insertTicket(client, "T1", [36.8, -1.3], times);
    const [feature] = await featuresOf(client, world);
    assert.equal(feature?.properties["opened_at"], "1900-01-01T00:00:00+03:00");
    assert.equal(feature?.properties["scheduled_at"], "1938-01-01T12:00:00+03:00");
  }));

test("what is no tile is TK037, filters that say nothing are TK038", async () => {
  const cases: [Tile, string | undefined, string][] = [
    [[-1, 0, 0], undefined, "TK037"],
    [[31, 0, 0], undefined, "TK037"],
    [[0, 1, 0], undefined, "TK037"],
    [[0, 0, 1], undefined, "TK037"],
    [[5, -1, 0], undefined, "TK037"],
    [[5, 0, 32], undefined, "TK037"],
    [[null, 0, 0], undefined, "TK037"],
    [[1, null, 0], undefined, "TK037"],
    [[1, 0, null], undefined, "TK037"],
    [world, "[]", "TK038"],
    [world, '"dataset"', "TK038"],
    [world, "null", "TK038"],
    [world, '{"status": "opened"}', "TK038"],
    [world, '{"status": ["open"]}', "TK038"],
    [world, '{"cluster": "Q\\u0000A"}', "TK038"],
    [world, '{"status": "\\u0000"}', "TK038"],
    [world, '{"dataset": "inc", "zoom": "\\u0000"}', "TK038"],
    [world, '{"\\u0000": 1}', "TK038"],
    [world, '{"dataset": "\\ud800"}', "TK038"],
    [world, '{"dataset": "nope"}', "TK001"],
  ];
  for (const [tile, filters, code] of cases) {
    await database.rolledBack((client) =>
      assert.rejects(tileBytes(client, tile, filters), ownError(code), `${tile.join()} ${filters}`),
    );
  }
  await database.rolledBack(async (client) => {
    const { rows } = await client.query("select reporting.tickets_mvt(0, 0, 0, null) as tile");
    assert.deepEqual(rows, [{ tile: Buffer.alloc(0) }]);
  });
});

test("tile servers find it: z, x, y and JSON in, bytes out", async () => {
  const { rows } = await database.pool.query(
    `select p.proargnames as names, oidvectortypes(p.proargtypes) as types,
       p.prorettype::regtype::text as returns, p.provolatile as volatility
     from pg_proc as p
     where p.oid = 'reporting.tickets_mvt(integer, integer, integer, json)'::regprocedure`,
  );
  assert.deepEqual(rows, [
    {
      names: ["z", "x", "y", "query_params"],
      types: "integer, integer, integer, json",
      returns: "bytea",
      volatility: "s",
    },
  ]);
});

test("its comment is JSON that names the properties of its features, for TileJSON", async () => {
  const { rows } = await database.pool.query<{ comment: string }>(
    `select obj_description('reporting.tickets_mvt(integer, integer, integer, json)'::regprocedure)
       as comment`,
  );
  const tileJson = JSON.parse(rows[0]?.comment ?? "") as {
    vector_layers: { id: string; fields: Record<string, string> }[];
  };
  const every = {
    ...{ normalized_status: "a", raw_status: "A", bucket: "closed", is_actionable: "true" },
    ...{ cluster: "a", region: "a", location_name: "a", assigned_team: "a", owner: "a" },
    ...{ sla_status: "a", mttr: "1", created_at_service: "2026-06-15", scheduled_at: "2026-06-15" },
    closed_at: "2026-06-15",
  };
  await database.rolledBack(async (client) => {
    await insertTicket(client, "T1", [36.8, -1.3], every);
    const [feature] = await featuresOf(client, world, { status: "closed" });
    assert.deepEqual(
      tileJson.vector_layers.map(({ id, fields }) => [id, Object.keys(fields)]),
      [["tickets", Object.keys(feature?.properties ?? {})]],
    );
  });
});
