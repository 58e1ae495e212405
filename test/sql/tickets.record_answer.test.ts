import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { gazetteerRows, insertGazetteerRow, insertTickets, standings } from "./places.ts";
import { freezeTime, only } from "./staging.ts";

const database = await createDatabase({ after });

const now = "2026-06-15T06:00:00Z";
const kilimani = { cluster: "Kilimani", at: [-1.29, 36.79] } as const;

interface Answer {
  places?: (string | null)[];
  clusters?: string[];
  outcome?: string;
  at?: readonly [number, number];
  country?: string;
}

async function record(client: ClientBase, answer: Answer): Promise<Record<string, unknown>[]> {
  const { clusters = ["Kilimani"], places = ["Ngong Road"], at, country } = answer;
  const { outcome = at === undefined ? "no_match" : "found" } = answer;
  const { rows } = await client.query<Record<string, unknown>>(
    `select a.* from tickets.record_answer(
       p_places => $1, p_clusters => $2, p_provider => 'nominatim', p_query => 'q',
       p_outcome => $3, p_latitude => $4, p_longitude => $5, p_country_code => $6
     ) as a`,
    [places, clusters, outcome, at?.[0], at?.[1], country],
  );
  return rows;
}

const written = {
  cluster: "Kilimani",
  place: "Ngong Road",
  status: "ok",
  verified: false,
  attempts: 1,
  provider: "nominatim",
  query: "q",
  at: [-1.3, 36.79],
  fetched_at: new Date(now),
};

async function placeRow(client: ClientBase): Promise<unknown> {
  return only((await gazetteerRows(client)).filter(({ place }) => place !== null));
}

test("a point near its cluster is kept with all that is known of it, and its tickets go there", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, now);
    await insertGazetteerRow(client, kilimani);
    await insertTickets(client, { cluster: "Kilimani", location: "Ngong Road" });
    const { distance, ...row } = only(await record(client, { at: [-1.3, 36.79], country: "ke" }));
    assert.deepEqual(row, { place: "Ngong Road", cluster: "Kilimani", status: "ok" });
    assert.equal(Math.round(Number(distance)), 1106);
    assert.deepEqual(await placeRow(client), written);
    assert.deepEqual(await standings(client), [
      {
        cluster: "Kilimani",
        location: "Ngong Road",
        latitude: -1.3,
        longitude: 36.79,
        geo_source: "location",
      },
    ]);
  }));

test("a point more than 25 km from its cluster is refused, remembered, and places nothing", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, now);
    await insertGazetteerRow(client, kilimani);
    await insertTickets(client, { cluster: "Kilimani", location: "Ngong Road" });
    const [row] = await record(client, { at: [-4.04, 39.67] });
    assert.equal(row?.["status"], "rejected_far");
    assert.deepEqual(await placeRow(client), {
      ...written,
      status: "rejected_far",
      at: [-4.04, 39.67],
    });
    const [ticket] = (await standings(client)) as { geo_source: string }[];
    assert.equal(ticket?.geo_source, "cluster");
  }));

test("the border lies at 25 km on the ground, in every direction, and is configuration", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, kilimani);
    const statusAt = async (metres: number, azimuth: number) => {
      const { rows } = await client.query<{ at: [number, number] }>(
        `select array[public.st_y(p.g), public.st_x(p.g)] as at
         from (select public.st_project(
           public.st_makepoint(36.79, -1.29)::public.geography, $1::float8, radians($2::float8)
         )::public.geometry as g) as p`,
        [metres, azimuth],
      );
      await client.query("delete from tickets.geo_locations");
      return only(await record(client, { at: only(rows).at }))["status"];
    };
    for (const azimuth of [0, 45, 90, 225]) {
      assert.equal(await statusAt(24_990, azimuth), "ok");
      assert.equal(await statusAt(25_010, azimuth), "rejected_far");
    }
    await client.query("update tickets.geocoding set max_distance = 26000");
    assert.equal(await statusAt(25_010, 0), "ok");
  }));

test("a place of an alias is measured from the cluster behind it", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, { cluster: "Pipeline", at: [-1.32, 36.89] });
    const answers = await record(client, {
      places: ["near"],
      clusters: ["PTMP"],
      at: [-1.33, 36.89],
    });
    assert.equal(only(answers)["status"], "ok");
  }));

