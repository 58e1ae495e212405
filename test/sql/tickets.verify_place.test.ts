// With tickets.correct_place and tickets.reject_place: what a person says of a place.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { gazetteerRows, insertGazetteerRow, insertTickets, standings } from "./places.ts";
import { freezeTime, only, ownError } from "./staging.ts";

const database = await createDatabase({ after });

const kilimani = { cluster: "Kilimani", at: [-1.29, 36.79] } as const;
const far = {
  cluster: "Kilimani",
  place: "Ngong Road",
  at: [-4.04, 39.67],
  status: "rejected_far",
};

function verify(client: ClientBase, cluster: string, place?: string): Promise<unknown> {
  return client.query("select tickets.verify_place(p_cluster => $1, p_place => $2)", [
    cluster,
    place,
  ]);
}

function reject(client: ClientBase, cluster: string, place?: string): Promise<unknown> {
  return client.query("select tickets.reject_place(p_cluster => $1, p_place => $2)", [
    cluster,
    place,
  ]);
}

function correct(
  client: ClientBase,
  cluster: string,
  lat: number | null | string,
  lng: number | null | string,
  place?: string,
): Promise<unknown> {
  return client.query(
    `select tickets.correct_place(
       p_cluster => $1, p_lat => $2, p_lng => $3, p_place => $4
     )`,
    [cluster, lat, lng, place],
  );
}

async function standing(client: ClientBase): Promise<unknown[]> {
  const ticket = only(await standings(client)) as Record<string, unknown>;
  return [ticket["latitude"], ticket["longitude"], ticket["geo_source"]];
}

/** A ticket at a place of a cluster with a point. */
async function prepare(client: ClientBase): Promise<void> {
  await insertGazetteerRow(client, kilimani);
  await insertTickets(client, { cluster: "Kilimani", location: "NW_Ngong Road" });
}

describe("verify_place", () => {
  test("lets a point that was refused place its tickets, and keeps what is known of it", () =>
    database.rolledBack(async (client) => {
      await prepare(client);
      await insertGazetteerRow(client, { ...far, at: [-4.04, 39.67] });
      const [, before] = await gazetteerRows(client);
      await verify(client, "Kilimani", "Ngong Road");
      const [cluster, after] = await gazetteerRows(client);
      assert.deepEqual(after, { ...before, verified: true });
      assert.equal(cluster?.["verified"], false);
      assert.deepEqual(await standing(client), [-4.04, 39.67, "location"]);
    }));

  test("verifies the cluster itself where no place is named", () =>
    database.rolledBack(async (client) => {
      await prepare(client);
      await verify(client, "Kilimani");
      const { verified } = only(await gazetteerRows(client)) as { verified?: boolean };
      assert.equal(verified, true);
    }));

  test("is TK054 without a point, and changes nothing", async () => {
    for (const place of [undefined, "Ngong Road"]) {
      await database.rolledBack(async (client) => {
        await insertGazetteerRow(client, {
          cluster: "Kilimani",
          ...(place === undefined ? {} : { place }),
          status: "no_match",
        });
        await assert.rejects(verify(client, "Kilimani", place), ownError("TK054"));
      });
    }
  });
});

