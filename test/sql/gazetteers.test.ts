// A ticket stands at its own coordinates, else at its place, else at its cluster, whoever changes
// the ticket or a gazetteer.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import type { Client, ClientBase } from "pg";
import { createDatabase } from "../harness/postgres.ts";
import { applyFile, changeKey, ticketRow, ticketVersions } from "./staging.ts";

const database = await createDatabase({ after });

const first = changeKey("2026-06-15T06-00-00");
const second = changeKey("2026-06-15T06-20-00");
const ruaka = { ticket_id: "T1", cluster: "Ruaka", location_name: "NW_Ruaka_FDT1 Limuru Rd" };

async function insertCluster(client: ClientBase, cluster: string, lon: number, more = "") {
  await client.query(
    `insert into tickets.geo_clusters (cluster, geom)
     values ($1, public.st_setsrid(public.st_makepoint($2, -1), 4326)) ${more}`,
    [cluster, lon],
  );
}

async function insertLocation(client: ClientBase, place: string, cluster: string, lon: number) {
  await client.query(
    `insert into tickets.geo_locations (place, cluster, geom)
     values ($1, $2, public.st_setsrid(public.st_makepoint($3, -1), 4326))`,
    [place, cluster, lon],
  );
}

/** Where a ticket stands: its longitude, and who says so. */
async function standing(client: ClientBase, ticketId = "T1"): Promise<unknown[]> {
  const { latitude, longitude, geom, geog, geo_source } = await ticketRow(client, ticketId);
  assert.equal(latitude === null, longitude === null);
  assert.equal(geom === null, longitude === null);
  assert.equal(geog === null, longitude === null);
  return [longitude, geo_source];
}

test("a file's tickets stand at their own point, else their place, else their cluster", () =>
  database.rolledBack(async (client) => {
    await insertCluster(client, "Ruaka", 36.1);
    await insertLocation(client, "Ruaka Limuru Rd", "Ruaka", 36.2);
    await applyFile(client, {
      key: first,
      rows: [
        { ...ruaka, ticket_id: "feed", latitude: "-1", longitude: "36.3" },
        { ...ruaka, ticket_id: "wrong", latitude: "0", longitude: "0" },
        { ...ruaka, ticket_id: "location" },
        { ...ruaka, ticket_id: "other place", location_name: "Elsewhere" },
        { ...ruaka, ticket_id: "no place", location_name: "" },
        { ...ruaka, ticket_id: "place of another cluster", cluster: "Thika" },
        { ...ruaka, ticket_id: "no cluster", cluster: "" },
      ],
    });
    assert.deepEqual(await standing(client, "feed"), [36.3, "feed"]);
    assert.deepEqual(await standing(client, "wrong"), [36.2, "location"]);
    assert.deepEqual(await standing(client, "location"), [36.2, "location"]);
    assert.deepEqual(await standing(client, "other place"), [36.1, "cluster"]);
    assert.deepEqual(await standing(client, "no place"), [36.1, "cluster"]);
    assert.deepEqual(await standing(client, "place of another cluster"), [null, "none"]);
    assert.deepEqual(await standing(client, "no cluster"), [null, "none"]);
  }));

test("a ticket that a file moves to another cluster or place stands there", () =>
  database.rolledBack(async (client) => {
    await insertCluster(client, "Ruaka", 36.1);
    await insertCluster(client, "Thika", 37.1);
    await applyFile(client, { key: first, rows: [ruaka] });
    await applyFile(client, { key: second, rows: [{ ...ruaka, cluster: "Thika" }] });
    assert.deepEqual(await standing(client), [37.1, "cluster"]);
    await applyFile(client, {
      key: changeKey("2026-06-15T06-40-00"),
      rows: [{ ...ruaka, cluster: "Nowhere" }],
    });
    assert.deepEqual(await standing(client), [null, "none"]);
  }));

