import { type Database, queryRow } from "../database.ts";

// What `demo` does besides loading: it places tickets, stops the clock, and shows what came of it.

/** Runs a file of SQL that comes with this program, such as the points of clusters. */
export async function runScript(db: Database, script: string): Promise<void> {
  await db.query(script);
}

/** Puts the places that most tickets name a kilometre from their cluster, for a demonstration. */
export async function inventPlaces(db: Database, count: number): Promise<void> {
  await db.query(
    `select tickets.correct_place(
       p_cluster => l.cluster,
       p_lat => l.latitude + 0.01 * sin(l.nth),
       p_lng => l.longitude + 0.01 * cos(l.nth),
       p_place => l.place
     )
     from (
       select p.*, row_number() over () as nth
       from tickets.locations_to_geocode() as p
       where p.skipped is null
       limit $1::integer
     ) as l`,
    [count],
  );
}

/** Lets the clock of this session stand still, at an instant with its offset. */
export async function stopClock(db: Database, instant: string): Promise<void> {
  await db.query("select set_config('tickets.now', $1::text, false)", [instant]);
}

/** How much there is of a dataset. */
export interface DatasetOverview {
  dataset: string;
  tickets: number;
  open: number;
  closed: number;
  located: number;
  closures: number;
  status_changes: number;
  rejected_rows: number;
  bad_values: number;
}

/** How much there is of each dataset. Reads all tickets. */
export async function overview(db: Database): Promise<DatasetOverview[]> {
  return db.query<DatasetOverview>(
    `select o.dataset, o.tickets, o.open, o.closed, o.located, o.closures, o.status_changes,
       o.rejected_rows, o.bad_values
     from tickets.overview as o`,
  );
}

/** The numbers that a dashboard shows first. */
export interface Headlines {
  dataset: string;
  open_total: number;
  open_actionable: number;
  open_within: number;
  open_at_risk: number;
  open_breached: number;
  closed_in_window: number;
  mttr_median_minutes: number | null;
  located_pct: number | null;
}

/** The headlines of both dashboards, of all time. */
export async function headlines(db: Database): Promise<Headlines[]> {
  return db.query<Headlines>(
    `select d.dataset, m.*
     from (
       values
         ('inc', reporting.fn_inc_dashboard(p_window => 'all')),
         ('crq', reporting.fn_crq_dashboard(p_window => 'all'))
     ) as d (dataset, answer)
     cross join json_to_record(d.answer -> 'metrics') as m (
       open_total integer, open_actionable integer, open_within integer, open_at_risk integer,
       open_breached integer, closed_in_window integer, mttr_median_minutes float8,
       located_pct float8
     )`,
  );
}

/** How many tickets of any status the map shows, and where their points come from. */
export interface MapSummary {
  total: number;
  located: number;
  by_geo_source: Record<string, number>;
}

export async function mapSummary(db: Database): Promise<MapSummary> {
  return queryRow<MapSummary>(
    db,
    `select s.*
     from json_to_record(reporting.fn_tickets_for_map(p_status => 'all') -> 'summary') as s (
       total integer, located integer, by_geo_source json
     )`,
  );
}
