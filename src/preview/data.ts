/**
 * What the page is made of, as the functions of schema `reporting` return it: shared by those who
 * read it from the database and those who draw it in the browser.
 */

export type SlaState = "within" | "at_risk" | "breached" | "unknown";

/** The properties of a feature; every text in them is a stranger's. */
export interface TicketProperties {
  dataset: string;
  ticket_id: string;
  normalized_status: string | null;
  raw_status: string | null;
  bucket: string | null;
  is_actionable: boolean | null;
  cluster: string | null;
  region: string | null;
  location_name: string | null;
  assigned_team: string | null;
  owner: string | null;
  sla_status: string | null;
  /** null: the ticket is closed. */
  sla_state: SlaState | null;
  /** In minutes. */
  mttr: number | null;
  opened_at: string | null;
  scheduled_at: string | null;
  closed_at: string | null;
  geo_source: string;
}

export interface TicketFeature {
  type: "Feature";
  id: string;
  geometry: { type: "Point"; coordinates: [lng: number, lat: number] };
  properties: TicketProperties;
}

export interface Freshness {
  source_max_key: string | null;
  /** When the newest file that is loaded was exported; null before the first one. */
  exported_at: string | null;
  age_seconds: number | null;
  applied_at: string | null;
  files_applied: number;
  files_refused: number;
  files_unarchived: number;
}

/** What `reporting.fn_tickets_for_map` returns. */
export interface TicketMap {
  type: "FeatureCollection";
  features: TicketFeature[];
  summary: {
    /** null without a dataset. */
    total: number | null;
    located: number | null;
    unlocated: number | null;
    by_dataset: Record<string, number>;
    by_geo_source: Record<string, number>;
    freshness: Record<string, Freshness>;
  };
}

export interface Metrics {
  open_total: number;
  open_actionable: number;
  open_within: number;
  open_at_risk: number;
  open_breached: number;
  open_unknown: number;
  created_in_window: number;
  closed_in_window: number;
  reopened_in_window: number;
  mttr_median_minutes: number | null;
  mttr_p90_minutes: number | null;
  mttr_mean_minutes: number | null;
  sla_met: number;
  sla_breached: number;
  aging: Record<"lt_4h" | "h4_24h" | "d1_3d" | "d3_7d" | "gt_7d" | "unknown", number>;
  located_pct: number | null;
}

export interface Group {
  /** null: tickets that name none. */
  name: string | null;
  open: number;
  closed: number;
  mttr_median_minutes: number | null;
  sla_breached: number;
}

/** A day of `reporting.fn_backlog`; no numbers where no snapshot was taken. */
export interface BacklogDay {
  day: string;
  open: number | null;
  actionable: number | null;
  breached: number | null;
  created: number | null;
  closed: number | null;
}

/** A row of `reporting.fn_team_closures`. */
export interface TeamClosures {
  team: string | null;
  owner: string | null;
  closures: number;
}

/** A dataset's dashboard without its features, with its history. */
export interface Dashboard {
  filters: { dataset: string; cluster: string | null; window: string | null };
  metrics: Metrics;
  by_cluster: Group[];
  by_team: Group[];
  freshness: Freshness;
  backlog: BacklogDay[];
  team_closures: TeamClosures[];
  /** All that can be filtered by, whatever is filtered by now. */
  clusters: string[];
}

/** What is looked at; it stands in the address of the page. */
export interface Filters {
  /** null: all. */
  dataset: string | null;
  /** null: all. */
  cluster: string | null;
  /** Which tickets the map shows: open, closed or all. */
  status: string;
  /** The time that the numbers and charts look at: 24h, 7d, 30d, all or an interval. */
  window: string;
}

/** What a report carries. */
export interface Report {
  filters: Filters;
  /** ISO 8601. */
  made_at: string;
  map: TicketMap;
  /** Tickets with a point that the report leaves out to stay small, the least urgent ones. */
  left_out: number;
  dashboards: Dashboard[];
  /** The program of the map's worker. */
  worker: string;
}

/** An answer that is none. */
export interface Failure {
  error: { message: string; code?: string; hint?: string };
}

/** The most urgent first: what a list begins with, and what a report leaves out last. */
export const urgency = ["breached", "at_risk", "unknown", "within", "closed"] as const;
export type State = (typeof urgency)[number];

export function stateOf(ticket: TicketProperties): State {
  return ticket.sla_state ?? "closed";
}

/** Sorts the most urgent tickets first. */
export function byUrgency(one: TicketFeature, other: TicketFeature): number {
  return urgency.indexOf(stateOf(one.properties)) - urgency.indexOf(stateOf(other.properties));
}

export const defaultFilters: Readonly<Filters> = {
  dataset: null,
  cluster: null,
  status: "open",
  window: "7d",
};

/** The filters that an address asks for; what it does not say is as usual. */
export function readFilters(query: { get(name: string): string | null }): Filters {
  const dataset = query.get("dataset") ?? "";
  return {
    dataset: dataset === "" || dataset === "all" ? null : dataset,
    cluster: query.get("cluster") || null,
    status: query.get("status") || defaultFilters.status,
    window: query.get("window") || defaultFilters.window,
  };
}