test("a file without the columns of a place leaves a ticket that it changes at its place", () =>
  database.rolledBack(async (client) => {
    await insertCluster(client, "Ruaka", 36.1);
    await insertLocation(client, "Ruaka Limuru Rd", "Ruaka", 36.2);
    await applyFile(client, { key: first, rows: [ruaka] });
    for (const [minute, header] of [
      [20, ["ticket_id", "owner"]],
      [30, ["ticket_id", "location_name", "owner"]],
      [40, ["ticket_id", "cluster", "owner"]],
    ] as const) {
      const row = { ...ruaka, owner: `at ${minute}` };
      await applyFile(client, {
        key: changeKey(`2026-06-15T06-${minute}-00`),
        header: [...header],
        rows: [row],
      });
      assert.equal((await ticketRow(client, "T1")).raw["owner"], row.owner);
      assert.deepEqual(await standing(client), [36.2, "location"]);
    }
  }));

test("a ticket written by hand stands where it should", () =>
  database.rolledBack(async (client) => {
    await insertCluster(client, "Ruaka", 36.1);
    await client.query(
      "insert into tickets.inc (ticket_id, raw, geo_source) values ('T1', $1, 'cluster')",
      [ruaka],
    );
    assert.deepEqual(await standing(client), [36.1, "cluster"]);
    await client.query("update tickets.ticket set raw = raw - 'cluster'");
    assert.deepEqual(await standing(client), [null, "none"]);
    await client.query("update tickets.inc set raw = raw || $1", [{ cluster: "Ruaka" }]);
    assert.deepEqual(await standing(client), [36.1, "cluster"]);
  }));

test("tickets follow when a cluster is added, moved, refused, verified, renamed or removed", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, rows: [ruaka] });
    await insertCluster(client, "Ruaka", 36.1);
    assert.deepEqual(await standing(client), [36.1, "cluster"]);
    const steps = [
      ["geom = public.st_setsrid(public.st_makepoint(36.2, -1), 4326)", [36.2, "cluster"]],
      ["status = 'rejected_far'", [null, "none"]],
      ["verified = true", [36.2, "cluster"]],
      ["cluster = 'Thika'", [null, "none"]],
      ["cluster = 'Ruaka'", [36.2, "cluster"]],
      ["geom = null", [null, "none"]],
    ] as const;
    for (const [change, expected] of steps) {
      await client.query(`update tickets.geo_clusters set ${change}`);
      assert.deepEqual(await standing(client), expected, change);
    }
    await client.query("truncate tickets.geo_clusters");
    await insertCluster(client, "Ruaka", 36.3);
    assert.deepEqual(await standing(client), [36.3, "cluster"]);
    await client.query("delete from tickets.geo_clusters");
    assert.deepEqual(await standing(client), [null, "none"]);
    await insertCluster(client, "Ruaka", 36.4);
    await client.query("truncate tickets.geo_clusters");
    assert.deepEqual(await standing(client), [null, "none"]);
  }));

test("tickets follow when a place is added, refused, verified or removed", () =>
  database.rolledBack(async (client) => {
    await insertCluster(client, "Ruaka", 36.1);
    await applyFile(client, { key: first, rows: [ruaka] });
    await insertLocation(client, "Ruaka Limuru Rd", "Ruaka", 36.2);
    assert.deepEqual(await standing(client), [36.2, "location"]);
    await client.query("update tickets.geo_locations set status = 'rejected_far'");
    assert.deepEqual(await standing(client), [36.1, "cluster"]);
    await client.query("update tickets.geo_locations set verified = true");
    assert.deepEqual(await standing(client), [36.2, "location"]);
    await client.query("delete from tickets.geo_locations");
    assert.deepEqual(await standing(client), [36.1, "cluster"]);
  }));

test("tickets follow when the network codes change what their place is called", () =>
  database.rolledBack(async (client) => {
    await insertLocation(client, "Limuru Rd", "Ruaka", 36.2);
    await applyFile(client, { key: first, rows: [ruaka] });
    assert.deepEqual(await standing(client), [null, "none"]);
    await client.query("insert into tickets.place_codes values ('Ruaka', 'ruaka')");
    assert.deepEqual(await standing(client), [36.2, "location"]);
  }));

