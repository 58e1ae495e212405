import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createDatabase } from "../harness/postgres.ts";
import { ids, insertTicket, ticketsForMap } from "./reading.ts";
import { applyFile, changeKey, freezeTime, ownError, without } from "./staging.ts";

const database = await createDatabase({ after });

const here = { latitude: "-1.292066", longitude: "36.821945" };
const closed = { bucket: "closed", closed_at: "2026-06-15 06:05:00" };

test("an empty database has an empty map, all of its numbers there and 0", () =>
  database.rolledBack(async (client) => {
    const { features, summary } = await ticketsForMap(client);
    assert.deepEqual(features, []);
    const { freshness, ...numbers } = summary;
    assert.deepEqual(numbers, {
      total: 0,
      located: 0,
      unlocated: 0,
      by_dataset: { crq: 0, inc: 0 },
      by_geo_source: { feed: 0, location: 0, cluster: 0, none: 0 },
    });
    const nothing = {
      source_max_key: null,
      exported_at: null,
      age_seconds: null,
      applied_at: null,
      files_applied: 0,
      files_refused: 0,
      files_unarchived: 0,
    };
    assert.deepEqual(freshness, { crq: nothing, inc: nothing });
  }));

test("times have the offset of EAT in every year that there is", () =>
  database.rolledBack(async (client) => {
    await client.query("set timezone = 'America/New_York'");
    const rows = Object.entries({
      T1: "1900-01-01",
      T2: "1928-07-01 12:00:00",
      T3: "1938-01-01 12:00:00",
      T4: "2200-12-31 23:59:59",
      T5: "1899-12-31",
      T6: "2201-01-01",
    });
    for (const [id, time] of rows) {
      await insertTicket(client, id, { ...here, created_at_service: time, scheduled_at: time });
    }
    const { features } = await ticketsForMap(client);
    const expected = {
      T1: "1900-01-01T00:00:00+03:00",
      T2: "1928-07-01T12:00:00+03:00",
      T3: "1938-01-01T12:00:00+03:00",
      T4: "2200-12-31T23:59:59+03:00",
      T5: null,
      T6: null,
    };
    for (const name of ["opened_at", "scheduled_at"]) {
      assert.deepEqual(
        Object.fromEntries(features.map(({ id, properties }) => [id, properties[name]])),
        expected,
      );
    }
    const { rows: bad } = await client.query(
      `select q.ticket_id, q.column_name, q.value from tickets.data_quality as q
       where q.column_name like '%_at%' order by 1, 2`,
    );
    assert.deepEqual(
      bad,
      rows.slice(4).flatMap(([ticket_id, value]) =>
        ["created_at_service", "scheduled_at"].map((column_name) => ({
          ...{ ticket_id, column_name, value },
        })),
      ),
    );
  }));

test("a feature says of its ticket what the table says, times in Nairobi's", () =>
  database.rolledBack(async (client) => {
    await freezeTime(client, "2026-06-15T06:00:00Z");
    await client.query("set timezone = 'America/New_York'");
    await insertTicket(client, "INC1", {
      ...here,
      normalized_status: "open",
      raw_status: "ON SITE",
      bucket: "pending",
      is_actionable: "yes",
      cluster: 'Flat "3"\\B',
      region: "nairobi",
      location_name: "Tassia\nEstate",
      assigned_team: "Team 1",
      owner: "tech1@isp.example",
      created_at_service: "2026-06-14 09:00:00",
      scheduled_at: "2026-06-15 10:00:00.25",
      first_seen_at: "2026-06-14 10:00:00",
    });
    const { features } = await ticketsForMap(client);
    assert.deepEqual(features, [
      {
        type: "Feature",
        id: "INC1",
        geometry: { type: "Point", coordinates: [36.821945, -1.292066] },
        properties: {
          dataset: "inc",
          ticket_id: "INC1",
          normalized_status: "open",
          raw_status: "ON SITE",
          bucket: "pending",
          is_actionable: true,
          cluster: 'Flat "3"\\B',
          region: "nairobi",
          location_name: "Tassia\nEstate",
          assigned_team: "Team 1",
          owner: "tech1@isp.example",
          sla_status: null,
          sla_state: "within",
          mttr: null,
          opened_at: "2026-06-14T09:00:00+03:00",
          scheduled_at: "2026-06-15T10:00:00.25+03:00",
          closed_at: null,
          geo_source: "feed",
        },
      },
    ]);
  }));

