/** Tickets and gazetteers for the tests of geocoding. */

import type { Dataset } from "../../src/samples.ts";

/** Any connection that runs a statement. */
export interface Queryable {
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
}

export interface PlacedTicket {
  cluster?: string;
  location?: string;
  dataset?: Dataset;
  isOpen?: boolean;
  isActionable?: boolean;
  /** Latitude and longitude that the feed has for it. */
  feed?: readonly [number, number];
}

let tickets = 0;

/** Inserts so many tickets that say the same; open and actionable ones by default. */
export async function insertTickets(
  client: Queryable,
  ticket: PlacedTicket,
  count = 1,
): Promise<void> {
  const { cluster, location, dataset = "inc", isOpen = true, isActionable = true, feed } = ticket;
  for (let n = 0; n < count; n++) {
    const id = `T${tickets++}`;
    const raw = {
      ticket_id: id,
      bucket: isOpen ? "pending" : "closed",
      is_actionable: String(isActionable),
      ...(cluster === undefined ? {} : { cluster }),
      ...(location === undefined ? {} : { location_name: location }),
      ...(feed === undefined ? {} : { latitude: String(feed[0]), longitude: String(feed[1]) }),
    };
    await client.query(`insert into tickets.${dataset} (ticket_id, raw) values ($1, $2)`, [
      id,
      raw,
    ]);
  }
}

/** A row of a gazetteer; of the clusters' where it names no place. */
export interface GazetteerRow {
  cluster: string;
  place?: string;
  /** Latitude and longitude. */
  at?: readonly [number, number];
  status?: string;
  verified?: boolean;
  attempts?: number;
  fetchedAt?: string;
}

export async function insertGazetteerRow(client: Queryable, row: GazetteerRow): Promise<void> {
  const { cluster, place, at, status = "ok", verified = false, attempts = 1, fetchedAt } = row;
  const values = [cluster, at?.[1], at?.[0], status, verified, attempts, fetchedAt];
  const point = "public.st_setsrid(public.st_makepoint($2::float8, $3::float8), 4326)";
  await client.query(
    place === undefined
      ? `insert into tickets.geo_clusters
           (cluster, geom, status, verified, attempts, fetched_at)
         values ($1, ${point}, $4, $5, $6, $7)`
      : `insert into tickets.geo_locations
           (cluster, geom, status, verified, attempts, fetched_at, place)
         values ($1, ${point}, $4, $5, $6, $7, $8)`,
    place === undefined ? values : [...values, place],
  );
}

/** Both gazetteers, by name; of a point latitude and longitude. */
export async function gazetteerRows(client: Queryable): Promise<Record<string, unknown>[]> {
  const { rows } = await client.query(
    `select g.cluster, g.place, g.status, g.verified, g.attempts, g.provider, g.query,
       array[public.st_y(g.geom), public.st_x(g.geom)] as at, g.fetched_at
     from (
       select c.cluster, null as place, c.status, c.verified, c.attempts, c.provider, c.query,
         c.geom, c.fetched_at
       from tickets.geo_clusters as c
       union all
       select l.cluster, l.place, l.status, l.verified, l.attempts, l.provider, l.query,
         l.geom, l.fetched_at
       from tickets.geo_locations as l
     ) as g
     order by g.cluster collate "C", g.place collate "C" nulls first`,
  );
  return rows as Record<string, unknown>[];
}

/** Where the tickets stand, by cluster and location: latitude, longitude and who says so. */
export async function standings(client: Queryable): Promise<unknown[]> {
  const { rows } = await client.query(
    `select distinct t.cluster, t.location_name as location, t.latitude, t.longitude, t.geo_source
     from tickets.ticket as t
     order by t.cluster, location`,
  );
  return rows;
}
