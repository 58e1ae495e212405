/** How long the map and the dashboard take, beside plain queries that build the same features. */

import assert from "node:assert/strict";
import { performance } from "node:perf_hooks";
import type { Client } from "pg";
import { secondsSince } from "./servers.ts";

// Shortly after the last of the exports, or there would be nothing in the dashboard's window.
const NOW = "2026-06-15 08:30:00+03";
const ROUNDS = 3;
// A row becomes JSON without blanks, an object of json_build_object with them.
const FEATURE = /"type" ?: ?"Feature"/g;

const questions = {
  map: "select reporting.fn_tickets_for_map()::text as json",
  dashboard: "select reporting.fn_inc_dashboard()::text as json",
  plain_map: plainQuery("t.is_open"),
  plain_dashboard: plainQuery(
    "t.dataset = 'inc' and (t.is_open or t.closed_at >= n.at - interval '7 days')",
  ),
} as const;

export type Question = keyof typeof questions;

/** The fastest of a few times that each was asked, in turns, after a first one that warmed up. */
export async function readingSeconds(client: Client): Promise<Record<Question, number>> {
  await client.query("select set_config('tickets.now', $1, false)", [NOW]);
  // As the functions have it for themselves.
  await client.query("set timezone = 'Africa/Nairobi'; set work_mem = '64MB'; set jit = off");
  const features: Record<string, number> = {};
  const seconds: Record<Question, number> = {
    map: Infinity,
    dashboard: Infinity,
    plain_map: Infinity,
    plain_dashboard: Infinity,
  };
  for (let round = 0; round <= ROUNDS; round++) {
    for (const question of Object.keys(questions) as Question[]) {
      const startedAt = performance.now();
      const { rows } = await client.query<{ json: string }>(questions[question]);
      if (round > 0) seconds[question] = Math.min(seconds[question], secondsSince(startedAt));
      features[question] = rows[0]?.json.match(FEATURE)?.length ?? 0;
    }
  }
  await client.query("reset all");
  assert.deepEqual(
    [features["map"], features["dashboard"]],
    [features["plain_map"], features["plain_dashboard"]],
  );
  return seconds;
}

function plainQuery(condition: string): string {
  return `
    select json_agg(
      json_build_object(
        'type', 'Feature',
        'id', t.ticket_id,
        'geometry', public.st_asgeojson(t.geom, 6)::json,
        'properties', row_to_json(p)
      )
      order by t.ticket_id
    )::text as json
    from tickets.ticket as t
    join tickets.datasets as d on d.dataset = t.dataset
    cross join (select current_setting('tickets.now')::timestamptz as at offset 0) as n
    cross join lateral (
      select coalesce(t.created_at_service, t.first_seen_at) as opened_at
    ) as o
    cross join lateral (
      select t.dataset, t.ticket_id, t.normalized_status, t.raw_status, t.bucket, t.is_actionable,
        t.cluster, t.region, t.location_name, t.assigned_team, t.owner, t.sla_status,
        case
          when not t.is_open then null
          when o.opened_at is null then 'unknown'
          when o.opened_at + d.sla_target < n.at then 'breached'
          when o.opened_at + d.sla_target * d.sla_at_risk_share::float8 <= n.at then 'at_risk'
          else 'within'
        end as sla_state,
        t.mttr, o.opened_at, t.scheduled_at, t.closed_at, t.geo_source
    ) as p
    where t.geom is not null and ${condition}`;
}
