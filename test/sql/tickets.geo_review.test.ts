import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { insertGazetteerRow, insertTickets } from "./places.ts";
import { only } from "./staging.ts";

const database = await createDatabase({ after });

const kilimani = { cluster: "Kilimani", at: [-1.29, 36.79] } as const;

async function review(client: ClientBase): Promise<Record<string, unknown>[]> {
  const { rows } = await client.query<Record<string, unknown>>(
    "select r.*, r.distance_km::float8 as distance_km from tickets.geo_review as r",
  );
  return rows;
}

test("each row says what was found, how far off, of how many open tickets, and where to look", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, { ...kilimani, verified: true });
    await insertGazetteerRow(client, {
      cluster: "Kilimani",
      place: "Ngong Road",
      at: [-4.04, 39.67],
      status: "rejected_far",
      attempts: 2,
      fetchedAt: "2026-06-15T10:00:00Z",
    });
    const ticket = { cluster: "Kilimani", location: "NW_Ngong_FDT7 Road SDUS" };
    await insertTickets(client, ticket);
    await insertTickets(client, { ...ticket, dataset: "crq", isActionable: false });
    await insertTickets(client, { ...ticket, isOpen: false });
    assert.deepEqual(await review(client), [
      {
        kind: "location",
        cluster: "Kilimani",
        place: "Ngong Road",
        status: "rejected_far",
        tickets: 2,
        latitude: -4.04,
        longitude: 39.67,
        distance_km: 441.6,
        provider: null,
        query: null,
        attempts: 2,
        fetched_at: new Date("2026-06-15T10:00:00Z"),
        map: "https://www.openstreetmap.org/?mlat=-4.040000&mlon=39.670000#map=15/-4.040000/39.670000",
      },
    ]);
  }));

test("what a person has verified is not there", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, { ...kilimani, verified: true });
    await insertGazetteerRow(client, { cluster: "Karen", status: "no_match", verified: true });
    await insertGazetteerRow(client, { ...kilimani, place: "Ngong Road", verified: true });
    assert.deepEqual(await review(client), []);
  }));

test("clusters and places of any other state are there, those of most open tickets first", () =>
  database.rolledBack(async (client) => {
    for (const status of ["ok", "no_match", "rejected_far", "error"]) {
      await insertGazetteerRow(client, { cluster: status, status });
      await insertGazetteerRow(client, { cluster: status, place: "p", status });
    }
    await insertTickets(client, { cluster: "error", location: "p" }, 2);
    await insertTickets(client, { cluster: "ok" });
    assert.deepEqual(
      (await review(client)).map(({ cluster, place, tickets, map }) => {
        assert.equal(map, null);
        return [cluster, place, tickets];
      }),
      [
        ["error", null, 2],
        ["error", "p", 2],
        ["ok", null, 1],
        ["no_match", null, 0],
        ["no_match", "p", 0],
        ["ok", "p", 0],
        ["rejected_far", null, 0],
        ["rejected_far", "p", 0],
      ],
    );
  }));

test("a cluster counts the tickets of its aliases, and a place of an alias is measured from it", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, { cluster: "Pipeline", at: [-1.32, 36.89] });
    await insertGazetteerRow(client, { cluster: "PTMP", place: "p", at: [-1.33, 36.89] });
    await insertTickets(client, { cluster: "PTMP" }, 2);
    await insertTickets(client, { cluster: "Pipeline" });
    const [cluster, place] = await review(client);
    assert.equal(cluster?.["tickets"], 3);
    assert.equal(place?.["distance_km"], 1.1);
  }));

test("it cleans places as tickets.clean_place does, by whatever codes there are", () =>
  database.rolledBack(async (client) => {
    const texts = ["NW_A B", "x  adr_mnt_C_sdus", "FDT12 FDT3a", "  Zone 5\tMain\r\n"];
    for (const codes of ["select", "insert into tickets.place_codes values ('Z', 'Zone [0-9]+')"]) {
      await client.query(codes);
      for (const location of texts) {
        const { rows } = await client.query<{ place: string }>(
          "select tickets.clean_place($1) as place",
          [location],
        );
        await client.query("delete from tickets.ticket");
        await client.query("delete from tickets.geo_locations");
        await insertTickets(client, { cluster: "Kilimani", location });
        await insertGazetteerRow(client, { ...kilimani, place: only(rows).place });
        assert.equal(only(await review(client))["tickets"], 1, location);
      }
    }
    await client.query("delete from tickets.place_codes");
    await client.query("delete from tickets.geo_locations");
    await insertGazetteerRow(client, { ...kilimani, place: "Zone 5 Main" });
    assert.equal(only(await review(client))["tickets"], 1);
  }));