test("a closed ticket has the source's verdict and no state against the target", () =>
  database.rolledBack(async (client) => {
    const values = {
      ...here,
      ...closed,
      sla_status: "met",
      mttr: "61",
      first_seen_at: "2026-06-01",
    };
    await insertTicket(client, "INC1", values);
    const { features } = await ticketsForMap(client, { p_status: "closed" });
    const { sla_status, sla_state, mttr, opened_at, closed_at } = features[0]?.properties ?? {};
    assert.deepEqual(
      { sla_status, sla_state, mttr, opened_at, closed_at },
      {
        sla_status: "met",
        sla_state: null,
        mttr: 61,
        opened_at: "2026-06-01T00:00:00+03:00",
        closed_at: "2026-06-15T06:05:00+03:00",
      },
    );
  }));

test("coordinates have six decimals, longitude first", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, "INC1", { latitude: "-1.29206649999", longitude: "36.8" });
    await insertTicket(client, "INC2", { latitude: "0", longitude: "-180" });
    const { features } = await ticketsForMap(client);
    assert.deepEqual(
      features.map(({ geometry }) => geometry.coordinates),
      [
        [36.8, -1.292066],
        [-180, 0],
      ],
    );
  }));

test("tickets without a point count, and are no features", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, "INC1", here);
    await insertTicket(client, "INC2");
    await insertTicket(client, "INC3", { latitude: "0", longitude: "0" });
    await insertTicket(client, "CRQ1", {}, "crq");
    const { summary, ...map } = await ticketsForMap(client);
    assert.deepEqual(ids(map), ["INC1"]);
    assert.deepEqual(without(summary, "freshness"), {
      total: 4,
      located: 1,
      unlocated: 3,
      by_dataset: { crq: 1, inc: 3 },
      by_geo_source: { feed: 1, location: 0, cluster: 0, none: 3 },
    });
  }));

test("datasets, clusters and statuses are chosen, open ones unless asked for others", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, "INC2", { ...here, cluster: "Karen" });
    await insertTicket(client, "INC1", { ...here, cluster: "karen" });
    await insertTicket(client, "INC3", { ...here, ...closed, cluster: "Karen" });
    await insertTicket(client, "CRQ1", { ...here, cluster: "Karen" }, "crq");
    await insertTicket(client, "CRQ2", { ...here, ...closed }, "crq");
    const chosen = async (args = {}) => {
      const map = await ticketsForMap(client, args);
      return { ids: ids(map), by_dataset: map.summary.by_dataset };
    };
    const all = { ids: ["CRQ1", "INC1", "INC2"], by_dataset: { crq: 1, inc: 2 } };
    assert.deepEqual(await chosen(), all);
    assert.deepEqual(await chosen({ p_dataset: null, p_cluster: null, p_status: null }), all);
    assert.deepEqual(await chosen({ p_dataset: "inc" }), {
      ids: ["INC1", "INC2"],
      by_dataset: { inc: 2 },
    });
    assert.deepEqual(await chosen({ p_cluster: "Karen", p_status: "all" }), {
      ids: ["CRQ1", "INC2", "INC3"],
      by_dataset: { crq: 1, inc: 2 },
    });
    assert.deepEqual(await chosen({ p_status: " Closed " }), {
      ids: ["CRQ2", "INC3"],
      by_dataset: { crq: 1, inc: 1 },
    });
    assert.deepEqual(await chosen({ p_cluster: "nowhere" }), {
      ids: [],
      by_dataset: { crq: 0, inc: 0 },
    });
  }));

test("a number that both datasets have is two features", () =>
  database.rolledBack(async (client) => {
    await insertTicket(client, "T1", here);
    await insertTicket(client, "T1", here, "crq");
    const { features } = await ticketsForMap(client);
    assert.deepEqual(
      features.map(({ id, properties }) => [id, properties["dataset"]]),
      [
        ["T1", "crq"],
        ["T1", "inc"],
      ],
    );
  }));

test("the summary says how fresh each dataset is", () =>
  database.rolledBack(async (client) => {
    const key = changeKey("2026-06-15T06-20-00");
    await freezeTime(client, "2026-06-15T03:25:00Z");
    await applyFile(client, { key, rows: [{ ticket_id: "T1" }] });
    await freezeTime(client, "2026-06-15T03:30:00.9Z");
    const { summary } = await ticketsForMap(client, { p_dataset: "inc" });
    assert.deepEqual(summary.freshness, {
      inc: {
        source_max_key: key,
        exported_at: "2026-06-15T06:20:00+03:00",
        age_seconds: 600,
        applied_at: "2026-06-15T06:25:00+03:00",
        files_applied: 1,
        files_refused: 0,
        files_unarchived: 1,
      },
    });
  }));

test("what is no dataset is TK001, what is no status TK030", async () => {
  for (const p_dataset of ["nope", "INC", ""]) {
    await database.rolledBack((client) =>
      assert.rejects(ticketsForMap(client, { p_dataset }), ownError("TK001")),
    );
  }
  for (const p_status of ["pending", "", "open;"]) {
    await database.rolledBack((client) =>
      assert.rejects(ticketsForMap(client, { p_status }), ownError("TK030")),
    );
  }
});