describe("a point abroad is refused", () => {
  for (const [what, answer] of [
    ["by the country that the geocoder names", { at: [-1.3, 36.79], country: "tz" }],
    ["by where it is, where the geocoder names none", { at: [-33.9, 18.4] }],
    ["by where it is, whatever the geocoder says", { at: [51.5, -0.1], country: "ke" }],
  ] as const) {
    test(`${what}, of a cluster as of a place`, () =>
      database.rolledBack(async (client) => {
        await insertGazetteerRow(client, kilimani);
        assert.equal(only(await record(client, answer))["status"], "rejected_far");
        const cluster = { places: [null], clusters: ["Karen"] };
        const [row] = await record(client, { ...answer, ...cluster });
        assert.deepEqual([row?.["status"], row?.["distance"]], ["rejected_far", null]);
      }));
  }
});

test("the code of the country counts in any letter case", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, kilimani);
    const [row] = await record(client, { at: [-1.3, 36.79], country: "KE" });
    assert.equal(row?.["status"], "ok");
  }));

test("no match and no answer are kept as such, and each attempt is counted", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, now);
    await insertGazetteerRow(client, kilimani);
    const nothing = { ...written, at: [null, null] };
    await record(client, { outcome: "error" });
    assert.deepEqual(await placeRow(client), { ...nothing, status: "error" });
    await record(client, { outcome: "no_match" });
    assert.deepEqual(await placeRow(client), { ...nothing, status: "no_match", attempts: 2 });
    await record(client, { at: [-1.3, 36.79] });
    assert.deepEqual(await placeRow(client), { ...written, attempts: 3 });
  }));

test("where there is no answer, one that was there stays as it is", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, kilimani);
    await record(client, { at: [-1.3, 36.79] });
    await record(client, { at: [-4, 39.6], places: ["far"] });
    const before = await gazetteerRows(client);
    assert.deepEqual(await record(client, { outcome: "error" }), []);
    assert.deepEqual(await record(client, { outcome: "error", places: ["far"] }), []);
    assert.deepEqual(await gazetteerRows(client), before);
  }));

test("what a person has verified stays as it is, of clusters and places", () =>
  database.rolledBack(async (client) => {
    const verified = { at: [-1.3, 36.8], verified: true } as const;
    await insertGazetteerRow(client, { cluster: "Kilimani", ...verified });
    await insertGazetteerRow(client, { cluster: "Kilimani", place: "Ngong Road", ...verified });
    const before = await gazetteerRows(client);
    const both = { clusters: ["Kilimani", "Kilimani"], places: ["Ngong Road", null] };
    for (const answer of [{ at: [-1.29, 36.79] as const }, {}, { outcome: "error" }]) {
      assert.deepEqual(await record(client, { ...both, ...answer }), []);
    }
    assert.deepEqual(await gazetteerRows(client), before);
  }));

test("one answer serves all that waited for it, each measured from its own cluster", () =>
  database.rolledBack(async (client) => {
    await insertGazetteerRow(client, kilimani);
    await insertGazetteerRow(client, { cluster: "Thika", at: [-1.04, 37.07] });
    const answers = await record(client, {
      clusters: ["Kilimani", "Thika", "Karen"],
      places: ["Ngong Road", "Ngong Road", null],
      at: [-1.3, 36.79],
    });
    assert.deepEqual(
      answers.map(({ cluster, place, status }) => [cluster, place, status]),
      [
        ["Kilimani", "Ngong Road", "ok"],
        ["Thika", "Ngong Road", "rejected_far"],
        ["Karen", null, "ok"],
      ],
    );
  }));

test("hostile names and questions stay data", () =>
  database.rolledBack(async (client) => {
    const hostile = `é"'; drop table tickets.geo_clusters; -- %s \\ \u{1f980}`;
    await record(client, { clusters: [hostile], places: [hostile] });
    assert.deepEqual(
      (await gazetteerRows(client)).map(({ cluster, place }) => [cluster, place]),
      [[hostile, hostile]],
    );
  }));

test("an answer waits for a file that is being applied longer than other locks are waited for", async () => {
  const [applying, recording] = [await database.connect(), await database.connect()];
  await applying.query("begin");
  await applying.query("select tickets._lock_gazetteers(p_to_change => false)");
  await recording.query("set lock_timeout = '50ms'");
  const done = recording.query(
    "select a.* from tickets.record_answer(array[null], array['Waiting'], 'nominatim', 'q', 'no_match') as a",
  );
  await applying.query("select pg_sleep(0.3)");
  await applying.query("commit");
  assert.equal((await done).rowCount, 1);
});