describe("correct_place", () => {
  test("puts a place and its tickets where a person says, verified", () =>
    database.rolledBack(async (client) => {
      await freezeTime(client, "2026-06-15T10:00:00Z");
      await prepare(client);
      await insertGazetteerRow(client, { ...far, at: [-4.04, 39.67] });
      await correct(client, "Kilimani", -1.3, 36.8, "Ngong Road");
      assert.deepEqual(await standing(client), [-1.3, 36.8, "location"]);
      const { status, verified, provider, at } = (await gazetteerRows(client))[1] ?? {};
      assert.deepEqual([status, verified, provider, at], ["ok", true, "manual", [-1.3, 36.8]]);
    }));

  test("puts a cluster there where no place is named", () =>
    database.rolledBack(async (client) => {
      await prepare(client);
      await correct(client, "Kilimani", -1.28, 36.78);
      assert.deepEqual(await standing(client), [-1.28, 36.78, "cluster"]);
    }));

  test("serves clusters and places that tickets name and no geocoder was asked for", () =>
    database.rolledBack(async (client) => {
      await insertTickets(client, { cluster: "Kilimani", location: "NW_Ngong Road" });
      await correct(client, "Kilimani", -1.28, 36.78);
      assert.deepEqual(await standing(client), [-1.28, 36.78, "cluster"]);
      await correct(client, "Kilimani", -1.3, 36.8, "Ngong Road");
      assert.deepEqual(await standing(client), [-1.3, 36.8, "location"]);
    }));

  test("serves the cluster behind an alias, which no ticket names", () =>
    database.rolledBack(async (client) => {
      await insertTickets(client, { cluster: "QOA" });
      await correct(client, "Quarry Road", -1.28, 36.84);
      assert.deepEqual(await standing(client), [-1.28, 36.84, "cluster"]);
    }));

  test("of a cluster judges what was found of its places anew, by where it is now", () =>
    database.rolledBack(async (client) => {
      for (const cluster of ["Pipeline", "PTMP", "Karen"]) {
        await insertTickets(client, { cluster });
        const place = { cluster, at: [-1.32, 36.89] } as const;
        await insertGazetteerRow(client, { ...place, place: "found", status: "rejected_far" });
        await insertGazetteerRow(client, { ...place, place: "far", at: [-0.17, 35.86] });
        await insertGazetteerRow(client, { ...place, place: "v", at: [-0.1, 36], verified: true });
        await insertGazetteerRow(client, { cluster, place: "none", status: "no_match" });
      }
      await correct(client, "Pipeline", -1.318, 36.893);
      const statuses = (await gazetteerRows(client))
        .filter(({ place }) => place !== null)
        .map(({ cluster, place, status }) => [cluster, place, status].join());
      assert.deepEqual(statuses, [
        ...["Karen,far,ok", "Karen,found,rejected_far", "Karen,none,no_match", "Karen,v,ok"],
        ...["PTMP,far,rejected_far", "PTMP,found,ok", "PTMP,none,no_match", "PTMP,v,ok"],
        ...["Pipeline,far,rejected_far", "Pipeline,found,ok", "Pipeline,none,no_match"],
        "Pipeline,v,ok",
      ]);
    }));

  for (const [what, lat, lng] of [
    ["too far north", 90.1, 36.8],
    ["too far east", -1.3, 180.1],
    ["the wrong way round", 36.8, -1.3],
    ["elsewhere", 51.5, -0.1],
    ["null", null, 36.8],
    ["not a number", "NaN", 36.8],
    ["infinite", -1.3, "Infinity"],
  ] as const) {
    test(`takes no coordinates that are ${what}: TK053`, () =>
      database.rolledBack(async (client) => {
        await prepare(client);
        await assert.rejects(correct(client, "Kilimani", lat, lng), ownError("TK053"));
      }));
  }
});

describe("reject_place", () => {
  test("takes the point away for good: its tickets stand at the cluster, nobody asks again", () =>
    database.rolledBack(async (client) => {
      await prepare(client);
      await insertGazetteerRow(client, { ...far, at: [-1.3, 36.8], status: "ok" });
      assert.deepEqual(await standing(client), [-1.3, 36.8, "location"]);
      await reject(client, "Kilimani", "Ngong Road");
      assert.deepEqual(await standing(client), [-1.29, 36.79, "cluster"]);
      const { rows } = await client.query("select l.* from tickets.locations_to_geocode() as l");
      assert.deepEqual(rows, []);
    }));

  test("takes that of a cluster away where no place is named", () =>
    database.rolledBack(async (client) => {
      await prepare(client);
      await reject(client, "Kilimani");
      assert.deepEqual(await standing(client), [null, null, "none"]);
      const { rows } = await client.query("select c.* from tickets.clusters_to_geocode() as c");
      assert.deepEqual(rows, []);
    }));
});

describe("what is in no gazetteer and no ticket is TK052", () => {
  for (const [what, work] of [
    ["to verify", verify],
    ["to reject", reject],
    [
      "to correct",
      (client: ClientBase, cluster: string, place?: string) =>
        correct(client, cluster, -1.3, 36.8, place),
    ],
  ] as const) {
    for (const [cluster, place] of [
      ["kilimani", undefined],
      ["Kilimani", "ngong road"],
      ["Karen", "Ngong Road"],
    ] as const) {
      test(`${what}: ${place ?? "no place"} in ${cluster}`, () =>
        database.rolledBack(async (client) => {
          await prepare(client);
          await insertGazetteerRow(client, { ...far, at: [-1.3, 36.8] });
          await assert.rejects(work(client, cluster, place), ownError("TK052"));
        }));
    }
  }
});
