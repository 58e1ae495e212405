// migrations/seeds: starting points that nothing loads by itself.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { createDatabase } from "./harness/postgres.ts";
import { exampleExpectations } from "./harness/examples.ts";
import { gazetteerRows, insertGazetteerRow, insertTickets } from "./sql/places.ts";

const database = await createDatabase({ after });
const seed = readFileSync(join(import.meta.dirname, "../migrations/seeds/clusters.sql"), "utf8");

test("every cluster of the examples gets a point that is to be verified, around Nairobi", () =>
  database.rolledBack(async (client) => {
    const clusters = new Set(
      (["inc", "crq"] as const).flatMap((dataset) =>
        [...exampleExpectations(dataset).tickets.values()].flatMap(
          ({ raw }) => raw["cluster"] ?? [],
        ),
      ),
    );
    assert.ok(clusters.size >= 12, [...clusters].join());
    for (const cluster of clusters) await insertTickets(client, { cluster });
    await client.query(seed);
    const { rows } = await client.query("select c.* from tickets.clusters_to_geocode() as c");
    assert.deepEqual(rows, []);
    for (const { verified, provider, at } of await gazetteerRows(client)) {
      assert.deepEqual([verified, provider], [false, "seed"]);
      const [latitude = 0, longitude = 0] = at as number[];
      assert.ok(Math.abs(latitude + 1.25) < 0.25 && Math.abs(longitude - 36.9) < 0.25);
    }
  }));

test("what is known of a cluster already stays, and a second time changes nothing", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, { cluster: "Thika", status: "no_match", verified: true });
    await client.query(seed);
    const before = await gazetteerRows(client);
    assert.equal(before.find(({ cluster }) => cluster === "Thika")?.["status"], "no_match");
    await client.query(seed);
    assert.deepEqual(await gazetteerRows(client), before);
  }));
