import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { ClientBase } from "pg";
import type { LocationToGeocode } from "../../src/api/geocode.ts";
import { createDatabase } from "../harness/postgres.ts";
import { insertGazetteerRow, insertTickets } from "./places.ts";
import { freezeTime, only } from "./staging.ts";

const database = await createDatabase({ after });

const kilimani = { cluster: "Kilimani", at: [-1.29, 36.79] } as const;

async function locations(client: ClientBase): Promise<LocationToGeocode[]> {
  const { rows } = await client.query<LocationToGeocode>(
    "select l.* from tickets.locations_to_geocode() as l",
  );
  return rows;
}

async function due(client: ClientBase): Promise<unknown[][]> {
  return (await locations(client)).map(({ place, cluster, tickets }) => [place, cluster, tickets]);
}

test("a place is asked for once, however its tickets write it, of both datasets", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, kilimani);
    const tickets = [
      { location: "NW_KILIMANI_FDT12 Argwings Kodhek Rd" },
      { location: "ADR_MNT_KILIMANI Argwings  Kodhek Rd SDUS" },
      { location: "KILIMANI Argwings Kodhek Rd", dataset: "crq" as const },
    ];
    for (const ticket of tickets) await insertTickets(client, { cluster: "Kilimani", ...ticket });
    assert.deepEqual(await due(client), [["KILIMANI Argwings Kodhek Rd", "Kilimani", 3]]);
  }));

test("tickets that are closed, not actionable, on the map already or nowhere ask for nothing", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, kilimani);
    const ticket = { cluster: "Kilimani", location: "Ngong Road" };
    await insertTickets(client, { ...ticket, isOpen: false });
    await insertTickets(client, { ...ticket, isActionable: false });
    await insertTickets(client, { ...ticket, feed: [-1.3, 36.8] });
    await insertTickets(client, { ...ticket, location: "NW_" });
    await insertTickets(client, { cluster: "Kilimani" });
    assert.deepEqual(await due(client), []);
  }));

test("a ticket whose cluster has a point still asks for its place", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, kilimani);
    await insertTickets(client, { cluster: "Kilimani", location: "Ngong Road" });
    assert.deepEqual(await due(client), [["Ngong Road", "Kilimani", 1]]);
  }));

test("those with most tickets come first, then by name", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, kilimani);
    await insertGazetteerRow(client, { cluster: "Karen", at: [-1.32, 36.71] });
    const insert = (cluster: string, location: string, count: number) =>
      insertTickets(client, { cluster, location }, count);
    await insert("Kilimani", "b", 1);
    await insert("Kilimani", "a", 1);
    await insert("Karen", "a", 1);
    await insert("Karen", "z", 2);
    assert.deepEqual(await due(client), [
      ["z", "Karen", 2],
      ["a", "Karen", 1],
      ["a", "Kilimani", 1],
      ["b", "Kilimani", 1],
    ]);
  }));

test("without a point of its cluster a place is skipped, and the reason told", () =>
  database.rolledBack(async (client) => {
    await insertTickets(client, { cluster: "Thika", location: "Limuru Rd" });
    await insertTickets(client, { location: "Ngong Road" });
    assert.deepEqual(
      (await locations(client)).map(({ cluster, skipped }) => [cluster, skipped]),
      [
        ["Thika", "its cluster has no point"],
        [null, "no cluster"],
      ],
    );
  }));

test("the question is the place, its cluster and the country", () =>
  database.rolledBack(async (client) => {
    await insertTickets(client, { cluster: "Kilimani", location: "Argwings Kodhek Rd" });
    const { query } = only(await locations(client));
    assert.equal(query, "Argwings Kodhek Rd, Kilimani, Kenya");
  }));

test("an alias is left out of the question, its cluster stands in its place", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, { cluster: "Pipeline", at: [-1.32, 36.89] });
    await insertTickets(client, { cluster: "PTMP", location: "NW_PTMP_FDT50 Mbagathi Way" });
    const { place, query, skipped } = only(await locations(client));
    assert.deepEqual(
      [place, query, skipped],
      ["PTMP Mbagathi Way", "Mbagathi Way, Pipeline, Kenya", null],
    );
  }));

test("the surroundings of the cluster reach as far as an answer may be off", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, kilimani);
    await insertTickets(client, { cluster: "Kilimani", location: "Ngong Road" });
    const { latitude, longitude, box } = only(await locations(client));
    assert.deepEqual([latitude, longitude], kilimani.at);
    const [west, south, east, north] = box;
    // 25 km are 0.225 degrees here, by the equator.
    for (const [side, middle] of [
      [middleOf(west, east), longitude],
      [middleOf(south, north), latitude],
    ] as const) {
      assert.ok(Math.abs(side - middle) < 0.001);
    }
    for (const width of [east - west, north - south]) assert.ok(Math.abs(width - 0.45) < 0.005);
  }));

function middleOf(from: number, to: number): number {
  return (from + to) / 2;
}

describe("a place that was asked for before", () => {
  const now = "2026-06-15T06:00:00Z";
  const cases: [what: string, row: object, isDue: boolean][] = [
    ["and found is not asked for", { at: [-1.3, 36.8] }, false],
    ["and refused as too far is not asked for", { status: "rejected_far", at: [-4, 39] }, false],
    ["without an answer is asked for again", { status: "error" }, true],
    [
      "without a match is left for 30 days",
      { status: "no_match", fetchedAt: "2026-05-16T06:00:01Z" },
      false,
    ],
    [
      "without a match is asked for after 30 days",
      { status: "no_match", fetchedAt: "2026-05-16T06:00:00Z" },
      true,
    ],
    [
      "and verified is never asked for",
      { status: "no_match", verified: true, fetchedAt: "2020-01-01" },
      false,
    ],
  ];
  for (const [what, row, isDue] of cases) {
    test(what, () =>
      database.rolledBack(async (client) => {
        await freezeTime(client, now);
        await insertGazetteerRow(client, kilimani);
        await insertTickets(client, { cluster: "Kilimani", location: "Ngong Road" });
        await insertGazetteerRow(client, { cluster: "Kilimani", place: "Ngong Road", ...row });
        assert.equal((await due(client)).length, isDue ? 1 : 0);
      }),
    );
  }
});

test("a place of the same name in another cluster is another place", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, kilimani);
    await insertGazetteerRow(client, { cluster: "Karen", at: [-1.32, 36.71] });
    await insertTickets(client, { cluster: "Kilimani", location: "Ngong Road" });
    await insertTickets(client, { cluster: "Karen", location: "Ngong Road" });
    await insertGazetteerRow(client, { cluster: "Karen", place: "Ngong Road", at: [-1.31, 36.7] });
    assert.deepEqual(await due(client), [["Ngong Road", "Kilimani", 1]]);
  }));