test("a cluster known by an alias stands at the name behind it, until it has a point of its own", () =>
  database.rolledBack(async (client) => {
    await applyFile(client, { key: first, rows: [{ ticket_id: "T1", cluster: "QOA" }] });
    await insertCluster(client, "Quarry Road", 36.1);
    assert.deepEqual(await standing(client), [36.1, "cluster"]);
    await insertCluster(client, "QOA", 36.2);
    assert.deepEqual(await standing(client), [36.2, "cluster"]);
    await client.query("delete from tickets.geo_clusters where cluster = 'QOA'");
    assert.deepEqual(await standing(client), [36.1, "cluster"]);
    await client.query("delete from tickets.cluster_aliases where alias = 'QOA'");
    assert.deepEqual(await standing(client), [null, "none"]);
    await client.query("insert into tickets.cluster_aliases values ('QOA', 'Quarry Road')");
    assert.deepEqual(await standing(client), [36.1, "cluster"]);
  }));

test("changing one cluster writes its tickets and no others", () =>
  database.rolledBack(async (client) => {
    await insertCluster(client, "Ruaka", 36.1);
    await insertCluster(client, "Thika", 37.1);
    await applyFile(client, {
      key: first,
      rows: [
        ruaka,
        { ...ruaka, ticket_id: "T2", cluster: "Thika" },
        { ...ruaka, ticket_id: "T3", latitude: "-1", longitude: "36.9" },
      ],
    });
    const before = await ticketVersions(client);
    await client.query("update tickets.geo_clusters set attempts = attempts + 1, query = 'Ruaka'");
    assert.deepEqual(await ticketVersions(client), before);
    await client.query(
      `update tickets.geo_clusters
       set geom = public.st_setsrid(public.st_makepoint(36.2, -1), 4326) where cluster = 'Ruaka'`,
    );
    const changed = (await ticketVersions(client)).map(
      (version, n) => JSON.stringify(version) !== JSON.stringify(before[n]),
    );
    assert.deepEqual(changed, [true, false, false]);
  }));

test("a point that is not on the earth is refused", () =>
  database.rolledBack(async (client) => {
    await assert.rejects(insertCluster(client, "Ruaka", 181), { code: "23514" });
  }));

const clusters = ["Ruaka", "Thika", "QOA", "Quarry Road"] as const;
const placeNames = ["Limuru Rd", "Yaya Centre"] as const;
const longitude = fc.integer({ min: 30, max: 40 });
const anyTicket = fc.record({
  ticket_id: fc.constantFrom("T1", "T2", "T3", "T4"),
  cluster: fc.constantFrom(...clusters, ""),
  location_name: fc.constantFrom("", ...placeNames.map((name) => `NW_${name} SDUS`)),
});
const point = "public.st_setsrid(public.st_makepoint($2, -1), 4326)";
const anyChange = fc.oneof(
  fc.record({ does: fc.constant("apply" as const), row: anyTicket }),
  fc.record({ does: fc.constant("write" as const), row: anyTicket }),
  fc.record({
    does: fc.constant("query" as const),
    text: fc.constantFrom(
      `insert into tickets.geo_clusters (cluster, geom) values ($1, ${point})
       on conflict (cluster) do update set geom = excluded.geom`,
      `update tickets.geo_clusters
       set status = case when $2 > 35 then 'ok' else 'rejected_far' end where cluster = $1`,
      `update tickets.geo_clusters set verified = $2 > 35 where cluster = $1`,
      "delete from tickets.geo_clusters where cluster = $1 and $2 > 0",
    ),
    name: fc.constantFrom(...clusters),
    longitude,
  }),
  fc.record({
    does: fc.constant("query" as const),
    text: fc.constantFrom(
      `insert into tickets.geo_locations (place, cluster, geom)
       select $1, c, ${point} from unnest(array['Ruaka', 'QOA']) as c
       on conflict (cluster, place) do update set geom = excluded.geom`,
      "delete from tickets.geo_locations where place = $1 and $2 > 0",
    ),
    name: fc.constantFrom(...placeNames),
    longitude,
  }),
);

