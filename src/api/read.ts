import { type Database, queryRow } from "../database.ts";

// What the page reads: functions of schema `reporting`. What they return is passed on as the text that it is;
// made into objects, two hundred thousand tickets would be a second's work for nothing.

/**
 * Takes the reader's role until the transaction ends, where the server has it and this user may.
 * Elsewhere the user reads with the rights of its own.
 */
export async function becomeReader(db: Database): Promise<void> {
  await db.query(
    `select set_config('role', r.rolname, true)
     from pg_roles as r
     where r.rolname = 'fleettickets_reader'
       -- From PostgreSQL 16 on, a member may be one that may not take the role.
       and pg_has_role(
         r.oid,
         case when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end
       )`,
  );
}

/** @throws DatabaseError 42883 where a function is missing that the page reads */
export async function checkReading(db: Database): Promise<void> {
  await db.query(
    `select f.signature::regprocedure
     from unnest(array[
       'reporting.fn_tickets_for_map(text, text, text)',
       'reporting.fn_inc_dashboard(text, text, text, timestamptz, timestamptz)',
       'reporting.fn_crq_dashboard(text, text, text, timestamptz, timestamptz)',
       'reporting.fn_backlog(text, date, date, text)',
       'reporting.fn_team_closures(text, timestamptz, timestamptz)'
     ]) as f (signature)`,
  );
}

/** The FeatureCollection of the Tickets map, as JSON. */
export async function ticketsForMap(
  db: Database,
  { dataset, cluster, status }: { dataset: string | null; cluster: string | null; status: string },
): Promise<string> {
  const { map } = await queryRow<{ map: string }>(
    db,
    `select reporting.fn_tickets_for_map(
       p_dataset => $1::text, p_cluster => $2::text, p_status => $3::text
     )::text as map`,
    [dataset, cluster, status],
    "slow",
  );
  return map;
}

const dashboardFunctions = {
  inc: "reporting.fn_inc_dashboard",
  crq: "reporting.fn_crq_dashboard",
} as const;

/** The datasets that have a dashboard. */
export const dashboardDatasets = ["inc", "crq"] as const;

export type DashboardDataset = (typeof dashboardDatasets)[number];

/**
 * A dataset's dashboard without its features, all clusters that it can be asked for, the backlog of
 * the same days (of at least 30, and of a year where the window has no beginning), and the closures
 * of the same time: a Dashboard, as JSON.
 */
export async function dashboard(
  db: Database,
  dataset: DashboardDataset,
  { cluster, window }: { cluster: string | null; window: string },
): Promise<string> {
  const call = dashboardFunctions[dataset];
  const { dashboard } = await queryRow<{ dashboard: string }>(
    db,
    `with d as materialized (
       select j.*,
         coalesce((j.filters ->> 'from')::timestamptz, '-infinity') as window_from,
         coalesce((j.filters ->> 'to')::timestamptz, 'infinity') as window_to,
         -- tickets._now() written out: it is not for readers.
         case
           when coalesce(current_setting('tickets.now', true), '') <> ''
             and has_schema_privilege(session_user, 'tickets', 'create')
           then current_setting('tickets.now')::timestamptz
           else now()
         end at time zone interval '3 hours' as now
       from json_to_record(${call}(p_cluster => $1::text, p_window => $2::text)) as j (
         filters json, metrics json, by_cluster json, by_team json, freshness json
       )
     )
     select json_build_object(
       'filters', d.filters, 'metrics', d.metrics, 'by_cluster', d.by_cluster,
       'by_team', d.by_team, 'freshness', d.freshness,
       'clusters', (
         select coalesce(json_agg(c.entry -> 'name' order by c.place), '[]')
         from json_array_elements(
           case
             when $1::text is null then d.by_cluster
             else ${call}(p_window => $2::text) -> 'by_cluster'
           end
         ) with ordinality as c (entry, place)
         where c.entry ->> 'name' is not null
       ),
       'backlog', (
         select coalesce(json_agg(b order by b.day), '[]')
         from reporting.fn_backlog(
           $3::text,
           case
             when isfinite(d.window_from)
             then least(
               (d.window_from at time zone interval '3 hours')::date, d.now::date - 29
             )
             else d.now::date - 364
           end,
           d.now::date,
           $1::text
         ) as b
       ),
       'team_closures', (
         select coalesce(json_agg(c), '[]')
         from reporting.fn_team_closures($3::text, d.window_from, d.window_to) as c
       )
     )::text as dashboard
     from d`,
    [cluster, window, dataset],
    "slow",
  );
  return dashboard;
}
