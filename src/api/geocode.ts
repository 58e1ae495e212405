import { type Database, queryRow } from "../database.ts";

// What a geocoding run calls, of schema `tickets`.

/** Takes the lock of a kind of geocoding. Returns the code of the country to look in. */
export async function startGeocoding(db: Database, kind: string): Promise<string> {
  const { country_code } = await queryRow<{ country_code: string }>(
    db,
    "select tickets.start_geocoding(p_kind => $1::text) as country_code",
    [kind],
  );
  return country_code;
}

export async function finishGeocoding(db: Database, kind: string): Promise<void> {
  await db.query("select tickets.finish_geocoding(p_kind => $1::text)", [kind]);
}

/** The clusters that a geocoder is to be asked for, those with most tickets first. */
export async function clustersToGeocode(
  db: Database,
): Promise<{ cluster: string; query: string; tickets: number }[]> {
  return db.query(
    "select c.cluster, c.query, c.tickets from tickets.clusters_to_geocode() as c",
    [],
    "slow",
  );
}

/** A place that a geocoder is to be asked for. */
export interface LocationToGeocode {
  place: string;
  cluster: string | null;
  query: string;
  tickets: number;
  /** Why it cannot be asked for; then there is no point of its cluster. */
  skipped: string | null;
  /** The point of its cluster and what is around, in degrees: west, south, east, north. */
  latitude: number;
  longitude: number;
  box: [number, number, number, number];
}

/** The places that a geocoder is to be asked for, those with most tickets first. */
export async function locationsToGeocode(db: Database): Promise<LocationToGeocode[]> {
  return db.query<LocationToGeocode>(
    `select l.place, l.cluster, l.query, l.tickets, l.skipped, l.latitude, l.longitude, l.box
     from tickets.locations_to_geocode() as l`,
    [],
    "slow",
  );
}

/**
 * Reserves the next request to a geocoding service. Returns how long to wait for it; null where
 * the day's requests are used up, until `quota_until`.
 */
export async function reserveRequest(
  db: Database,
  service: string,
  perSecond: number,
): Promise<{ wait_ms: number | null; quota_until: Date | null }> {
  return queryRow<{ wait_ms: number | null; quota_until: Date | null }>(
    db,
    `select r.wait_ms, r.quota_until
     from tickets.reserve_request(
       p_service => $1::text, p_per_second => $2::double precision
     ) as r`,
    [service, perSecond],
  );
}

/** Lets no run ask a geocoding service for a while. */
export async function pauseRequests(db: Database, service: string, waitMs: number): Promise<void> {
  await db.query("select tickets.pause_requests(p_service => $1::text, p_wait_ms => $2::integer)", [
    service,
    waitMs,
  ]);
}

/** What a geocoder said, or that it said nothing. */
export type GeocoderAnswer = { provider: string; query: string } & (
  | { kind: "found"; latitude: number; longitude: number; countryCode: string | undefined }
  | { kind: "no_match" | "error" }
);

/**
 * Writes an answer into the gazetteers, for all that waited for it. Returns what was written: not
 * what a person has verified.
 */
export async function recordAnswer(
  db: Database,
  waiting: readonly { place: string | null; cluster: string }[],
  answer: GeocoderAnswer,
): Promise<
  {
    place: string | null;
    cluster: string;
    status: "ok" | "no_match" | "rejected_far" | "error";
    distance: number | null;
  }[]
> {
  const found = answer.kind === "found" ? answer : undefined;
  return db.query(
    `select a.place, a.cluster, a.status, a.distance
     from tickets.record_answer(
       p_places => $1::text[], p_clusters => $2::text[], p_provider => $3::text,
       p_query => $4::text, p_outcome => $5::text, p_latitude => $6::double precision,
       p_longitude => $7::double precision, p_country_code => $8::text
     ) as a`,
    [
      waiting.map(({ place }) => place),
      waiting.map(({ cluster }) => cluster),
      answer.provider,
      answer.query,
      answer.kind,
      found?.latitude,
      found?.longitude,
      found?.countryCode,
    ],
    // It waits for files that are being applied, and an answer was paid for.
    "slow",
  );
}