test("whatever happens to tickets and gazetteers, every ticket stands where it should", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyChange, { maxLength: 25 }), (changes) =>
      database.rolledBack(async (client) => {
        for (const [n, change] of changes.entries()) {
          if (change.does === "query") {
            await client.query(change.text, [change.name, change.longitude]);
          } else if (change.does === "write") {
            await client.query(
              `insert into tickets.ticket (dataset, ticket_id, raw) values ('inc', $1, $2)
               on conflict (ticket_id, dataset) do update set raw = excluded.raw`,
              [change.row.ticket_id, change.row],
            );
          } else {
            const minute = String(n).padStart(2, "0");
            await applyFile(client, {
              key: changeKey(`2026-06-15T06-${minute}-00`),
              rows: [change.row],
            });
          }
        }
        const { rows } = await client.query(wronglyPlaced);
        assert.deepEqual(rows, []);
      }),
    ),
    { numRuns: 40 },
  );
});

/** Tickets that do not stand where a look at the tables from scratch puts them. */
const wronglyPlaced = `
  select t.ticket_id, public.st_astext(t.geom) as stands, t.geo_source
  from tickets.ticket as t
  left join tickets.geo_locations as l
    on l.cluster = t.cluster and (l.status = 'ok' or l.verified)
    and l.place = tickets.clean_place(t.location_name)
  left join tickets.geo_clusters as c
    on c.cluster = t.cluster and (c.status = 'ok' or c.verified)
  left join tickets.cluster_aliases as a on a.alias = t.cluster
  left join tickets.geo_clusters as b
    on b.cluster = a.cluster and (b.status = 'ok' or b.verified)
  where public.st_astext(t.geom)
      is distinct from public.st_astext(coalesce(l.geom, c.geom, b.geom))
    or t.geo_source is distinct from case
      when l.geom is not null then 'location'
      when coalesce(c.geom, b.geom) is not null then 'cluster'
      else 'none'
    end`;

/** Runs `work` on two sessions at once, the second one while the first has yet to commit. */
async function race(
  change: (client: Client) => Promise<unknown>,
  follow: (client: Client) => Promise<unknown>,
): Promise<void> {
  const [one, two] = [await database.connect(), await database.connect()];
  await one.query("begin");
  await change(one);
  await two.query("begin");
  const followed = follow(two);
  await sleep(50);
  await one.query("commit");
  await followed;
  await two.query("commit");
}

test("a file and a gazetteer that change at once miss nothing of each other", async () => {
  const apply = (ticketId: string, key: string) => (client: Client) =>
    applyFile(client, { key, rows: [{ ticket_id: ticketId, cluster: "Ruaka" }] });
  await race(apply("T1", first), (client) => insertCluster(client, "Ruaka", 36.1));
  await race(
    (client) =>
      client.query(
        "update tickets.geo_clusters set geom = public.st_setsrid(public.st_makepoint(36.2, -1), 4326)",
      ),
    apply("T2", second),
  );
  await race(
    (client) =>
      client.query("insert into tickets.inc (ticket_id, raw) values ('T3', $1)", [
        { ticket_id: "T3", cluster: "Ruaka" },
      ]),
    (client) =>
      client.query(
        "update tickets.geo_clusters set geom = public.st_setsrid(public.st_makepoint(36.3, -1), 4326)",
      ),
  );
  const { rows } = await database.pool.query(wronglyPlaced);
  assert.deepEqual(rows, []);
});

test("two gazetteers that change at once leave tickets at the better point", async () => {
  const { pool } = database;
  await pool.query("truncate tickets.geo_clusters, tickets.geo_locations");
  await pool.query(`insert into tickets.inc (ticket_id, raw) values ('T9', $1)`, [
    { ...ruaka, ticket_id: "T9" },
  ]);
  await race(
    (client) => insertLocation(client, "Ruaka Limuru Rd", "Ruaka", 36.2),
    (client) => insertCluster(client, "Ruaka", 36.1),
  );
  const { rows } = await pool.query(wronglyPlaced);
  assert.deepEqual(rows, []);
});
