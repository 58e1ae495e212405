--
-- PostgreSQL database dump
--


-- Dumped from database version 15


--
-- Name: reporting; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA reporting;


--
-- Name: SCHEMA reporting; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA reporting IS 'Read functions for the Tickets map and the dashboard.';


--
-- Name: tickets; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA tickets;


--
-- Name: SCHEMA tickets; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA tickets IS 'Ticket data and its loading: staging, apply functions, ledger and history.';


--
-- Name: ticket_properties; Type: TYPE; Schema: reporting; Owner: -
--

CREATE TYPE reporting.ticket_properties AS (
	dataset text,
	ticket_id text,
	normalized_status text,
	raw_status text,
	bucket text,
	is_actionable boolean,
	cluster text,
	region text,
	location_name text,
	assigned_team text,
	owner text,
	sla_status text,
	sla_state text,
	mttr integer,
	opened_at timestamp with time zone,
	scheduled_at timestamp with time zone,
	closed_at timestamp with time zone,
	geo_source text
);


--
-- Name: TYPE ticket_properties; Type: COMMENT; Schema: reporting; Owner: -
--

COMMENT ON TYPE reporting.ticket_properties IS 'What a feature says of its ticket: the names and the order of its properties.';


--
-- Name: applied_file; Type: TYPE; Schema: tickets; Owner: -
--

CREATE TYPE tickets.applied_file AS (
	dataset text,
	source_key text,
	staged integer,
	dropped_alarm integer,
	dropped_sentinel integer,
	rejected integer,
	duplicates integer,
	stale integer,
	inserted integer,
	updated integer,
	unchanged integer,
	closures integer
);


--
-- Name: TYPE applied_file; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TYPE tickets.applied_file IS 'What came of a file, as tickets.ingest_files counts it.';


--
-- Name: file_version; Type: TYPE; Schema: tickets; Owner: -
--

CREATE TYPE tickets.file_version AS (
	exported_at timestamp with time zone,
	source_key text COLLATE pg_catalog."C"
);


--
-- Name: TYPE file_version; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TYPE tickets.file_version IS 'A file''s place in time. Files are ordered by export time, then by key in byte order.';


--
-- Name: _dashboard(text, text, text, text, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: reporting; Owner: -
--

CREATE FUNCTION reporting._dashboard(p_dataset text, p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO '<+03>-03'
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '128MB'
    SET jit TO 'off'
    AS $$
/*
  The dashboard of a dataset: open tickets as they stand now, closed ones of a window, numbers of
  both.

  Takes      the dataset; a cluster as the export writes it, NULL for all; a status, normalized or
             raw, in any case, NULL or all for every; the window, see reporting._read_window.
  Returns    filters, open, closed, metrics, by_cluster, by_team, by_owner, freshness. What is
             counted is always tickets, each once.
  Raises     TK031, TK032.
*/
declare
  v_status constant text := nullif(lower(btrim(p_status)), 'all');
  v_window record;
  v_from timestamptz;
  v_to timestamptz;
begin
  v_window := reporting._read_window(p_window, p_from, p_to);
  v_from := v_window.window_from;
  v_to := v_window.window_to;

  return (
    with ticket as materialized (
      -- The one look at the tickets: those that are open, or were opened or closed in the window.
      select t.ticket_id, t.is_open, t.is_actionable, t.cluster, t.assigned_team, t.owner, t.mttr,
        t.age, t.sla_state, t.geom is not null as is_located,
        lower(btrim(t.sla_status)) as sla_status,
        t.opened_at >= v_from and t.opened_at < v_to as is_created,
        w.is_closed,
        case when t.geom is not null and (t.is_open or w.is_closed) then f end as feature
      from tickets.ticket_sla as t
      cross join lateral reporting._feature(t) as f
      cross join lateral (
        select not t.is_open and t.closed_at >= v_from and t.closed_at < v_to as is_closed
      ) as w
      where t.dataset = p_dataset
        and (p_cluster is null or t.cluster = p_cluster)
        and (
          v_status is null
          or lower(btrim(t.normalized_status)) = v_status
          or lower(t.raw_status) = v_status
        )
        and (t.is_open or w.is_closed or t.opened_at >= v_from and t.opened_at < v_to)
    ),
    counted as (
      select count(*) filter (where t.is_open) as open_total,
        count(*) filter (where t.is_open and t.is_actionable) as open_actionable,
        count(*) filter (where t.sla_state = 'within') as open_within,
        count(*) filter (where t.sla_state = 'at_risk') as open_at_risk,
        count(*) filter (where t.sla_state = 'breached') as open_breached,
        count(*) filter (where t.sla_state = 'unknown') as open_unknown,
        count(*) filter (where t.is_created) as created_in_window,
        count(*) filter (where t.is_closed) as closed_in_window,
        percentile_cont(array[0.5, 0.9]) within group (order by t.mttr) filter (where t.is_closed)
          as mttr_percentiles,
        avg(t.mttr) filter (where t.is_closed) as mttr_mean,
        count(*) filter (where t.is_closed and t.sla_status = 'met') as sla_met,
        count(*) filter (where t.is_closed and t.sla_status = 'breached') as sla_breached,
        count(*) filter (where t.age < interval '4 hours') as lt_4h,
        count(*) filter (where t.age >= interval '4 hours' and t.age < interval '24 hours')
          as h4_24h,
        count(*) filter (where t.age >= interval '24 hours' and t.age < interval '3 days')
          as d1_3d,
        count(*) filter (where t.age >= interval '3 days' and t.age < interval '7 days') as d3_7d,
        count(*) filter (where t.age >= interval '7 days') as gt_7d,
        count(*) filter (where t.is_open and t.is_located) as open_located,
        json_agg(t.feature order by t.ticket_id) filter (where t.is_located and t.is_open)
          as open_features,
        json_agg(t.feature order by t.ticket_id) filter (where t.is_located and t.is_closed)
          as closed_features
      from ticket as t
    ),
    grouped as (
      -- Medians come after the grouping: an ordered aggregate in it would have it sort all tickets
      -- by name three times.
      select grouping(t.cluster, t.assigned_team, t.owner) as ungrouped,
        coalesce(t.cluster, t.assigned_team, t.owner) as name,
        count(*) filter (where t.is_open) as open,
        count(*) filter (where t.is_closed) as closed,
        array_agg(t.mttr) filter (where t.is_closed) as mttrs,
        count(*) filter (where t.is_closed and t.sla_status = 'breached') as sla_breached
      from ticket as t
      where t.is_open or t.is_closed
      group by grouping sets ((t.cluster), (t.assigned_team), (t.owner))
    ),
    listed as (
      select json_agg(e.entry order by e.place) filter (where e.ungrouped = b'011'::integer)
          as by_cluster,
        json_agg(e.entry order by e.place) filter (where e.ungrouped = b'101'::integer)
          as by_team,
        json_agg(e.entry order by e.place) filter (where e.ungrouped = b'110'::integer)
          as by_owner
      from (
        select g.ungrouped,
          row_number() over (order by g.open desc, g.closed desc, g.name collate "C") as place,
          json_build_object(
            'name', g.name,
            'open', g.open,
            'closed', g.closed,
            'mttr_median_minutes', (
              select trim_scale(
                round((percentile_cont(0.5) within group (order by m.mttr))::numeric, 2)
              )
              from unnest(g.mttrs) as m (mttr)
            ),
            'sla_breached', g.sla_breached
          ) as entry
        from grouped as g
      ) as e
    )
    select json_build_object(
      'filters', json_build_object(
        'dataset', p_dataset,
        'cluster', p_cluster,
        'status', v_status,
        'window', v_window.window_text,
        'from', case when isfinite(v_from) then v_from end,
        'to', case when isfinite(v_to) then v_to end
      ),
      'open', open_collection,
      'closed', closed_collection,
      'metrics', json_build_object(
        'open_total', c.open_total,
        'open_actionable', c.open_actionable,
        'open_within', c.open_within,
        'open_at_risk', c.open_at_risk,
        'open_breached', c.open_breached,
        'open_unknown', c.open_unknown,
        'created_in_window', c.created_in_window,
        'closed_in_window', c.closed_in_window,
        'reopened_in_window', (
          select count(distinct e.ticket_id)
          from tickets.status_events as e
          join tickets.ticket as t on t.dataset = p_dataset and t.ticket_id = e.ticket_id
          where e.dataset = p_dataset
            and not e.from_open and e.to_open
            and e.exported_at >= v_from and e.exported_at < v_to
            and (p_cluster is null or t.cluster = p_cluster)
            and (
              v_status is null
              or lower(btrim(t.normalized_status)) = v_status
              or lower(t.raw_status) = v_status
            )
        ),
        'mttr_median_minutes', trim_scale(round(c.mttr_percentiles[1]::numeric, 2)),
        'mttr_p90_minutes', trim_scale(round(c.mttr_percentiles[2]::numeric, 2)),
        'mttr_mean_minutes', trim_scale(round(c.mttr_mean, 2)),
        'sla_met', c.sla_met,
        'sla_breached', c.sla_breached,
        'aging', json_build_object(
          'lt_4h', c.lt_4h,
          'h4_24h', c.h4_24h,
          'd1_3d', c.d1_3d,
          'd3_7d', c.d3_7d,
          'gt_7d', c.gt_7d,
          'unknown', c.open_unknown
        ),
        'located_pct', trim_scale(round(100.0 * c.open_located / nullif(c.open_total, 0), 2))
      ),
      'by_cluster', coalesce(l.by_cluster, '[]'),
      'by_team', coalesce(l.by_team, '[]'),
      'by_owner', coalesce(l.by_owner, '[]'),
      'freshness', reporting._freshness(p_dataset)
    )
    from counted as c
    cross join listed as l
    -- Rows: one more json_build_object around all the features would copy them three times more.
    cross join lateral (
      select 'FeatureCollection' as type, coalesce(c.open_features, '[]') as features
    ) as open_collection
    cross join lateral (
      select 'FeatureCollection' as type, coalesce(c.closed_features, '[]') as features
    ) as closed_collection
  );
end;
$$;


--
-- Name: FUNCTION _dashboard(p_dataset text, p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone); Type: COMMENT; Schema: reporting; Owner: -
--

COMMENT ON FUNCTION reporting._dashboard(p_dataset text, p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone) IS 'The dashboard of a dataset: open tickets, closed ones of a window, numbers of both.';


--
-- Name: _now(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._now() RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  /*
    The one clock of this schema: the start of the transaction. A test of the owner can stop it with
    the setting `tickets.now`; in a session of anybody who may not create objects in this schema,
    the setting has no effect.

    No `set search_path` here: it is called for every row, so that the planner must inline it, and
    every name resolves in pg_catalog.
  */
  select case
    when coalesce(current_setting('tickets.now', true), '') <> ''
      and has_schema_privilege(session_user, 'tickets', 'create')
    then current_setting('tickets.now')::timestamptz
    else now()
  end;
$$;


--
-- Name: FUNCTION _now(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._now() IS 'The clock of this schema: now(), or the setting tickets.now in a test of the owner.';




--
-- Name: datasets; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.datasets (
    dataset text NOT NULL,
    key_prefix text NOT NULL,
    sla_target interval NOT NULL,
    sla_at_risk_share numeric DEFAULT 0.75 NOT NULL,
    max_rejected_share numeric DEFAULT 0.10 NOT NULL,
    CONSTRAINT dataset_is_a_lower_case_name CHECK ((dataset ~ '^[a-z][a-z0-9_]{0,30}$'::text)),
    CONSTRAINT key_prefix_ends_with_a_slash CHECK ((key_prefix ~~ '_%/'::text)),
    CONSTRAINT max_rejected_share_is_a_share CHECK (((max_rejected_share >= (0)::numeric) AND (max_rejected_share <= (1)::numeric))),
    CONSTRAINT sla_at_risk_share_is_a_share CHECK (((sla_at_risk_share >= (0)::numeric) AND (sla_at_risk_share <= (1)::numeric))),
    CONSTRAINT sla_target_is_positive CHECK ((sla_target > '00:00:00'::interval))
);


--
-- Name: TABLE datasets; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.datasets IS 'Configuration, a row a dataset. A further dataset is one row here and a partition of ticket, staging and daily_snapshot.';


--
-- Name: COLUMN datasets.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.datasets.dataset IS 'Name of the dataset: inc, crq.';


--
-- Name: COLUMN datasets.key_prefix; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.datasets.key_prefix IS 'Where its objects are in the bucket; change files are below changes/, the archive is processed/.';


--
-- Name: COLUMN datasets.sla_target; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.datasets.sla_target IS 'Age beyond which an open ticket is breached.';


--
-- Name: COLUMN datasets.sla_at_risk_share; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.datasets.sla_at_risk_share IS 'Share of sla_target from which an open ticket is at risk.';


--
-- Name: COLUMN datasets.max_rejected_share; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.datasets.max_rejected_share IS 'A file with a larger share of rejected rows is refused as a whole.';


--
-- Name: ticket; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.ticket (
    dataset text NOT NULL,
    ticket_id text NOT NULL COLLATE pg_catalog."C",
    raw jsonb NOT NULL,
    normalized_status text,
    raw_status text,
    bucket text,
    is_actionable boolean,
    is_open boolean NOT NULL,
    cluster text COLLATE pg_catalog."C",
    region text,
    location_name text,
    assigned_team text,
    owner text,
    sla_status text,
    mttr integer,
    created_at_service timestamp with time zone,
    scheduled_at timestamp with time zone,
    closed_at timestamp with time zone,
    first_seen_at timestamp with time zone,
    last_seen_at timestamp with time zone,
    source_created_at timestamp with time zone,
    source_updated_at timestamp with time zone,
    source_key text COLLATE pg_catalog."C",
    exported_at timestamp with time zone,
    ingested_at timestamp with time zone DEFAULT tickets._now() NOT NULL,
    previous_source_key text COLLATE pg_catalog."C",
    previous_exported_at timestamp with time zone,
    geom public.geometry(Point,4326),
    geog public.geography(Point,4326),
    latitude double precision,
    longitude double precision,
    geo_source text NOT NULL,
    text_hash bigint,
    CONSTRAINT geo_source_is_known CHECK ((geo_source = ANY (ARRAY['feed'::text, 'location'::text, 'cluster'::text, 'none'::text]))),
    CONSTRAINT raw_is_an_object CHECK ((jsonb_typeof(raw) = 'object'::text)),
    CONSTRAINT ticket_id_agrees_with_raw CHECK (((raw ->> 'ticket_id'::text) = ticket_id))
)
PARTITION BY LIST (dataset);


--
-- Name: TABLE ticket; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.ticket IS 'Every ticket of every dataset, one row each: what the newest file that carried it said.';


--
-- Name: COLUMN ticket.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.dataset IS 'Dataset, tickets.datasets.dataset.';


--
-- Name: COLUMN ticket.ticket_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.ticket_id IS 'Number of the ticket in the source, unique in its dataset.';


--
-- Name: COLUMN ticket.raw; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.raw IS 'The cleaned row of the export as text values, the source of truth; the columns below are derived from it.';


--
-- Name: COLUMN ticket.normalized_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.normalized_status IS 'Status as the export normalizes it.';


--
-- Name: COLUMN ticket.raw_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.raw_status IS 'Status as the source has it, trimmed, upper case.';


--
-- Name: COLUMN ticket.bucket; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.bucket IS 'closed or pending, as exported.';


--
-- Name: COLUMN ticket.is_actionable; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.is_actionable IS 'Whether the field team can act on it; NULL if unstated.';


--
-- Name: COLUMN ticket.is_open; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.is_open IS 'bucket closed: false; pending: true; else whether closed_at is missing.';


--
-- Name: COLUMN ticket.cluster; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.cluster IS 'Network cluster.';


--
-- Name: COLUMN ticket.region; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.region IS 'Region, trimmed, lower case.';


--
-- Name: COLUMN ticket.location_name; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.location_name IS 'Location as written in the source, network codes included.';


--
-- Name: COLUMN ticket.assigned_team; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.assigned_team IS 'Team it is assigned to.';


--
-- Name: COLUMN ticket.owner; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.owner IS 'Person it is assigned to.';


--
-- Name: COLUMN ticket.sla_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.sla_status IS 'The source''s own SLA verdict; meaningful for closed tickets only.';


--
-- Name: COLUMN ticket.mttr; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.mttr IS 'Time to repair in minutes, rounded half up; NULL until closed.';


--
-- Name: COLUMN ticket.created_at_service; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.created_at_service IS 'When the customer''s fault or order began.';


--
-- Name: COLUMN ticket.scheduled_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.scheduled_at IS 'Appointment.';


--
-- Name: COLUMN ticket.closed_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.closed_at IS 'When it was closed.';


--
-- Name: COLUMN ticket.first_seen_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.first_seen_at IS 'When the export first saw it.';


--
-- Name: COLUMN ticket.last_seen_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.last_seen_at IS 'When the export last saw it.';


--
-- Name: COLUMN ticket.source_created_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.source_created_at IS 'When the source system created it.';


--
-- Name: COLUMN ticket.source_updated_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.source_updated_at IS 'When the source system last touched it.';


--
-- Name: COLUMN ticket.source_key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.source_key IS 'The file that last changed it: the first one to say what the newest one says.';


--
-- Name: COLUMN ticket.exported_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.exported_at IS 'Export time of source_key.';


--
-- Name: COLUMN ticket.ingested_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.ingested_at IS 'When this content was written here.';


--
-- Name: COLUMN ticket.previous_source_key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.previous_source_key IS 'The newest file older than source_key that said something else of it.';


--
-- Name: COLUMN ticket.previous_exported_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.previous_exported_at IS 'Export time of previous_source_key.';


--
-- Name: COLUMN ticket.geom; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.geom IS 'Point, WGS 84: its own coordinates, else of its place, else of its cluster.';


--
-- Name: COLUMN ticket.geog; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.geog IS 'geom as geography, for distances in metres.';


--
-- Name: COLUMN ticket.latitude; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.latitude IS 'Latitude of geom in degrees.';


--
-- Name: COLUMN ticket.longitude; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.longitude IS 'Longitude of geom in degrees.';


--
-- Name: COLUMN ticket.geo_source; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.geo_source IS 'Where geom comes from: feed, location, cluster; none without one.';


--
-- Name: COLUMN ticket.text_hash; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket.text_hash IS 'Hash of the staged text that raw was made from: the same text needs no second look. NULL where raw was written by hand, or by a file with other columns than the contract''s.';


--
-- Name: ticket_sla; Type: VIEW; Schema: tickets; Owner: -
--

CREATE VIEW tickets.ticket_sla AS
 SELECT t.dataset,
    t.ticket_id,
    t.normalized_status,
    t.raw_status,
    t.bucket,
    t.is_open,
    t.is_actionable,
    t.cluster,
    t.region,
    t.location_name,
    t.assigned_team,
    t.owner,
    t.sla_status,
    t.mttr,
    t.scheduled_at,
    t.closed_at,
    o.opened_at,
        CASE
            WHEN t.is_open THEN (d.now - o.opened_at)
            ELSE NULL::interval
        END AS age,
    (o.opened_at + d.target) AS due_at,
        CASE
            WHEN (NOT t.is_open) THEN NULL::text
            WHEN (o.opened_at IS NULL) THEN 'unknown'::text
            WHEN ((o.opened_at + d.target) < d.now) THEN 'breached'::text
            WHEN ((o.opened_at + d.at_risk_from) <= d.now) THEN 'at_risk'::text
            ELSE 'within'::text
        END AS sla_state,
    t.geo_source,
    t.geom
   FROM ((tickets.ticket t
     JOIN ( SELECT c.dataset,
            n.now,
            make_interval(secs => (EXTRACT(epoch FROM c.sla_target))::double precision) AS target,
            make_interval(secs => ((EXTRACT(epoch FROM c.sla_target) * c.sla_at_risk_share))::double precision) AS at_risk_from
           FROM (tickets.datasets c
             CROSS JOIN ( SELECT
                        CASE
                            WHEN ((COALESCE(current_setting('tickets.now'::text, true), ''::text) <> ''::text) AND has_schema_privilege(SESSION_USER, 'tickets'::text, 'create'::text)) THEN (current_setting('tickets.now'::text))::timestamp with time zone
                            ELSE now()
                        END AS now) n)
         OFFSET 0) d ON ((d.dataset = t.dataset)))
     CROSS JOIN LATERAL ( SELECT COALESCE(t.created_at_service, t.first_seen_at) AS opened_at) o);


--
-- Name: VIEW ticket_sla; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON VIEW tickets.ticket_sla IS 'Every ticket: when it was opened, when it is due, how an open one stands against its target.';


--
-- Name: COLUMN ticket_sla.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.dataset IS 'Dataset, tickets.datasets.dataset.';


--
-- Name: COLUMN ticket_sla.ticket_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.ticket_id IS 'Number of the ticket in the source, unique in its dataset.';


--
-- Name: COLUMN ticket_sla.normalized_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.normalized_status IS 'Status as the export normalizes it.';


--
-- Name: COLUMN ticket_sla.raw_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.raw_status IS 'Status as the source has it, trimmed, upper case.';


--
-- Name: COLUMN ticket_sla.bucket; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.bucket IS 'closed or pending, as exported.';


--
-- Name: COLUMN ticket_sla.is_open; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.is_open IS 'bucket closed: false; pending: true; else whether closed_at is missing.';


--
-- Name: COLUMN ticket_sla.is_actionable; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.is_actionable IS 'Whether the field team can act on it; NULL if unstated.';


--
-- Name: COLUMN ticket_sla.cluster; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.cluster IS 'Network cluster.';


--
-- Name: COLUMN ticket_sla.region; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.region IS 'Region, trimmed, lower case.';


--
-- Name: COLUMN ticket_sla.location_name; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.location_name IS 'Location as written in the source, network codes included.';


--
-- Name: COLUMN ticket_sla.assigned_team; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.assigned_team IS 'Team it is assigned to.';


--
-- Name: COLUMN ticket_sla.owner; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.owner IS 'Person it is assigned to.';


--
-- Name: COLUMN ticket_sla.sla_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.sla_status IS 'The source''s own SLA verdict; meaningful for closed tickets only.';


--
-- Name: COLUMN ticket_sla.mttr; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.mttr IS 'Time to repair in minutes, rounded half up; NULL until closed.';


--
-- Name: COLUMN ticket_sla.scheduled_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.scheduled_at IS 'Appointment.';


--
-- Name: COLUMN ticket_sla.closed_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.closed_at IS 'When it was closed.';


--
-- Name: COLUMN ticket_sla.opened_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.opened_at IS 'created_at_service, else first_seen_at.';


--
-- Name: COLUMN ticket_sla.age; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.age IS 'How long it has been open; NULL for a closed one.';


--
-- Name: COLUMN ticket_sla.due_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.due_at IS 'opened_at and the sla_target of its dataset.';


--
-- Name: COLUMN ticket_sla.sla_state; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.sla_state IS 'Of an open ticket: within, at_risk, breached, or unknown without opened_at; NULL if closed.';


--
-- Name: COLUMN ticket_sla.geo_source; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.geo_source IS 'Where geom comes from: feed, location, cluster; none without one.';


--
-- Name: COLUMN ticket_sla.geom; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_sla.geom IS 'Point, WGS 84: its own coordinates, else of its place, else of its cluster.';


--
-- Name: _feature(tickets.ticket_sla); Type: FUNCTION; Schema: reporting; Owner: -
--

CREATE FUNCTION reporting._feature(p_ticket tickets.ticket_sla) RETURNS TABLE(type text, id text, geometry json, properties reporting.ticket_properties)
    LANGUAGE sql STABLE ROWS 1 PARALLEL SAFE
    AS $$
  /*
    A ticket with a point as a GeoJSON feature (RFC 7946): one row, for json_agg to write.

    A row takes half the memory of its JSON until then, and half the time of naming each property to
    json_build_object. A function that returns a table is inlined where it is joined, for as long as
    it has no `set search_path`.
  */
  select 'Feature', p_ticket.ticket_id, public.st_asgeojson(p_ticket.geom, 6)::json,
    row(
      p_ticket.dataset, p_ticket.ticket_id, p_ticket.normalized_status, p_ticket.raw_status,
      p_ticket.bucket, p_ticket.is_actionable, p_ticket.cluster, p_ticket.region,
      p_ticket.location_name, p_ticket.assigned_team, p_ticket.owner, p_ticket.sla_status,
      p_ticket.sla_state, p_ticket.mttr, p_ticket.opened_at, p_ticket.scheduled_at,
      p_ticket.closed_at, p_ticket.geo_source
    )::reporting.ticket_properties;
$$;


--
-- Name: FUNCTION _feature(p_ticket tickets.ticket_sla); Type: COMMENT; Schema: reporting; Owner: -
--

COMMENT ON FUNCTION reporting._feature(p_ticket tickets.ticket_sla) IS 'A ticket with a point as a GeoJSON feature.';


--
-- Name: _freshness(text); Type: FUNCTION; Schema: reporting; Owner: -
--

CREATE FUNCTION reporting._freshness(p_dataset text) RETURNS json
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    How far a dataset is, of tickets.freshness, for a page to show beside its tickets.
  */
  select json_build_object(
    'source_max_key', f.source_max_key,
    'exported_at', f.exported_at,
    'age_seconds', floor(extract(epoch from f.age))::bigint,
    'applied_at', f.applied_at,
    'files_applied', f.files_applied,
    'files_refused', f.files_refused,
    'files_unarchived', f.files_unarchived
  )
  from tickets.freshness as f
  where f.dataset = p_dataset;
$$;


--
-- Name: FUNCTION _freshness(p_dataset text); Type: COMMENT; Schema: reporting; Owner: -
--

COMMENT ON FUNCTION reporting._freshness(p_dataset text) IS 'How far a dataset is: watermark, its age, files by state.';


--
-- Name: _read_window(text, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: reporting; Owner: -
--

CREATE FUNCTION reporting._read_window(p_window text, p_from timestamp with time zone, p_to timestamp with time zone, OUT window_text text, OUT window_from timestamp with time zone, OUT window_to timestamp with time zone) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO '<+03>-03'
    AS $$
/*
  The time that a dashboard looks at: from window_from up to, but without, window_to.

  Takes      all, or an interval that ends at p_to, else now; p_from in the place of its beginning.
             NULL is 7d.
  Returns    the window as understood, NULL where p_from made it needless, and its two ends, which
             are infinite where it has none. What begins before 1900, when no ticket is of, has no
             beginning.
  Raises     TK031 the window is neither all nor an interval, TK032 it ends before it begins.
*/
declare
  c_earliest constant timestamptz := timestamptz '1900-01-01 00:00+03';
  v_length interval;
begin
  window_text := coalesce(btrim(p_window), '7d');
  if lower(window_text) = 'all' then
    window_text := 'all';
  end if;
  window_to := coalesce(
    p_to, case when window_text = 'all' then 'infinity' else tickets._now() end
  );
  window_from := coalesce(p_from, case when window_text = 'all' then '-infinity'::timestamptz end);
  if window_from is null then
    begin
      -- A bare number would be seconds, which nobody means.
      if window_text ~ '[A-Za-z:]' then
        v_length := window_text::interval;
        window_from := window_to - v_length;
      end if;
    exception
      when invalid_datetime_format or datetime_field_overflow or interval_field_overflow then
        v_length := null;
    end;
    if v_length is null or v_length <= interval '0' then
      raise exception using
        errcode = 'TK031',
        message = format('the window %L is no length of time', left(p_window, 100)),
        detail = 'A window is 24h, 7d, 30d, all, or an interval such as 90 minutes.',
        hint = 'For example: select reporting.fn_inc_dashboard(p_window => ''7d''); '
          || 'or name both ends with p_from and p_to';
    end if;
  elsif p_from is not null then
    window_text := null;
  end if;
  if window_from > window_to then
    raise exception using
      errcode = 'TK032',
      message = 'the window ends before it begins',
      detail = format('It is from %s to %s.', window_from, window_to),
      hint = 'Exchange p_from and p_to; without p_to a window ends now';
  end if;
  -- JSON has no way to write times before Christ.
  window_to := greatest(window_to, c_earliest);
  if window_from < c_earliest then
    window_from := '-infinity';
  end if;
end;
$$;


--
-- Name: FUNCTION _read_window(p_window text, p_from timestamp with time zone, p_to timestamp with time zone, OUT window_text text, OUT window_from timestamp with time zone, OUT window_to timestamp with time zone); Type: COMMENT; Schema: reporting; Owner: -
--

COMMENT ON FUNCTION reporting._read_window(p_window text, p_from timestamp with time zone, p_to timestamp with time zone, OUT window_text text, OUT window_from timestamp with time zone, OUT window_to timestamp with time zone) IS 'The two ends of the time that a dashboard looks at; TK031 or TK032 where there is none.';


--
-- Name: fn_backlog(text, date, date, text); Type: FUNCTION; Schema: reporting; Owner: -
--

CREATE FUNCTION reporting.fn_backlog(p_dataset text, p_from date, p_to date, p_cluster text DEFAULT NULL::text) RETURNS TABLE(day date, open integer, actionable integer, breached integer, created integer, closed integer)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  The backlog day by day, from the daily snapshots: for a chart over time.

  Takes      a dataset; the first and the last day (in Nairobi), at most 3,660 days; a cluster, or
             NULL for the sum of all.
  Returns    a row for each day, oldest first, those before the first snapshot and after the last
             included. A day without a snapshot has NULL for every number: nobody looked. A day with
             one, in which the cluster has no ticket, has 0.
  Raises     TK001 unknown dataset, TK035 no such range of days.
*/
#variable_conflict use_column
begin
  perform tickets._check_dataset(p_dataset);
  if (isfinite(p_from) and isfinite(p_to) and p_to - p_from between 0 and 3659) is not true then
    raise exception using
      errcode = 'TK035',
      message = format('from %s to %s is no range of days', coalesce(p_from::text, 'NULL'),
        coalesce(p_to::text, 'NULL')),
      detail = 'p_from is the first day and p_to the last; a range has 1 to 3,660 days.',
      hint = 'For example: '
        || 'select * from reporting.fn_backlog(''inc'', current_date - 30, current_date)';
  end if;

  return query
  select y.day,
    sum(s.open)::integer,
    sum(s.actionable)::integer,
    sum(s.breached)::integer,
    sum(s.created)::integer,
    sum(s.closed)::integer
  from (
    select p_from + n as day from generate_series(0, p_to - p_from) as n
  ) as y
  left join lateral (
    -- The rows of other clusters count 0, so that a day with a snapshot is told from one without.
    select d.open * r.counts as open, d.actionable * r.counts as actionable,
      d.breached * r.counts as breached, d.created * r.counts as created,
      d.closed * r.counts as closed
    from tickets.daily_snapshot as d
    cross join lateral (
      select (
        p_cluster is null or d.cluster is not distinct from tickets._cluster_key(p_cluster)
      )::integer as counts
    ) as r
    where d.dataset = p_dataset and d.day = y.day
  ) as s on true
  group by y.day
  order by y.day;
end;
$$;


--
-- Name: FUNCTION fn_backlog(p_dataset text, p_from date, p_to date, p_cluster text); Type: COMMENT; Schema: reporting; Owner: -
--

COMMENT ON FUNCTION reporting.fn_backlog(p_dataset text, p_from date, p_to date, p_cluster text) IS 'The backlog of a dataset day by day, from the daily snapshots; NULL for days without one.';


--
-- Name: fn_crq_dashboard(text, text, text, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: reporting; Owner: -
--

CREATE FUNCTION reporting.fn_crq_dashboard(p_cluster text DEFAULT NULL::text, p_status text DEFAULT NULL::text, p_window text DEFAULT '7d'::text, p_from timestamp with time zone DEFAULT NULL::timestamp with time zone, p_to timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS json
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  The live dashboard of CRQ: open tickets as they stand now, those closed in a window, and the
  numbers of both.

  Takes      a cluster as the export writes it, NULL for all; a status, normalized or raw, in any
             case, NULL or all for every; the window: 24h, 7d, 30d, all or an interval, which ends
             at p_to, else now, and begins at p_from where that is given.
  Returns    filters, open, closed, metrics, by_cluster, by_team, by_owner, freshness. Times are
             EAT with their offset.
  Raises     TK031 the window is no length of time, TK032 it ends before it begins.
*/
begin
  -- A function in SQL would put so long an answer through a temporary file.
  return reporting._dashboard('crq', p_cluster, p_status, p_window, p_from, p_to);
end;
$$;


--
-- Name: FUNCTION fn_crq_dashboard(p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone); Type: COMMENT; Schema: reporting; Owner: -
--

COMMENT ON FUNCTION reporting.fn_crq_dashboard(p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone) IS 'The live dashboard of CRQ: open tickets, those closed in a window, and the numbers of both.';


--
-- Name: fn_inc_dashboard(text, text, text, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: reporting; Owner: -
--

CREATE FUNCTION reporting.fn_inc_dashboard(p_cluster text DEFAULT NULL::text, p_status text DEFAULT NULL::text, p_window text DEFAULT '7d'::text, p_from timestamp with time zone DEFAULT NULL::timestamp with time zone, p_to timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS json
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  The live dashboard of INC: open tickets as they stand now, those closed in a window, and the
  numbers of both.

  Takes      a cluster as the export writes it, NULL for all; a status, normalized or raw, in any
             case, NULL or all for every; the window: 24h, 7d, 30d, all or an interval, which ends
             at p_to, else now, and begins at p_from where that is given.
  Returns    filters, open, closed, metrics, by_cluster, by_team, by_owner, freshness. Times are
             EAT with their offset.
  Raises     TK031 the window is no length of time, TK032 it ends before it begins.
*/
begin
  -- A function in SQL would put so long an answer through a temporary file.
  return reporting._dashboard('inc', p_cluster, p_status, p_window, p_from, p_to);
end;
$$;


--
-- Name: FUNCTION fn_inc_dashboard(p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone); Type: COMMENT; Schema: reporting; Owner: -
--

COMMENT ON FUNCTION reporting.fn_inc_dashboard(p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone) IS 'The live dashboard of INC: open tickets, those closed in a window, and the numbers of both.';


--
-- Name: fn_nearest_tickets(double precision, double precision, integer, text); Type: FUNCTION; Schema: reporting; Owner: -
--

CREATE FUNCTION reporting.fn_nearest_tickets(p_lat double precision, p_lng double precision, p_limit integer DEFAULT 20, p_dataset text DEFAULT NULL::text) RETURNS TABLE(dataset text, ticket_id text, metres double precision, normalized_status text, raw_status text, cluster text, region text, location_name text, assigned_team text, owner text, opened_at timestamp with time zone, scheduled_at timestamp with time zone, latitude double precision, longitude double precision, geo_source text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
/*
  The open, actionable tickets around a point: what to do next from here.

  Takes      latitude and longitude in degrees; how many at most, 1 to 1,000; a dataset, or NULL for
             all.
  Returns    tickets with a point, the nearest first, those of the same distance by dataset and
             number. metres is the distance on the spheroid, with a decimal.
  Raises     TK001 unknown dataset, TK036 a point or a limit out of range.
*/
#variable_conflict use_column
declare
  v_point public.geography;
  v_beside public.geography;
  v_metres double precision;
begin
  if p_dataset is not null then
    perform tickets._check_dataset(p_dataset);
  end if;
  if (p_lat between -90 and 90 and p_lng between -180 and 180) is not true then
    raise exception using
      errcode = 'TK036',
      message = format('latitude %s, longitude %s is no point', coalesce(p_lat::text, 'NULL'),
        coalesce(p_lng::text, 'NULL')),
      detail = 'A latitude is from -90 to 90 degrees, a longitude from -180 to 180.',
      hint = 'The latitude comes first. For example: '
        || 'select * from reporting.fn_nearest_tickets(-1.2921, 36.8219)';
  end if;
  if (p_limit between 1 and 1000) is not true then
    raise exception using
      errcode = 'TK036',
      message = format('%s is no number of tickets', coalesce(p_limit::text, 'NULL')),
      detail = 'p_limit is from 1 to 1,000.',
      hint = 'For example: select * from reporting.fn_nearest_tickets(-1.2921, 36.8219, 20)';
  end if;
  v_point := public.st_setsrid(public.st_makepoint(p_lng, p_lat), 4326)::public.geography;

  -- At the poles and where longitudes begin anew, a place has more than one name. The index takes
  -- these for places apart and fails at its own order; a kilometre beside, it is sure.
  v_beside := public.st_setsrid(public.st_makepoint(
    least(greatest(p_lng, -179.99), 179.99), least(greatest(p_lat, -89.99), 89.99)
  ), 4326)::public.geography;

  -- The index is in the order of distances on a sphere, which are off by up to 0.6 %: it says how
  -- far to look, and what lies within that is measured. So all of the same distance are seen, too,
  -- and which of them come first does not depend on the index. A metre more is for rounding.
  select (max(n.metres) + public.st_distance(v_beside, v_point)) * 1.015 + 1
  into v_metres
  from (
    select t.geog operator(public.<->) v_beside as metres
    from tickets.ticket as t
    where t.is_open and t.is_actionable and t.geog is not null
      and (p_dataset is null or t.dataset = p_dataset)
    order by t.geog operator(public.<->) v_beside
    limit p_limit
  ) as n;

  return query
  select t.dataset, t.ticket_id, round(m.metres::numeric, 1)::double precision,
    t.normalized_status, t.raw_status, t.cluster, t.region, t.location_name, t.assigned_team,
    t.owner, coalesce(t.created_at_service, t.first_seen_at), t.scheduled_at,
    t.latitude, t.longitude, t.geo_source
  from tickets.ticket as t
  cross join lateral (select public.st_distance(t.geog, v_point) as metres) as m
  where t.is_open and t.is_actionable and t.geog is not null
    and (p_dataset is null or t.dataset = p_dataset)
    and public.st_dwithin(t.geog, v_point, v_metres)
  order by m.metres, t.dataset collate "C", t.ticket_id
  limit p_limit;
end;
$$;


--
-- Name: FUNCTION fn_nearest_tickets(p_lat double precision, p_lng double precision, p_limit integer, p_dataset text); Type: COMMENT; Schema: reporting; Owner: -
--

COMMENT ON FUNCTION reporting.fn_nearest_tickets(p_lat double precision, p_lng double precision, p_limit integer, p_dataset text) IS 'The open, actionable tickets nearest to a point, with their distance in metres.';


--
-- Name: fn_team_closures(text, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: reporting; Owner: -
--

CREATE FUNCTION reporting.fn_team_closures(p_dataset text, p_from timestamp with time zone, p_to timestamp with time zone) RETURNS TABLE(team text, owner text, closures integer, mttr_median_minutes double precision, mttr_p90_minutes double precision, mttr_mean_minutes double precision, last_closed_at timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Who closed how many tickets, and how fast, from tickets.closure_events: a ticket that was closed,
  reopened and closed again counts for each time, for whoever had it then.

  Takes      a dataset; the time from which on, and before which, a ticket was closed. Either may be
             infinite.
  Returns    a row for each team and owner, either of them NULL where a closure names none; most
             closures first, then by the bytes of their names. MTTR is the source's, in minutes with
             two decimals, over the closures that have one, else NULL. Closures without a time do
             not count: the same one may be there with its time, too.
  Raises     TK001 unknown dataset, TK035 no such range of time.
*/
#variable_conflict use_column
begin
  perform tickets._check_dataset(p_dataset);
  if (p_from <= p_to) is not true then
    raise exception using
      errcode = 'TK035',
      message = format('from %s to %s is no range of time', coalesce(p_from::text, 'NULL'),
        coalesce(p_to::text, 'NULL')),
      detail = 'p_from belongs to the range and p_to does not; neither may be NULL.',
      hint = 'For example: '
        || 'select * from reporting.fn_team_closures(''inc'', now() - interval ''7 days'', now())';
  end if;

  return query
  select e.team,
    e.owner,
    count(*)::integer,
    round((percentile_cont(0.5) within group (order by e.mttr))::numeric, 2)::double precision,
    round((percentile_cont(0.9) within group (order by e.mttr))::numeric, 2)::double precision,
    round(avg(e.mttr), 2)::double precision,
    max(e.closed_at)
  from tickets.closure_events as e
  where e.dataset = p_dataset and e.closed_at >= p_from and e.closed_at < p_to
  group by e.team, e.owner
  order by count(*) desc, e.team collate "C", e.owner collate "C";
end;
$$;


--
-- Name: FUNCTION fn_team_closures(p_dataset text, p_from timestamp with time zone, p_to timestamp with time zone); Type: COMMENT; Schema: reporting; Owner: -
--

COMMENT ON FUNCTION reporting.fn_team_closures(p_dataset text, p_from timestamp with time zone, p_to timestamp with time zone) IS 'Closures of a dataset in a range of time by team and owner, with the time to repair.';


--
-- Name: fn_tickets_for_map(text, text, text); Type: FUNCTION; Schema: reporting; Owner: -
--

CREATE FUNCTION reporting.fn_tickets_for_map(p_dataset text DEFAULT NULL::text, p_cluster text DEFAULT NULL::text, p_status text DEFAULT 'open'::text) RETURNS json
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO '<+03>-03'
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    AS $$
/*
  The Tickets map: a GeoJSON FeatureCollection of the tickets that have a point, and a summary of
  all, with or without one.

  Takes      a dataset, NULL for all; a cluster as the export writes it, NULL for all; open, closed
             or all, NULL is open.
  Returns    features by ticket_id. Times are EAT with their offset.
  Raises     TK001 unknown dataset, TK030 unknown status.
*/
declare
  v_status constant text := coalesce(lower(btrim(p_status)), 'open');
begin
  if p_dataset is not null then
    perform tickets._check_dataset(p_dataset);
  end if;
  if v_status not in ('open', 'closed', 'all') then
    raise exception using
      errcode = 'TK030',
      message = format('the map knows no status %L', left(p_status, 100)),
      detail = 'Statuses: open, closed, all.',
      hint = 'Name one of them: select reporting.fn_tickets_for_map(p_status => ''all'')';
  end if;

  return (
    with ticket as materialized (
      -- The one look at the tickets.
      select t.dataset, t.ticket_id, t.geo_source, t.geom is not null as is_located,
        case when t.geom is not null then f end as feature
      from tickets.ticket_sla as t
      cross join lateral reporting._feature(t) as f
      where (p_dataset is null or t.dataset = p_dataset)
        and (p_cluster is null or t.cluster = p_cluster)
        and (v_status = 'all' or t.is_open = (v_status = 'open'))
    )
    select json_build_object(
      'type', 'FeatureCollection',
      'features', coalesce(f.features, '[]'),
      'summary', json_build_object(
        'total', f.total,
        'located', f.located,
        'unlocated', f.total - f.located,
        'by_dataset', d.by_dataset,
        'by_geo_source', json_build_object(
          'feed', f.feed,
          'location', f.location,
          'cluster', f.cluster,
          'none', f.total - f.feed - f.location - f.cluster
        ),
        'freshness', d.freshness
      )
    )
    from (
      select json_agg(t.feature order by t.ticket_id, t.dataset) filter (where t.is_located)
          as features,
        count(*) as total,
        count(*) filter (where t.is_located) as located,
        count(*) filter (where t.geo_source = 'feed') as feed,
        count(*) filter (where t.geo_source = 'location') as location,
        count(*) filter (where t.geo_source = 'cluster') as cluster
      from ticket as t
    ) as f
    cross join (
      select json_object_agg(d.dataset, coalesce(c.total, 0) order by d.dataset) as by_dataset,
        json_object_agg(d.dataset, reporting._freshness(d.dataset) order by d.dataset)
          as freshness
      from tickets.datasets as d
      left join (
        select t.dataset, count(*) as total from ticket as t group by t.dataset
      ) as c on c.dataset = d.dataset
      where p_dataset is null or d.dataset = p_dataset
    ) as d
  );
end;
$$;


--
-- Name: FUNCTION fn_tickets_for_map(p_dataset text, p_cluster text, p_status text); Type: COMMENT; Schema: reporting; Owner: -
--

COMMENT ON FUNCTION reporting.fn_tickets_for_map(p_dataset text, p_cluster text, p_status text) IS 'The Tickets map: a GeoJSON FeatureCollection of located tickets, with a summary of all.';


--
-- Name: tickets_mvt(integer, integer, integer, json); Type: FUNCTION; Schema: reporting; Owner: -
--

CREATE FUNCTION reporting.tickets_mvt(z integer, x integer, y integer, query_params json DEFAULT '{}'::json) RETURNS bytea
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO '<+03>-03'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
/*
  A vector tile of tickets, as pg_tileserv and Martin publish the functions that they find.

  Takes      zoom level (0 to 30), column and row of the tile, in the Web Mercator scheme of all web
             maps; filters as JSON: dataset, cluster, status (open, closed or all; open if absent).
             What is NULL or absent does not filter, other keys are left to whom they are meant for.
  Returns    the tile, layer "tickets", of 4096 units with a margin of 64; no bytes at all where
             there is no ticket. Times are text of ISO 8601 in Nairobi's time.
  Raises     TK001 unknown dataset, TK037 no such tile, TK038 filters that say nothing.
*/
declare
  c_extent constant integer := 4096;
  c_margin constant integer := 64;
  v_bounds public.geometry;
  v_dataset text;
  v_cluster text;
  v_status text;
begin
  if (z between 0 and 30 and x between 0 and (1::bigint << z) - 1
    and y between 0 and (1::bigint << z) - 1) is not true
  then
    raise exception using
      errcode = 'TK037',
      message = format('there is no tile %s/%s/%s', coalesce(z::text, 'NULL'),
        coalesce(x::text, 'NULL'), coalesce(y::text, 'NULL')),
      detail = 'z is from 0 to 30, x and y from 0 to 2^z - 1.',
      hint = 'The order is z, x, y. Around Nairobi: select reporting.tickets_mvt(5, 19, 16)';
  end if;
  if coalesce(json_typeof(query_params), 'object') <> 'object' then
    raise exception using
      errcode = 'TK038',
      message = format('the query parameters are no JSON object but of type %s',
        json_typeof(query_params)),
      detail = format('They are: %s', left(query_params::text, 200)),
      hint = 'For example: select reporting.tickets_mvt(5, 19, 16, ''{"dataset": "inc"}'')';
  end if;
  begin
    v_dataset := query_params ->> 'dataset';
    v_cluster := query_params ->> 'cluster';
    v_status := coalesce(lower(btrim(query_params ->> 'status')), 'open');
  exception
    -- JSON can write characters that no text holds: a NUL, or half of a pair.
    when untranslatable_character or invalid_text_representation then
      raise exception using
        errcode = 'TK038',
        message = 'the query parameters have a character that no text can hold',
        detail = format('They are: %s', left(query_params::text, 200)),
        hint = 'Leave out what is written as \u0000 or \ud800 to \udfff in them';
  end;
  if v_dataset is not null then
    perform tickets._check_dataset(v_dataset);
  end if;
  if v_status not in ('open', 'closed', 'all') then
    raise exception using
      errcode = 'TK038',
      message = format('%L is no status to filter by', left(v_status, 200)),
      detail = 'A status is open, closed or all.',
      hint = 'For example: select reporting.tickets_mvt(5, 19, 16, ''{"status": "all"}'')';
  end if;
  v_bounds := public.st_tileenvelope(z, x, y);

  return (
    select coalesce(public.st_asmvt(f, 'tickets', c_extent, 'geom'
      order by f.dataset, f.ticket_id), '')
    from (
      select t.dataset collate "C" as dataset, t.ticket_id, t.normalized_status, t.raw_status,
        t.bucket, t.is_open, t.is_actionable, t.cluster, t.region, t.location_name,
        t.assigned_team, t.owner, t.sla_status, t.mttr,
        to_char(coalesce(t.created_at_service, t.first_seen_at), 'YYYY-MM-DD"T"HH24:MI:SSTZH:TZM')
          as opened_at,
        to_char(t.scheduled_at, 'YYYY-MM-DD"T"HH24:MI:SSTZH:TZM') as scheduled_at,
        to_char(t.closed_at, 'YYYY-MM-DD"T"HH24:MI:SSTZH:TZM') as closed_at,
        t.geo_source,
        public.st_asmvtgeom(public.st_transform(t.geom, 3857), v_bounds, c_extent, c_margin)
          as geom
      from tickets.ticket as t
      -- The tile is brought to the tickets, whose index is in degrees. Its margin ends at the edge
      -- of the world: beyond it, degrees begin anew on the other side.
      where t.geom operator(public.&&) public.st_transform(
          public.st_intersection(
            public.st_tileenvelope(z, x, y, margin => c_margin::double precision / c_extent),
            public.st_tileenvelope(0, 0, 0)
          ), 4326
        )
        and (v_dataset is null or t.dataset = v_dataset)
        and (v_cluster is null or t.cluster = v_cluster)
        and (v_status = 'all' or t.is_open = (v_status = 'open'))
    ) as f
  );
end;
$$;


--
-- Name: FUNCTION tickets_mvt(z integer, x integer, y integer, query_params json); Type: COMMENT; Schema: reporting; Owner: -
--

COMMENT ON FUNCTION reporting.tickets_mvt(z integer, x integer, y integer, query_params json) IS '{"description": "INC and CRQ tickets with a point. Filters: dataset, cluster, status (open, closed, all).", "minzoom": 0, "maxzoom": 22, "vector_layers": [{"id": "tickets", "fields": {"dataset": "inc or crq", "ticket_id": "number, unique in its dataset", "normalized_status": "text", "raw_status": "text", "bucket": "closed or pending", "is_open": "boolean", "is_actionable": "boolean", "cluster": "text", "region": "text", "location_name": "text", "assigned_team": "text", "owner": "text", "sla_status": "text, of closed tickets", "mttr": "minutes, of closed tickets", "opened_at": "time", "scheduled_at": "time", "closed_at": "time", "geo_source": "where the point comes from"}}]}';


--
-- Name: _advance_watermark(text, text, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._advance_watermark(p_dataset text, p_source_key text, p_snapshot_etag text DEFAULT NULL::text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Brings the watermark of a dataset forward to a file, if that is the newest; never back, and not
    to rows staged by hand. Remembers the ETag of a full snapshot, if it is given one.

    Touches    tickets.import_meta.
  */
  insert into tickets.import_meta as m (dataset, metadata)
  select p_dataset,
    jsonb_strip_nulls(
      jsonb_build_object('source_max_key', p_source_key, 'source_etag', p_snapshot_etag)
    )
  where p_source_key not like 'manual:%'
  on conflict (dataset) do update set
    metadata = m.metadata
      || case
        when m.metadata ->> 'source_max_key' is null
          or (tickets._exported_at(p_source_key), p_source_key)::tickets.file_version
            > (
              tickets._exported_at(m.metadata ->> 'source_max_key'),
              m.metadata ->> 'source_max_key'
            )::tickets.file_version
        then excluded.metadata
        else excluded.metadata - 'source_max_key'
      end,
    updated_at = excluded.updated_at;
$$;


--
-- Name: FUNCTION _advance_watermark(p_dataset text, p_source_key text, p_snapshot_etag text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._advance_watermark(p_dataset text, p_source_key text, p_snapshot_etag text) IS 'Brings the watermark of a dataset forward to a file, if that is the newest.';


--
-- Name: _apply_file(text, text, timestamp with time zone, bigint, text[], text[], integer, boolean, bigint); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._apply_file(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_staged bigint, p_extra_columns text[] DEFAULT '{}'::text[], p_missing_columns text[] DEFAULT '{}'::text[], p_dropped_lines integer DEFAULT 0, p_is_snapshot boolean DEFAULT false, p_first_line bigint DEFAULT NULL::bigint) RETURNS tickets.applied_file
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET default_statistics_target TO '10'
    AS $$
/*
  Brings the staged rows of one file into tickets.ticket, with all that hangs on it: rejected rows,
  their places, the order of versions, closure and status events, the day's snapshot.

  Takes      the file by its key, and its export time; how many rows are staged of it; the names
             behind the spare columns; contract columns that the file lacks (tickets keep their last
             value of them); how many bare EXPORT STOPPED lines were dropped before staging; whether
             it is a full snapshot; for a file staged by hand, which has no lines but an order, the
             first of them.
  Returns    the counts of the file.
  Raises     TK021 too many rows rejected, TK022 a line break within a ticket_id.
  Touches    everything but staging and the ledger, which are the caller's. The caller has the lock.

  How versions are ordered. A file's place in time is (exported_at, source_key); within a file the
  last line of a ticket counts. A ticket says what its newest version says. Its source_key is the
  first file of the unbroken run of versions that say so, tickets.ticket_repeats has the others of
  that run, and previous_source_key is the version right before it. A file that comes late only
  moves these borders, so that any order of files ends in the same row. What the newest snapshot
  repeated is not in ticket_repeats, but all of it in one row of tickets.snapshot_fence.

  What has the shape of a timestamp is cast without a closer look, which costs a third of one. Where
  that fails, because one of these texts is none, all is done once more with care.
*/
declare
  c_blank constant text := E' \t\r\n';
  v_is_first boolean;
  v_fingerprint bigint;
  v_repeated text[];
  v_last_lines bigint[];
  v_is_careful boolean;
  v_result tickets.applied_file;
begin
  delete from tickets.rejected_rows as r
  where r.dataset = p_dataset and r.source_key = p_source_key;

  -- The statement does for all its tickets at once what triggers would do for each: it derives
  -- their columns, asks the gazetteers, and records closures.
  perform tickets._lock_tickets(p_dataset, p_to_apply => true),
    tickets._lock_gazetteers(p_to_change => false),
    tickets._spare_triggers(true);
  -- What the file changes counts from here on.
  perform tickets._catch_up(p_dataset);

  v_is_first := not exists (select from tickets.ticket as t where t.dataset = p_dataset);
  if v_is_first then
    perform tickets._set_counted_day(p_dataset);
  end if;
  -- Below some thousand rows, dropping and creating takes longer.
  if v_is_first and p_staged >= 1000 then
    perform tickets._drop_ticket_indexes(p_dataset);
  end if;

  -- The planner knows nothing of a table that was filled a moment ago.
  execute format('analyze tickets.%I (dataset, source_key, line)', p_dataset || '_staging');

  select k.fingerprint, k.repeated into v_fingerprint, v_repeated
  from tickets._count_lines(p_dataset, p_source_key) as k;
  if v_repeated is not null then
    select array_agg(r.ticket_id), array_agg(r.last_line) into v_repeated, v_last_lines
    from (
      select btrim(s.ticket_id, c_blank) collate "C" as ticket_id, max(s.line) as last_line
      from tickets.staging as s
      where s.dataset = p_dataset and s.source_key = p_source_key
        and btrim(s.ticket_id, c_blank) collate "C" = any (v_repeated)
        and tickets._staged_kind(s) = 'ticket'
      group by 1
    ) as r;
  end if;

  foreach v_is_careful in array array[false, true] loop
    begin
      v_result := tickets._write_tickets(
        p_dataset => p_dataset,
        p_source_key => p_source_key,
        p_exported_at => p_exported_at,
        p_staged => p_staged,
        p_extra_columns => p_extra_columns,
        p_is_partial => p_missing_columns <> '{}',
        p_dropped_lines => p_dropped_lines,
        p_is_snapshot => p_is_snapshot,
        p_first_line => p_first_line,
        p_repeated => v_repeated,
        p_last_lines => v_last_lines,
        p_is_first => v_is_first,
        p_is_careful => v_is_careful
      );
      exit;
    exception
      when data_exception then
        if v_is_careful then
          raise;
        end if;
    end;
  end loop;

  if v_is_first then
    perform tickets._index_tickets(p_dataset);
  end if;
  if p_is_snapshot then
    perform tickets._fence_snapshot(
      p_dataset, (p_exported_at, p_source_key),
      -- Anything else on its lines was counted with the tickets.
      case
        when v_result.dropped_alarm + v_result.dropped_sentinel + v_result.rejected = 0
        then v_fingerprint
      end
    );
  end if;
  perform tickets._spare_triggers(false);
  perform tickets._check_rejected(v_result);
  perform tickets._capture_day(p_dataset, p_in_full => false);
  return v_result;
end;
$$;


--
-- Name: FUNCTION _apply_file(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_staged bigint, p_extra_columns text[], p_missing_columns text[], p_dropped_lines integer, p_is_snapshot boolean, p_first_line bigint); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._apply_file(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_staged bigint, p_extra_columns text[], p_missing_columns text[], p_dropped_lines integer, p_is_snapshot boolean, p_first_line bigint) IS 'Brings the staged rows of one file into tickets.ticket with its history, and counts them.';


--
-- Name: _await_files(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._await_files() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Trigger before a ticket is deleted: waits for a file that is being applied, and keeps the next one
  waiting till the end of the transaction.

  Touches    tickets.unrecorded_changes, as tickets._derive_ticket.
*/
begin
  perform tickets._lock_tickets(old.dataset, p_to_apply => false);
  insert into tickets.unrecorded_changes (dataset, ticket_id)
  values (old.dataset, old.ticket_id);
  return old;
end;
$$;


--
-- Name: FUNCTION _await_files(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._await_files() IS 'Trigger: waits for a file that is being applied before a ticket is deleted.';


--
-- Name: _await_gazetteers(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._await_gazetteers() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Trigger before a gazetteer changes: waits for those who are placing tickets by it, and keeps the
  next ones waiting till the end of the transaction.
*/
begin
  perform tickets._lock_gazetteers(p_to_change => true);
  return null;
end;
$$;


--
-- Name: FUNCTION _await_gazetteers(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._await_gazetteers() IS 'Trigger: waits for those who are placing tickets by a gazetteer before it changes.';


--
-- Name: _boolean(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._boolean(p_text text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    A flag of the export: true/t/1/yes and false/f/0/no in any case, with or without blanks around.

    Returns    the boolean, or NULL for anything else.
    Raises     nothing.
  */
  -- First as the export writes it: anything else is looked at more closely.
  select case p_text
    when 'true' then true
    when 'false' then false
    else
      case
        when lower(btrim(p_text, E' \t\r\n')) in ('true', 't', '1', 'yes') then true
        when lower(btrim(p_text, E' \t\r\n')) in ('false', 'f', '0', 'no') then false
      end
  end;
$$;


--
-- Name: FUNCTION _boolean(p_text text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._boolean(p_text text) IS 'A flag of the export as a boolean; NULL for anything that is not a flag.';


--
-- Name: _capture_day(text, boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._capture_day(p_dataset text, p_in_full boolean) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
/*
  Brings today's rows of tickets.daily_snapshot up to date, for one dataset: by what time has
  changed since they were counted, or, where that is not enough, by counting all open tickets.

  Takes      whether to count in any case: tickets were changed by other means than files.
  Returns    how many clusters changed; rows that are right already are not written again.
  Touches    tickets.daily_snapshot, tickets.counted_days.
*/
declare
  c_now constant tickets.counted_days := tickets._day_now(p_dataset);
  -- When all tickets were taken away, nobody was asked.
  c_is_empty constant boolean := (
    select min(t.ticket_id) is null from tickets.ticket as t where t.dataset = p_dataset
  );
  v_counted_before timestamptz;
  v_changed integer;
  v_is_counted_anew boolean;
begin
  -- NULL on a new day, and where the SLA target or the clock went back.
  select c.breached_before into v_counted_before
  from tickets.counted_days as c
  where c.dataset = p_dataset and c.day = c_now.day and c.breached_before <= c_now.breached_before;
  if p_in_full or c_is_empty or v_counted_before is null
    or exists (select from tickets.unrecorded_changes as u where u.dataset = p_dataset)
  then
    with counted as materialized (
      select c.* from tickets._count_day(c_now) as c
    ),
    captured as (
      insert into tickets.daily_snapshot as s (
        dataset, day, cluster, open, actionable, breached, created, closed
      )
      select p_dataset, c_now.day, c.cluster, c.open, c.actionable, c.breached, c.created, c.closed
      from counted as c
      on conflict (day, cluster, dataset) do update set
        open = excluded.open,
        actionable = excluded.actionable,
        breached = excluded.breached,
        created = excluded.created,
        closed = excluded.closed,
        captured_at = excluded.captured_at
      where (s.open, s.actionable, s.breached, s.created, s.closed)
        is distinct from
          (excluded.open, excluded.actionable, excluded.breached, excluded.created, excluded.closed)
      returning 1
    ),
    emptied as (
      -- A cluster that all tickets have left since the last look.
      delete from tickets.daily_snapshot as s
      where s.dataset = p_dataset and s.day = c_now.day
        and not exists (
          select from counted as c where c.cluster is not distinct from s.cluster
        )
      returning 1
    )
    select (select count(*) from captured) + (select count(*) from emptied) into v_changed;
    -- Where there is nothing to count, there is nothing to remember.
    v_is_counted_anew := not c_is_empty;
  else
    with breached as (
      -- What has come to be over its SLA target since.
      update tickets.daily_snapshot as s
      set breached = s.breached + k.breached, captured_at = tickets._now()
      from (
        select tickets._cluster_key(t.cluster) as cluster, count(*) as breached
        from tickets.ticket as t
        where t.dataset = p_dataset and t.is_open
          and coalesce(t.created_at_service, t.first_seen_at) >= v_counted_before
          and coalesce(t.created_at_service, t.first_seen_at) < c_now.breached_before
        group by tickets._cluster_key(t.cluster)
      ) as k
      where s.dataset = p_dataset and s.day = c_now.day
        and s.cluster is not distinct from k.cluster
      returning 1
    ),
    emptied as (
      delete from tickets.daily_snapshot as s
      where s.dataset = p_dataset and s.day = c_now.day
        and (s.open, s.created, s.closed) = (0, 0, 0)
        and case
          when s.cluster is null then not exists (
            select from tickets.ticket as t
            where t.dataset = p_dataset and tickets._cluster_key(t.cluster) is null
          )
          else not exists (
            select from tickets.ticket as t
            where t.dataset = p_dataset and tickets._cluster_key(t.cluster) = s.cluster
          )
        end
      returning 1
    )
    select (select count(*) from breached) + (select count(*) from emptied),
      exists (select from breached)
    into v_changed, v_is_counted_anew;
  end if;

  if v_is_counted_anew then
    perform tickets._set_counted_day(p_dataset);
  end if;
  return v_changed;
end;
$$;


--
-- Name: FUNCTION _capture_day(p_dataset text, p_in_full boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._capture_day(p_dataset text, p_in_full boolean) IS 'Brings today''s rows of the daily snapshot of a dataset up to date.';


--
-- Name: _catch_up(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._catch_up(p_dataset text) RETURNS TABLE(closures integer, clusters integer)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
/*
  Brings the history of a dataset up to date with tickets that were changed by other means than
  files, and with time.

  Returns    one row: closures newly recorded, clusters whose snapshot of today changed.
  Touches    tickets.closure_events, and as tickets._capture_day. The caller has the lock.
*/
declare
  v_noted bigint;
begin
  with noted as (
    delete from tickets.unrecorded_changes as u
    where u.dataset = p_dataset
    returning u.ticket_id
  ),
  recorded as (
    insert into tickets.closure_events (
      dataset, ticket_id, closed_at, mttr, cluster, team, owner, source_key
    )
    select t.dataset, t.ticket_id, t.closed_at, t.mttr, t.cluster, t.assigned_team, t.owner,
      t.source_key
    from tickets.ticket as t
    where t.dataset = p_dataset and t.ticket_id in (select n.ticket_id from noted as n)
      and not t.is_open
    order by t.ticket_id
    on conflict (ticket_id, closed_at, dataset) do nothing
    returning 1
  )
  select count(*), (select count(*) from noted) into closures, v_noted from recorded;
  clusters := tickets._capture_day(p_dataset, p_in_full => v_noted > 0);
  return next;
end;
$$;


--
-- Name: FUNCTION _catch_up(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._catch_up(p_dataset text) IS 'Brings the history of a dataset up to date with changes that came by no file, and with time.';


--
-- Name: _check_dataset(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._check_dataset(p_dataset text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Raises     TK001 where there is no such dataset.
*/
begin
  perform 1 from tickets.datasets as d where d.dataset = p_dataset;
  if not found then
    raise exception using
      errcode = 'TK001',
      message = format('there is no dataset %L', left(p_dataset, 100)),
      detail = (select 'Datasets: ' || string_agg(d.dataset, ', ' order by d.dataset) || '.'
                from tickets.datasets as d),
      hint = 'Name one of them, in lower case, for example inc';
  end if;
end;
$$;


--
-- Name: FUNCTION _check_dataset(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._check_dataset(p_dataset text) IS 'TK001 where there is no such dataset.';


--
-- Name: _check_manual_keys(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._check_manual_keys(p_dataset text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
/*
  Raises     TK024 where staged rows carry a key that does not begin with manual:.
*/
declare
  v_source_key text;
begin
  select s.source_key into v_source_key
  from tickets.staging as s
  where s.dataset = p_dataset and not starts_with(s.source_key, 'manual:')
  limit 1;
  if found then
    raise exception using
      errcode = 'TK024',
      message = format('rows staged by hand carry the key %L', left(v_source_key, 100)),
      detail = 'The key of a file that is staged by hand begins with manual:, others belong to the '
        || 'objects of the bucket.',
      hint = format('Leave source_key out of the column list. Remove such rows: delete from '
                    || 'tickets.%I where not starts_with(source_key, ''manual:'')',
                    p_dataset || '_staging');
  end if;
end;
$$;


--
-- Name: FUNCTION _check_manual_keys(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._check_manual_keys(p_dataset text) IS 'TK024 where staged rows carry a key that does not begin with manual:.';


--
-- Name: _check_rejected(tickets.applied_file); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._check_rejected(p_result tickets.applied_file) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Refuses a file whose rejected rows say that something is wrong with all of it.

  Raises     TK021 more rows rejected than tickets.datasets.max_rejected_share allows;
             TK022 a line break within a ticket_id: quotes that swallowed a row.
*/
declare
  v_first record;
  v_limit numeric;
begin
  if p_result.rejected = 0 then
    return;
  end if;

  select r.line, r.reason into v_first
  from tickets.rejected_rows as r
  where r.dataset = p_result.dataset and r.source_key = p_result.source_key
  order by (r.reason = 'line break within ticket_id') desc, r.line
  limit 1;

  if v_first.reason = 'line break within ticket_id' then
    raise exception using
      errcode = 'TK022',
      message = format('line %s: line break within a ticket_id', v_first.line),
      detail = 'Quotes at the wrong places have most likely made one field of several rows.',
      hint = tickets._retry_hint(p_result.source_key);
  end if;

  select d.max_rejected_share into v_limit
  from tickets.datasets as d where d.dataset = p_result.dataset;
  if p_result.rejected > v_limit * p_result.staged then
    raise exception using
      errcode = 'TK021',
      message = format('line %s: %s of %s rows rejected', v_first.line, p_result.rejected,
                       p_result.staged),
      detail = format('The first: %s. The limit is %s %% (tickets.datasets.max_rejected_share).',
                      v_first.reason, round(v_limit * 100, 1)),
      hint = tickets._retry_hint(p_result.source_key);
  end if;
end;
$$;


--
-- Name: FUNCTION _check_rejected(p_result tickets.applied_file); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._check_rejected(p_result tickets.applied_file) IS 'Refuses a file with too many rejected rows (TK021) or a line break within a ticket_id (TK022).';


--
-- Name: _check_staged(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._check_staged() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Trigger after rows were staged by hand.

  Raises     TK024 they carry a key that does not begin with manual:.
*/
begin
  perform tickets._check_manual_keys(left(tg_table_name, -length('_staging')));
  return null;
end;
$$;


--
-- Name: FUNCTION _check_staged(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._check_staged() IS 'Trigger: rows that are staged by hand carry a key that begins with manual:.';


--
-- Name: _clean_place(text, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._clean_place(p_location_name text, p_codes text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    The place that a ticket's location names: without network codes, the rest joined by single
    blanks, its letters as they are.

    Takes      a location as the source writes it; tickets._place_codes().
    Returns    the place, or NULL where nothing is left.
    Raises     nothing.

    One expression that names each argument once, so that the planner copies it into a statement.
  */
  select nullif(
    btrim(regexp_replace(
      regexp_replace(p_location_name, p_codes, ' ', 'gi'), '[_ \t\r\n]+', ' ', 'g'
    )),
    ''
  );
$$;


--
-- Name: FUNCTION _clean_place(p_location_name text, p_codes text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._clean_place(p_location_name text, p_codes text) IS 'The place that a ticket''s location names, without network codes; NULL where nothing is left.';


--
-- Name: staging; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.staging (
    dataset text NOT NULL,
    source_key text NOT NULL COLLATE pg_catalog."C",
    line bigint NOT NULL,
    ticket_id text,
    normalized_status text,
    raw_status text,
    bucket text,
    is_actionable text,
    cluster text,
    region text,
    location_name text,
    assigned_team text,
    owner text,
    sla_status text,
    mttr text,
    created_at_service text,
    scheduled_at text,
    closed_at text,
    first_seen_at text,
    last_seen_at text,
    source_created_at text,
    source_updated_at text,
    latitude text,
    longitude text,
    service_type text,
    is_alarm text,
    is_auto_created text,
    is_auto_closed text,
    week_start text,
    week_end text,
    source_s3_bucket text,
    source_s3_key text,
    source_snapshot_id text,
    department text,
    source_type text,
    extra_1 text,
    extra_2 text,
    extra_3 text,
    extra_4 text,
    extra_5 text,
    extra_6 text,
    extra_7 text,
    extra_8 text,
    extra_9 text,
    extra_10 text,
    extra_11 text,
    extra_12 text,
    extra_13 text,
    extra_14 text,
    extra_15 text,
    extra_16 text,
    extra_17 text,
    extra_18 text,
    extra_19 text,
    extra_20 text,
    extra_21 text,
    extra_22 text,
    extra_23 text,
    extra_24 text,
    extra_25 text,
    extra_26 text,
    extra_27 text,
    extra_28 text,
    extra_29 text,
    extra_30 text,
    extra_31 text,
    extra_32 text
)
PARTITION BY LIST (dataset);


--
-- Name: TABLE staging; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.staging IS 'Rows of files as text, on their way into tickets.ticket; empty between two loads.';


--
-- Name: COLUMN staging.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.dataset IS 'Dataset, set by the partition.';


--
-- Name: COLUMN staging.source_key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.source_key IS 'The file the row comes from; rows staged by hand get manual:<time of staging>.';


--
-- Name: COLUMN staging.line; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.line IS 'Line of the file at which the row begins; for rows staged by hand their order.';


--
-- Name: COLUMN staging.ticket_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.ticket_id IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.normalized_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.normalized_status IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.raw_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.raw_status IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.bucket; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.bucket IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.is_actionable; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.is_actionable IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.cluster; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.cluster IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.region; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.region IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.location_name; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.location_name IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.assigned_team; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.assigned_team IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.owner; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.owner IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.sla_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.sla_status IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.mttr; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.mttr IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.created_at_service; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.created_at_service IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.scheduled_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.scheduled_at IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.closed_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.closed_at IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.first_seen_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.first_seen_at IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.last_seen_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.last_seen_at IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.source_created_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.source_created_at IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.source_updated_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.source_updated_at IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.latitude; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.latitude IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.longitude; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.longitude IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.service_type; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.service_type IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.is_alarm; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.is_alarm IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.is_auto_created; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.is_auto_created IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.is_auto_closed; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.is_auto_closed IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.week_start; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.week_start IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.week_end; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.week_end IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.source_s3_bucket; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.source_s3_bucket IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.source_s3_key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.source_s3_key IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.source_snapshot_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.source_snapshot_id IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.department; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.department IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.source_type; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.source_type IS 'The column of this name, as in the file.';


--
-- Name: COLUMN staging.extra_1; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_1 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_2; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_2 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_3; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_3 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_4; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_4 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_5; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_5 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_6; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_6 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_7; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_7 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_8; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_8 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_9; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_9 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_10; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_10 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_11; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_11 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_12; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_12 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_13; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_13 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_14; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_14 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_15; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_15 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_16; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_16 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_17; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_17 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_18; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_18 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_19; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_19 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_20; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_20 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_21; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_21 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_22; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_22 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_23; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_23 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_24; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_24 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_25; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_25 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_26; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_26 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_27; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_27 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_28; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_28 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_29; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_29 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_30; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_30 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_31; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_31 IS 'Room for a column that the contract does not know.';


--
-- Name: COLUMN staging.extra_32; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.staging.extra_32 IS 'Room for a column that the contract does not know.';


--
-- Name: _clean_row(tickets.staging, boolean, jsonb); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._clean_row(p_row tickets.staging, p_is_partial boolean, p_known_raw jsonb) RETURNS TABLE(ticket_id text, normalized_status text, raw_status text, bucket text, is_actionable text, cluster text, region text, location_name text, assigned_team text, owner text, sla_status text, mttr text, created_at_service text, scheduled_at text, closed_at text, first_seen_at text, last_seen_at text, source_created_at text, source_updated_at text, latitude text, longitude text, service_type text, is_alarm text, is_auto_created text, is_auto_closed text)
    LANGUAGE sql IMMUTABLE ROWS 1 PARALLEL SAFE
    AS $$
  /*
    What a staged row says of its ticket, value by value.

    ticket_id, region and raw_status are trimmed, region in lower case, raw_status in upper case;
    blank values are NULL; everything else is kept to the letter. The bookkeeping of the week and of
    the export (the contract's last seven columns) is dropped.

    Takes      the row; whether columns of the contract are missing: what raw says of them stays;
               raw as it is, NULL for a new ticket.

    No `set search_path`, so that the planner takes it apart.
  */
  select
    nullif(btrim(p_row.ticket_id, E' \t\r\n') collate "C", ''),
    tickets._staged_value(p_row.normalized_status, p_is_partial, p_known_raw, 'normalized_status'),
    case
      when p_is_partial and p_row.raw_status = tickets._not_in_file()
      then p_known_raw ->> 'raw_status'
      else nullif(upper(btrim(p_row.raw_status, E' \t\r\n')), '')
    end,
    tickets._staged_value(p_row.bucket, p_is_partial, p_known_raw, 'bucket'),
    tickets._staged_value(p_row.is_actionable, p_is_partial, p_known_raw, 'is_actionable'),
    tickets._staged_value(p_row.cluster, p_is_partial, p_known_raw, 'cluster'),
    case
      when p_is_partial and p_row.region = tickets._not_in_file()
      then p_known_raw ->> 'region'
      else nullif(lower(btrim(p_row.region, E' \t\r\n')), '')
    end,
    tickets._staged_value(p_row.location_name, p_is_partial, p_known_raw, 'location_name'),
    tickets._staged_value(p_row.assigned_team, p_is_partial, p_known_raw, 'assigned_team'),
    tickets._staged_value(p_row.owner, p_is_partial, p_known_raw, 'owner'),
    tickets._staged_value(p_row.sla_status, p_is_partial, p_known_raw, 'sla_status'),
    tickets._staged_value(p_row.mttr, p_is_partial, p_known_raw, 'mttr'),
    tickets._staged_value(
      p_row.created_at_service, p_is_partial, p_known_raw, 'created_at_service'
    ),
    tickets._staged_value(p_row.scheduled_at, p_is_partial, p_known_raw, 'scheduled_at'),
    tickets._staged_value(p_row.closed_at, p_is_partial, p_known_raw, 'closed_at'),
    tickets._staged_value(p_row.first_seen_at, p_is_partial, p_known_raw, 'first_seen_at'),
    tickets._staged_value(p_row.last_seen_at, p_is_partial, p_known_raw, 'last_seen_at'),
    tickets._staged_value(p_row.source_created_at, p_is_partial, p_known_raw, 'source_created_at'),
    tickets._staged_value(p_row.source_updated_at, p_is_partial, p_known_raw, 'source_updated_at'),
    tickets._staged_value(p_row.latitude, p_is_partial, p_known_raw, 'latitude'),
    tickets._staged_value(p_row.longitude, p_is_partial, p_known_raw, 'longitude'),
    tickets._staged_value(p_row.service_type, p_is_partial, p_known_raw, 'service_type'),
    tickets._staged_value(p_row.is_alarm, p_is_partial, p_known_raw, 'is_alarm'),
    tickets._staged_value(p_row.is_auto_created, p_is_partial, p_known_raw, 'is_auto_created'),
    tickets._staged_value(p_row.is_auto_closed, p_is_partial, p_known_raw, 'is_auto_closed');
$$;


--
-- Name: FUNCTION _clean_row(p_row tickets.staging, p_is_partial boolean, p_known_raw jsonb); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._clean_row(p_row tickets.staging, p_is_partial boolean, p_known_raw jsonb) IS 'What a staged row says of its ticket, cleaned, value by value.';


--
-- Name: _cluster_key(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._cluster_key(p_cluster text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    What stands for a cluster where an index has to hold it: its name, or, if that is longer than
    255 characters, its beginning and a hash of all of it.

    No `set search_path`, so that the planner takes it apart: it is called for every ticket, and
    only so does it match the index, in which it is written out; see tickets._ticket_indexes.
  */
  select case
    when length(p_cluster) > 255 then left(p_cluster, 222) || ' ' || md5(p_cluster)
    else p_cluster
  end;
$$;


--
-- Name: FUNCTION _cluster_key(p_cluster text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._cluster_key(p_cluster text) IS 'What stands for a cluster where an index has to hold it: names longer than that with a hash.';


--
-- Name: _cluster_point(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._cluster_point(p_cluster text) RETURNS public.geometry
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    The point of a cluster, also under an alias; NULL where it has none.
  */
  select c.geom from tickets._cluster_points() as c where c.cluster = p_cluster;
$$;


--
-- Name: FUNCTION _cluster_point(p_cluster text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._cluster_point(p_cluster text) IS 'The point of a cluster, also under an alias; NULL where it has none.';


--
-- Name: _cluster_points(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._cluster_points() RETURNS TABLE(cluster text, geom public.geometry)
    LANGUAGE sql STABLE
    AS $$
  /*
    The point of every name that a ticket's cluster may have: its own, else that of the cluster
    whose alias it is.

    No `set search_path`, so that the planner takes it apart and looks up single names by index.
  */
  select c.cluster, c.used_geom
  from tickets.geo_clusters as c
  where c.used_geom is not null
  union all
  select a.alias, c.used_geom
  from tickets.cluster_aliases as a
  join tickets.geo_clusters as c on c.cluster = a.cluster and c.used_geom is not null
  where not exists (
    select from tickets.geo_clusters as own
    where own.cluster = a.alias and own.used_geom is not null
  );
$$;


--
-- Name: FUNCTION _cluster_points(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._cluster_points() IS 'The point of every cluster and alias that has one.';


--
-- Name: _contract_columns(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._contract_columns() RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  /*
    The columns that a file should have, in the contract's order: what the staging table has room
    for by name.
  */
  select array_agg(a.attname::text order by a.attnum)
  from pg_attribute as a
  where a.attrelid = 'tickets.staging'::regclass
    and a.attnum > 0
    and not a.attisdropped
    and a.attname not in ('dataset', 'source_key', 'line')
    and a.attname !~ '^extra_[0-9]+$';
$_$;


--
-- Name: FUNCTION _contract_columns(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._contract_columns() IS 'The columns that a file should have, in order.';


--
-- Name: counted_days; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.counted_days (
    dataset text NOT NULL,
    day date NOT NULL,
    breached_before timestamp with time zone NOT NULL
);


--
-- Name: TABLE counted_days; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.counted_days IS 'What today''s rows of tickets.daily_snapshot were last counted by, a row a dataset.';


--
-- Name: COLUMN counted_days.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.counted_days.dataset IS 'Dataset, tickets.datasets.dataset.';


--
-- Name: COLUMN counted_days.day; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.counted_days.day IS 'The day in Nairobi that is counted.';


--
-- Name: COLUMN counted_days.breached_before; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.counted_days.breached_before IS 'Open tickets opened before this were over their SLA target.';


--
-- Name: _count_day(tickets.counted_days); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._count_day(p_now tickets.counted_days) RETURNS TABLE(cluster text, open bigint, actionable bigint, breached bigint, created bigint, closed bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET jit TO 'off'
    AS $$
/*
  What there is to count on a day of each cluster of a dataset. Each part goes by an index, none
  looks at all tickets.

  Takes      the day as tickets._day_now() has it.

  Reads only, by return query: so the planner may share it out among parallel workers.
*/
#variable_conflict use_column
declare
  c_begins_at constant timestamptz := p_now.day::timestamp at time zone interval '3 hours';
  c_ends_at constant timestamptz := c_begins_at + interval '24 hours';
begin
  return query
  with recursive clusters as (
    -- Each one once, from one to the next in the index. NULL ends it.
    select (
      select min(tickets._cluster_key(t.cluster))
      from tickets.ticket as t
      where t.dataset = p_now.dataset
    ) as cluster
    union all
    select (
      select min(tickets._cluster_key(t.cluster))
      from tickets.ticket as t
      where t.dataset = p_now.dataset and tickets._cluster_key(t.cluster) > c.cluster
    )
    from clusters as c
    where c.cluster is not null
  )
  select k.cluster, sum(k.open)::bigint, sum(k.actionable)::bigint,
    sum(k.breached)::bigint, sum(k.created)::bigint, sum(k.closed)::bigint
  from (
    select tickets._cluster_key(t.cluster) as cluster, count(*) as open,
      count(*) filter (where t.is_actionable) as actionable,
      count(*) filter (
        where coalesce(t.created_at_service, t.first_seen_at) < p_now.breached_before
      ) as breached,
      0 as created, 0 as closed
    from tickets.ticket as t
    where t.dataset = p_now.dataset and t.is_open
    group by tickets._cluster_key(t.cluster)
    union all
    select tickets._cluster_key(t.cluster), 0, 0, 0, count(*), 0
    from tickets.ticket as t
    where t.dataset = p_now.dataset
      and coalesce(t.created_at_service, t.first_seen_at) >= c_begins_at
      and coalesce(t.created_at_service, t.first_seen_at) < c_ends_at
    group by tickets._cluster_key(t.cluster)
    union all
    select tickets._cluster_key(t.cluster), 0, 0, 0, 0, count(*)
    from tickets.ticket as t
    where t.dataset = p_now.dataset and t.closed_at >= c_begins_at and t.closed_at < c_ends_at
    group by tickets._cluster_key(t.cluster)
    union all
    -- A cluster of which there is nothing to count today has a row, too.
    select c.cluster, 0, 0, 0, 0, 0
    from clusters as c
    where c.cluster is not null
      or exists (
        select from tickets.ticket as t
        where t.dataset = p_now.dataset and tickets._cluster_key(t.cluster) is null
      )
  ) as k
  group by k.cluster;
end;
$$;


--
-- Name: FUNCTION _count_day(p_now tickets.counted_days); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._count_day(p_now tickets.counted_days) IS 'What there is to count on a day of each cluster of a dataset.';


--
-- Name: _count_lines(text, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._count_lines(p_dataset text, p_source_key text, OUT fingerprint bigint, OUT repeated text[]) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    SET max_parallel_workers_per_gather TO '0'
    AS $$
/*
  What stands on the lines of a staged file, whatever is on them besides a ticket.

  Returns    the fingerprint of its tickets (tickets.snapshot_fence), NULL where one stands on more
             than one line, or a line has none; the tickets on more than one line, NULL where there
             are none.
*/
declare
  v_lines bigint;
  v_hashes bigint;
begin
  select count(*), count(distinct k.hash), bit_xor(k.hash) into v_lines, v_hashes, fingerprint
  from (
    select hashtextextended(btrim(s.ticket_id, E' \t\r\n') collate "C", 0) as hash
    from tickets.staging as s
    where s.dataset = p_dataset and s.source_key = p_source_key
    offset 0 -- keeps it from being computed once for each count
  ) as k;
  if v_hashes = v_lines then
    return;
  end if;

  fingerprint := null;
  select array_agg(k.ticket_id) into repeated
  from (
    select btrim(s.ticket_id, E' \t\r\n') collate "C" as ticket_id
    from tickets.staging as s
    where s.dataset = p_dataset and s.source_key = p_source_key
    group by 1
    having count(*) > 1
  ) as k;
end;
$$;


--
-- Name: FUNCTION _count_lines(p_dataset text, p_source_key text, OUT fingerprint bigint, OUT repeated text[]); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._count_lines(p_dataset text, p_source_key text, OUT fingerprint bigint, OUT repeated text[]) IS 'The fingerprint of a staged file''s tickets, and those that stand on more than one line.';


--
-- Name: _datasets(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._datasets(p_dataset text) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    The dataset named, or all of them where none is.
  */
  select case
    when p_dataset is not null then array[p_dataset]
    else (select array_agg(d.dataset order by d.dataset) from tickets.datasets as d)
  end;
$$;


--
-- Name: FUNCTION _datasets(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._datasets(p_dataset text) IS 'The dataset named, or all of them where none is.';


--
-- Name: _day_now(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._day_now(p_dataset text) RETURNS tickets.counted_days
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    What a count of the day goes by now: the day in Nairobi, and when an open ticket of the dataset
    must have been opened to be within its SLA target.
  */
  select d.dataset, (tickets._now() at time zone interval '3 hours')::date,
    tickets._now() - make_interval(secs => extract(epoch from d.sla_target)::float8)
  from tickets.datasets as d
  where d.dataset = p_dataset;
$$;


--
-- Name: FUNCTION _day_now(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._day_now(p_dataset text) IS 'What a count of the day goes by now: the day in Nairobi, and what has breached its SLA target.';


--
-- Name: _derive_ticket(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._derive_ticket() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Trigger before a ticket is written, by whomever: its columns become what follows from its raw, its
  point what follows from raw and the gazetteers. Those who write many tickets in one statement
  compute the same for all of them, by the same functions; see tickets._spare_triggers.

  Raises     TK041 the writer wanted another value for such a column.
  Touches    tickets.unrecorded_changes: a ticket that is changed by other means than a file is
             noted there, for tickets.capture_history() to find it without a look at all tickets.
*/
declare
  -- A point as text: as JSON it would be rounded.
  v_given constant jsonb := to_jsonb(new) || jsonb_build_object('geom', new.geom::text);
  v_old constant jsonb := case
    when tg_op = 'UPDATE' then to_jsonb(old) || jsonb_build_object('geom', old.geom::text)
    else '{}'
  end;
  v_feed_geom public.geometry;
  v_place record;
  v_overruled text;
begin
  perform tickets._lock_tickets(new.dataset, p_to_apply => false),
    tickets._lock_gazetteers(p_to_change => false);

  select d.normalized_status, d.raw_status, d.bucket, d.is_actionable, d.is_open, d.cluster,
    d.region, d.location_name, d.assigned_team, d.owner, d.sla_status, d.mttr,
    d.created_at_service, d.scheduled_at, d.closed_at, d.first_seen_at, d.last_seen_at,
    d.source_created_at, d.source_updated_at, d.feed_geom
  into new.normalized_status, new.raw_status, new.bucket, new.is_actionable, new.is_open,
    new.cluster, new.region, new.location_name, new.assigned_team, new.owner, new.sla_status,
    new.mttr, new.created_at_service, new.scheduled_at, new.closed_at, new.first_seen_at,
    new.last_seen_at, new.source_created_at, new.source_updated_at, v_feed_geom
  from jsonb_to_record(
    -- Anything else is for a constraint to refuse.
    case when jsonb_typeof(new.raw) = 'object' then new.raw else '{}' end
  ) as r (
    normalized_status text, raw_status text, bucket text, is_actionable text, cluster text,
    region text, location_name text, assigned_team text, owner text, sla_status text, mttr text,
    created_at_service text, scheduled_at text, closed_at text, first_seen_at text,
    last_seen_at text, source_created_at text, source_updated_at text, latitude text, longitude text
  )
  cross join lateral tickets._derived(
    r.normalized_status, r.raw_status, r.bucket, r.is_actionable, r.cluster, r.region,
    r.location_name, r.assigned_team, r.owner, r.sla_status, r.mttr, r.created_at_service,
    r.scheduled_at, r.closed_at, r.first_seen_at, r.last_seen_at, r.source_created_at,
    r.source_updated_at, r.latitude, r.longitude
  ) as d;

  select p.geom, p.source into v_place
  from tickets._places_of(array[new.cluster], array[new.location_name]) as p;
  new.geom := coalesce(v_feed_geom, v_place.geom);
  new.geog := new.geom::public.geography;
  new.latitude := public.st_y(new.geom);
  new.longitude := public.st_x(new.geom);
  new.geo_source := case
    when v_feed_geom is not null then 'feed'
    else coalesce(v_place.source, 'none')
  end;

  -- A value that is neither what follows nor what was there was meant to be another.
  select string_agg(g.key, ', ' order by g.key) into v_overruled
  from jsonb_each(v_given) as g
  join jsonb_each(to_jsonb(new) || jsonb_build_object('geom', new.geom::text)) as n
    on n.key = g.key
  where g.value <> n.value and g.value <> coalesce(v_old -> g.key, 'null');
  if v_overruled is not null then
    raise exception using
      errcode = 'TK041',
      message = format('%s of a ticket cannot be written', v_overruled),
      detail = format('These columns of %s %s follow from its raw and the gazetteers.',
                      new.dataset, new.ticket_id),
      hint = 'Change what they follow from: update tickets.ticket set raw = raw || …, '
        || 'or for its point: select tickets.correct_place(…)';
  end if;

  if tg_op = 'INSERT' or new.raw <> old.raw then
    -- What is written by hand was made from no staged text.
    new.text_hash := null;
    insert into tickets.unrecorded_changes (dataset, ticket_id)
    values (new.dataset, new.ticket_id);
  end if;
  return new;
end;
$$;


--
-- Name: FUNCTION _derive_ticket(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._derive_ticket() IS 'Trigger: the columns of a ticket are what follows from raw and the gazetteers.';


--
-- Name: _derived(text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, timestamp without time zone, timestamp without time zone, timestamp without time zone, timestamp without time zone, timestamp without time zone, timestamp without time zone, timestamp without time zone); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._derived(p_normalized_status text, p_raw_status text, p_bucket text, p_is_actionable text, p_cluster text, p_region text, p_location_name text, p_assigned_team text, p_owner text, p_sla_status text, p_mttr text, p_created_at_service text, p_scheduled_at text, p_closed_at text, p_first_seen_at text, p_last_seen_at text, p_source_created_at text, p_source_updated_at text, p_latitude text, p_longitude text, p_created_at_service_cast timestamp without time zone DEFAULT NULL::timestamp without time zone, p_scheduled_at_cast timestamp without time zone DEFAULT NULL::timestamp without time zone, p_closed_at_cast timestamp without time zone DEFAULT NULL::timestamp without time zone, p_first_seen_at_cast timestamp without time zone DEFAULT NULL::timestamp without time zone, p_last_seen_at_cast timestamp without time zone DEFAULT NULL::timestamp without time zone, p_source_created_at_cast timestamp without time zone DEFAULT NULL::timestamp without time zone, p_source_updated_at_cast timestamp without time zone DEFAULT NULL::timestamp without time zone) RETURNS TABLE(normalized_status text, raw_status text, bucket text, is_actionable boolean, is_open boolean, cluster text, region text, location_name text, assigned_team text, owner text, sla_status text, mttr integer, created_at_service timestamp with time zone, scheduled_at timestamp with time zone, closed_at timestamp with time zone, first_seen_at timestamp with time zone, last_seen_at timestamp with time zone, source_created_at timestamp with time zone, source_updated_at timestamp with time zone, feed_geom public.geometry)
    LANGUAGE sql STABLE ROWS 1 PARALLEL SAFE
    AS $$
  /*
    What the typed columns of a ticket are, and the point of its own coordinates, for one ticket as
    for many.

    Takes      what its raw says; what tickets._wall_time says of its timestamps, which spares a
               look at each of many. Columns, not expressions: some are named more than once, and
               the planner copies this into the statement.
    Raises     nothing: what does not cast is NULL.

    No `set search_path`, so that the planner takes it apart; no `offset 0`, so that parallel
    workers can do it.
  */
  select p_normalized_status, p_raw_status, p_bucket, tickets._boolean(p_is_actionable),
    tickets._is_open(p_bucket, p_closed_at), p_cluster, p_region, p_location_name, p_assigned_team,
    p_owner, p_sla_status, tickets._minutes(p_mttr),
    tickets._instant(p_created_at_service, p_created_at_service_cast),
    tickets._instant(p_scheduled_at, p_scheduled_at_cast),
    tickets._instant(p_closed_at, p_closed_at_cast),
    tickets._instant(p_first_seen_at, p_first_seen_at_cast),
    tickets._instant(p_last_seen_at, p_last_seen_at_cast),
    tickets._instant(p_source_created_at, p_source_created_at_cast),
    tickets._instant(p_source_updated_at, p_source_updated_at_cast),
    case
      when p_latitude is not null then tickets._feed_point(p_latitude, p_longitude)
    end;
$$;


--
-- Name: FUNCTION _derived(p_normalized_status text, p_raw_status text, p_bucket text, p_is_actionable text, p_cluster text, p_region text, p_location_name text, p_assigned_team text, p_owner text, p_sla_status text, p_mttr text, p_created_at_service text, p_scheduled_at text, p_closed_at text, p_first_seen_at text, p_last_seen_at text, p_source_created_at text, p_source_updated_at text, p_latitude text, p_longitude text, p_created_at_service_cast timestamp without time zone, p_scheduled_at_cast timestamp without time zone, p_closed_at_cast timestamp without time zone, p_first_seen_at_cast timestamp without time zone, p_last_seen_at_cast timestamp without time zone, p_source_created_at_cast timestamp without time zone, p_source_updated_at_cast timestamp without time zone); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._derived(p_normalized_status text, p_raw_status text, p_bucket text, p_is_actionable text, p_cluster text, p_region text, p_location_name text, p_assigned_team text, p_owner text, p_sla_status text, p_mttr text, p_created_at_service text, p_scheduled_at text, p_closed_at text, p_first_seen_at text, p_last_seen_at text, p_source_created_at text, p_source_updated_at text, p_latitude text, p_longitude text, p_created_at_service_cast timestamp without time zone, p_scheduled_at_cast timestamp without time zone, p_closed_at_cast timestamp without time zone, p_first_seen_at_cast timestamp without time zone, p_last_seen_at_cast timestamp without time zone, p_source_created_at_cast timestamp without time zone, p_source_updated_at_cast timestamp without time zone) IS 'What the typed columns of a ticket are, and the point of its own coordinates.';


--
-- Name: _drop_ticket_indexes(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._drop_ticket_indexes(p_dataset text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Drops the indexes of a dataset without tickets, so that its first file is written without them and
  they are built at once after it: half of the work, and by row the same for a large file as for a
  small one. Whoever reads these tickets waits till the file is loaded; there are none yet.

  Where somebody is reading them now, everything stays as it is.
*/
declare
  v_index record;
begin
  execute format('lock table tickets.%I in access exclusive mode nowait', p_dataset);
  for v_index in
    select i.name from tickets._ticket_indexes(p_dataset) as i
  loop
    execute format('drop index if exists tickets.%I', v_index.name);
  end loop;
exception
  when lock_not_available or object_in_use then
    null;
end;
$$;


--
-- Name: FUNCTION _drop_ticket_indexes(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._drop_ticket_indexes(p_dataset text) IS 'Drops the indexes of a dataset without tickets, till its first file is written.';


--
-- Name: _empty_staging(text, text[]); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._empty_staging(p_dataset text, p_source_keys text[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
/*
  Takes applied files out of staging. By deleting: PostgreSQL does not always survive a crash
  right after the rollback of a transaction that truncated an unlogged table, and a dry run is
  rolled back.

  Returns    how many rows they had.
*/
declare
  v_rows bigint;
begin
  delete from tickets.staging as s
  where s.dataset = p_dataset and s.source_key = any (p_source_keys);
  get diagnostics v_rows = row_count;
  return v_rows;
end;
$$;


--
-- Name: FUNCTION _empty_staging(p_dataset text, p_source_keys text[]); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._empty_staging(p_dataset text, p_source_keys text[]) IS 'Takes applied files out of staging.';


--
-- Name: _exported_at(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._exported_at(p_source_key text) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
  /*
    The export time that a file's name carries (`…/2026-06-15T06-20-00.csv`), EAT wall time; staged
    by hand also with microseconds (`manual:2026-06-15T06-20-00-123456`).

    Returns    the instant, or NULL where the name carries none.
    Raises     nothing.
  */
  select tickets.eat_ts(
    parts[1] || ' ' || parts[2] || ':' || parts[3] || ':' || parts[4]
      || coalesce('.' || parts[5], '')
  )
  from regexp_match(
    p_source_key,
    '([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2})-([0-9]{2})-([0-9]{2})(?:-([0-9]{6}))?'
    '(?!.*[0-9]{4}-[0-9]{2}-[0-9]{2}T)'
  ) as parts;
$$;


--
-- Name: FUNCTION _exported_at(p_source_key text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._exported_at(p_source_key text) IS 'The export time that a file''s name carries (EAT); NULL where it carries none.';


--
-- Name: _extra_values(tickets.staging, text[]); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._extra_values(p_row tickets.staging, p_names text[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    What a staged row holds in columns that the contract does not know, under the names that the
    file's header gave them; a value staged without a name stays under its staging column's.

    Returns    an object, empty where the file has no such columns.
  */
  select jsonb_strip_nulls(coalesce(
    jsonb_object_agg(coalesce(p_names[n], 'extra_' || n), value)
      filter (where btrim(value, E' \t\r\n') <> ''),
    '{}'
  ))
  from unnest(array[
    p_row.extra_1, p_row.extra_2, p_row.extra_3, p_row.extra_4, p_row.extra_5, p_row.extra_6,
    p_row.extra_7, p_row.extra_8, p_row.extra_9, p_row.extra_10, p_row.extra_11, p_row.extra_12,
    p_row.extra_13, p_row.extra_14, p_row.extra_15, p_row.extra_16, p_row.extra_17,
    p_row.extra_18, p_row.extra_19, p_row.extra_20, p_row.extra_21, p_row.extra_22,
    p_row.extra_23, p_row.extra_24, p_row.extra_25, p_row.extra_26, p_row.extra_27,
    p_row.extra_28, p_row.extra_29, p_row.extra_30, p_row.extra_31, p_row.extra_32
  ]) with ordinality as spare (value, n);
$$;


--
-- Name: FUNCTION _extra_values(p_row tickets.staging, p_names text[]); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._extra_values(p_row tickets.staging, p_names text[]) IS 'What a staged row holds in columns unknown to the contract, by the names of the file''s header.';


--
-- Name: _feed_point(text, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._feed_point(p_latitude text, p_longitude text) RETURNS public.geometry
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
/*
  The point that a ticket's own coordinates name, in degrees (WGS 84).

  Returns    the point, or NULL where a coordinate is no plain decimal number or out of range, and
             for 0,0, which is what the feed writes when it knows nothing.
  Raises     nothing.
*/
declare
  -- Digits and blanks by name: what \d and \s take in depends on the locale, casts do not follow.
  c_degrees constant text := '^[ \t\r\n]*[+-]?[0-9]{1,3}([.][0-9]{1,20})?[ \t\r\n]*$';
  v_latitude float8;
  v_longitude float8;
begin
  if p_latitude !~ c_degrees
    or p_longitude !~ c_degrees
  then
    return null;
  end if;
  v_latitude := p_latitude::float8;
  v_longitude := p_longitude::float8;
  if abs(v_latitude) > 90 or abs(v_longitude) > 180 or (v_latitude = 0 and v_longitude = 0) then
    return null;
  end if;
  return public.st_setsrid(public.st_makepoint(v_longitude, v_latitude), 4326);
end;
$_$;


--
-- Name: FUNCTION _feed_point(p_latitude text, p_longitude text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._feed_point(p_latitude text, p_longitude text) IS 'The point that a ticket''s coordinates name; NULL if missing, out of range or 0,0.';


--
-- Name: _fence_snapshot(text, tickets.file_version, bigint); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._fence_snapshot(p_dataset text, p_version tickets.file_version, p_fingerprint bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
/*
  Remembers which tickets the snapshot just applied carries: it repeats all that it did not change,
  and holds off whatever is older.

  Takes      the snapshot, still staged; the fingerprint of its tickets where each of its lines is
             one of them, or else NULL.
  Touches    tickets.snapshot_fence, and tickets.ticket_repeats for tickets that were in the last
             snapshot and are not in this one.
*/
declare
  v_fence tickets.snapshot_fence;
  v_fence_version tickets.file_version;
  v_ticket_ids text[];
  -- Tickets that were in the last snapshot and are not in this one.
  v_left text[];
begin
  select f.dataset, f.exported_at, f.source_key, f.fingerprint
  into v_fence.dataset, v_fence.exported_at, v_fence.source_key, v_fence.fingerprint
  from tickets.snapshot_fence as f
  where f.dataset = p_dataset;
  v_fence_version := (v_fence.exported_at, v_fence.source_key);
  if v_fence.dataset is not null and v_fence_version > p_version then
    return;
  end if;
  if v_fence.fingerprint = p_fingerprint then
    -- The same tickets, in whatever order.
    update tickets.snapshot_fence as f set
      exported_at = p_version.exported_at,
      source_key = p_version.source_key
    where f.dataset = p_dataset;
    return;
  end if;

  if p_fingerprint is not null then
    select array_agg(btrim(s.ticket_id, E' \t\r\n') collate "C") into v_ticket_ids
    from tickets.staging as s
    where s.dataset = p_dataset and s.source_key = p_version.source_key;
  else
    select array_agg(distinct btrim(s.ticket_id, E' \t\r\n') collate "C") into v_ticket_ids
    from tickets.staging as s
    where s.dataset = p_dataset and s.source_key = p_version.source_key
      and tickets._staged_kind(s) = 'ticket';
  end if;
  if v_ticket_ids is null then
    return;
  end if;

  if v_fence_version < p_version then
    v_left := array(
      select k.ticket_id
      from tickets.snapshot_fence as f
      cross join unnest(f.ticket_ids) as k (ticket_id)
      where f.dataset = p_dataset and k.ticket_id <> all (v_ticket_ids)
    );
    insert into tickets.ticket_repeats as r (dataset, ticket_id, repeats)
    select p_dataset, t.ticket_id, array[v_fence_version]
    from unnest(v_left) as k (ticket_id)
    join tickets.ticket as t on t.dataset = p_dataset and t.ticket_id = k.ticket_id
    where (t.exported_at, t.source_key) < (v_fence.exported_at, v_fence.source_key)
    on conflict (dataset, ticket_id) do update set repeats = r.repeats || excluded.repeats
      where r.repeats[cardinality(r.repeats)] < v_fence_version;
  end if;

  insert into tickets.snapshot_fence as f (
    dataset, exported_at, source_key, ticket_ids, fingerprint
  )
  select p_dataset, p_version.exported_at, p_version.source_key, v_ticket_ids,
    coalesce(
      p_fingerprint,
      (
        select bit_xor(hashtextextended(k.ticket_id, 0))
        from unnest(v_ticket_ids) as k (ticket_id)
      )
    )
  on conflict (dataset) do update set
    exported_at = excluded.exported_at,
    source_key = excluded.source_key,
    ticket_ids = excluded.ticket_ids,
    fingerprint = excluded.fingerprint;
end;
$$;


--
-- Name: FUNCTION _fence_snapshot(p_dataset text, p_version tickets.file_version, p_fingerprint bigint); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._fence_snapshot(p_dataset text, p_version tickets.file_version, p_fingerprint bigint) IS 'Remembers which tickets the snapshot just applied carries: it holds off whatever is older.';


--
-- Name: _follow_gazetteer(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._follow_gazetteer() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
/*
  Trigger after a gazetteer has changed: its tickets follow, in the same transaction.

  Takes      a query of what counts in the gazetteer's rows, with %s for their name and the cluster
             that they are about first; without it, every ticket is looked at.
  Touches    only tickets of clusters for which that has changed.
*/
declare
  v_changed text;
  v_clusters text[];
begin
  if tg_nargs = 0 or tg_op = 'TRUNCATE' then
    perform tickets._place_tickets();
    return null;
  end if;

  v_changed := case tg_op
    when 'INSERT' then format(tg_argv[0], 'new_rows')
    when 'DELETE' then format(tg_argv[0], 'old_rows')
    else
      format('(%1$s except %2$s) union all (%2$s except %1$s)',
        format(tg_argv[0], 'old_rows'), format(tg_argv[0], 'new_rows'))
  end;
  execute format('select array_agg(distinct c.cluster) from (%s) as c', v_changed) into v_clusters;
  if v_clusters is not null then
    perform tickets._place_tickets(
      v_clusters || array(
        select a.alias from tickets.cluster_aliases as a where a.cluster = any (v_clusters)
      )
    );
  end if;
  return null;
end;
$_$;


--
-- Name: FUNCTION _follow_gazetteer(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._follow_gazetteer() IS 'Trigger: the tickets of what has changed in a gazetteer follow, in the same transaction.';


--
-- Name: _index_tickets(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._index_tickets(p_dataset text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Creates the indexes of a dataset's tickets that are not there.
*/
declare
  v_index record;
begin
  for v_index in
    select i.definition
    from tickets._ticket_indexes(p_dataset) as i
    where to_regclass(format('tickets.%I', i.name)) is null
  loop
    execute v_index.definition;
  end loop;
end;
$$;


--
-- Name: FUNCTION _index_tickets(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._index_tickets(p_dataset text) IS 'Creates the indexes of a dataset''s tickets that are not there.';


--
-- Name: _insert_version(tickets.file_version[], tickets.file_version, tickets.file_version, boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._insert_version(p_run tickets.file_version[], p_previous tickets.file_version, p_version tickets.file_version, p_is_same boolean) RETURNS TABLE(run tickets.file_version[], previous tickets.file_version)
    LANGUAGE sql IMMUTABLE ROWS 1
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    What a version that comes late changes in the order of a ticket's versions. The ticket's content
    is that of its newest version either way.

    Takes      the run, the unbroken newest versions with that content, oldest first; the version
               right before the run, or NULL; the late version, older than the run's newest; whether
               it has the same content.
    Returns    the run and the version before it, with the late one in its place; no row where it is
               older than the version before the run, and so has no say.

    One with the same content joins the run. One with other content cuts off what is older.
  */
  select
    case
      when p_is_same then
        array(select distinct v from unnest(p_run || p_version) as v order by v)
      else
        array(select v from unnest(p_run) as v where v > p_version order by v)
    end,
    case when p_is_same then p_previous else p_version end
  where p_previous is null or p_version > p_previous;
$$;


--
-- Name: FUNCTION _insert_version(p_run tickets.file_version[], p_previous tickets.file_version, p_version tickets.file_version, p_is_same boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._insert_version(p_run tickets.file_version[], p_previous tickets.file_version, p_version tickets.file_version, p_is_same boolean) IS 'What a version that comes late changes in the order of a ticket''s versions.';


--
-- Name: _instant(text, timestamp without time zone); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._instant(p_text text, p_wall_time timestamp without time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  /*
    What tickets.eat_ts says of a text, for many of them in one statement.

    Takes      the text; what tickets._wall_time says of it, which counts if it comes out as the
               text went in: `24:00:00` does not.
    Returns    the instant, NULL where the text is no timestamp.
    Raises     nothing.

    The caller has `set datestyle = 'ISO, YMD'`. One expression, so that the planner copies it into
    the statement. It names both arguments more than once: give it columns, not expressions. That is
    why casting, which is what takes time, is a function of its own.
  */
  select case
    when p_wall_time::text = p_text then p_wall_time at time zone interval '3 hours'
    else tickets.eat_ts(p_text)
  end;
$$;


--
-- Name: FUNCTION _instant(p_text text, p_wall_time timestamp without time zone); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._instant(p_text text, p_wall_time timestamp without time zone) IS 'What tickets.eat_ts says of a text, for many of them in one statement.';


--
-- Name: _is_due(text, boolean, public.geometry, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._is_due(p_status text, p_verified boolean, p_geom public.geometry, p_fetched_at timestamp with time zone, p_ask_before timestamp with time zone) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    Whether a gazetteer's row is to be asked for: it is not there (all NULL), its last request
    failed, it has no point although it should, or it had no match and was last asked for so long
    ago. What a person has verified is left alone.

    No `set search_path`, so that the planner takes it apart: it is called for every place.
  */
  select p_status is null
    or not p_verified and case p_status
      when 'error' then true
      when 'ok' then p_geom is null
      when 'no_match' then coalesce(p_fetched_at <= p_ask_before, true)
      else false
    end;
$$;


--
-- Name: FUNCTION _is_due(p_status text, p_verified boolean, p_geom public.geometry, p_fetched_at timestamp with time zone, p_ask_before timestamp with time zone); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._is_due(p_status text, p_verified boolean, p_geom public.geometry, p_fetched_at timestamp with time zone, p_ask_before timestamp with time zone) IS 'Whether a gazetteer''s row is to be asked for.';


--
-- Name: _is_open(text, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._is_open(p_bucket text, p_closed_at text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    Whether a ticket is open: what its bucket says, else whether it lacks a closing time.

    Takes      both as the export writes them.
    Returns    never NULL.
    Raises     nothing.
  */
  -- First as the export writes it: anything else is looked at more closely.
  select case p_bucket
    when 'closed' then false
    when 'pending' then true
    else
      case lower(btrim(p_bucket, E' \t\r\n'))
        when 'closed' then false
        when 'pending' then true
        else tickets.eat_ts(p_closed_at) is null
      end
  end;
$$;


--
-- Name: FUNCTION _is_open(p_bucket text, p_closed_at text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._is_open(p_bucket text, p_closed_at text) IS 'Whether a ticket is open: by its bucket, else while it has no closing time.';


--
-- Name: _is_sentinel(tickets.staging); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._is_sentinel(p_row tickets.staging) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Whether a row without a ticket_id is the export's EXPORT STOPPED line: its only value says so,
    in whichever column, since a file may have its columns in any order.
  */
  select count(*) = 1 and bool_and(v.value ~* '^[[:space:]]*export stopped')
  from jsonb_each_text(tickets._whole_row(p_row, '{}')) as v;
$$;


--
-- Name: FUNCTION _is_sentinel(p_row tickets.staging); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._is_sentinel(p_row tickets.staging) IS 'Whether a row without a ticket_id is the export''s EXPORT STOPPED line.';


--
-- Name: _judge_point(public.geometry, public.geometry, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._judge_point(p_point public.geometry, p_near public.geometry, p_country_code text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Whether a geocoder's point is to be believed.

    Takes      the point, the point of its cluster if it has one, and the country of which the
               geocoder says it is, if it does.
    Returns    `ok`; `rejected_far` where the point is outside of the country, or farther than
               tickets.geocoding.max_distance from its cluster.
  */
  select case
    when lower(p_country_code) <> s.country_code then 'rejected_far'
    when not public.st_intersects(p_point, s.area) then 'rejected_far'
    when public.st_distance(p_point::public.geography, p_near::public.geography) > s.max_distance
      then 'rejected_far'
    else 'ok'
  end
  from tickets.geocoding as s;
$$;


--
-- Name: FUNCTION _judge_point(p_point public.geometry, p_near public.geometry, p_country_code text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._judge_point(p_point public.geometry, p_near public.geometry, p_country_code text) IS 'Whether a geocoder''s point is to be believed: ok or rejected_far.';


--
-- Name: _judge_staged(text, text, timestamp with time zone, boolean, boolean, boolean, text[], bigint[]); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._judge_staged(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_is_whole boolean, p_is_snapshot boolean, p_is_first boolean, p_repeated text[], p_last_lines bigint[]) RETURNS TABLE(line bigint, ticket_id text, kind text, is_known boolean, fits boolean, has_repeats boolean)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    AS $$
/*
  What the staged rows of a file are, and which of them bring a ticket that is here already.

  Takes      the file by its key and export time; whether equal text of a row means equal content,
             which is so where the file has the columns of the contract and no others; whether it is
             a full snapshot; whether there are no tickets yet; the tickets that it has more than
             once, and the last line of each.
  Returns    a row for each staged one: its line; its ticket; its kind as tickets._staged_kind, or
             duplicate where a later line has the same ticket; whether its ticket is here, whether
             raw of that was made from the same text, and whether files have repeated it.
             Of a snapshot only those of which there is something to write: without the tickets
             that are unchanged, and that no newer file brought. Of a first file only those that are
             not simply a new ticket.

  Reads only, in a function of its own and by return query: so the planner may share it out among
  parallel workers, and of an unchanged snapshot no row goes further than this.
*/
begin
  return query
  select s.line, s.ticket_id,
    case when s.kind = 'ticket' and d.last_line <> s.line then 'duplicate' else s.kind end,
    t.ticket_id is not null, coalesce(t.text_hash = s.text_hash, false),
    r.ticket_id is not null
  from (
    select s.line, btrim(s.ticket_id, E' \t\r\n') collate "C" as ticket_id,
      tickets._staged_kind(s) as kind,
      case when p_is_whole and not p_is_first then tickets._text_hash(s) end as text_hash
    from tickets.staging as s
    where s.dataset = p_dataset and s.source_key = p_source_key
    -- Keeps each from being computed once for each place that names it. A constant of the right
    -- type, or the planner would take it for a limit and not share this out.
    offset bigint '0'
  ) as s
  -- A join with what is known to be empty is left out of the plan. Which dataset it is must be said
  -- by itself, or the others would be locked, too.
  left join (select k.* from tickets.ticket as k where k.dataset = p_dataset) as t
    on not p_is_first and t.ticket_id = s.ticket_id
  left join tickets.ticket_repeats as r on r.dataset = p_dataset and r.ticket_id = s.ticket_id
  left join unnest(p_repeated, p_last_lines) as d (ticket_id, last_line)
    on p_repeated is not null and d.ticket_id = s.ticket_id
  where r.ticket_id is not null
    or d.last_line <> s.line
    or s.kind <> 'ticket'
    or case
      when p_is_first then false
      when p_is_snapshot then
        t.text_hash is distinct from s.text_hash
        or (t.exported_at, t.source_key) > (p_exported_at, p_source_key)
      else true
    end;
end;
$$;


--
-- Name: FUNCTION _judge_staged(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_is_whole boolean, p_is_snapshot boolean, p_is_first boolean, p_repeated text[], p_last_lines bigint[]); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._judge_staged(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_is_whole boolean, p_is_snapshot boolean, p_is_first boolean, p_repeated text[], p_last_lines bigint[]) IS 'What the staged rows of a file are, and which of them bring a ticket that is here already.';


--
-- Name: _keep_keys(jsonb, text[]); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._keep_keys(p_raw jsonb, p_keys text[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    The part of an object that has the given keys; an empty object where there is none.
  */
  select coalesce(jsonb_object_agg(e.key, e.value), '{}')
  from jsonb_each(p_raw) as e
  where e.key = any (p_keys);
$$;


--
-- Name: FUNCTION _keep_keys(p_raw jsonb, p_keys text[]); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._keep_keys(p_raw jsonb, p_keys text[]) IS 'The part of an object that has the given keys.';


--
-- Name: _located_clusters(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._located_clusters() RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    The clusters that have places with a point. In all others a ticket's point depends on its
    cluster alone, and there is no need to look at its location.
  */
  select array(
    select distinct l.cluster from tickets.geo_locations as l where l.used_geom is not null
  );
$$;


--
-- Name: FUNCTION _located_clusters(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._located_clusters() IS 'The clusters that have places with a point.';


--
-- Name: _lock_dataset(text, boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._lock_dataset(p_dataset text, p_for_session boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Takes the one lock that loading a dataset needs, without waiting, until the end of the transaction
  or of the session. A session that has it may take it again.

  Raises     TK001 where there is no such dataset, TK002 where another session has the lock.
*/
begin
  perform tickets._check_dataset(p_dataset);
  if not tickets._try_lock('load ' || p_dataset, p_for_session) then
    raise exception using
      errcode = 'TK002',
      message = format('another run is loading %s', p_dataset),
      detail = 'One run a dataset at a time; nothing was changed.',
      hint = 'Wait for it to end. Who it is: select * from tickets.held_locks';
  end if;
end;
$$;


--
-- Name: FUNCTION _lock_dataset(p_dataset text, p_for_session boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._lock_dataset(p_dataset text, p_for_session boolean) IS 'Takes a dataset''s loading lock for the transaction or the session; TK002 where another has it.';


--
-- Name: _lock_gazetteers(boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._lock_gazetteers(p_to_change boolean) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Keeps what tickets get from the gazetteers true while both change: whoever places tickets shares
    this lock, whoever changes a gazetteer has it alone, both until the end of the transaction.
    Waits for the others.
  */
  select tickets._lock_row('gazetteers', p_is_shared => not p_to_change);
$$;


--
-- Name: FUNCTION _lock_gazetteers(p_to_change boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._lock_gazetteers(p_to_change boolean) IS 'Lets those who place tickets and those who change a gazetteer take turns.';


--
-- Name: _lock_row(text, boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._lock_row(p_name text, p_is_shared boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Takes a named lock until the end of the transaction, shared or alone, and waits for it.

  Touches    tickets.locks: the lock is that of its row, which nobody can take who may not write
             the table.
*/
begin
  if p_is_shared then
    perform 1 from tickets.locks as l where l.name = p_name for share;
  else
    perform 1 from tickets.locks as l where l.name = p_name for update;
  end if;
  if not found then
    insert into tickets.locks (name) values (p_name) on conflict do nothing;
    perform tickets._lock_row(p_name, p_is_shared);
  end if;
end;
$$;


--
-- Name: FUNCTION _lock_row(p_name text, p_is_shared boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._lock_row(p_name text, p_is_shared boolean) IS 'Takes a named lock until the end of the transaction, shared or alone, and waits for it.';


--
-- Name: _lock_tickets(text, boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._lock_tickets(p_dataset text, p_to_apply boolean) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Keeps what applying a file has looked up true until it has written: whoever writes tickets of a
    dataset by other means shares this lock, whoever applies a file has it alone, both until the
    end of the transaction. Waits for the others.

    No lock on the table, because that would wait for VACUUM, too.
  */
  select tickets._lock_row('tickets ' || p_dataset, p_is_shared => not p_to_apply);
$$;


--
-- Name: FUNCTION _lock_tickets(p_dataset text, p_to_apply boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._lock_tickets(p_dataset text, p_to_apply boolean) IS 'Lets those who apply a file and those who write tickets by other means take turns.';


--
-- Name: _map_header(text, text[]); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._map_header(p_source_key text, p_header text[]) RETURNS TABLE(copy_columns text[], extra_columns text[], missing_columns text[])
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Where the columns of a file go: those of the contract to the staging columns of their name, in
  whatever order they come, the others to the spare ones.

  Returns    one row: copy_columns, the staging column of each column of the file; extra_columns,
             names that the contract does not know, in order; missing_columns, names of the contract
             that the file lacks.
  Raises     TK010 no ticket_id; TK011 a name twice; TK012 a column without a name; TK013 more
             unknown columns than there is room for.
*/
declare
  -- The spare columns of tickets.staging.
  v_room constant int := 32;
  v_contract constant text[] := tickets._contract_columns();
  v_hint constant text := tickets._retry_hint(p_source_key);
  v_twice text;
begin
  if not 'ticket_id' = any (p_header) then
    raise exception using
      errcode = 'TK010',
      message = 'line 1: the header has no column ticket_id',
      detail = 'It has: ' || left(array_to_string(p_header, ', '), 500),
      hint = v_hint;
  end if;

  select h.name into v_twice
  from unnest(p_header) with ordinality as h (name, n)
  group by h.name having count(*) > 1
  order by min(h.n) limit 1;
  if v_twice = '' or '' = any (p_header) then
    raise exception using
      errcode = 'TK012',
      message = format('line 1: column %s of the header has no name', array_position(p_header, '')),
      detail = 'A value under no name cannot be kept.',
      hint = v_hint;
  elsif v_twice is not null then
    raise exception using
      errcode = 'TK011',
      message = format('line 1: the header has the column %s twice', left(v_twice, 100)),
      detail = 'Which of the two counts cannot be told.',
      hint = v_hint;
  end if;

  extra_columns := array(
    select h.name from unnest(p_header) with ordinality as h (name, n)
    where h.name <> all (v_contract) order by h.n
  );
  if cardinality(extra_columns) > v_room then
    raise exception using
      errcode = 'TK013',
      message = format('line 1: the header has %s unknown columns', cardinality(extra_columns)),
      detail = format('There is room for %s. The first are: %s', v_room,
                      left(array_to_string(extra_columns[1:5], ', '), 500)),
      hint = v_hint;
  end if;
  missing_columns := array(
    select c.name from unnest(v_contract) with ordinality as c (name, n)
    where c.name <> all (p_header) order by c.n
  );
  copy_columns := array(
    select coalesce(c.name, 'extra_' || array_position(extra_columns, h.name))
    from unnest(p_header) with ordinality as h (name, n)
    left join unnest(v_contract) as c (name) on c.name = h.name
    order by h.n
  );
  return next;
end;
$$;


--
-- Name: FUNCTION _map_header(p_source_key text, p_header text[]); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._map_header(p_source_key text, p_header text[]) IS 'Where the columns of a file go in staging; refuses headers that cannot be loaded.';


--
-- Name: _minutes(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._minutes(p_text text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$
  /*
    A duration of the export (`mttr`): digits with an optional fraction, in minutes.

    Returns    whole minutes, half rounded up, or NULL for anything else (`n/a`, `1e3`, `-5`) and
               for what no integer can hold.
    Raises     nothing.
  */
  -- First as the export writes it. Nested, because only CASE promises not to cast before it has
  -- looked.
  select case
    when p_text ~ '^[0-9]{1,9}$' then p_text::integer
    when btrim(p_text, E' \t\r\n') ~ '^[0-9]{1,40}([.][0-9]{1,40})?$' then
      case
        when round(btrim(p_text, E' \t\r\n')::numeric) <= 2147483647
        then round(btrim(p_text, E' \t\r\n')::numeric)::integer
      end
  end;
$_$;


--
-- Name: FUNCTION _minutes(p_text text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._minutes(p_text text) IS 'A duration of the export in whole minutes, half rounded up; NULL if it is no number.';


--
-- Name: _missing_in_row(tickets.staging); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._missing_in_row(p_row tickets.staging) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    The columns of the contract that the statement which staged a row by hand did not name, in the
    order of the contract.

    One expression, so that the planner copies it into the statement.
  */
  select array_remove(
    array[
      case when p_row.ticket_id = tickets._not_in_file() then 'ticket_id' end,
      case when p_row.normalized_status = tickets._not_in_file() then 'normalized_status' end,
      case when p_row.raw_status = tickets._not_in_file() then 'raw_status' end,
      case when p_row.bucket = tickets._not_in_file() then 'bucket' end,
      case when p_row.is_actionable = tickets._not_in_file() then 'is_actionable' end,
      case when p_row.cluster = tickets._not_in_file() then 'cluster' end,
      case when p_row.region = tickets._not_in_file() then 'region' end,
      case when p_row.location_name = tickets._not_in_file() then 'location_name' end,
      case when p_row.assigned_team = tickets._not_in_file() then 'assigned_team' end,
      case when p_row.owner = tickets._not_in_file() then 'owner' end,
      case when p_row.sla_status = tickets._not_in_file() then 'sla_status' end,
      case when p_row.mttr = tickets._not_in_file() then 'mttr' end,
      case when p_row.created_at_service = tickets._not_in_file() then 'created_at_service' end,
      case when p_row.scheduled_at = tickets._not_in_file() then 'scheduled_at' end,
      case when p_row.closed_at = tickets._not_in_file() then 'closed_at' end,
      case when p_row.first_seen_at = tickets._not_in_file() then 'first_seen_at' end,
      case when p_row.last_seen_at = tickets._not_in_file() then 'last_seen_at' end,
      case when p_row.source_created_at = tickets._not_in_file() then 'source_created_at' end,
      case when p_row.source_updated_at = tickets._not_in_file() then 'source_updated_at' end,
      case when p_row.latitude = tickets._not_in_file() then 'latitude' end,
      case when p_row.longitude = tickets._not_in_file() then 'longitude' end,
      case when p_row.service_type = tickets._not_in_file() then 'service_type' end,
      case when p_row.is_alarm = tickets._not_in_file() then 'is_alarm' end,
      case when p_row.is_auto_created = tickets._not_in_file() then 'is_auto_created' end,
      case when p_row.is_auto_closed = tickets._not_in_file() then 'is_auto_closed' end,
      case when p_row.week_start = tickets._not_in_file() then 'week_start' end,
      case when p_row.week_end = tickets._not_in_file() then 'week_end' end,
      case when p_row.source_s3_bucket = tickets._not_in_file() then 'source_s3_bucket' end,
      case when p_row.source_s3_key = tickets._not_in_file() then 'source_s3_key' end,
      case when p_row.source_snapshot_id = tickets._not_in_file() then 'source_snapshot_id' end,
      case when p_row.department = tickets._not_in_file() then 'department' end,
      case when p_row.source_type = tickets._not_in_file() then 'source_type' end
    ],
    null
  );
$$;


--
-- Name: FUNCTION _missing_in_row(p_row tickets.staging); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._missing_in_row(p_row tickets.staging) IS 'The columns of the contract that the statement which staged a row by hand did not name.';


--
-- Name: _no_such_place(text, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._no_such_place(p_cluster text, p_place text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Raises     TK052, always: neither a gazetteer nor a ticket has this cluster, or place in it.
*/
begin
  raise exception using
    errcode = 'TK052',
    message = case
      when p_place is null then format('there is no cluster %L', p_cluster)
      else format('there is no place %L in cluster %L', p_place, p_cluster)
    end,
    detail = 'Names count to the letter; a place is one that tickets.clean_place() has cleaned.',
    hint = 'Look it up: select cluster, place from tickets.geo_review';
end;
$$;


--
-- Name: FUNCTION _no_such_place(p_cluster text, p_place text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._no_such_place(p_cluster text, p_place text) IS 'Raises TK052: there is no such cluster, or no such place in it.';


--
-- Name: _not_in_file(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._not_in_file() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    What stands in a column of the contract that a file staged by hand does not have: the default
    of those staging columns. It tells a column that is not there from one that is empty.
  */
  select '<column not in file>';
$$;


--
-- Name: FUNCTION _not_in_file(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._not_in_file() IS 'The default of staging columns: tells a column that a file lacks from one that is empty.';


--
-- Name: _other_keys(tickets.staging, text[], boolean, jsonb); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._other_keys(p_row tickets.staging, p_extra_columns text[], p_is_partial boolean, p_known_raw jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    What raw of a ticket has beside the values of the contract's columns in a staged row: those of
    columns unknown to the contract, and, of the contract's columns that the file does not have,
    what raw said before.

    Takes      the row; the names behind the spare columns; whether columns are missing, by hand in
               each row others; raw as it is, NULL for a new ticket.
  */
  select case
      when p_extra_columns = '{}' then '{}' else tickets._extra_values(p_row, p_extra_columns)
    end
    || case
      when p_is_partial then tickets._keep_keys(p_known_raw, tickets._missing_in_row(p_row))
      else '{}'
    end;
$$;


--
-- Name: FUNCTION _other_keys(p_row tickets.staging, p_extra_columns text[], p_is_partial boolean, p_known_raw jsonb); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._other_keys(p_row tickets.staging, p_extra_columns text[], p_is_partial boolean, p_known_raw jsonb) IS 'What raw of a ticket has beside the values of the contract''s columns in a staged row.';


--
-- Name: _place_codes(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._place_codes() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    All network codes as one regular expression, for tickets._clean_place. Where there is no code,
    it is one that matches nothing.
  */
  select coalesce(
    '(?<![A-Za-z0-9])(?:'
      || string_agg(c.pattern, '|' order by length(c.pattern) desc, c.code)
      || ')',
    '(?!)'
  )
  from tickets.place_codes as c;
$$;


--
-- Name: FUNCTION _place_codes(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._place_codes() IS 'All network codes as one regular expression.';


--
-- Name: _place_tickets(text[]); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._place_tickets(p_clusters text[] DEFAULT NULL::text[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    SET enable_nestloop TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
/*
  Puts the tickets of some clusters, or of all, where the gazetteers say now.

  Returns    how many tickets moved; no other is written.
  Touches    the points of tickets.ticket, but for those with coordinates of their own. The caller
             has the lock.
*/
declare
  -- As the index has them.
  v_names constant text[] := array(select tickets._cluster_key(c) from unnest(p_clusters) as c);
  v_clusters text[];
  v_location_names text[];
  v_moved bigint;
begin
  select array_agg(k.cluster), array_agg(k.location_name) into v_clusters, v_location_names
  from (
    select distinct t.cluster, t.location_name
    from tickets.ticket as t
    where tickets._cluster_key(t.cluster) = any (v_names)
      or (p_clusters is null and t.cluster is not null)
  ) as k;

  perform tickets._spare_triggers(true);
  with places as materialized (
    select p.*, p.geom::public.geography as geog, public.st_y(p.geom) as latitude,
      public.st_x(p.geom) as longitude
    from tickets._places_of(v_clusters, v_location_names) as p
  )
  update tickets.ticket as t
  set geom = p.geom,
    geog = p.geog,
    latitude = p.latitude,
    longitude = p.longitude,
    geo_source = coalesce(p.source, 'none')
  from places as p
  where (tickets._cluster_key(t.cluster) = any (v_names) or p_clusters is null)
    and t.cluster = p.cluster
    and coalesce(t.location_name, '') = coalesce(p.location_name, '')
    and t.geo_source <> 'feed'
    -- As text, because the = of a geometry is not in the search_path.
    and (t.geom::text, t.geo_source)
      is distinct from (p.geom::text, coalesce(p.source, 'none'));
  get diagnostics v_moved = row_count;
  perform tickets._spare_triggers(false);
  return v_moved;
end;
$$;


--
-- Name: FUNCTION _place_tickets(p_clusters text[]); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._place_tickets(p_clusters text[]) IS 'Puts the tickets of some clusters, or of all, where the gazetteers say; returns how many moved.';


--
-- Name: _places_of(text[], text[]); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._places_of(p_clusters text[], p_location_names text[]) RETURNS TABLE(cluster text, location_name text, geom public.geometry, source text)
    LANGUAGE sql STABLE
    AS $$
  /*
    Where the gazetteers put tickets: at the point of their place, else of their cluster.

    Takes      distinct pairs of what tickets say, as two arrays; a location may be NULL.
    Returns    a row a pair: the point, and location or cluster; both NULL where there is none.

    The one definition of it, for one ticket as for all. No `set search_path`, so that the planner
    takes it apart and joins pairs by the thousand.
  */
  select k.cluster, k.location_name, coalesce(l.used_geom, c.geom),
    case
      when l.used_geom is not null then 'location'
      when c.geom is not null then 'cluster'
    end
  from unnest(p_clusters, p_location_names) as k (cluster, location_name)
  left join tickets.geo_locations as l
    -- Cleaning costs, and most clusters have no place with a point.
    on l.place = case
        when k.cluster in (select n.cluster from tickets.geo_locations as n)
        then tickets._clean_place(k.location_name, (select tickets._place_codes()))
      end
    and l.cluster = k.cluster
    and l.used_geom is not null
  left join tickets._cluster_points() as c on c.cluster = k.cluster;
$$;


--
-- Name: FUNCTION _places_of(p_clusters text[], p_location_names text[]); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._places_of(p_clusters text[], p_location_names text[]) IS 'Where the gazetteers put tickets of these clusters and locations.';


--
-- Name: _query_text(text, text, text, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._query_text(p_place text, p_cluster text, p_name text, p_country text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    What a geocoder is asked: place, cluster and country, as one would write them on a letter.

    Takes      a cleaned place, or NULL to ask for the cluster itself; the cluster as tickets name
               it, and the name behind it if that is an alias; the country.

    An alias means nothing to a geocoder: the name behind it stands in its place, and where the
    place begins with it (`QOA Garden Estate`) it is left out there. No `set search_path`, so that
    the planner takes it apart: it is called for every place.
  */
  select concat_ws(', ',
    case
      when p_name is not null and starts_with(upper(p_place), upper(p_cluster) || ' ')
      then substr(p_place, length(p_cluster) + 2)
      else p_place
    end,
    btrim(coalesce(p_name, p_cluster)),
    p_country
  );
$$;


--
-- Name: FUNCTION _query_text(p_place text, p_cluster text, p_name text, p_country text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._query_text(p_place text, p_cluster text, p_name text, p_country text) IS 'What a geocoder is asked for a place, or for a cluster.';


--
-- Name: _raw(text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._raw(p_ticket_id text, p_normalized_status text, p_raw_status text, p_bucket text, p_is_actionable text, p_cluster text, p_region text, p_location_name text, p_assigned_team text, p_owner text, p_sla_status text, p_mttr text, p_created_at_service text, p_scheduled_at text, p_closed_at text, p_first_seen_at text, p_last_seen_at text, p_source_created_at text, p_source_updated_at text, p_latitude text, p_longitude text, p_service_type text, p_is_alarm text, p_is_auto_created text, p_is_auto_closed text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    The `raw` of tickets.ticket, without columns that the contract does not know.

    Takes      what tickets._clean_row returns, in its order. Columns, not expressions: each is
               named twice, and the planner copies this into the statement.
    Returns    an object with a key for each value that is not NULL.
  */
  -- In the order in which jsonb keeps its keys, which spares their sorting.
  select jsonb_object(array_remove(
    array[
      case when p_mttr is not null then 'mttr' end, p_mttr,
      case when p_owner is not null then 'owner' end, p_owner,
      case when p_bucket is not null then 'bucket' end, p_bucket,
      case when p_region is not null then 'region' end, p_region,
      case when p_cluster is not null then 'cluster' end, p_cluster,
      case when p_is_alarm is not null then 'is_alarm' end, p_is_alarm,
      case when p_latitude is not null then 'latitude' end, p_latitude,
      case when p_closed_at is not null then 'closed_at' end, p_closed_at,
      case when p_longitude is not null then 'longitude' end, p_longitude,
      case when p_ticket_id is not null then 'ticket_id' end, p_ticket_id,
      case when p_raw_status is not null then 'raw_status' end, p_raw_status,
      case when p_sla_status is not null then 'sla_status' end, p_sla_status,
      case when p_last_seen_at is not null then 'last_seen_at' end, p_last_seen_at,
      case when p_scheduled_at is not null then 'scheduled_at' end, p_scheduled_at,
      case when p_service_type is not null then 'service_type' end, p_service_type,
      case when p_assigned_team is not null then 'assigned_team' end, p_assigned_team,
      case when p_first_seen_at is not null then 'first_seen_at' end, p_first_seen_at,
      case when p_is_actionable is not null then 'is_actionable' end, p_is_actionable,
      case when p_location_name is not null then 'location_name' end, p_location_name,
      case when p_is_auto_closed is not null then 'is_auto_closed' end, p_is_auto_closed,
      case when p_is_auto_created is not null then 'is_auto_created' end, p_is_auto_created,
      case when p_normalized_status is not null then 'normalized_status' end, p_normalized_status,
      case when p_source_created_at is not null then 'source_created_at' end, p_source_created_at,
      case when p_source_updated_at is not null then 'source_updated_at' end, p_source_updated_at,
      case when p_created_at_service is not null then 'created_at_service' end, p_created_at_service
    ],
    null
  ));
$$;


--
-- Name: FUNCTION _raw(p_ticket_id text, p_normalized_status text, p_raw_status text, p_bucket text, p_is_actionable text, p_cluster text, p_region text, p_location_name text, p_assigned_team text, p_owner text, p_sla_status text, p_mttr text, p_created_at_service text, p_scheduled_at text, p_closed_at text, p_first_seen_at text, p_last_seen_at text, p_source_created_at text, p_source_updated_at text, p_latitude text, p_longitude text, p_service_type text, p_is_alarm text, p_is_auto_created text, p_is_auto_closed text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._raw(p_ticket_id text, p_normalized_status text, p_raw_status text, p_bucket text, p_is_actionable text, p_cluster text, p_region text, p_location_name text, p_assigned_team text, p_owner text, p_sla_status text, p_mttr text, p_created_at_service text, p_scheduled_at text, p_closed_at text, p_first_seen_at text, p_last_seen_at text, p_source_created_at text, p_source_updated_at text, p_latitude text, p_longitude text, p_service_type text, p_is_alarm text, p_is_auto_created text, p_is_auto_closed text) IS 'The raw of a ticket from its cleaned values, without columns unknown to the contract.';


--
-- Name: _record_file(tickets.applied_file, timestamp with time zone, text, bigint, text[], text[]); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._record_file(p_result tickets.applied_file, p_exported_at timestamp with time zone, p_etag text DEFAULT ''::text, p_bytes bigint DEFAULT NULL::bigint, p_extra_columns text[] DEFAULT '{}'::text[], p_missing_columns text[] DEFAULT '{}'::text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO '<+03>-03'
    AS $$
/*
  Writes an applied file into the ledger. What an earlier load of the same file counted is kept.

  Touches    tickets.ingest_files.
*/
begin
  insert into tickets.ingest_files as f (
    dataset, source_key, etag, bytes, exported_at, status,
    staged, dropped_alarm, dropped_sentinel, rejected, duplicates, stale,
    inserted, updated, unchanged, closures,
    extra_columns, missing_columns, export_stopped, applied_at
  )
  values (
    p_result.dataset, p_result.source_key, p_etag, p_bytes, p_exported_at, 'applied',
    p_result.staged, p_result.dropped_alarm, p_result.dropped_sentinel, p_result.rejected,
    p_result.duplicates, p_result.stale, p_result.inserted, p_result.updated, p_result.unchanged,
    p_result.closures, p_extra_columns, p_missing_columns, p_result.dropped_sentinel > 0,
    tickets._now()
  )
  on conflict (source_key, etag, dataset) do update set
    bytes = excluded.bytes,
    exported_at = excluded.exported_at,
    status = excluded.status,
    staged = excluded.staged,
    dropped_alarm = excluded.dropped_alarm,
    dropped_sentinel = excluded.dropped_sentinel,
    rejected = excluded.rejected,
    duplicates = excluded.duplicates,
    stale = excluded.stale,
    inserted = excluded.inserted,
    updated = excluded.updated,
    unchanged = excluded.unchanged,
    closures = excluded.closures,
    error_code = null,
    error = null,
    error_line = null,
    extra_columns = excluded.extra_columns,
    missing_columns = excluded.missing_columns,
    export_stopped = excluded.export_stopped,
    applied_at = excluded.applied_at,
    earlier_loads = f.earlier_loads || case
      when f.status = 'applied' then jsonb_build_object(
        'applied_at', f.applied_at,
        'staged', f.staged,
        'dropped_alarm', f.dropped_alarm,
        'dropped_sentinel', f.dropped_sentinel,
        'rejected', f.rejected,
        'duplicates', f.duplicates,
        'stale', f.stale,
        'inserted', f.inserted,
        'updated', f.updated,
        'unchanged', f.unchanged,
        'closures', f.closures
      )
      -- To try it and to leave it out was no load.
      else '[]'
    end,
    is_replaced = false,
    archived_at = null;
  perform tickets._replace_file(p_result.dataset, p_result.source_key, p_etag);
end;
$$;


--
-- Name: FUNCTION _record_file(p_result tickets.applied_file, p_exported_at timestamp with time zone, p_etag text, p_bytes bigint, p_extra_columns text[], p_missing_columns text[]); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._record_file(p_result tickets.applied_file, p_exported_at timestamp with time zone, p_etag text, p_bytes bigint, p_extra_columns text[], p_missing_columns text[]) IS 'Writes an applied file into the ledger.';


--
-- Name: _refuse_change(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Keeps a table append-only, as a trigger before each statement that would change or remove rows,
  whoever runs it.

  Raises     TK039 always.
*/
begin
  raise exception using
    errcode = 'TK039',
    message = format('%I.%I is append-only', tg_table_schema, tg_table_name),
    detail = format('%s is refused, also to the owner; nothing was changed.', tg_op),
    hint = 'History stays as it was observed. Where the law wants rows erased, the owner can: '
      || format('alter table %I.%I disable trigger %I', tg_table_schema, tg_table_name, tg_name)
      || ', and enable it again in the same transaction';
end;
$$;


--
-- Name: FUNCTION _refuse_change(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._refuse_change() IS 'Trigger: keeps a table append-only by refusing every statement that changes or removes rows.';


--
-- Name: _release_lock(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._release_lock(p_name text) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Gives back a named lock that this session has taken for itself. Returns whether it had it.
  */
  select coalesce(
    (select pg_advisory_unlock(l.key) from tickets.locks as l where l.name = p_name), false
  );
$$;


--
-- Name: FUNCTION _release_lock(p_name text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._release_lock(p_name text) IS 'Gives back a named lock of this session; returns whether it had it.';


--
-- Name: _replace_file(text, text, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._replace_file(p_dataset text, p_source_key text, p_etag text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Marks what the ledger says of other contents of an object as replaced by this one: if one of
    them is put back, it is a new file.
  */
  update tickets.ingest_files as f set is_replaced = true
  where f.dataset = p_dataset and f.source_key = p_source_key and f.etag <> p_etag
    and not f.is_replaced;
$$;


--
-- Name: FUNCTION _replace_file(p_dataset text, p_source_key text, p_etag text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._replace_file(p_dataset text, p_source_key text, p_etag text) IS 'Marks what the ledger says of other contents of an object as replaced.';


--
-- Name: _retry_hint(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._retry_hint(p_source_key text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    What to do about a refused file.
  */
  select case
    when p_source_key like 'manual:%' then
      'Mend the file and load it again. If it was staged by hand, truncate its staging table '
      || 'first.'
    else
      'Mend the export and put it under the same key; it is then tried again by itself. '
      || 'To try this object again: fleettickets retry ' || quote_literal(p_source_key)
      || ' --apply'
  end;
$$;


--
-- Name: FUNCTION _retry_hint(p_source_key text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._retry_hint(p_source_key text) IS 'What to do about a refused file.';


--
-- Name: _rows_on_lines(text, text, boolean, bigint[], boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._rows_on_lines(p_dataset text, p_source_key text, p_is_partial boolean, p_lines bigint[], p_all_but boolean) RETURNS TABLE(staged tickets.staging, known_raw jsonb)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  /*
    Staged rows of a file, with what raw of their tickets says where that matters.

    Takes      the file by its key; whether columns of the contract are missing, which is when it
               matters; the lines of the rows, or, with p_all_but, of those that are left out.

    No `set search_path`, so that the planner takes it apart.
  */
  select s, t.raw
  from tickets.staging as s
  -- Which dataset it is must be said by itself, or the others would be locked, too.
  left join (select k.* from tickets.ticket as k where k.dataset = p_dataset) as t
    on p_is_partial and t.ticket_id = btrim(s.ticket_id, E' \t\r\n') collate "C"
  where s.dataset = p_dataset and s.source_key = p_source_key
    and case when p_all_but then s.line <> all (p_lines) else s.line = any (p_lines) end;
$$;


--
-- Name: FUNCTION _rows_on_lines(p_dataset text, p_source_key text, p_is_partial boolean, p_lines bigint[], p_all_but boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._rows_on_lines(p_dataset text, p_source_key text, p_is_partial boolean, p_lines bigint[], p_all_but boolean) IS 'Staged rows of a file by their lines, with what raw of their tickets says where that matters.';


--
-- Name: _set_counted_day(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._set_counted_day(p_dataset text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Remembers that today's rows of tickets.daily_snapshot are right as of now.
  */
  insert into tickets.counted_days as c (dataset, day, breached_before)
  select n.dataset, n.day, n.breached_before
  from tickets._day_now(p_dataset) as n
  on conflict (dataset) do update set
    day = excluded.day,
    breached_before = excluded.breached_before;
$$;


--
-- Name: FUNCTION _set_counted_day(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._set_counted_day(p_dataset text) IS 'Remembers that today''s snapshot of a dataset is right as of now.';


--
-- Name: _shrink_staging(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._shrink_staging(p_dataset text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
/*
  Gives back the room of deleted rows where nothing is staged and nobody is staging. For a
  transaction that commits at once, see tickets._empty_staging.

  Raises     nothing of its own: where the table is in use, it waits for another time.
*/
declare
  v_staging constant text := format('tickets.%I', p_dataset || '_staging');
begin
  -- With one snapshot for the whole transaction, rows that come before the lock could not be seen.
  if pg_relation_size(v_staging::regclass) = 0
    or current_setting('transaction_isolation') <> 'read committed'
  then
    return;
  end if;
  execute format('lock table %s in access exclusive mode nowait', v_staging);
  if not exists (select from tickets.staging as s where s.dataset = p_dataset) then
    execute format('truncate table %s', v_staging);
  end if;
exception when lock_not_available then
  null;
end;
$$;


--
-- Name: FUNCTION _shrink_staging(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._shrink_staging(p_dataset text) IS 'Gives back the room of deleted rows in staging, where nothing is staged.';


--
-- Name: _spare_triggers(boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._spare_triggers(p_are_spared boolean) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Has the triggers of tickets.ticket leave out what this transaction writes, or look at it again:
    for statements that do the same for all of their tickets.

    The setting names the transaction, so that it cannot outlive it, wherever it was set.
  */
  select set_config(
    'tickets.triggers_are_spared_in',
    case when p_are_spared then pg_current_xact_id()::text else '' end,
    true
  );
$$;


--
-- Name: FUNCTION _spare_triggers(p_are_spared boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._spare_triggers(p_are_spared boolean) IS 'Has the triggers of tickets.ticket leave out what this transaction writes, or look at it again.';


--
-- Name: _staged_files(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._staged_files(p_dataset text) RETURNS TABLE(source_key text, exported_at timestamp with time zone, first_line bigint, staged bigint, extra_columns text[], missing_columns text[])
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
/*
  The files that are staged by hand, as their rows tell of them.

  Returns    a row a file: its export time, the time in its name or else now; the staging line of
             its first row; how many rows; the spare columns it uses; the contract columns that it
             does not have.
  Raises     TK024 rows carry a key that does not begin with manual:.
*/
begin
  perform tickets._check_manual_keys(p_dataset);
  return query
  select f.source_key, coalesce(tickets._exported_at(f.source_key), tickets._now()), f.first_line,
    f.staged,
    case
      when f.spare_used > 0 then array(select 'extra_' || n from generate_series(1, 32) as n)
      else '{}'
    end,
    f.missing_columns
  from (
    select s.source_key, min(s.line) as first_line, count(*) as staged,
      max(num_nonnulls(
        s.extra_1, s.extra_2, s.extra_3, s.extra_4, s.extra_5, s.extra_6, s.extra_7, s.extra_8,
        s.extra_9, s.extra_10, s.extra_11, s.extra_12, s.extra_13, s.extra_14, s.extra_15,
        s.extra_16, s.extra_17, s.extra_18, s.extra_19, s.extra_20, s.extra_21, s.extra_22,
        s.extra_23, s.extra_24, s.extra_25, s.extra_26, s.extra_27, s.extra_28, s.extra_29,
        s.extra_30, s.extra_31, s.extra_32
      )) as spare_used,
      (
        select coalesce(array_agg(distinct m.name), '{}')
        from (
          select distinct tickets._missing_in_row(r) as missing_columns
          from tickets.staging as r
          where r.dataset = p_dataset and r.source_key = s.source_key
        ) as r
        cross join lateral unnest(r.missing_columns) as m (name)
      ) as missing_columns
    from tickets.staging as s
    where s.dataset = p_dataset
    group by s.source_key
  ) as f;
end;
$$;


--
-- Name: FUNCTION _staged_files(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._staged_files(p_dataset text) IS 'The files that are staged by hand, as their rows tell of them.';


--
-- Name: _staged_kind(tickets.staging); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._staged_kind(p_row tickets.staging) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  /*
    What a staged row is.

    Returns    ticket, alarm, sentinel, or the reason for which it is rejected.

    One expression, so that the planner copies it into the statement. Cheap questions first, of
    which most rows need no more.
  */
  select case
    when p_row.is_alarm <> 'false'
      and lower(btrim(p_row.is_alarm, E' \t\r\n')) in ('true', 't', '1', 'yes') then 'alarm'
    when p_row.ticket_id like '% %' and p_row.ticket_id ~* '^[[:space:]]*export stopped'
      then 'sentinel'
    when tickets._unless_blank(p_row.ticket_id) is null then
      case when tickets._is_sentinel(p_row) then 'sentinel' else 'ticket_id is blank' end
    when p_row.ticket_id like '%ticket_id%'
      and btrim(p_row.ticket_id, E' \t\r\n') = 'ticket_id' then 'header repeated'
    when p_row.ticket_id like any (array[E'%\n%', E'%\r%'])
      and btrim(p_row.ticket_id, E' \t\r\n') like any (array[E'%\n%', E'%\r%'])
      then 'line break within ticket_id'
    when octet_length(p_row.ticket_id) > 2000 then 'ticket_id is longer than 2000 bytes'
    else 'ticket'
  end;
$$;


--
-- Name: FUNCTION _staged_kind(p_row tickets.staging); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._staged_kind(p_row tickets.staging) IS 'What a staged row is: ticket, alarm, sentinel, or the reason for which it is rejected.';


--
-- Name: _staged_tickets(text, text, text[], boolean, boolean, bigint[], boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._staged_tickets(p_dataset text, p_source_key text, p_extra_columns text[], p_is_partial boolean, p_is_careful boolean, p_lines bigint[], p_all_but boolean) RETURNS TABLE(ticket_id text, raw jsonb, text_hash bigint, normalized_status text, raw_status text, bucket text, is_actionable boolean, is_open boolean, cluster text, region text, location_name text, assigned_team text, owner text, sla_status text, mttr integer, created_at_service timestamp with time zone, scheduled_at timestamp with time zone, closed_at timestamp with time zone, first_seen_at timestamp with time zone, last_seen_at timestamp with time zone, source_created_at timestamp with time zone, source_updated_at timestamp with time zone, geom public.geometry, geog public.geography, latitude double precision, longitude double precision, geo_source text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    SET jit TO 'off'
    SET "DateStyle" TO 'ISO, YMD'
    AS $$
/*
  Tickets that a staged file brings, as they are to be.

  Takes      as tickets._write_tickets; as tickets._rows_on_lines, which rows these are on.
  Returns    a row for each of those.
  Raises     as tickets._wall_time.

  Reads only, in a function of its own and by return query: so the planner may share it out among
  parallel workers. Next to the writing, this is what takes time. A lateral function can be shared
  out if the planner merges it, as it does tickets._clean_row and tickets._derived, and a sub-select
  with `offset 0` once its 0 is a constant of the right type.
*/
declare
  c_is_whole constant boolean := not p_is_partial and p_extra_columns = '{}';
  c_located constant text[] := tickets._located_clusters();
  v_clusters text[];
  v_location_names text[];
  v_geoms public.geometry[];
  v_sources text[];
begin
  -- Clusters, and of those that have places each distinct pair with a location.
  select array_agg(p.cluster), array_agg(p.location_name), array_agg(p.geom), array_agg(p.source)
  into v_clusters, v_location_names, v_geoms, v_sources
  from (
    select c.cluster, '' as location_name, c.geom, 'cluster' as source
    from tickets._cluster_points() as c
    where c.cluster <> all (c_located)
    union all
    select p.cluster, coalesce(p.location_name, ''), p.geom, p.source
    from (
      select array_agg(k.cluster) as clusters, array_agg(k.location_name) as location_names
      from (
        select distinct c.cluster, c.location_name
        from tickets._rows_on_lines(p_dataset, p_source_key, p_is_partial, p_lines, p_all_but) as r
        cross join lateral tickets._clean_row(r.staged, p_is_partial, r.known_raw) as c
        where c_located <> '{}' and c.cluster = any (c_located)
      ) as k
    ) as k
    cross join lateral tickets._places_of(k.clusters, k.location_names) as p
    where p.source is not null
  ) as p;

  return query
  select t.ticket_id, t.raw, t.text_hash, t.normalized_status, t.raw_status, t.bucket,
    t.is_actionable, t.is_open, t.cluster, t.region, t.location_name, t.assigned_team, t.owner,
    t.sla_status, t.mttr, t.created_at_service, t.scheduled_at, t.closed_at, t.first_seen_at,
    t.last_seen_at, t.source_created_at, t.source_updated_at,
    coalesce(t.feed_geom, p.geom), coalesce(t.feed_geom::public.geography, p.geog),
    coalesce(public.st_y(t.feed_geom), p.latitude), coalesce(public.st_x(t.feed_geom), p.longitude),
    case when t.feed_geom is not null then 'feed' else coalesce(p.source, 'none') end
  from (
    select c.ticket_id,
      tickets._raw(
        c.ticket_id, c.normalized_status, c.raw_status, c.bucket, c.is_actionable, c.cluster,
        c.region, c.location_name, c.assigned_team, c.owner, c.sla_status, c.mttr,
        c.created_at_service, c.scheduled_at, c.closed_at, c.first_seen_at, c.last_seen_at,
        c.source_created_at, c.source_updated_at, c.latitude, c.longitude, c.service_type,
        c.is_alarm, c.is_auto_created, c.is_auto_closed
      )
      -- What raw said before stays as it was, a number as a number.
      || c.others as raw,
      c.text_hash, d.*
    from (
      select c.*,
        tickets._other_keys(r.staged, p_extra_columns, p_is_partial, r.known_raw) as others,
        case when c_is_whole then tickets._text_hash(r.staged) end as text_hash,
        tickets._wall_time(c.created_at_service, p_is_careful) as created_at_service_cast,
        tickets._wall_time(c.scheduled_at, p_is_careful) as scheduled_at_cast,
        tickets._wall_time(c.closed_at, p_is_careful) as closed_at_cast,
        tickets._wall_time(c.first_seen_at, p_is_careful) as first_seen_at_cast,
        tickets._wall_time(c.last_seen_at, p_is_careful) as last_seen_at_cast,
        tickets._wall_time(c.source_created_at, p_is_careful) as source_created_at_cast,
        tickets._wall_time(c.source_updated_at, p_is_careful) as source_updated_at_cast
      from tickets._rows_on_lines(p_dataset, p_source_key, p_is_partial, p_lines, p_all_but) as r
      cross join lateral tickets._clean_row(r.staged, p_is_partial, r.known_raw) as c
      -- Keeps a value from being cleaned and cast once for each place that names it.
      offset bigint '0'
    ) as c
    cross join lateral tickets._derived(
      c.normalized_status, c.raw_status, c.bucket, c.is_actionable, c.cluster, c.region,
      c.location_name, c.assigned_team, c.owner, c.sla_status, c.mttr, c.created_at_service,
      c.scheduled_at, c.closed_at, c.first_seen_at, c.last_seen_at, c.source_created_at,
      c.source_updated_at, c.latitude, c.longitude, c.created_at_service_cast,
      c.scheduled_at_cast, c.closed_at_cast, c.first_seen_at_cast, c.last_seen_at_cast,
      c.source_created_at_cast, c.source_updated_at_cast
    ) as d
    offset bigint '0' -- keeps a point from being made once for each place that names it
  ) as t
  left join (
    select u.*, u.geom::public.geography as geog, public.st_y(u.geom) as latitude,
      public.st_x(u.geom) as longitude
    from unnest(v_clusters, v_location_names, v_geoms, v_sources)
      as u (cluster, location_name, geom, source)
    offset bigint '0' -- keeps these from being computed once for each ticket
  ) as p
    on p.cluster = t.cluster
    and p.location_name
      = case when t.cluster = any (c_located) then coalesce(t.location_name, '') else '' end;
end;
$$;


--
-- Name: FUNCTION _staged_tickets(p_dataset text, p_source_key text, p_extra_columns text[], p_is_partial boolean, p_is_careful boolean, p_lines bigint[], p_all_but boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._staged_tickets(p_dataset text, p_source_key text, p_extra_columns text[], p_is_partial boolean, p_is_careful boolean, p_lines bigint[], p_all_but boolean) IS 'Tickets that a staged file brings, as they are to be.';


--
-- Name: _staged_value(text, boolean, jsonb, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._staged_value(p_text text, p_is_partial boolean, p_known_raw jsonb, p_key text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    A value of a staged row to the letter, or NULL where it is nothing but blanks. Where its column
    is not in the file, what raw said before.

    Takes      the text; whether columns of the contract are missing; raw as it is, NULL for a new
               ticket; the name of the column.
  */
  select case
    when p_is_partial and p_text = tickets._not_in_file() then p_known_raw ->> p_key
    else tickets._unless_blank(p_text)
  end;
$$;


--
-- Name: FUNCTION _staged_value(p_text text, p_is_partial boolean, p_known_raw jsonb, p_key text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._staged_value(p_text text, p_is_partial boolean, p_known_raw jsonb, p_key text) IS 'A value of a staged row to the letter; NULL where it is blank, as before where it is not in the file.';


--
-- Name: _text_hash(tickets.staging); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._text_hash(p_row tickets.staging) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    A hash of what a staged row says: the same for the same text in the columns that go to raw.

    One expression, so that the planner copies it into the statement.
  */
  select hash_record_extended(
    row(
      p_row.normalized_status, p_row.raw_status, p_row.bucket, p_row.is_actionable, p_row.cluster,
      p_row.region, p_row.location_name, p_row.assigned_team, p_row.owner, p_row.sla_status,
      p_row.mttr, p_row.created_at_service, p_row.scheduled_at, p_row.closed_at,
      p_row.first_seen_at, p_row.last_seen_at, p_row.source_created_at, p_row.source_updated_at,
      p_row.latitude, p_row.longitude, p_row.service_type, p_row.is_alarm, p_row.is_auto_created,
      p_row.is_auto_closed
    ),
    0
  );
$$;


--
-- Name: FUNCTION _text_hash(p_row tickets.staging); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._text_hash(p_row tickets.staging) IS 'A hash of what a staged row says.';


--
-- Name: _ticket_indexes(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._ticket_indexes(p_dataset text) RETURNS TABLE(name text, definition text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    The indexes of a dataset's partition of tickets.ticket, beside its key: their names, without the
    schema, and the statements that create them.

    They belong to the partitions and not to tickets.ticket, because those of an empty partition are
    dropped while its first file is loaded; see tickets._drop_ticket_indexes.
  */
  select format('%s_%s', p_dataset, i.name),
    format('create index %I on tickets.%I using %s', p_dataset || '_' || i.name, p_dataset, i.on)
  from (values
    -- The map. Partial, because GiST would hold an entry for each ticket without a point.
    ('geom_idx', 'gist (geom) where geom is not null'),
    -- Distances of whatever tickets, and the nearest that can be worked on.
    ('geog_idx', 'gist (geog) where geog is not null'),
    ('open_geog_idx', 'gist (geog) where is_open and is_actionable and geog is not null'),
    -- A gazetteer that changes looks for its tickets. This is tickets._cluster_key, written out:
    -- the planner takes that apart only for those who may call it.
    ('cluster_idx', 'btree ((case when length(cluster) > 255 '
      'then left(cluster, 222) || '' '' || md5(cluster) else cluster end))'),
    -- The dashboards and the day's snapshot.
    ('open_idx', 'btree (ticket_id) where is_open'),
    ('opened_at_idx', 'btree (coalesce(created_at_service, first_seen_at))'),
    ('closed_at_idx', 'btree (closed_at) where closed_at is not null')
  ) as i (name, "on");
$$;


--
-- Name: FUNCTION _ticket_indexes(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._ticket_indexes(p_dataset text) IS 'The indexes of a dataset''s partition of tickets.ticket, and the statements that create them.';


--
-- Name: _try_key(bigint, boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._try_key(p_key bigint, p_for_session boolean) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Takes the advisory lock with a key without waiting, until the end of the session or of the
    transaction. Returns whether it was taken.
  */
  select case
    when p_for_session then pg_try_advisory_lock(p_key)
    else pg_try_advisory_xact_lock(p_key)
  end;
$$;


--
-- Name: FUNCTION _try_key(p_key bigint, p_for_session boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._try_key(p_key bigint, p_for_session boolean) IS 'Takes the advisory lock with a key for the session or the transaction, without waiting.';


--
-- Name: _try_lock(text, boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._try_lock(p_name text, p_for_session boolean) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Takes a named lock without waiting, until the end of the transaction or of the session. A session
  that has it may take it again.

  Returns    whether the lock was taken; false where another session of a loader has it.
  Touches    tickets.locks.

  The lock is an advisory lock. Everybody with CONNECT can take any advisory lock, and pg_locks
  shows the keys. So the key stands in a table, and where nobody who may load holds it, a new one
  replaces it: an outsider who has taken it holds up nobody. The row is locked meanwhile, so that no
  two sessions use different keys.
*/
declare
  v_key bigint;
begin
  select l.key into v_key from tickets.locks as l where l.name = p_name for share skip locked;
  if not found then
    -- Of a dataset that was added, or being replaced at this moment.
    insert into tickets.locks (name) values (p_name) on conflict do nothing;
    select l.key into v_key from tickets.locks as l where l.name = p_name for share skip locked;
    if not found then
      return false;
    end if;
  end if;
  if tickets._try_key(v_key, p_for_session) then
    return true;
  end if;

  if exists (
      select 1
      from tickets.held_locks as h
      join pg_stat_activity as a on a.pid = h.pid
      cross join aclexplode((
        select coalesce(p.proacl, acldefault('f', p.proowner))
        from pg_proc as p
        where p.oid = 'tickets.start_run(text)'::regprocedure
      )) as x
      where h.name = p_name and x.grantee <> 0 and pg_has_role(a.usesysid, x.grantee, 'member')
    )
    or not exists (
      select 1 from tickets.locks as l where l.name = p_name for update skip locked
    )
  then
    return false;
  end if;
  update tickets.locks as l set key = default where l.name = p_name returning l.key into v_key;
  return tickets._try_key(v_key, p_for_session);
end;
$$;


--
-- Name: FUNCTION _try_lock(p_name text, p_for_session boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._try_lock(p_name text, p_for_session boolean) IS 'Takes a named lock of loaders for the transaction or the session, without waiting.';


--
-- Name: _unless_blank(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._unless_blank(p_text text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  /*
    A value of the export to the letter, or NULL where it is nothing but blanks.

    What begins with a character beyond the blanks is not blank: mostly that is all to be looked at.
  */
  select case
    when p_text collate "C" >= '!' or btrim(p_text, E' \t\r\n') <> '' then p_text
  end;
$$;


--
-- Name: FUNCTION _unless_blank(p_text text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._unless_blank(p_text text) IS 'A value of the export to the letter; NULL where it is nothing but blanks.';


--
-- Name: _wall_time(text, boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._wall_time(p_text text, p_is_careful boolean) RETURNS timestamp without time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  /*
    A text in the shape of most timestamps of the export, cast without a closer look, for many of
    them in one statement: the first half of tickets._instant.

    Takes      the text; whether all texts are to be looked at closely, which is not done here.
    Returns    what PostgreSQL takes it for, which need not be what it says: `24:00:00` is the next
               day. NULL for any other shape, and with care.
    Raises     22007, 22008 and others of their class: the text has the shape of a timestamp and is
               none. Then ask for all once more with care.

    The shape is of a year that tickets.eat_ts takes.

    The caller has `set datestyle = 'ISO, YMD'`. One expression, so that the planner copies it into
    the statement.
  */
  select case
    when not p_is_careful and p_text like '20__-__-__ __:__:__' then p_text::timestamp
  end;
$$;


--
-- Name: FUNCTION _wall_time(p_text text, p_is_careful boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._wall_time(p_text text, p_is_careful boolean) IS 'A text in the shape of most timestamps of the export, cast without a closer look.';


--
-- Name: _whole_row(tickets.staging, text[]); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._whole_row(p_row tickets.staging, p_extra_columns text[]) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  /*
    Everything that a staged row says, to the letter, for a person to look at: all columns of the
    file under the names of its header, blank values absent.
  */
  select coalesce(
    jsonb_object_agg(
      case
        when c.key ~ '^extra_[0-9]+$' then coalesce(p_extra_columns[substr(c.key, 7)::int], c.key)
        else c.key
      end,
      c.value
    ),
    '{}'
  )
  from jsonb_each_text(to_jsonb(p_row) - array['dataset', 'source_key', 'line']) as c
  where btrim(c.value, E' \t\r\n') <> '' and c.value <> tickets._not_in_file();
$_$;


--
-- Name: FUNCTION _whole_row(p_row tickets.staging, p_extra_columns text[]); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._whole_row(p_row tickets.staging, p_extra_columns text[]) IS 'Everything that a staged row says, by the names of its file''s header; blank values absent.';


--
-- Name: _write_tickets(text, text, timestamp with time zone, bigint, text[], boolean, integer, boolean, bigint, text[], bigint[], boolean, boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets._write_tickets(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_staged bigint, p_extra_columns text[], p_is_partial boolean, p_dropped_lines integer, p_is_snapshot boolean, p_first_line bigint, p_repeated text[], p_last_lines bigint[], p_is_first boolean, p_is_careful boolean) RETURNS tickets.applied_file
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    SET random_page_cost TO '1.1'
    SET jit TO 'off'
    AS $$
/*
  Writes the tickets of a staged file, with their places, the order of their versions, their closure
  and status events, and its rejected rows: one statement, so that each question is asked once. Its
  parts see the tables as they were before it, which is how an event knows both sides.

  Takes      as tickets._apply_file; whether columns of the contract are missing; the tickets that
             stand on more than one line and the last line of each; whether there are no tickets
             yet; as tickets._wall_time, whether to cast with care.
  Returns    the counts of the file.
  Raises     22007, 22008 and others of their class unless p_is_careful: a text has the shape of a
             timestamp and is none.
  Touches    tickets, rejected rows, repeats, events, and today's snapshot, which is up to date.
             The caller has the locks and spares the triggers.
*/
declare
  c_version constant tickets.file_version := (p_exported_at, p_source_key);
  -- Whether equal text of a row means equal content: not where other columns have a say.
  c_is_whole constant boolean := not p_is_partial and p_extra_columns = '{}';
  c_today constant tickets.counted_days := (
    select c from tickets.counted_days as c where c.dataset = p_dataset
  );
  c_now constant timestamptz := tickets._now();
  c_begins_at constant timestamptz := c_today.day::timestamp at time zone interval '3 hours';
  c_ends_at constant timestamptz := c_begins_at + interval '24 hours';
  -- All else is a row that is rejected.
  c_kinds constant text[] := array['ticket', 'duplicate', 'alarm', 'sentinel'];
  v_judged bigint;
  v_alarms bigint;
  v_sentinels bigint;
  v_duplicates bigint;
  v_rejected_lines bigint[];
  v_reasons text[];
  -- Lines of new tickets. Of a first file, where all others are: of what is none.
  v_lines bigint[];
  -- Of tickets that are here: those whose text fits, the lines of all others, and those that files
  -- have repeated.
  v_fitting_ids text[];
  v_unlike_lines bigint[];
  v_repeated_ids text[];
  -- Tickets that files have repeated, and that were deleted since.
  v_gone text[];
  v_fence tickets.snapshot_fence;
  v_fence_version tickets.file_version;
  v_result tickets.applied_file;
begin
  -- In arrays, of which the planner knows how long they are.
  select count(*),
    count(*) filter (where j.kind = 'alarm'),
    count(*) filter (where j.kind = 'sentinel'),
    count(*) filter (where j.kind = 'duplicate'),
    array_agg(j.line) filter (where j.kind <> all (c_kinds)),
    array_agg(j.kind) filter (where j.kind <> all (c_kinds)),
    coalesce(
      array_agg(j.line) filter (where (j.kind = 'ticket' and not j.is_known) <> p_is_first), '{}'
    ),
    array_agg(j.ticket_id) filter (where j.kind = 'ticket' and j.is_known and j.fits),
    coalesce(
      array_agg(j.line) filter (where j.kind = 'ticket' and j.is_known and not j.fits), '{}'
    ),
    array_agg(j.ticket_id) filter (where j.kind = 'ticket' and j.is_known and j.has_repeats),
    array_agg(j.ticket_id) filter (where j.has_repeats and not j.is_known)
  into v_judged, v_alarms, v_sentinels, v_duplicates, v_rejected_lines, v_reasons, v_lines,
    v_fitting_ids, v_unlike_lines, v_repeated_ids, v_gone
  from tickets._judge_staged(
    p_dataset, p_source_key, p_exported_at, c_is_whole, p_is_snapshot, p_is_first, p_repeated,
    p_last_lines
  ) as j;

  -- The newest snapshot, which repeated its tickets all at once. A newer change file need not ask:
  -- it only matters to versions that are older than it.
  select f.* into v_fence
  from tickets.snapshot_fence as f
  where f.dataset = p_dataset
    and (p_is_snapshot or (f.exported_at, f.source_key) > (p_exported_at, p_source_key));
  v_fence_version := (v_fence.exported_at, v_fence.source_key);

  with rejected as (
    insert into tickets.rejected_rows (dataset, source_key, line, reason, raw)
    -- By hand, the first row stands on line 2, below the header.
    select p_dataset, p_source_key, j.line - coalesce(p_first_line - 2, 0), j.reason,
      tickets._whole_row(s, p_extra_columns)
    from unnest(v_rejected_lines, v_reasons) as j (line, reason)
    join tickets.staging as s
      on s.dataset = p_dataset and s.source_key = p_source_key and s.line = j.line
  ),
  staged as materialized (
    -- As they are to be, those whose text does not fit.
    select n.*
    from tickets._staged_tickets(
      p_dataset, p_source_key, p_extra_columns, p_is_partial, p_is_careful,
      p_lines => v_unlike_lines, p_all_but => false
    ) as n
    where v_unlike_lines <> '{}'
  ),
  looked_up as (
    -- What is known of the tickets that are here. What a snapshot repeated counts with the other
    -- repeats, or, where the ticket has changed since, as what came before.
    select l.ticket_id, l.place, l.exported_at, l.source_key, l.previous, l.repeats, l.has_repeats,
      l.is_open, l.is_actionable, l.normalized_status, l.raw_status, l.cluster, l.assigned_team,
      l.owner, l.opened_at, l.closed_at, l.is_same,
      -- NULL for a ticket that no file has brought: any file is newer.
      case
        when cardinality(l.repeats) > 0 then l.repeats[cardinality(l.repeats)]
        when l.source_key is not null then (l.exported_at, l.source_key)::tickets.file_version
      end as newest
    from (
      select j.ticket_id, t.ctid as place, j.has_repeats, t.exported_at, t.source_key,
        case
          when j.fence < (t.exported_at, t.source_key)::tickets.file_version
            and (
              t.previous_source_key is null
              or j.fence > (t.previous_exported_at, t.previous_source_key)::tickets.file_version
            )
            then j.fence
          else (t.previous_exported_at, t.previous_source_key)::tickets.file_version
        end as previous,
        case
          when t.source_key is not null
            and j.fence > coalesce(
              r.repeats[cardinality(r.repeats)],
              (t.exported_at, t.source_key)::tickets.file_version
            )
            then r.repeats || j.fence
          else r.repeats
        end as repeats,
        t.is_open, t.is_actionable, t.normalized_status, t.raw_status, t.cluster, t.assigned_team,
        t.owner, coalesce(t.created_at_service, t.first_seen_at) as opened_at, t.closed_at,
        j.raw is null or (j.raw = t.raw and t.source_key is not null) as is_same
      from (
        select j.*, j.ticket_id = any (v_repeated_ids) as has_repeats,
          case when j.ticket_id = any (v_fence.ticket_ids) then v_fence_version end as fence
        from (
          select k.ticket_id, null::jsonb as raw from unnest(v_fitting_ids) as k (ticket_id)
          union all
          select n.ticket_id, n.raw from staged as n
        ) as j
        offset 0
      ) as j
      join tickets.ticket as t on t.dataset = p_dataset and t.ticket_id = j.ticket_id
      left join tickets.ticket_repeats as r
        on j.has_repeats and r.dataset = p_dataset and r.ticket_id = j.ticket_id
      offset 0 -- keeps repeats from being put together once for each place that names them
    ) as l
  ),
  compared as materialized (
    select l.*, not l.is_late and not l.is_same as is_updated
    from (
      select l.*, coalesce(l.newest > c_version, false) as is_late from looked_up as l
    ) as l
  ),
  added as (
    insert into tickets.ticket as t (
      dataset, ticket_id, raw, text_hash, source_key, exported_at, ingested_at, normalized_status,
      raw_status, bucket, is_actionable, is_open, cluster, region, location_name, assigned_team,
      owner, sla_status, mttr, created_at_service, scheduled_at, closed_at, first_seen_at,
      last_seen_at, source_created_at, source_updated_at, geom, geog, latitude, longitude,
      geo_source
    )
    select p_dataset, n.ticket_id, n.raw, n.text_hash, p_source_key, p_exported_at, c_now,
      n.normalized_status, n.raw_status, n.bucket, n.is_actionable, n.is_open, n.cluster, n.region,
      n.location_name, n.assigned_team, n.owner, n.sla_status, n.mttr, n.created_at_service,
      n.scheduled_at, n.closed_at, n.first_seen_at, n.last_seen_at, n.source_created_at,
      n.source_updated_at, n.geom, n.geog, n.latitude, n.longitude, n.geo_source
    from tickets._staged_tickets(
      p_dataset, p_source_key, p_extra_columns, p_is_partial, p_is_careful,
      p_lines => v_lines, p_all_but => p_is_first
    ) as n
    where p_is_first or v_lines <> '{}'
    returning t.ticket_id, t.is_open, t.is_actionable, t.normalized_status, t.raw_status,
      t.cluster, t.assigned_team, t.owner, t.mttr,
      coalesce(t.created_at_service, t.first_seen_at) as opened_at, t.closed_at
  ),
  changed as (
    update tickets.ticket as t set
      raw = n.raw,
      text_hash = n.text_hash,
      source_key = p_source_key,
      exported_at = p_exported_at,
      ingested_at = c_now,
      previous_source_key = (n.replaced).source_key,
      previous_exported_at = (n.replaced).exported_at,
      normalized_status = n.normalized_status,
      raw_status = n.raw_status,
      bucket = n.bucket,
      is_actionable = n.is_actionable,
      is_open = n.is_open,
      cluster = n.cluster,
      region = n.region,
      location_name = n.location_name,
      assigned_team = n.assigned_team,
      owner = n.owner,
      sla_status = n.sla_status,
      mttr = n.mttr,
      created_at_service = n.created_at_service,
      scheduled_at = n.scheduled_at,
      closed_at = n.closed_at,
      first_seen_at = n.first_seen_at,
      last_seen_at = n.last_seen_at,
      source_created_at = n.source_created_at,
      source_updated_at = n.source_updated_at,
      geom = n.geom,
      geog = n.geog,
      latitude = n.latitude,
      longitude = n.longitude,
      geo_source = n.geo_source
    from (
      select n.*, c.place,
        -- A file that replaces one of the same name replaces its version, too.
        case
          when c.newest < c_version then c.newest
          when cardinality(c.repeats) > 1 then c.repeats[cardinality(c.repeats) - 1]
          when cardinality(c.repeats) = 1 then
            (c.exported_at, c.source_key)::tickets.file_version
          else c.previous
        end as replaced
      from compared as c
      join staged as n on n.ticket_id = c.ticket_id
      where c.is_updated
      offset 0 -- keeps what it replaced from being told once for each place that names it
    ) as n
    where t.dataset = p_dataset and t.ctid = n.place and t.ticket_id = n.ticket_id
    returning t.ticket_id, t.is_open, t.is_actionable, t.normalized_status, t.raw_status,
      t.cluster, t.assigned_team, t.owner, t.mttr,
      coalesce(t.created_at_service, t.first_seen_at) as opened_at, t.closed_at
  ),
  written as not materialized (
    select * from added
    union all
    select * from changed
  ),
  come_late as materialized (
    select c.ticket_id, c.is_same, v.run, v.previous
    from compared as c
    cross join lateral tickets._insert_version(
      (c.exported_at, c.source_key)::tickets.file_version || c.repeats,
      c.previous, c_version, c.is_same
    ) as v
    where c.is_late
  ),
  moved as (
    update tickets.ticket as t set
      exported_at = (l.run[1]).exported_at,
      source_key = (l.run[1]).source_key,
      previous_exported_at = (l.previous).exported_at,
      previous_source_key = (l.previous).source_key
    from come_late as l
    where t.dataset = p_dataset and t.ticket_id = l.ticket_id
      and (t.exported_at, t.source_key, t.previous_exported_at, t.previous_source_key)
        is distinct from (
          (l.run[1]).exported_at, (l.run[1]).source_key,
          (l.previous).exported_at, (l.previous).source_key
        )
  ),
  repeated as (
    insert into tickets.ticket_repeats as r (dataset, ticket_id, repeats)
    select p_dataset, c.ticket_id, c.repeats || c_version
    from compared as c
    where c.is_same and c.newest < c_version and not p_is_snapshot
    union all
    select p_dataset, l.ticket_id, l.run[2:]
    from come_late as l
    where cardinality(l.run) > 1
    on conflict (dataset, ticket_id) do update set repeats = excluded.repeats
      where r.repeats <> excluded.repeats
  ),
  no_more_repeated as (
    delete from tickets.ticket_repeats as r
    using (
      select unnest(v_gone) as ticket_id
      union all
      select c.ticket_id from compared as c
      where c.has_repeats
        and (c.is_updated or (p_is_snapshot and not c.is_late))
      union all
      select l.ticket_id from come_late as l where cardinality(l.run) = 1
    ) as gone
    where r.dataset = p_dataset and r.ticket_id = gone.ticket_id
  ),
  status_changes as (
    insert into tickets.status_events (
      dataset, ticket_id, from_open, to_open, from_normalized_status, to_normalized_status,
      from_status, to_status, from_team, to_team, from_owner, to_owner, exported_at, source_key
    )
    select p_dataset, w.ticket_id, c.is_open, w.is_open, c.normalized_status, w.normalized_status,
      c.raw_status, w.raw_status, c.assigned_team, w.assigned_team, c.owner, w.owner,
      p_exported_at, p_source_key
    from changed as w
    join compared as c on c.ticket_id = w.ticket_id
    where (c.is_open, c.normalized_status, c.raw_status, c.assigned_team, c.owner)
        is distinct from
          (w.is_open, w.normalized_status, w.raw_status, w.assigned_team, w.owner)
    order by w.ticket_id
  ),
  closed as (
    insert into tickets.closure_events (
      dataset, ticket_id, closed_at, mttr, cluster, team, owner, source_key
    )
    select p_dataset, w.ticket_id, w.closed_at, w.mttr, w.cluster, w.assigned_team, w.owner,
      p_source_key
    from written as w
    where not w.is_open
    union all
    -- A version that comes late may show a closure that a reopening has covered up.
    select p_dataset, n.ticket_id, n.closed_at, n.mttr, n.cluster, n.assigned_team, n.owner,
      p_source_key
    from compared as c
    join staged as n on n.ticket_id = c.ticket_id
    where c.is_late and not c.is_same and not n.is_open
    order by 2
    on conflict (ticket_id, closed_at, dataset) do nothing
    returning 1
  ),
  tallied as (
    -- The day by what it was counted by, without these tickets as they were, with them as they are.
    insert into tickets.daily_snapshot as s (
      dataset, day, cluster, open, actionable, breached, created, closed
    )
    select p_dataset, c_today.day, tickets._cluster_key(w.cluster),
      coalesce(sum(w.n) filter (where w.is_open), 0),
      coalesce(sum(w.n) filter (where w.is_open and w.is_actionable), 0),
      coalesce(sum(w.n) filter (where w.is_open and w.opened_at < c_today.breached_before), 0),
      coalesce(sum(w.n) filter (where w.opened_at >= c_begins_at and w.opened_at < c_ends_at), 0),
      coalesce(sum(w.n) filter (where w.closed_at >= c_begins_at and w.closed_at < c_ends_at), 0)
    from (
      select -1 as n, c.cluster, c.is_open, c.is_actionable, c.opened_at, c.closed_at
      from compared as c
      where c.is_updated
      union all
      select 1, w.cluster, w.is_open, w.is_actionable, w.opened_at, w.closed_at
      from written as w
    ) as w
    group by tickets._cluster_key(w.cluster)
    on conflict (day, cluster, dataset) do update set
      open = s.open + excluded.open,
      actionable = s.actionable + excluded.actionable,
      breached = s.breached + excluded.breached,
      created = s.created + excluded.created,
      closed = s.closed + excluded.closed,
      captured_at = excluded.captured_at
    where (excluded.open, excluded.actionable, excluded.breached, excluded.created, excluded.closed)
      <> (0, 0, 0, 0, 0)
  )
  select p_dataset, p_source_key, p_staged + p_dropped_lines, v_alarms,
    v_sentinels + p_dropped_lines, coalesce(cardinality(v_reasons), 0), v_duplicates, c.stale,
    (select count(*) from added), c.updated,
    -- And those of a snapshot that were not even looked up.
    c.known - c.stale - c.updated + case when p_is_first then 0 else p_staged - v_judged end,
    (select count(*) from closed)
  into v_result
  from (
    select count(*) as known, count(*) filter (where c.is_late) as stale,
      count(*) filter (where c.is_updated) as updated
    from compared as c
  ) as c;
  return v_result;
end;
$$;


--
-- Name: FUNCTION _write_tickets(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_staged bigint, p_extra_columns text[], p_is_partial boolean, p_dropped_lines integer, p_is_snapshot boolean, p_first_line bigint, p_repeated text[], p_last_lines bigint[], p_is_first boolean, p_is_careful boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets._write_tickets(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_staged bigint, p_extra_columns text[], p_is_partial boolean, p_dropped_lines integer, p_is_snapshot boolean, p_first_line bigint, p_repeated text[], p_last_lines bigint[], p_is_first boolean, p_is_careful boolean) IS 'Writes the tickets of a staged file with their history and its rejected rows, and counts them.';


--
-- Name: applied_migrations(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.applied_migrations() RETURNS TABLE(hash text, filename text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    The migrations that this database has seen, in their order: for a program that wants to know
    whether the schema is its own.
  */
  select m.hash, m.filename
  from graphile_migrate.migrations as m
  order by m.filename;
$$;


--
-- Name: FUNCTION applied_migrations(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.applied_migrations() IS 'The migrations that this database has seen, in their order.';


--
-- Name: apply_file(text, text, text, bigint, text[], bigint, integer, boolean); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.apply_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint, p_header text[], p_rows bigint, p_dropped_lines integer DEFAULT 0, p_is_snapshot boolean DEFAULT false) RETURNS tickets.applied_file
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
/*
  Applies the file that this transaction opened with tickets.open_file and copied into staging:
  tickets, history, ledger and watermark together.

  Takes      the object's key, its ETag without quotes and its size; the names of its header; how
             many rows the loader sent to COPY and how many bare EXPORT STOPPED lines it dropped on
             the way; whether it is a full snapshot. A key beginning manual: is a local file.
  Returns    the counts of the file.
  Raises     TK001, TK002; TK010 to TK013 the header; TK020 another number of rows in staging than
             sent; TK021, TK022 as tickets._check_rejected.
*/
declare
  v_exported_at constant timestamptz :=
    coalesce(tickets._exported_at(p_source_key), tickets._now());
  v_columns record;
  v_staged bigint;
  v_result tickets.applied_file;
begin
  perform tickets._lock_dataset(p_dataset);
  select m.* into v_columns from tickets._map_header(p_source_key, p_header) as m;

  v_result := tickets._apply_file(
    p_dataset => p_dataset,
    p_source_key => p_source_key,
    p_exported_at => v_exported_at,
    p_staged => p_rows,
    p_extra_columns => v_columns.extra_columns,
    p_missing_columns => v_columns.missing_columns,
    p_dropped_lines => p_dropped_lines,
    p_is_snapshot => p_is_snapshot
  );
  v_staged := tickets._empty_staging(p_dataset, array[p_source_key]);
  if v_staged <> p_rows then
    raise exception using
      errcode = 'TK020',
      message = format('%s rows were sent to COPY, %s are staged', p_rows, v_staged),
      detail = 'COPY has split or joined rows of this file; nothing of it was applied.',
      hint = tickets._retry_hint(p_source_key);
  end if;
  perform tickets._record_file(
    p_result => v_result,
    p_exported_at => v_exported_at,
    p_etag => p_etag,
    p_bytes => p_bytes,
    p_extra_columns => v_columns.extra_columns,
    p_missing_columns => v_columns.missing_columns
  );
  perform tickets._advance_watermark(
    p_dataset, p_source_key, case when p_is_snapshot then p_etag end
  );
  perform set_config('tickets.object_key', '', true);
  return v_result;
end;
$$;


--
-- Name: FUNCTION apply_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint, p_header text[], p_rows bigint, p_dropped_lines integer, p_is_snapshot boolean); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.apply_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint, p_header text[], p_rows bigint, p_dropped_lines integer, p_is_snapshot boolean) IS 'Applies the file that this transaction opened and copied into staging; returns its counts.';


--
-- Name: apply_staged(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.apply_staged(p_dataset text DEFAULT NULL::text) RETURNS SETOF tickets.applied_file
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Applies whatever is staged, for a DBA who has staged a file by hand:

    \copy tickets.inc_staging (<the file's columns>) from 'f.csv' with (format csv, header match)
    select * from tickets.apply_staged();

  Each \copy is a file of its own, named manual:<time of staging>, newer than all that was exported
  before. `set tickets.source_key = 'manual:2026-06-15T06-20-00'` before the \copy gives it another
  name and, with a time in it, another place in time. Columns that the \copy does not name keep
  their last value in raw.

  Takes      a dataset, or NULL for all.
  Returns    a row a file, in the order applied, where staged = dropped_alarm + dropped_sentinel +
             rejected + duplicates + stale + inserted + updated + unchanged. No row where nothing is
             staged.
  Raises     TK001 unknown dataset, TK002 another run is loading it, TK021 too many rows rejected,
             TK022 a line break within a ticket_id, TK023 rows of a file were staged meanwhile,
             TK024 rows carry a key that does not begin with manual:.
             Nothing is applied then, staging stays as it is.
  Touches    tickets, history, ledger; empties what it applied. Never the watermark.
*/
declare
  v_dataset text;
  v_source_keys text[];
  v_rows bigint;
  v_file record;
  v_result tickets.applied_file;
begin
  foreach v_dataset in array tickets._datasets(p_dataset) loop
    perform tickets._lock_dataset(v_dataset);
    v_source_keys := '{}';
    v_rows := 0;
    for v_file in
      select * from tickets._staged_files(v_dataset) as f
      order by f.exported_at, f.source_key collate "C"
    loop
      v_result := tickets._apply_file(
        p_dataset => v_dataset,
        p_source_key => v_file.source_key,
        p_exported_at => v_file.exported_at,
        p_staged => v_file.staged,
        p_extra_columns => v_file.extra_columns,
        p_missing_columns => v_file.missing_columns,
        p_first_line => v_file.first_line
      );
      perform tickets._record_file(
        p_result => v_result,
        p_exported_at => v_file.exported_at,
        p_missing_columns => v_file.missing_columns
      );
      v_source_keys := v_source_keys || v_file.source_key;
      v_rows := v_rows + v_result.staged;
      return next v_result;
    end loop;
    if tickets._empty_staging(v_dataset, v_source_keys) <> v_rows then
      raise exception using
        errcode = 'TK023',
        message = format('rows of %s were staged while their file was applied', v_dataset),
        detail = 'They carry the name of a file that was staged before; nothing was applied, '
          || 'all of them are still staged.',
        hint = 'When they are all there: select * from tickets.apply_staged()';
    end if;
  end loop;
end;
$$;


--
-- Name: FUNCTION apply_staged(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.apply_staged(p_dataset text) IS 'Applies whatever is staged, of one dataset or all, and returns a row of counts a file.';


--
-- Name: capture_history(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.capture_history(p_dataset text DEFAULT NULL::text) RETURNS TABLE(dataset text, closures integer, clusters integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Records the closures that are not recorded yet, whoever wrote them, and today's snapshot. Applying
  a file does this for what the file changed; run by itself it catches up with tickets that were
  changed by other means. Running it again writes nothing but that today's snapshot was looked at,
  which is how tickets.freshness knows of runs that had nothing to load.

  Takes      a dataset, or NULL for all.
  Returns    a row a dataset: closures newly recorded, clusters whose snapshot changed.
  Raises     TK001 unknown dataset, TK002 another run is loading it.
*/
#variable_conflict use_column
declare
  v_dataset text;
begin
  foreach v_dataset in array tickets._datasets(p_dataset) loop
    perform tickets._lock_dataset(v_dataset);
    dataset := v_dataset;
    select c.closures, c.clusters into closures, clusters from tickets._catch_up(v_dataset) as c;
    update tickets.daily_snapshot as s
    set captured_at = tickets._now()
    where s.dataset = v_dataset
      and s.day = (tickets._now() at time zone interval '3 hours')::date
      and s.captured_at <> tickets._now();
    return next;
  end loop;
end;
$$;


--
-- Name: FUNCTION capture_history(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.capture_history(p_dataset text) IS 'Records closures not recorded yet and today''s snapshot, of one dataset or all.';


--
-- Name: clean_place(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.clean_place(p_location_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    The place that a ticket's location names, which is how tickets.geo_locations knows it: without
    the network codes of tickets.place_codes, the rest joined by single blanks.

      NW_KILIMANI_FDT12 Argwings Kodhek Rd   KILIMANI Argwings Kodhek Rd
      ADR_MNT_Rongai SDUS                    Rongai

    Returns    the place, or NULL where nothing is left.
    Raises     nothing.
  */
  select tickets._clean_place(p_location_name, tickets._place_codes());
$$;


--
-- Name: FUNCTION clean_place(p_location_name text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.clean_place(p_location_name text) IS 'The place that a ticket''s location names, without network codes; NULL where nothing is left.';


--
-- Name: clusters_to_geocode(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.clusters_to_geocode() RETURNS TABLE(cluster text, query text, tickets integer)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    The clusters of tickets, of all datasets, that a geocoder is to be asked for: those without a
    point, neither of their own nor through their alias.

    Returns    cluster, what to ask, how many tickets it has. The clusters with most tickets come
               first, those last whose last request failed, so that they hold up nobody.

    Verified rows are never asked for, those without a match only after
    tickets.geocoding.ask_again_after.
  */
  with rules as materialized (
    select s.country, tickets._now() - s.ask_again_after as ask_before from tickets.geocoding as s
  )
  select c.cluster, tickets._query_text(null, c.cluster, a.cluster, r.country), c.tickets
  from (
    select t.cluster collate "C" as cluster, count(*)::integer as tickets
    from tickets.ticket as t
    where t.cluster is not null
    group by 1
  ) as c
  cross join rules as r
  left join tickets.cluster_aliases as a on a.alias = c.cluster
  left join tickets.geo_clusters as g on g.cluster = c.cluster
  left join tickets._cluster_points() as p on p.cluster = c.cluster
  where p.geom is null
    and tickets._is_due(g.status, g.verified, g.geom, g.fetched_at, r.ask_before)
  order by g.status is not distinct from 'error', c.tickets desc, c.cluster;
$$;


--
-- Name: FUNCTION clusters_to_geocode(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.clusters_to_geocode() IS 'The clusters of tickets that have no point and that a geocoder is to be asked for.';


--
-- Name: correct_place(text, double precision, double precision, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.correct_place(p_cluster text, p_lat double precision, p_lng double precision, p_place text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  A person says where a place is; the cluster itself where no place is named. It counts as verified.
  Serves also those that no geocoder was asked for yet, as long as a ticket names them. What was
  found of a cluster's places is judged anew, by its distance from where the cluster is now.

  Takes      degrees (WGS 84).
  Raises     TK052 there is no such place, TK053 coordinates that are none, or outside of
             tickets.geocoding.area.
  Touches    tickets.geo_clusters or tickets.geo_locations, and by their triggers the tickets.
*/
declare
  v_point public.geometry;
begin
  if p_lat between -90 and 90 and p_lng between -180 and 180 then
    v_point := public.st_setsrid(public.st_makepoint(p_lng, p_lat), 4326);
  end if;
  if v_point is null
    or not (select public.st_intersects(v_point, s.area) from tickets.geocoding as s)
  then
    raise exception using
      errcode = 'TK053',
      message = format('latitude %s, longitude %s cannot be right',
        coalesce(p_lat::text, 'NULL'), coalesce(p_lng::text, 'NULL')),
      detail = (
        select format('%s lies between latitude %s and %s, longitude %s and %s.', s.country,
          public.st_ymin(s.area), public.st_ymax(s.area),
          public.st_xmin(s.area), public.st_xmax(s.area))
        from tickets.geocoding as s
      ),
      hint = 'Latitude comes first. Should the area be too small: update tickets.geocoding';
  end if;

  if p_place is null then
    insert into tickets.geo_clusters as g (cluster, geom, provider, status, fetched_at, verified)
    select p_cluster, v_point, 'manual', 'ok', tickets._now(), true
    where exists (select from tickets.geo_clusters as k where k.cluster = p_cluster)
      or exists (select from tickets.ticket as t where t.cluster = p_cluster)
      or exists (select from tickets.cluster_aliases as a where a.cluster = p_cluster)
    on conflict (cluster) do update set
      geom = excluded.geom,
      provider = excluded.provider,
      status = excluded.status,
      fetched_at = excluded.fetched_at,
      verified = excluded.verified;
  else
    insert into tickets.geo_locations as g (
      place, cluster, geom, provider, status, fetched_at, verified
    )
    select p_place, p_cluster, v_point, 'manual', 'ok', tickets._now(), true
    where exists (
        select from tickets.geo_locations as k
        where k.place = p_place and k.cluster = p_cluster
      )
      or exists (
        select from tickets.ticket as t
        where t.cluster = p_cluster
          and tickets.clean_place(t.location_name) collate "C" = p_place
      )
    on conflict (place, cluster) do update set
      geom = excluded.geom,
      provider = excluded.provider,
      status = excluded.status,
      fetched_at = excluded.fetched_at,
      verified = excluded.verified;
  end if;
  if not found then
    perform tickets._no_such_place(p_cluster, p_place);
  end if;

  if p_place is null then
    update tickets.geo_locations as l
    set status = tickets._judge_point(l.geom, tickets._cluster_point(l.cluster), null)
    where l.geom is not null and not l.verified
      and (
        l.cluster = p_cluster
        or l.cluster in (
          select a.alias from tickets.cluster_aliases as a where a.cluster = p_cluster
        )
      )
      and l.status <> tickets._judge_point(l.geom, tickets._cluster_point(l.cluster), null);
  end if;
end;
$$;


--
-- Name: FUNCTION correct_place(p_cluster text, p_lat double precision, p_lng double precision, p_place text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.correct_place(p_cluster text, p_lat double precision, p_lng double precision, p_place text) IS 'A person says where a place, or a cluster, is.';


--
-- Name: dataset_of_key(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.dataset_of_key(p_source_key text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  The dataset that an object of the bucket belongs to, by its key's prefix.

  Raises     TK003 where it belongs to none.
*/
declare
  v_dataset text;
begin
  select d.dataset into v_dataset
  from tickets.datasets as d
  where starts_with(p_source_key, d.key_prefix)
  order by length(d.key_prefix) desc
  limit 1;
  if v_dataset is null then
    raise exception using
      errcode = 'TK003',
      message = format('the key %s belongs to no dataset', left(p_source_key, 1100)),
      detail = (select 'Keys begin with ' || string_agg(d.key_prefix, ' or ' order by d.dataset)
                  || '.'
                from tickets.datasets as d),
      hint = 'Which files are refused: '
        || 'select source_key, error from tickets.ingest_files where status = ''rejected''';
  end if;
  return v_dataset;
end;
$$;


--
-- Name: FUNCTION dataset_of_key(p_source_key text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.dataset_of_key(p_source_key text) IS 'The dataset that an object of the bucket belongs to, by its key''s prefix; TK003 if none.';


--
-- Name: eat_ts(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.eat_ts(p_text text) RETURNS timestamp with time zone
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
/*
  The instant that a timestamp of the export means.

  Takes      `YYYY-MM-DD`, optionally with `HH:MM`, `HH:MM:SS` or `HH:MM:SS.f` after a blank or a
             `T`, optionally with `Z` or an offset (`+03`, `+03:00`, `+0300`) after that.
             Without an offset it is EAT, wall time in Nairobi: UTC+3, in every year.
  Returns    the instant, or NULL where the text is no timestamp (`2026-02-30`, `yesterday`, ``) or
             of a year, in EAT, before 1900 or after 2200.
  Raises     nothing.

  Its answer depends on its argument alone. The casts below are marked stable in the catalogue
  because of DateStyle and TimeZone; on the year-first text that comes so far, with its zone stated,
  neither setting has a say. For many texts in one statement there is tickets._instant.
*/
declare
  v_text text;
  v_day integer;
  v_wall_time timestamp;
begin
  -- Digits by name: what \d takes in depends on the locale, and casts do not follow.
  v_text := btrim(p_text, E' \t\r\n');
  if v_text !~ ('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])'
                '([ Tt]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?'
                ' ?([Zz]|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)?)?$')
    or v_text like '0000%'
  then
    return null;
  end if;
  v_day := substr(v_text, 9, 2)::integer;
  if v_day > 28
    and v_day > extract(
      day from make_date(substr(v_text, 1, 4)::integer, substr(v_text, 6, 2)::integer, 1)
        + interval '1 month' - interval '1 day'
    )
  then
    return null;
  end if;

  if length(v_text) > 10 and v_text ~ '([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$' then
    v_wall_time := v_text::timestamptz at time zone interval '3 hours';
  else
    v_wall_time := v_text::timestamp;
  end if;
  if extract(year from v_wall_time) not between 1900 and 2200 then
    return null;
  end if;
  -- Not 'Africa/Nairobi': that is another offset before 1960.
  return v_wall_time at time zone interval '3 hours';
end;
$_$;


--
-- Name: FUNCTION eat_ts(p_text text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.eat_ts(p_text text) IS 'The instant that a timestamp of the export means: EAT unless it says else; NULL if it is none.';


--
-- Name: finish_geocoding(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.finish_geocoding(p_kind text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Ends a geocoding run: gives the lock of its kind back. The end of the session does so, too.

    Returns    whether this session had it.
  */
  select tickets._release_lock('geocode ' || p_kind);
$$;


--
-- Name: FUNCTION finish_geocoding(p_kind text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.finish_geocoding(p_kind text) IS 'Ends a geocoding run: gives the lock of its kind back.';


--
-- Name: finish_run(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.finish_run(p_dataset text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Ends a loader's run: gives the dataset's lock back. The end of the session does so, too.

    Returns    whether this session had it.
  */
  select tickets._release_lock('load ' || p_dataset);
$$;


--
-- Name: FUNCTION finish_run(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.finish_run(p_dataset text) IS 'Ends a loader''s run: gives the dataset''s lock back.';


--
-- Name: import_state(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.import_state(p_dataset text) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    A dataset's row of tickets.import_meta: {"source_max_key": …, "source_etag": …}, keys absent
    until something was loaded.
  */
  select coalesce(m.metadata, '{}')
  from tickets.datasets as d
  left join tickets.import_meta as m on m.dataset = d.dataset
  where d.dataset = p_dataset;
$$;


--
-- Name: FUNCTION import_state(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.import_state(p_dataset text) IS 'Watermark and last snapshot ETag of a dataset.';


--
-- Name: locations_to_geocode(); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.locations_to_geocode() RETURNS TABLE(place text, cluster text, query text, tickets integer, skipped text, latitude double precision, longitude double precision, box double precision[])
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    The places of open and actionable tickets, of all datasets, that a geocoder is to be asked for.
    Tickets with coordinates of their own need none.

    Returns    cleaned place and cluster, what to ask, how many such tickets there are; why it must
               be skipped, else NULL; the cluster's point, and its surroundings (west, south, east,
               north) as wide as an answer may be off. The places with most tickets come first,
               those last whose last request failed, so that they hold up nobody.

    What was answered is not asked for again, but for those without a match after
    tickets.geocoding.ask_again_after. Verified rows are never asked for.
  */
  with rules as materialized (
    select s.country, s.max_distance, tickets._now() - s.ask_again_after as ask_before
    from tickets.geocoding as s
  ),
  places as (
    select k.place, k.cluster, sum(k.tickets)::integer as tickets
    from (
      -- Cleaned once for all tickets that say the same.
      select tickets._clean_place(n.location_name, (select tickets._place_codes())) collate "C"
          as place,
        n.cluster collate "C" as cluster, n.tickets
      from (
        select t.location_name, t.cluster, count(*) as tickets
        from tickets.ticket as t
        where t.is_open and t.is_actionable and t.geo_source <> 'feed'
        group by t.location_name, t.cluster
      ) as n
    ) as k
    where k.place is not null
    group by 1, 2
  ),
  clusters as (
    select k.cluster, k.point,
      array[
        public.st_xmin(k.around), public.st_ymin(k.around),
        public.st_xmax(k.around), public.st_ymax(k.around)
      ] as box
    from (
      select c.cluster, c.geom as point,
        public.st_buffer(c.geom::public.geography, r.max_distance)::public.geometry as around
      from tickets._cluster_points() as c
      cross join rules as r
      offset 0 -- keeps the surroundings from being made for each of their sides
    ) as k
  )
  select p.place, p.cluster, tickets._query_text(p.place, p.cluster, a.cluster, r.country),
    p.tickets,
    case
      when p.cluster is null then 'no cluster'
      when c.point is null then 'its cluster has no point'
    end,
    public.st_y(c.point), public.st_x(c.point), c.box
  from places as p
  cross join rules as r
  left join clusters as c on c.cluster = p.cluster
  left join tickets.cluster_aliases as a on a.alias = p.cluster
  left join tickets.geo_locations as g on g.place = p.place and g.cluster = p.cluster
  where tickets._is_due(g.status, g.verified, g.geom, g.fetched_at, r.ask_before)
  order by g.status is not distinct from 'error', p.tickets desc, p.place, p.cluster;
$$;


--
-- Name: FUNCTION locations_to_geocode(); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.locations_to_geocode() IS 'The places of open and actionable tickets that a geocoder is to be asked for.';


--
-- Name: mark_archived(text, text, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.mark_archived(p_dataset text, p_source_key text, p_etag text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Writes into the ledger that a file is safe in the archive and gone from where it was.
  */
  update tickets.ingest_files as f set archived_at = tickets._now()
  where f.dataset = p_dataset and f.source_key = p_source_key and f.etag = p_etag
    and f.archived_at is null;
$$;


--
-- Name: FUNCTION mark_archived(p_dataset text, p_source_key text, p_etag text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.mark_archived(p_dataset text, p_source_key text, p_etag text) IS 'Writes into the ledger that a file is safe in the archive.';


--
-- Name: open_file(text, text, text[]); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.open_file(p_dataset text, p_source_key text, p_header text[]) RETURNS TABLE(staging_table text, copy_columns text[], extra_columns text[], missing_columns text[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Makes ready to COPY a file into staging within this transaction: its rows will carry its key.

  Takes      the names of the file's header, in its order.
  Returns    one row: the staging table to COPY into, schema and name; the staging column of each
             column of the file; the names unknown to the contract and those missing from the file.
  Raises     TK001, TK002 as tickets.start_run; TK010 to TK013 where the header cannot be loaded;
             TK024 where rows were staged by hand under this key.
  Touches    the setting tickets.object_key, till tickets.apply_file or the end of the transaction.
*/
begin
  perform tickets._lock_dataset(p_dataset);
  if exists (
    select 1 from tickets.staging as s
    where s.dataset = p_dataset and s.source_key = p_source_key
  ) then
    raise exception using
      errcode = 'TK024',
      message = format('rows staged by hand carry the key %L', left(p_source_key, 100)),
      detail = 'They would be taken for rows of this file. Nothing was applied.',
      hint = format('Remove them: delete from tickets.%I where source_key = %L',
                    p_dataset || '_staging', p_source_key);
  end if;
  perform set_config('tickets.object_key', p_source_key, true);
  return query
    select format('tickets.%I', p_dataset || '_staging'),
      m.copy_columns, m.extra_columns, m.missing_columns
    from tickets._map_header(p_source_key, p_header) as m;
end;
$$;


--
-- Name: FUNCTION open_file(p_dataset text, p_source_key text, p_header text[]); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.open_file(p_dataset text, p_source_key text, p_header text[]) IS 'Makes ready to COPY a file into staging: maps its header and marks its rows with its key.';


--
-- Name: pause_requests(text, integer); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.pause_requests(p_service text, p_wait_ms integer) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    Lets no run ask a geocoding service for a while, because it said so or is in trouble.
  */
  update tickets.geocoder_services as s
  set paused_until = greatest(
    s.paused_until, tickets._now() + p_wait_ms * interval '1 millisecond'
  )
  where s.service = p_service;
$$;


--
-- Name: FUNCTION pause_requests(p_service text, p_wait_ms integer); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.pause_requests(p_service text, p_wait_ms integer) IS 'Lets no run ask a geocoding service for a while.';


--
-- Name: record_answer(text[], text[], text, text, text, double precision, double precision, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.record_answer(p_places text[], p_clusters text[], p_provider text, p_query text, p_outcome text, p_latitude double precision DEFAULT NULL::double precision, p_longitude double precision DEFAULT NULL::double precision, p_country_code text DEFAULT NULL::text) RETURNS TABLE(place text, cluster text, status text, distance double precision)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '0'
    AS $$
  /*
    Writes a geocoder's answer into the gazetteers; the tickets move with it.

    Takes      the places and, at the same ones, the clusters that asked the question, a place being
               NULL where it was for the cluster itself; provider and question; the outcome
               (`found`, `no_match`, or `error` where there was no answer); of `found` the
               coordinates and, if known, the code of the country.
    Returns    a row a place or cluster written: the status it has now (`ok`, `no_match`,
               `rejected_far`, `error`) and metres from its cluster's point.
    Touches    tickets.geo_clusters, tickets.geo_locations, and by their triggers the tickets.

    What a person has verified stays as it is, and so does an answer where there is none now.
  */
  with asked as (
    select k.place, k.cluster, k.point,
      case
        when p_outcome = 'found' then tickets._judge_point(k.point, k.near, p_country_code)
        else p_outcome
      end as status,
      public.st_distance(k.point::public.geography, k.near::public.geography) as distance
    from (
      select a.place collate "C" as place, a.cluster collate "C" as cluster,
        case
          when p_outcome = 'found'
          then public.st_setsrid(public.st_makepoint(p_longitude, p_latitude), 4326)
        end as point,
        case when a.place is not null then tickets._cluster_point(a.cluster) end as near
      from unnest(p_places, p_clusters) as a (place, cluster)
    ) as k
  ),
  clusters as (
    insert into tickets.geo_clusters as g (
      cluster, geom, provider, query, status, attempts, fetched_at
    )
    select a.cluster, a.point, p_provider, p_query, a.status, 1, tickets._now()
    from asked as a
    where a.place is null
    on conflict (cluster) do update set
      geom = excluded.geom,
      provider = excluded.provider,
      query = excluded.query,
      status = excluded.status,
      attempts = g.attempts + 1,
      fetched_at = excluded.fetched_at
    where not g.verified and not (excluded.status = 'error' and g.geom is not null)
    returning g.cluster
  ),
  locations as (
    insert into tickets.geo_locations as g (
      place, cluster, geom, provider, query, status, attempts, fetched_at
    )
    select a.place, a.cluster, a.point, p_provider, p_query, a.status, 1, tickets._now()
    from asked as a
    where a.place is not null
    on conflict (place, cluster) do update set
      geom = excluded.geom,
      provider = excluded.provider,
      query = excluded.query,
      status = excluded.status,
      attempts = g.attempts + 1,
      fetched_at = excluded.fetched_at
    where not g.verified and not (excluded.status = 'error' and g.geom is not null)
    returning g.place, g.cluster
  )
  select a.place, a.cluster, a.status, a.distance
  from asked as a
  where a.place is null and a.cluster in (select c.cluster from clusters as c)
    or (a.place, a.cluster) in (select l.place, l.cluster from locations as l);
$$;


--
-- Name: FUNCTION record_answer(p_places text[], p_clusters text[], p_provider text, p_query text, p_outcome text, p_latitude double precision, p_longitude double precision, p_country_code text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.record_answer(p_places text[], p_clusters text[], p_provider text, p_query text, p_outcome text, p_latitude double precision, p_longitude double precision, p_country_code text) IS 'Writes a geocoder''s answer into the gazetteers; what a person has verified stays.';


--
-- Name: refuse_file(text, text, text, bigint, text, text, bigint); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.refuse_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint, p_error_code text, p_error text, p_error_line bigint DEFAULT NULL::bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Writes into the ledger that a file is refused, in a transaction after the one that was rolled
  back. It is not tried again until its ETag changes or someone asks for it.

  Takes      the object's key, ETag without quotes and size; the SQLSTATE, the reason in words and
             the line of the file, if one can be named.
  Returns    what to do about it, for a person.
  Raises     TK001, TK002.
*/
begin
  perform tickets._lock_dataset(p_dataset);
  insert into tickets.ingest_files as f (
    dataset, source_key, etag, bytes, exported_at, status, error_code, error, error_line
  )
  values (
    p_dataset, p_source_key, p_etag, p_bytes, tickets._exported_at(p_source_key), 'rejected',
    p_error_code, p_error, p_error_line
  )
  on conflict (source_key, etag, dataset) do update set
    bytes = excluded.bytes,
    status = excluded.status,
    error_code = excluded.error_code,
    error = excluded.error,
    error_line = excluded.error_line,
    is_replaced = false
  -- An applied file stays applied, whatever a second reading of it meets.
  where f.status <> 'applied';
  return tickets._retry_hint(p_source_key);
end;
$$;


--
-- Name: FUNCTION refuse_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint, p_error_code text, p_error text, p_error_line bigint); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.refuse_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint, p_error_code text, p_error text, p_error_line bigint) IS 'Writes into the ledger that a file is refused and why.';


--
-- Name: reject_place(text, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.reject_place(p_cluster text, p_place text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  A person says that the point of a place is wrong, and that a geocoder would not do better; of the
  cluster itself where no place is named. It places no ticket any more and is never asked for again.

  Raises     TK052 there is no such place.
  Touches    tickets.geo_clusters or tickets.geo_locations, and by their triggers the tickets.
*/
begin
  if p_place is null then
    update tickets.geo_clusters as g set geom = null, status = 'no_match', verified = true
    where g.cluster = p_cluster;
  else
    update tickets.geo_locations as g set geom = null, status = 'no_match', verified = true
    where g.cluster = p_cluster and g.place = p_place;
  end if;
  if not found then
    perform tickets._no_such_place(p_cluster, p_place);
  end if;
end;
$$;


--
-- Name: FUNCTION reject_place(p_cluster text, p_place text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.reject_place(p_cluster text, p_place text) IS 'A person says that the point of a place, or of a cluster, is wrong and not to be asked for.';


--
-- Name: reserve_request(text, double precision); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.reserve_request(p_service text, p_per_second double precision) RETURNS TABLE(wait_ms integer, quota_until timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Reserves the next request to a geocoding service. The reservation is there for all runs once its
  transaction has committed, and stays used whatever becomes of the run.

  Takes      the service, and the requests a second that the caller wants; the limits of
             tickets.geocoder_services count as well.
  Returns    how many milliseconds to wait before the request; or, where the day's requests are
             used up, until when they are. Days are those of UTC, as the providers count them.
  Touches    tickets.geocoder_services, tickets.geocoder_requests.
*/
declare
  v_service tickets.geocoder_services;
  v_now constant timestamptz := tickets._now();
  v_at timestamptz := v_now;
  v_day timestamptz;
begin
  insert into tickets.geocoder_services (service) values (p_service) on conflict do nothing;
  -- Whoever else wants one waits here for our commit.
  select s.* into v_service from tickets.geocoder_services as s
  where s.service = p_service
  for update;

  delete from tickets.geocoder_requests as r
  where r.service = p_service
    and r.due_at < least(date_trunc('day', v_now, 'UTC'), v_now - interval '1 minute');

  v_at := greatest(
    v_at,
    v_service.paused_until,
    (
      select max(r.due_at) from tickets.geocoder_requests as r where r.service = p_service
    ) + interval '1 second' / least(p_per_second, v_service.per_second),
    (
      select r.due_at from tickets.geocoder_requests as r
      where r.service = p_service and v_service.per_minute is not null
      order by r.due_at desc
      offset v_service.per_minute - 1 limit 1
    ) + interval '1 minute'
  );
  v_day := date_trunc('day', v_at, 'UTC');
  if (
    select count(*) from tickets.geocoder_requests as r
    where r.service = p_service and r.due_at >= v_day
  ) >= v_service.per_day
  then
    return query select null::integer, v_day + interval '1 day';
    return;
  end if;

  insert into tickets.geocoder_requests (service, due_at) values (p_service, v_at);
  return query
    select ceil(extract(epoch from v_at - v_now) * 1000)::integer, null::timestamptz;
end;
$$;


--
-- Name: FUNCTION reserve_request(p_service text, p_per_second double precision); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.reserve_request(p_service text, p_per_second double precision) IS 'Reserves the next request to a geocoding service and returns how long to wait for it.';


--
-- Name: skip_file(text, text, text, bigint); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.skip_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Writes into the ledger that a snapshot needs no loading: a newer one is there, or the same content
  was loaded already.

  Raises     TK001, TK002.
  Touches    ledger and watermark.
*/
begin
  perform tickets._lock_dataset(p_dataset);
  insert into tickets.ingest_files as f (dataset, source_key, etag, bytes, exported_at, status)
  values (
    p_dataset, p_source_key, p_etag, p_bytes, tickets._exported_at(p_source_key), 'skipped'
  )
  on conflict (source_key, etag, dataset) do update set
    is_replaced = false,
    archived_at = null
  where f.is_replaced;
  perform tickets._replace_file(p_dataset, p_source_key, p_etag);
  -- The feed is alive, even where it says nothing new.
  perform tickets._advance_watermark(p_dataset, p_source_key);
end;
$$;


--
-- Name: FUNCTION skip_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.skip_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint) IS 'Writes into the ledger that a snapshot needs no loading.';


--
-- Name: sort_files(text, text[], text[]); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.sort_files(p_dataset text, p_source_keys text[], p_etags text[]) RETURNS TABLE(source_key text, etag text, exported_at timestamp with time zone, status text, is_archived boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  /*
    What the ledger says of listed objects, oldest first (export time, then key in byte order).

    Takes      keys and, at the same places, ETags without quotes.
    Returns    a row an object that is an export, <key_prefix>[changes/]<export time>.csv; others
               are left out. status is new where the ledger does not know this key with this ETag,
               or has applied another ETag of the key since: the object was put back. Else it is
               what the ledger says.
  */
  select listed.source_key, listed.etag, listed.exported_at,
    coalesce(f.status, 'new') as status,
    f.archived_at is not null as is_archived
  from (
    select l.source_key collate "C" as source_key, l.etag collate "C" as etag,
      tickets._exported_at(l.source_key) as exported_at
    from unnest(p_source_keys, p_etags) as l (source_key, etag)
    join tickets.datasets as d
      on d.dataset = p_dataset and starts_with(l.source_key, d.key_prefix)
    where substr(l.source_key, length(d.key_prefix) + 1)
      ~ '^(changes/)?[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}[.]csv$'
  ) as listed
  left join tickets.ingest_files as f
    on f.dataset = p_dataset and f.source_key = listed.source_key and f.etag = listed.etag
    and not f.is_replaced
  where listed.exported_at is not null
  order by listed.exported_at, listed.source_key;
$_$;


--
-- Name: FUNCTION sort_files(p_dataset text, p_source_keys text[], p_etags text[]); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.sort_files(p_dataset text, p_source_keys text[], p_etags text[]) IS 'What the ledger says of listed objects (new, applied, rejected, skipped), oldest first.';


--
-- Name: staged_rows(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.staged_rows(p_dataset text) RETURNS TABLE(source_key text, rows bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
/*
  What lies in staging: files staged by hand that nobody has applied yet, or that were refused.

  Returns    a row a file, in the order of staging; none where staging is empty, as it should be.
*/
#variable_conflict use_column
begin
  return query
  select s.source_key, count(*)
  from tickets.staging as s
  where s.dataset = p_dataset
  group by s.source_key
  order by min(s.line);
end;
$$;


--
-- Name: FUNCTION staged_rows(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.staged_rows(p_dataset text) IS 'What lies in staging and is not applied yet, a row a file.';


--
-- Name: start_geocoding(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.start_geocoding(p_kind text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Begins a geocoding run: takes the lock of its kind for the session, without waiting.

  Takes      `clusters` or `locations`.
  Returns    the code of the country that questions are limited to, two letters, lower case.
  Raises     TK050 another kind, TK051 another session has the lock.
*/
begin
  if p_kind is null or p_kind not in ('clusters', 'locations') then
    raise exception using
      errcode = 'TK050',
      message = format('cannot geocode %L', p_kind),
      detail = 'There are clusters and locations.',
      hint = 'Name one of them, for example: fleettickets geocode clusters';
  end if;
  if not tickets._try_lock('geocode ' || p_kind, p_for_session => true) then
    raise exception using
      errcode = 'TK051',
      message = format('another run is geocoding %s', p_kind),
      detail = 'One run of a kind at a time; nothing was asked.',
      hint = 'Wait for it to end. Who it is: select * from tickets.held_locks';
  end if;
  return (select s.country_code from tickets.geocoding as s);
end;
$$;


--
-- Name: FUNCTION start_geocoding(p_kind text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.start_geocoding(p_kind text) IS 'Begins a geocoding run: takes the lock of its kind and returns the country to look in.';


--
-- Name: start_run(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.start_run(p_dataset text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  Begins a loader's run: takes the dataset's lock for the session.

  Returns    the prefix of the dataset's keys in the bucket.
  Raises     TK001 unknown dataset, TK002 another run has the lock.
*/
begin
  perform tickets._lock_dataset(p_dataset, p_for_session => true);
  perform tickets._shrink_staging(p_dataset);
  return (select d.key_prefix from tickets.datasets as d where d.dataset = p_dataset);
end;
$$;


--
-- Name: FUNCTION start_run(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.start_run(p_dataset text) IS 'Begins a loader''s run: takes the dataset''s lock for the session and returns its key prefix.';


--
-- Name: unarchived_files(text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.unarchived_files(p_dataset text) RETURNS TABLE(source_key text, etag text, bytes bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  /*
    The objects that are done with and not known to be in the archive yet, oldest first.
  */
  select f.source_key, f.etag, f.bytes
  from tickets.ingest_files as f
  where f.dataset = p_dataset
    and f.archived_at is null
    and f.status in ('applied', 'skipped')
    and f.source_key not like 'manual:%'
  order by f.exported_at, f.source_key;
$$;


--
-- Name: FUNCTION unarchived_files(p_dataset text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.unarchived_files(p_dataset text) IS 'The objects that are done with and not known to be in the archive yet.';


--
-- Name: verify_place(text, text); Type: FUNCTION; Schema: tickets; Owner: -
--

CREATE FUNCTION tickets.verify_place(p_cluster text, p_place text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
/*
  A person says that the point of a place is right; of the cluster itself where no place is named.
  It places tickets from now on, also where it was refused as too far, and is never asked for again.

  Raises     TK052 there is no such place, TK054 it has no point.
  Touches    tickets.geo_clusters or tickets.geo_locations, and by their triggers the tickets.
*/
declare
  v_has_point boolean;
begin
  if p_place is null then
    update tickets.geo_clusters as g set verified = g.geom is not null
    where g.cluster = p_cluster
    returning g.verified into v_has_point;
  else
    update tickets.geo_locations as g set verified = g.geom is not null
    where g.cluster = p_cluster and g.place = p_place
    returning g.verified into v_has_point;
  end if;
  if v_has_point is null then
    perform tickets._no_such_place(p_cluster, p_place);
  elsif not v_has_point then
    raise exception using
      errcode = 'TK054',
      message = format('%s has no point that could be verified',
        concat_ws(', ', p_place, p_cluster)),
      detail = 'No geocoder has found it.',
      hint = 'Say where it is: select tickets.correct_place(p_cluster => …, p_lat => …, '
        || 'p_lng => …); or that nobody needs to ask any more: select tickets.reject_place(…)';
  end if;
end;
$$;


--
-- Name: FUNCTION verify_place(p_cluster text, p_place text); Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON FUNCTION tickets.verify_place(p_cluster text, p_place text) IS 'A person says that the point of a place, or of a cluster, is right.';


--
-- Name: closure_events; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.closure_events (
    closure_event_id bigint NOT NULL,
    dataset text NOT NULL,
    ticket_id text NOT NULL COLLATE pg_catalog."C",
    closed_at timestamp with time zone,
    mttr integer,
    cluster text,
    team text,
    owner text,
    observed_at timestamp with time zone DEFAULT tickets._now() NOT NULL,
    source_key text COLLATE pg_catalog."C"
);


--
-- Name: TABLE closure_events; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.closure_events IS 'Each observed closure once, append-only: a ticket closed again is a further row.';


--
-- Name: COLUMN closure_events.closure_event_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.closure_events.closure_event_id IS 'Order of recording.';


--
-- Name: COLUMN closure_events.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.closure_events.dataset IS 'Dataset.';


--
-- Name: COLUMN closure_events.ticket_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.closure_events.ticket_id IS 'The ticket.';


--
-- Name: COLUMN closure_events.closed_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.closure_events.closed_at IS 'When it was closed; NULL if the source does not say.';


--
-- Name: COLUMN closure_events.mttr; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.closure_events.mttr IS 'Time to repair in minutes.';


--
-- Name: COLUMN closure_events.cluster; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.closure_events.cluster IS 'Cluster at that time.';


--
-- Name: COLUMN closure_events.team; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.closure_events.team IS 'Team at that time.';


--
-- Name: COLUMN closure_events.owner; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.closure_events.owner IS 'Owner at that time.';


--
-- Name: COLUMN closure_events.observed_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.closure_events.observed_at IS 'When it was recorded.';


--
-- Name: COLUMN closure_events.source_key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.closure_events.source_key IS 'The file it was seen in.';


--
-- Name: closure_events_closure_event_id_seq; Type: SEQUENCE; Schema: tickets; Owner: -
--

ALTER TABLE tickets.closure_events ALTER COLUMN closure_event_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME tickets.closure_events_closure_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: cluster_aliases; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.cluster_aliases (
    alias text NOT NULL COLLATE pg_catalog."C",
    cluster text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT alias_is_another_name CHECK ((alias <> cluster))
);


--
-- Name: TABLE cluster_aliases; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.cluster_aliases IS 'Other names of clusters. A cluster without a point of its own stands at that of the name behind its alias.';


--
-- Name: COLUMN cluster_aliases.alias; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.cluster_aliases.alias IS 'Cluster, as tickets name it.';


--
-- Name: COLUMN cluster_aliases.cluster; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.cluster_aliases.cluster IS 'What it is called on a map.';


--
-- Name: crq; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.crq (
    dataset text DEFAULT 'crq'::text NOT NULL,
    ticket_id text NOT NULL COLLATE pg_catalog."C",
    raw jsonb NOT NULL,
    normalized_status text,
    raw_status text,
    bucket text,
    is_actionable boolean,
    is_open boolean NOT NULL,
    cluster text COLLATE pg_catalog."C",
    region text,
    location_name text,
    assigned_team text,
    owner text,
    sla_status text,
    mttr integer,
    created_at_service timestamp with time zone,
    scheduled_at timestamp with time zone,
    closed_at timestamp with time zone,
    first_seen_at timestamp with time zone,
    last_seen_at timestamp with time zone,
    source_created_at timestamp with time zone,
    source_updated_at timestamp with time zone,
    source_key text COLLATE pg_catalog."C",
    exported_at timestamp with time zone,
    ingested_at timestamp with time zone DEFAULT tickets._now() NOT NULL,
    previous_source_key text COLLATE pg_catalog."C",
    previous_exported_at timestamp with time zone,
    geom public.geometry(Point,4326),
    geog public.geography(Point,4326),
    latitude double precision,
    longitude double precision,
    geo_source text NOT NULL,
    text_hash bigint,
    CONSTRAINT geo_source_is_known CHECK ((geo_source = ANY (ARRAY['feed'::text, 'location'::text, 'cluster'::text, 'none'::text]))),
    CONSTRAINT raw_is_an_object CHECK ((jsonb_typeof(raw) = 'object'::text)),
    CONSTRAINT ticket_id_agrees_with_raw CHECK (((raw ->> 'ticket_id'::text) = ticket_id))
)
WITH (fillfactor='85');


--
-- Name: TABLE crq; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.crq IS 'New installations (CRQ), a partition of tickets.ticket.';


--
-- Name: daily_snapshot; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.daily_snapshot (
    dataset text NOT NULL,
    day date NOT NULL,
    cluster text,
    open integer NOT NULL,
    actionable integer NOT NULL,
    breached integer NOT NULL,
    created integer NOT NULL,
    closed integer NOT NULL,
    captured_at timestamp with time zone DEFAULT tickets._now() NOT NULL
)
PARTITION BY LIST (dataset);


--
-- Name: TABLE daily_snapshot; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.daily_snapshot IS 'The backlog as it stood at the last load of each EAT day, by cluster.';


--
-- Name: COLUMN daily_snapshot.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.daily_snapshot.dataset IS 'Dataset.';


--
-- Name: COLUMN daily_snapshot.day; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.daily_snapshot.day IS 'Day in Nairobi.';


--
-- Name: COLUMN daily_snapshot.cluster; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.daily_snapshot.cluster IS 'Cluster, of more than 255 characters by its beginning and a hash; NULL for tickets without one.';


--
-- Name: COLUMN daily_snapshot.open; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.daily_snapshot.open IS 'Open tickets.';


--
-- Name: COLUMN daily_snapshot.actionable; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.daily_snapshot.actionable IS 'Open tickets that the field team can act on.';


--
-- Name: COLUMN daily_snapshot.breached; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.daily_snapshot.breached IS 'Open tickets older than the dataset''s SLA target.';


--
-- Name: COLUMN daily_snapshot.created; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.daily_snapshot.created IS 'Tickets opened on that day.';


--
-- Name: COLUMN daily_snapshot.closed; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.daily_snapshot.closed IS 'Tickets closed on that day.';


--
-- Name: COLUMN daily_snapshot.captured_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.daily_snapshot.captured_at IS 'When a run last found it so.';


--
-- Name: crq_daily_snapshot; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.crq_daily_snapshot (
    dataset text NOT NULL,
    day date NOT NULL,
    cluster text,
    open integer NOT NULL,
    actionable integer NOT NULL,
    breached integer NOT NULL,
    created integer NOT NULL,
    closed integer NOT NULL,
    captured_at timestamp with time zone DEFAULT tickets._now() NOT NULL
);


--
-- Name: TABLE crq_daily_snapshot; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.crq_daily_snapshot IS 'Backlog of CRQ by day and cluster.';


--
-- Name: open_sla; Type: VIEW; Schema: tickets; Owner: -
--

CREATE VIEW tickets.open_sla AS
 SELECT s.dataset,
    s.ticket_id,
    s.normalized_status,
    s.raw_status,
    s.is_actionable,
    s.cluster,
    s.region,
    s.location_name,
    s.assigned_team,
    s.owner,
    s.scheduled_at,
    s.opened_at,
    s.age,
    s.due_at,
    s.sla_state
   FROM tickets.ticket_sla s
  WHERE s.is_open;


--
-- Name: VIEW open_sla; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON VIEW tickets.open_sla IS 'Open tickets of every dataset: age, due time, and how each stands against its target.';


--
-- Name: COLUMN open_sla.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.dataset IS 'Dataset, tickets.datasets.dataset.';


--
-- Name: COLUMN open_sla.ticket_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.ticket_id IS 'Number of the ticket in the source, unique in its dataset.';


--
-- Name: COLUMN open_sla.normalized_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.normalized_status IS 'Status as the export normalizes it.';


--
-- Name: COLUMN open_sla.raw_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.raw_status IS 'Status as the source has it, trimmed, upper case.';


--
-- Name: COLUMN open_sla.is_actionable; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.is_actionable IS 'Whether the field team can act on it; NULL if unstated.';


--
-- Name: COLUMN open_sla.cluster; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.cluster IS 'Network cluster.';


--
-- Name: COLUMN open_sla.region; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.region IS 'Region, trimmed, lower case.';


--
-- Name: COLUMN open_sla.location_name; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.location_name IS 'Location as written in the source, network codes included.';


--
-- Name: COLUMN open_sla.assigned_team; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.assigned_team IS 'Team it is assigned to.';


--
-- Name: COLUMN open_sla.owner; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.owner IS 'Person it is assigned to.';


--
-- Name: COLUMN open_sla.scheduled_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.scheduled_at IS 'Appointment.';


--
-- Name: COLUMN open_sla.opened_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.opened_at IS 'created_at_service, else first_seen_at.';


--
-- Name: COLUMN open_sla.age; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.age IS 'How long it has been open; NULL for a closed one.';


--
-- Name: COLUMN open_sla.due_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.due_at IS 'opened_at and the sla_target of its dataset.';


--
-- Name: COLUMN open_sla.sla_state; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.open_sla.sla_state IS 'Of an open ticket: within, at_risk, breached, or unknown without opened_at; NULL if closed.';


--
-- Name: crq_open_sla; Type: VIEW; Schema: tickets; Owner: -
--

CREATE VIEW tickets.crq_open_sla AS
 SELECT s.dataset,
    s.ticket_id,
    s.normalized_status,
    s.raw_status,
    s.is_actionable,
    s.cluster,
    s.region,
    s.location_name,
    s.assigned_team,
    s.owner,
    s.scheduled_at,
    s.opened_at,
    s.age,
    s.due_at,
    s.sla_state
   FROM tickets.open_sla s
  WHERE (s.dataset = 'crq'::text);


--
-- Name: VIEW crq_open_sla; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON VIEW tickets.crq_open_sla IS 'Open CRQ tickets: age, due time, and how each stands against the target.';


--
-- Name: COLUMN crq_open_sla.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.dataset IS 'Dataset, tickets.datasets.dataset.';


--
-- Name: COLUMN crq_open_sla.ticket_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.ticket_id IS 'Number of the ticket in the source, unique in its dataset.';


--
-- Name: COLUMN crq_open_sla.normalized_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.normalized_status IS 'Status as the export normalizes it.';


--
-- Name: COLUMN crq_open_sla.raw_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.raw_status IS 'Status as the source has it, trimmed, upper case.';


--
-- Name: COLUMN crq_open_sla.is_actionable; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.is_actionable IS 'Whether the field team can act on it; NULL if unstated.';


--
-- Name: COLUMN crq_open_sla.cluster; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.cluster IS 'Network cluster.';


--
-- Name: COLUMN crq_open_sla.region; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.region IS 'Region, trimmed, lower case.';


--
-- Name: COLUMN crq_open_sla.location_name; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.location_name IS 'Location as written in the source, network codes included.';


--
-- Name: COLUMN crq_open_sla.assigned_team; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.assigned_team IS 'Team it is assigned to.';


--
-- Name: COLUMN crq_open_sla.owner; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.owner IS 'Person it is assigned to.';


--
-- Name: COLUMN crq_open_sla.scheduled_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.scheduled_at IS 'Appointment.';


--
-- Name: COLUMN crq_open_sla.opened_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.opened_at IS 'created_at_service, else first_seen_at.';


--
-- Name: COLUMN crq_open_sla.age; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.age IS 'How long it has been open; NULL for a closed one.';


--
-- Name: COLUMN crq_open_sla.due_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.due_at IS 'opened_at and the sla_target of its dataset.';


--
-- Name: COLUMN crq_open_sla.sla_state; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.crq_open_sla.sla_state IS 'Of an open ticket: within, at_risk, breached, or unknown without opened_at; NULL if closed.';


--
-- Name: staging_line; Type: SEQUENCE; Schema: tickets; Owner: -
--

CREATE SEQUENCE tickets.staging_line
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: SEQUENCE staging_line; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON SEQUENCE tickets.staging_line IS 'Order of rows staged by hand.';


--
-- Name: crq_staging; Type: TABLE; Schema: tickets; Owner: -
--

CREATE UNLOGGED TABLE tickets.crq_staging (
    dataset text DEFAULT 'crq'::text NOT NULL,
    source_key text DEFAULT COALESCE(NULLIF(current_setting('tickets.object_key'::text, true), ''::text), ('manual:'::text || COALESCE(NULLIF(regexp_replace(current_setting('tickets.source_key'::text, true), '^manual:'::text, ''::text), ''::text), to_char((statement_timestamp() AT TIME ZONE 'Africa/Nairobi'::text), 'YYYY-MM-DD"T"HH24-MI-SS-US'::text)))) NOT NULL COLLATE pg_catalog."C",
    line bigint DEFAULT nextval('tickets.staging_line'::regclass) NOT NULL,
    ticket_id text DEFAULT '<column not in file>'::text,
    normalized_status text DEFAULT '<column not in file>'::text,
    raw_status text DEFAULT '<column not in file>'::text,
    bucket text DEFAULT '<column not in file>'::text,
    is_actionable text DEFAULT '<column not in file>'::text,
    cluster text DEFAULT '<column not in file>'::text,
    region text DEFAULT '<column not in file>'::text,
    location_name text DEFAULT '<column not in file>'::text,
    assigned_team text DEFAULT '<column not in file>'::text,
    owner text DEFAULT '<column not in file>'::text,
    sla_status text DEFAULT '<column not in file>'::text,
    mttr text DEFAULT '<column not in file>'::text,
    created_at_service text DEFAULT '<column not in file>'::text,
    scheduled_at text DEFAULT '<column not in file>'::text,
    closed_at text DEFAULT '<column not in file>'::text,
    first_seen_at text DEFAULT '<column not in file>'::text,
    last_seen_at text DEFAULT '<column not in file>'::text,
    source_created_at text DEFAULT '<column not in file>'::text,
    source_updated_at text DEFAULT '<column not in file>'::text,
    latitude text DEFAULT '<column not in file>'::text,
    longitude text DEFAULT '<column not in file>'::text,
    service_type text DEFAULT '<column not in file>'::text,
    is_alarm text DEFAULT '<column not in file>'::text,
    is_auto_created text DEFAULT '<column not in file>'::text,
    is_auto_closed text DEFAULT '<column not in file>'::text,
    week_start text DEFAULT '<column not in file>'::text,
    week_end text DEFAULT '<column not in file>'::text,
    source_s3_bucket text DEFAULT '<column not in file>'::text,
    source_s3_key text DEFAULT '<column not in file>'::text,
    source_snapshot_id text DEFAULT '<column not in file>'::text,
    department text DEFAULT '<column not in file>'::text,
    source_type text DEFAULT '<column not in file>'::text,
    extra_1 text,
    extra_2 text,
    extra_3 text,
    extra_4 text,
    extra_5 text,
    extra_6 text,
    extra_7 text,
    extra_8 text,
    extra_9 text,
    extra_10 text,
    extra_11 text,
    extra_12 text,
    extra_13 text,
    extra_14 text,
    extra_15 text,
    extra_16 text,
    extra_17 text,
    extra_18 text,
    extra_19 text,
    extra_20 text,
    extra_21 text,
    extra_22 text,
    extra_23 text,
    extra_24 text,
    extra_25 text,
    extra_26 text,
    extra_27 text,
    extra_28 text,
    extra_29 text,
    extra_30 text,
    extra_31 text,
    extra_32 text
);


--
-- Name: TABLE crq_staging; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.crq_staging IS 'Staging of CRQ: \copy into its columns by name, then select * from tickets.apply_staged().';


--
-- Name: data_quality; Type: VIEW; Schema: tickets; Owner: -
--

CREATE VIEW tickets.data_quality AS
 SELECT t.dataset,
    t.ticket_id,
    v.column_name,
    (t.raw ->> v.column_name) AS value,
    t.source_key,
    t.exported_at
   FROM (tickets.ticket t
     CROSS JOIN LATERAL ( VALUES ('is_actionable'::text,(t.is_actionable IS NULL)), ('mttr'::text,(t.mttr IS NULL)), ('created_at_service'::text,(t.created_at_service IS NULL)), ('scheduled_at'::text,(t.scheduled_at IS NULL)), ('closed_at'::text,(t.closed_at IS NULL)), ('first_seen_at'::text,(t.first_seen_at IS NULL)), ('last_seen_at'::text,(t.last_seen_at IS NULL)), ('source_created_at'::text,(t.source_created_at IS NULL)), ('source_updated_at'::text,(t.source_updated_at IS NULL)), ('latitude'::text,(t.geo_source <> 'feed'::text)), ('longitude'::text,(t.geo_source <> 'feed'::text))) v(column_name, is_missing))
  WHERE (v.is_missing AND (t.raw ? v.column_name));


--
-- Name: VIEW data_quality; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON VIEW tickets.data_quality IS 'Values of the export that did not cast: raw keeps the text, the typed column is NULL.';


--
-- Name: COLUMN data_quality.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.data_quality.dataset IS 'Dataset.';


--
-- Name: COLUMN data_quality.ticket_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.data_quality.ticket_id IS 'The ticket.';


--
-- Name: COLUMN data_quality.column_name; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.data_quality.column_name IS 'The column that holds no value of its type.';


--
-- Name: COLUMN data_quality.value; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.data_quality.value IS 'What the export says instead.';


--
-- Name: COLUMN data_quality.source_key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.data_quality.source_key IS 'The file that last changed the ticket.';


--
-- Name: COLUMN data_quality.exported_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.data_quality.exported_at IS 'Export time of that file.';


--
-- Name: import_meta; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.import_meta (
    dataset text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    updated_at timestamp with time zone DEFAULT tickets._now() NOT NULL
);


--
-- Name: TABLE import_meta; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.import_meta IS 'What is known of each dataset''s import, a row a dataset.';


--
-- Name: COLUMN import_meta.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.import_meta.dataset IS 'Dataset.';


--
-- Name: COLUMN import_meta.metadata; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.import_meta.metadata IS 'source_max_key: the newest file applied, the watermark; source_etag: ETag of the last snapshot applied.';


--
-- Name: COLUMN import_meta.updated_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.import_meta.updated_at IS 'When it last changed.';


--
-- Name: ingest_files; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.ingest_files (
    dataset text NOT NULL,
    source_key text NOT NULL COLLATE pg_catalog."C",
    etag text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    bytes bigint,
    exported_at timestamp with time zone,
    status text NOT NULL,
    staged integer DEFAULT 0 NOT NULL,
    dropped_alarm integer DEFAULT 0 NOT NULL,
    dropped_sentinel integer DEFAULT 0 NOT NULL,
    rejected integer DEFAULT 0 NOT NULL,
    duplicates integer DEFAULT 0 NOT NULL,
    stale integer DEFAULT 0 NOT NULL,
    inserted integer DEFAULT 0 NOT NULL,
    updated integer DEFAULT 0 NOT NULL,
    unchanged integer DEFAULT 0 NOT NULL,
    closures integer DEFAULT 0 NOT NULL,
    error_code text,
    error text,
    error_line bigint,
    extra_columns text[] DEFAULT '{}'::text[] NOT NULL,
    missing_columns text[] DEFAULT '{}'::text[] NOT NULL,
    export_stopped boolean DEFAULT false NOT NULL,
    seen_at timestamp with time zone DEFAULT tickets._now() NOT NULL,
    applied_at timestamp with time zone,
    archived_at timestamp with time zone,
    is_replaced boolean DEFAULT false NOT NULL,
    earlier_loads jsonb DEFAULT '[]'::jsonb NOT NULL,
    CONSTRAINT a_rejected_file_says_why CHECK (((status = 'rejected'::text) = (error IS NOT NULL))),
    CONSTRAINT earlier_loads_are_a_list CHECK ((jsonb_typeof(earlier_loads) = 'array'::text)),
    CONSTRAINT every_staged_row_is_accounted_for CHECK ((staged = (((((((dropped_alarm + dropped_sentinel) + rejected) + duplicates) + stale) + inserted) + updated) + unchanged))),
    CONSTRAINT status_is_known CHECK ((status = ANY (ARRAY['applied'::text, 'rejected'::text, 'skipped'::text])))
);


--
-- Name: TABLE ingest_files; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.ingest_files IS 'The ledger, a row a file and ETag ever seen. It decides what is done.';


--
-- Name: COLUMN ingest_files.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.dataset IS 'Dataset.';


--
-- Name: COLUMN ingest_files.source_key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.source_key IS 'Key of the object; manual:… for rows staged by hand.';


--
-- Name: COLUMN ingest_files.etag; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.etag IS 'ETag of the object without quotes; empty by hand.';


--
-- Name: COLUMN ingest_files.bytes; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.bytes IS 'Size of the object.';


--
-- Name: COLUMN ingest_files.exported_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.exported_at IS 'Export time in its name.';


--
-- Name: COLUMN ingest_files.status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.status IS 'applied; rejected: refused as a whole; skipped: a snapshot that a newer or identical one made needless.';


--
-- Name: COLUMN ingest_files.staged; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.staged IS 'Rows of the file, the sum of the next eight counts.';


--
-- Name: COLUMN ingest_files.dropped_alarm; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.dropped_alarm IS 'Rows dropped because they are alarms.';


--
-- Name: COLUMN ingest_files.dropped_sentinel; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.dropped_sentinel IS 'EXPORT STOPPED lines dropped.';


--
-- Name: COLUMN ingest_files.rejected; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.rejected IS 'Rows now in tickets.rejected_rows.';


--
-- Name: COLUMN ingest_files.duplicates; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.duplicates IS 'Rows that a later line of the file replaced.';


--
-- Name: COLUMN ingest_files.stale; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.stale IS 'Rows older than what was known of their ticket.';


--
-- Name: COLUMN ingest_files.inserted; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.inserted IS 'Tickets new with this file.';


--
-- Name: COLUMN ingest_files.updated; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.updated IS 'Tickets changed by this file.';


--
-- Name: COLUMN ingest_files.unchanged; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.unchanged IS 'Rows that said what was known.';


--
-- Name: COLUMN ingest_files.closures; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.closures IS 'Closures first observed with this file.';


--
-- Name: COLUMN ingest_files.error_code; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.error_code IS 'Why it was refused: the SQLSTATE, TK….';


--
-- Name: COLUMN ingest_files.error; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.error IS 'Why it was refused, in words.';


--
-- Name: COLUMN ingest_files.error_line; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.error_line IS 'Line of the file at which it went wrong, if one can be named.';


--
-- Name: COLUMN ingest_files.extra_columns; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.extra_columns IS 'Columns that the contract does not know, kept in raw.';


--
-- Name: COLUMN ingest_files.missing_columns; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.missing_columns IS 'Columns of the contract that the file lacks.';


--
-- Name: COLUMN ingest_files.export_stopped; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.export_stopped IS 'Whether it carries an EXPORT STOPPED line: the export was cut short.';


--
-- Name: COLUMN ingest_files.seen_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.seen_at IS 'When it was first seen.';


--
-- Name: COLUMN ingest_files.applied_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.applied_at IS 'When it was applied.';


--
-- Name: COLUMN ingest_files.archived_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.archived_at IS 'When it was found in the archive, or in neither place any more.';


--
-- Name: COLUMN ingest_files.is_replaced; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.is_replaced IS 'Whether another content of the object was applied since: this one is new if it is put back.';


--
-- Name: COLUMN ingest_files.earlier_loads; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ingest_files.earlier_loads IS 'When it was applied before, and the counts of each time, the first first.';


--
-- Name: freshness; Type: VIEW; Schema: tickets; Owner: -
--

CREATE VIEW tickets.freshness AS
 SELECT d.dataset,
    (m.metadata ->> 'source_max_key'::text) AS source_max_key,
    w.exported_at,
    (
        CASE
            WHEN ((COALESCE(current_setting('tickets.now'::text, true), ''::text) <> ''::text) AND has_schema_privilege(SESSION_USER, 'tickets'::text, 'create'::text)) THEN (current_setting('tickets.now'::text))::timestamp with time zone
            ELSE now()
        END - w.exported_at) AS age,
    f.applied_at,
    COALESCE(f.applied, (0)::bigint) AS files_applied,
    COALESCE(f.refused, (0)::bigint) AS files_refused,
    COALESCE(f.unarchived, (0)::bigint) AS files_unarchived,
    r.captured_at AS last_run_at
   FROM ((((tickets.datasets d
     LEFT JOIN tickets.import_meta m ON ((m.dataset = d.dataset)))
     LEFT JOIN LATERAL ( SELECT max(k.exported_at) AS exported_at
           FROM tickets.ingest_files k
          WHERE ((k.dataset = d.dataset) AND (k.source_key = (m.metadata ->> 'source_max_key'::text)))) w ON (true))
     LEFT JOIN ( SELECT i.dataset,
            max(i.applied_at) AS applied_at,
            count(*) FILTER (WHERE (i.status = 'applied'::text)) AS applied,
            count(*) FILTER (WHERE ((i.status = 'rejected'::text) AND (NOT (EXISTS ( SELECT
                   FROM tickets.ingest_files mended
                  WHERE ((mended.dataset = i.dataset) AND (mended.source_key = i.source_key) AND (mended.status = 'applied'::text))))))) AS refused,
            count(*) FILTER (WHERE ((i.status = ANY (ARRAY['applied'::text, 'skipped'::text])) AND (i.archived_at IS NULL) AND (i.source_key !~~ 'manual:%'::text))) AS unarchived
           FROM tickets.ingest_files i
          GROUP BY i.dataset) f ON ((f.dataset = d.dataset)))
     LEFT JOIN LATERAL ( SELECT s.captured_at
           FROM tickets.daily_snapshot s
          WHERE (s.dataset = d.dataset)
          ORDER BY s.day DESC, s.captured_at DESC
         LIMIT 1) r ON (true))
  ORDER BY d.dataset;


--
-- Name: VIEW freshness; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON VIEW tickets.freshness IS 'How far each dataset is: watermark, its age, files by state.';


--
-- Name: COLUMN freshness.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.freshness.dataset IS 'Dataset.';


--
-- Name: COLUMN freshness.source_max_key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.freshness.source_max_key IS 'The newest file applied, the watermark.';


--
-- Name: COLUMN freshness.exported_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.freshness.exported_at IS 'Export time of the watermark.';


--
-- Name: COLUMN freshness.age; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.freshness.age IS 'How long ago that is.';


--
-- Name: COLUMN freshness.applied_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.freshness.applied_at IS 'When a file was last applied.';


--
-- Name: COLUMN freshness.files_applied; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.freshness.files_applied IS 'Files applied, of all time.';


--
-- Name: COLUMN freshness.files_refused; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.freshness.files_refused IS 'Files refused and not mended.';


--
-- Name: COLUMN freshness.files_unarchived; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.freshness.files_unarchived IS 'Files done with and not in the archive yet.';


--
-- Name: COLUMN freshness.last_run_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.freshness.last_run_at IS 'When a run last came to its end, with or without anything new; NULL before the first ticket.';


--
-- Name: geo_clusters; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.geo_clusters (
    cluster text NOT NULL COLLATE pg_catalog."C",
    geom public.geometry(Point,4326),
    provider text,
    query text,
    status text DEFAULT 'ok'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    fetched_at timestamp with time zone,
    verified boolean DEFAULT false NOT NULL,
    used_geom public.geometry(Point,4326) GENERATED ALWAYS AS (
CASE
    WHEN ((status = 'ok'::text) OR verified) THEN geom
    ELSE NULL::public.geometry
END) STORED,
    CONSTRAINT cluster_has_a_name CHECK ((cluster <> ''::text)),
    CONSTRAINT point_is_on_the_earth CHECK ((((public.st_x(geom) >= ('-180'::integer)::double precision) AND (public.st_x(geom) <= (180)::double precision)) AND ((public.st_y(geom) >= ('-90'::integer)::double precision) AND (public.st_y(geom) <= (90)::double precision)))),
    CONSTRAINT status_is_known CHECK ((status = ANY (ARRAY['ok'::text, 'no_match'::text, 'rejected_far'::text, 'error'::text])))
);


--
-- Name: TABLE geo_clusters; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.geo_clusters IS 'Where each cluster is. Tickets without a better point stand there, and follow every change.';


--
-- Name: COLUMN geo_clusters.cluster; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_clusters.cluster IS 'Cluster, as tickets name it.';


--
-- Name: COLUMN geo_clusters.geom; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_clusters.geom IS 'The point that was found, WGS 84; one that was refused is kept for a person to look at.';


--
-- Name: COLUMN geo_clusters.provider; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_clusters.provider IS 'Who answered: a geocoder, or a person.';


--
-- Name: COLUMN geo_clusters.query; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_clusters.query IS 'What was asked.';


--
-- Name: COLUMN geo_clusters.status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_clusters.status IS 'ok; no_match; rejected_far: further from the cluster than a place of it can be; error: no answer.';


--
-- Name: COLUMN geo_clusters.attempts; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_clusters.attempts IS 'How often it was asked.';


--
-- Name: COLUMN geo_clusters.fetched_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_clusters.fetched_at IS 'When it was last asked.';


--
-- Name: COLUMN geo_clusters.verified; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_clusters.verified IS 'Whether a person has checked it; the geocoder leaves it alone from then on.';


--
-- Name: COLUMN geo_clusters.used_geom; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_clusters.used_geom IS 'The point that tickets get: geom, where status is ok or a person has verified it.';


--
-- Name: geo_locations; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.geo_locations (
    place text NOT NULL COLLATE pg_catalog."C",
    cluster text NOT NULL COLLATE pg_catalog."C",
    geom public.geometry(Point,4326),
    provider text,
    query text,
    status text DEFAULT 'ok'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    fetched_at timestamp with time zone,
    verified boolean DEFAULT false NOT NULL,
    used_geom public.geometry(Point,4326) GENERATED ALWAYS AS (
CASE
    WHEN ((status = 'ok'::text) OR verified) THEN geom
    ELSE NULL::public.geometry
END) STORED,
    CONSTRAINT cluster_has_a_name CHECK ((cluster <> ''::text)),
    CONSTRAINT place_has_a_name CHECK ((place <> ''::text)),
    CONSTRAINT point_is_on_the_earth CHECK ((((public.st_x(geom) >= ('-180'::integer)::double precision) AND (public.st_x(geom) <= (180)::double precision)) AND ((public.st_y(geom) >= ('-90'::integer)::double precision) AND (public.st_y(geom) <= (90)::double precision)))),
    CONSTRAINT status_is_known CHECK ((status = ANY (ARRAY['ok'::text, 'no_match'::text, 'rejected_far'::text, 'error'::text])))
);


--
-- Name: TABLE geo_locations; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.geo_locations IS 'Where each place of a cluster is. Its tickets stand there, and follow every change.';


--
-- Name: COLUMN geo_locations.place; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_locations.place IS 'Place, as tickets.clean_place gives it.';


--
-- Name: COLUMN geo_locations.cluster; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_locations.cluster IS 'Cluster of the tickets that name it.';


--
-- Name: COLUMN geo_locations.geom; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_locations.geom IS 'The point that was found, WGS 84; one that was refused is kept for a person to look at.';


--
-- Name: COLUMN geo_locations.provider; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_locations.provider IS 'Who answered: a geocoder, or a person.';


--
-- Name: COLUMN geo_locations.query; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_locations.query IS 'What was asked.';


--
-- Name: COLUMN geo_locations.status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_locations.status IS 'ok; no_match; rejected_far: further from the cluster than a place of it can be; error: no answer.';


--
-- Name: COLUMN geo_locations.attempts; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_locations.attempts IS 'How often it was asked.';


--
-- Name: COLUMN geo_locations.fetched_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_locations.fetched_at IS 'When it was last asked.';


--
-- Name: COLUMN geo_locations.verified; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_locations.verified IS 'Whether a person has checked it; the geocoder leaves it alone from then on.';


--
-- Name: COLUMN geo_locations.used_geom; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_locations.used_geom IS 'The point that tickets get: geom, where status is ok or a person has verified it.';


--
-- Name: place_codes; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.place_codes (
    code text NOT NULL,
    pattern text NOT NULL,
    CONSTRAINT pattern_is_a_regular_expression CHECK ((regexp_replace(''::text, pattern, ''::text) = ''::text))
);


--
-- Name: TABLE place_codes; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.place_codes IS 'Network codes that are no part of a place''s name, as written in location_name. A change moves the tickets it concerns.';


--
-- Name: COLUMN place_codes.code; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.place_codes.code IS 'The code, as a person writes it.';


--
-- Name: COLUMN place_codes.pattern; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.place_codes.pattern IS 'The regular expression of it, in any case, where no letter or digit stands before it.';


--
-- Name: geo_review; Type: VIEW; Schema: tickets; Owner: -
--

CREATE VIEW tickets.geo_review AS
 WITH open_tickets AS (
         SELECT (t.cluster COLLATE "C") AS cluster,
            (btrim(regexp_replace(
                CASE
                    WHEN (c.codes IS NULL) THEN t.location_name
                    ELSE regexp_replace(t.location_name, (('(?<![A-Za-z0-9])(?:'::text || c.codes) || ')'::text), ' '::text, 'gi'::text)
                END, '[_ \t\r\n]+'::text, ' '::text, 'g'::text)) COLLATE "C") AS place,
            (count(*))::integer AS tickets
           FROM (tickets.ticket t
             CROSS JOIN ( SELECT string_agg(p.pattern, '|'::text ORDER BY (length(p.pattern)) DESC, p.code) AS codes
                   FROM tickets.place_codes p) c)
          WHERE t.is_open
          GROUP BY (t.cluster COLLATE "C"), (btrim(regexp_replace(
                CASE
                    WHEN (c.codes IS NULL) THEN t.location_name
                    ELSE regexp_replace(t.location_name, (('(?<![A-Za-z0-9])(?:'::text || c.codes) || ')'::text), ' '::text, 'gi'::text)
                END, '[_ \t\r\n]+'::text, ' '::text, 'g'::text)) COLLATE "C")
        )
 SELECT r.kind,
    r.cluster,
    r.place,
    r.status,
    r.tickets,
    public.st_y(r.geom) AS latitude,
    public.st_x(r.geom) AS longitude,
    round(((r.distance)::numeric / (1000)::numeric), 1) AS distance_km,
    r.provider,
    r.query,
    r.attempts,
    r.fetched_at,
        CASE
            WHEN (r.geom IS NOT NULL) THEN format('https://www.openstreetmap.org/?mlat=%1$s&mlon=%2$s#map=15/%1$s/%2$s'::text, round((public.st_y(r.geom))::numeric, 6), round((public.st_x(r.geom))::numeric, 6))
            ELSE NULL::text
        END AS map
   FROM ( SELECT 'cluster'::text AS kind,
            g.cluster,
            (NULL::text COLLATE "C") AS place,
            g.geom,
            NULL::double precision AS distance,
            g.status,
            g.provider,
            g.query,
            g.attempts,
            g.fetched_at,
            (COALESCE(( SELECT sum(o.tickets) AS sum
                   FROM open_tickets o
                  WHERE ((o.cluster = g.cluster) OR (o.cluster IN ( SELECT a.alias
                           FROM tickets.cluster_aliases a
                          WHERE (a.cluster = g.cluster))))), (0)::bigint))::integer AS tickets
           FROM tickets.geo_clusters g
          WHERE (NOT g.verified)
        UNION ALL
         SELECT 'location'::text,
            g.cluster,
            g.place,
            g.geom,
            public.st_distance((g.geom)::public.geography, (COALESCE(c.used_geom, behind.used_geom))::public.geography) AS st_distance,
            g.status,
            g.provider,
            g.query,
            g.attempts,
            g.fetched_at,
            COALESCE(o.tickets, 0) AS "coalesce"
           FROM ((((tickets.geo_locations g
             LEFT JOIN open_tickets o ON (((o.cluster = g.cluster) AND (o.place = g.place))))
             LEFT JOIN tickets.geo_clusters c ON ((c.cluster = g.cluster)))
             LEFT JOIN tickets.cluster_aliases a ON ((a.alias = g.cluster)))
             LEFT JOIN tickets.geo_clusters behind ON ((behind.cluster = a.cluster)))
          WHERE (NOT g.verified)) r
  ORDER BY r.tickets DESC, r.cluster, r.place NULLS FIRST;


--
-- Name: VIEW geo_review; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON VIEW tickets.geo_review IS 'Places and clusters that are in a gazetteer and that no person has verified.';


--
-- Name: COLUMN geo_review.kind; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.kind IS 'cluster or location.';


--
-- Name: COLUMN geo_review.cluster; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.cluster IS 'Cluster.';


--
-- Name: COLUMN geo_review.place; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.place IS 'Place in the cluster; NULL for the cluster itself.';


--
-- Name: COLUMN geo_review.status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.status IS 'ok; rejected_far: too far from its cluster or abroad; no_match; error: no answer.';


--
-- Name: COLUMN geo_review.tickets; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.tickets IS 'Open tickets that name it; of a cluster also those that name it by an alias.';


--
-- Name: COLUMN geo_review.latitude; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.latitude IS 'Latitude of the point that was found.';


--
-- Name: COLUMN geo_review.longitude; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.longitude IS 'Longitude of the point that was found.';


--
-- Name: COLUMN geo_review.distance_km; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.distance_km IS 'Kilometres from the point of its cluster.';


--
-- Name: COLUMN geo_review.provider; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.provider IS 'Who answered.';


--
-- Name: COLUMN geo_review.query; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.query IS 'What was asked.';


--
-- Name: COLUMN geo_review.attempts; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.attempts IS 'How often it was asked.';


--
-- Name: COLUMN geo_review.fetched_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.fetched_at IS 'When it was last asked.';


--
-- Name: COLUMN geo_review.map; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geo_review.map IS 'Where to look at the point; NULL where there is none.';


--
-- Name: geocoder_requests; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.geocoder_requests (
    service text NOT NULL COLLATE pg_catalog."C",
    due_at timestamp with time zone NOT NULL
);


--
-- Name: TABLE geocoder_requests; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.geocoder_requests IS 'Requests of the day, made or about to be made, by which the limits of tickets.geocoder_services are kept.';


--
-- Name: COLUMN geocoder_requests.service; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoder_requests.service IS 'tickets.geocoder_services.service.';


--
-- Name: COLUMN geocoder_requests.due_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoder_requests.due_at IS 'When the request is made, not before.';


--
-- Name: geocoder_services; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.geocoder_services (
    service text NOT NULL COLLATE pg_catalog."C",
    per_second double precision,
    per_minute integer,
    per_day integer,
    paused_until timestamp with time zone,
    CONSTRAINT per_day_is_positive CHECK ((per_day > 0)),
    CONSTRAINT per_minute_is_positive CHECK ((per_minute > 0)),
    CONSTRAINT per_second_is_positive CHECK ((per_second > (0)::double precision)),
    CONSTRAINT service_has_a_name CHECK ((service <> ''::text))
);


--
-- Name: TABLE geocoder_services; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.geocoder_services IS 'What each geocoding service lets us ask. All runs share it; a service that is not here is added with its first request, without limits.';


--
-- Name: COLUMN geocoder_services.service; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoder_services.service IS 'The provider''s public service by its name, a server of one''s own by host and port.';


--
-- Name: COLUMN geocoder_services.per_second; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoder_services.per_second IS 'Requests a second; GEOCODER_RPS may ask for fewer. NULL for as many as GEOCODER_RPS says.';


--
-- Name: COLUMN geocoder_services.per_minute; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoder_services.per_minute IS 'Requests in any minute; NULL for no limit.';


--
-- Name: COLUMN geocoder_services.per_day; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoder_services.per_day IS 'Requests on a day of UTC; NULL for no limit.';


--
-- Name: COLUMN geocoder_services.paused_until; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoder_services.paused_until IS 'Nobody asks before: the service has said so, or was in trouble.';


--
-- Name: geocoding; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.geocoding (
    is_only_row boolean DEFAULT true NOT NULL,
    country text NOT NULL,
    country_code text NOT NULL,
    area public.geometry(Polygon,4326) NOT NULL,
    max_distance double precision DEFAULT 25000 NOT NULL,
    ask_again_after interval DEFAULT '30 days'::interval NOT NULL,
    CONSTRAINT ask_again_after_is_positive CHECK ((ask_again_after > '00:00:00'::interval)),
    CONSTRAINT country_code_has_two_lower_case_letters CHECK ((country_code ~ '^[a-z]{2}$'::text)),
    CONSTRAINT max_distance_is_positive CHECK ((max_distance > (0)::double precision)),
    CONSTRAINT there_is_one_row CHECK (is_only_row)
);


--
-- Name: TABLE geocoding; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.geocoding IS 'What geocoding goes by, one row.';


--
-- Name: COLUMN geocoding.is_only_row; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoding.is_only_row IS 'Keeps it one row.';


--
-- Name: COLUMN geocoding.country; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoding.country IS 'The country of the tickets, as it ends a question.';


--
-- Name: COLUMN geocoding.country_code; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoding.country_code IS 'Its code, ISO 3166, two lower-case letters.';


--
-- Name: COLUMN geocoding.area; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoding.area IS 'Box around it; a point outside is refused.';


--
-- Name: COLUMN geocoding.max_distance; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoding.max_distance IS 'Metres from the point of its cluster beyond which a place''s point is refused.';


--
-- Name: COLUMN geocoding.ask_again_after; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.geocoding.ask_again_after IS 'How old a missing match must be to be asked for again.';


--
-- Name: locks; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.locks (
    name text NOT NULL,
    key bigint DEFAULT hashtextextended((gen_random_uuid())::text, (0)::bigint) NOT NULL
);


--
-- Name: TABLE locks; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.locks IS 'Locks by name. Waiting ones are locks of the row; those of runs are advisory locks with its key.';


--
-- Name: COLUMN locks.name; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.locks.name IS 'load <dataset> and geocode <kind> for runs; tickets <dataset> and gazetteers between writers.';


--
-- Name: COLUMN locks.key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.locks.key IS 'Key of the advisory lock. It is replaced when somebody holds it who may not load.';


--
-- Name: held_locks; Type: VIEW; Schema: tickets; Owner: -
--

CREATE VIEW tickets.held_locks AS
 SELECT l.name,
    k.pid,
    a.usename AS login,
    a.application_name AS program,
    a.backend_start
   FROM (((tickets.locks l
     JOIN pg_locks k ON (((k.locktype = 'advisory'::text) AND k.granted AND (k.objsubid = 1) AND ((k.classid)::bigint = ((l.key >> 32) & '4294967295'::bigint)) AND ((k.objid)::bigint = (l.key & '4294967295'::bigint)))))
     JOIN pg_database d ON (((d.oid = k.database) AND (d.datname = current_database()))))
     LEFT JOIN pg_stat_activity a ON ((a.pid = k.pid)))
  ORDER BY l.name;


--
-- Name: VIEW held_locks; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON VIEW tickets.held_locks IS 'The runs at work: a row a lock that a session holds.';


--
-- Name: COLUMN held_locks.name; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.held_locks.name IS 'load <dataset> for a run that loads it, geocode <kind> for a geocoding run.';


--
-- Name: COLUMN held_locks.pid; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.held_locks.pid IS 'Process of the server that serves the session.';


--
-- Name: COLUMN held_locks.login; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.held_locks.login IS 'Who it is.';


--
-- Name: COLUMN held_locks.program; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.held_locks.program IS 'What its application_name says.';


--
-- Name: COLUMN held_locks.backend_start; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.held_locks.backend_start IS 'When it connected; NULL for sessions of others.';


--
-- Name: inc; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.inc (
    dataset text DEFAULT 'inc'::text NOT NULL,
    ticket_id text NOT NULL COLLATE pg_catalog."C",
    raw jsonb NOT NULL,
    normalized_status text,
    raw_status text,
    bucket text,
    is_actionable boolean,
    is_open boolean NOT NULL,
    cluster text COLLATE pg_catalog."C",
    region text,
    location_name text,
    assigned_team text,
    owner text,
    sla_status text,
    mttr integer,
    created_at_service timestamp with time zone,
    scheduled_at timestamp with time zone,
    closed_at timestamp with time zone,
    first_seen_at timestamp with time zone,
    last_seen_at timestamp with time zone,
    source_created_at timestamp with time zone,
    source_updated_at timestamp with time zone,
    source_key text COLLATE pg_catalog."C",
    exported_at timestamp with time zone,
    ingested_at timestamp with time zone DEFAULT tickets._now() NOT NULL,
    previous_source_key text COLLATE pg_catalog."C",
    previous_exported_at timestamp with time zone,
    geom public.geometry(Point,4326),
    geog public.geography(Point,4326),
    latitude double precision,
    longitude double precision,
    geo_source text NOT NULL,
    text_hash bigint,
    CONSTRAINT geo_source_is_known CHECK ((geo_source = ANY (ARRAY['feed'::text, 'location'::text, 'cluster'::text, 'none'::text]))),
    CONSTRAINT raw_is_an_object CHECK ((jsonb_typeof(raw) = 'object'::text)),
    CONSTRAINT ticket_id_agrees_with_raw CHECK (((raw ->> 'ticket_id'::text) = ticket_id))
)
WITH (fillfactor='85');


--
-- Name: TABLE inc; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.inc IS 'Customer faults (INC), a partition of tickets.ticket.';


--
-- Name: inc_daily_snapshot; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.inc_daily_snapshot (
    dataset text NOT NULL,
    day date NOT NULL,
    cluster text,
    open integer NOT NULL,
    actionable integer NOT NULL,
    breached integer NOT NULL,
    created integer NOT NULL,
    closed integer NOT NULL,
    captured_at timestamp with time zone DEFAULT tickets._now() NOT NULL
);


--
-- Name: TABLE inc_daily_snapshot; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.inc_daily_snapshot IS 'Backlog of INC by day and cluster.';


--
-- Name: inc_open_sla; Type: VIEW; Schema: tickets; Owner: -
--

CREATE VIEW tickets.inc_open_sla AS
 SELECT s.dataset,
    s.ticket_id,
    s.normalized_status,
    s.raw_status,
    s.is_actionable,
    s.cluster,
    s.region,
    s.location_name,
    s.assigned_team,
    s.owner,
    s.scheduled_at,
    s.opened_at,
    s.age,
    s.due_at,
    s.sla_state
   FROM tickets.open_sla s
  WHERE (s.dataset = 'inc'::text);


--
-- Name: VIEW inc_open_sla; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON VIEW tickets.inc_open_sla IS 'Open INC tickets: age, due time, and how each stands against the target.';


--
-- Name: COLUMN inc_open_sla.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.dataset IS 'Dataset, tickets.datasets.dataset.';


--
-- Name: COLUMN inc_open_sla.ticket_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.ticket_id IS 'Number of the ticket in the source, unique in its dataset.';


--
-- Name: COLUMN inc_open_sla.normalized_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.normalized_status IS 'Status as the export normalizes it.';


--
-- Name: COLUMN inc_open_sla.raw_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.raw_status IS 'Status as the source has it, trimmed, upper case.';


--
-- Name: COLUMN inc_open_sla.is_actionable; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.is_actionable IS 'Whether the field team can act on it; NULL if unstated.';


--
-- Name: COLUMN inc_open_sla.cluster; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.cluster IS 'Network cluster.';


--
-- Name: COLUMN inc_open_sla.region; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.region IS 'Region, trimmed, lower case.';


--
-- Name: COLUMN inc_open_sla.location_name; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.location_name IS 'Location as written in the source, network codes included.';


--
-- Name: COLUMN inc_open_sla.assigned_team; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.assigned_team IS 'Team it is assigned to.';


--
-- Name: COLUMN inc_open_sla.owner; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.owner IS 'Person it is assigned to.';


--
-- Name: COLUMN inc_open_sla.scheduled_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.scheduled_at IS 'Appointment.';


--
-- Name: COLUMN inc_open_sla.opened_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.opened_at IS 'created_at_service, else first_seen_at.';


--
-- Name: COLUMN inc_open_sla.age; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.age IS 'How long it has been open; NULL for a closed one.';


--
-- Name: COLUMN inc_open_sla.due_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.due_at IS 'opened_at and the sla_target of its dataset.';


--
-- Name: COLUMN inc_open_sla.sla_state; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.inc_open_sla.sla_state IS 'Of an open ticket: within, at_risk, breached, or unknown without opened_at; NULL if closed.';


--
-- Name: inc_staging; Type: TABLE; Schema: tickets; Owner: -
--

CREATE UNLOGGED TABLE tickets.inc_staging (
    dataset text DEFAULT 'inc'::text NOT NULL,
    source_key text DEFAULT COALESCE(NULLIF(current_setting('tickets.object_key'::text, true), ''::text), ('manual:'::text || COALESCE(NULLIF(regexp_replace(current_setting('tickets.source_key'::text, true), '^manual:'::text, ''::text), ''::text), to_char((statement_timestamp() AT TIME ZONE 'Africa/Nairobi'::text), 'YYYY-MM-DD"T"HH24-MI-SS-US'::text)))) NOT NULL COLLATE pg_catalog."C",
    line bigint DEFAULT nextval('tickets.staging_line'::regclass) NOT NULL,
    ticket_id text DEFAULT '<column not in file>'::text,
    normalized_status text DEFAULT '<column not in file>'::text,
    raw_status text DEFAULT '<column not in file>'::text,
    bucket text DEFAULT '<column not in file>'::text,
    is_actionable text DEFAULT '<column not in file>'::text,
    cluster text DEFAULT '<column not in file>'::text,
    region text DEFAULT '<column not in file>'::text,
    location_name text DEFAULT '<column not in file>'::text,
    assigned_team text DEFAULT '<column not in file>'::text,
    owner text DEFAULT '<column not in file>'::text,
    sla_status text DEFAULT '<column not in file>'::text,
    mttr text DEFAULT '<column not in file>'::text,
    created_at_service text DEFAULT '<column not in file>'::text,
    scheduled_at text DEFAULT '<column not in file>'::text,
    closed_at text DEFAULT '<column not in file>'::text,
    first_seen_at text DEFAULT '<column not in file>'::text,
    last_seen_at text DEFAULT '<column not in file>'::text,
    source_created_at text DEFAULT '<column not in file>'::text,
    source_updated_at text DEFAULT '<column not in file>'::text,
    latitude text DEFAULT '<column not in file>'::text,
    longitude text DEFAULT '<column not in file>'::text,
    service_type text DEFAULT '<column not in file>'::text,
    is_alarm text DEFAULT '<column not in file>'::text,
    is_auto_created text DEFAULT '<column not in file>'::text,
    is_auto_closed text DEFAULT '<column not in file>'::text,
    week_start text DEFAULT '<column not in file>'::text,
    week_end text DEFAULT '<column not in file>'::text,
    source_s3_bucket text DEFAULT '<column not in file>'::text,
    source_s3_key text DEFAULT '<column not in file>'::text,
    source_snapshot_id text DEFAULT '<column not in file>'::text,
    department text DEFAULT '<column not in file>'::text,
    source_type text DEFAULT '<column not in file>'::text,
    extra_1 text,
    extra_2 text,
    extra_3 text,
    extra_4 text,
    extra_5 text,
    extra_6 text,
    extra_7 text,
    extra_8 text,
    extra_9 text,
    extra_10 text,
    extra_11 text,
    extra_12 text,
    extra_13 text,
    extra_14 text,
    extra_15 text,
    extra_16 text,
    extra_17 text,
    extra_18 text,
    extra_19 text,
    extra_20 text,
    extra_21 text,
    extra_22 text,
    extra_23 text,
    extra_24 text,
    extra_25 text,
    extra_26 text,
    extra_27 text,
    extra_28 text,
    extra_29 text,
    extra_30 text,
    extra_31 text,
    extra_32 text
);


--
-- Name: TABLE inc_staging; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.inc_staging IS 'Staging of INC: \copy into its columns by name, then select * from tickets.apply_staged().';


--
-- Name: load_history; Type: VIEW; Schema: tickets; Owner: -
--

CREATE VIEW tickets.load_history AS
 SELECT f.dataset,
    f.source_key,
    f.exported_at,
    f.status,
    f.applied_at,
    f.archived_at,
    f.bytes,
    f.staged,
    f.inserted,
    f.updated,
    f.unchanged,
    f.stale,
    f.duplicates,
    f.dropped_alarm,
    f.dropped_sentinel,
    f.rejected,
    f.closures,
    f.export_stopped,
    f.extra_columns,
    f.missing_columns,
    f.error_code,
    f.error_line,
    f.error,
    f.seen_at,
    f.earlier_loads
   FROM tickets.ingest_files f
  ORDER BY COALESCE(f.applied_at, f.seen_at) DESC, f.dataset, f.source_key DESC;


--
-- Name: VIEW load_history; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON VIEW tickets.load_history IS 'The ledger as a person reads it, the latest file first.';


--
-- Name: COLUMN load_history.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.dataset IS 'Dataset.';


--
-- Name: COLUMN load_history.source_key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.source_key IS 'Key of the object; manual:… for rows staged by hand.';


--
-- Name: COLUMN load_history.exported_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.exported_at IS 'Export time in its name.';


--
-- Name: COLUMN load_history.status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.status IS 'applied; rejected: refused as a whole; skipped: a snapshot that a newer or identical one made needless.';


--
-- Name: COLUMN load_history.applied_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.applied_at IS 'When it was applied.';


--
-- Name: COLUMN load_history.archived_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.archived_at IS 'When it was found in the archive, or in neither place any more.';


--
-- Name: COLUMN load_history.bytes; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.bytes IS 'Size of the object.';


--
-- Name: COLUMN load_history.staged; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.staged IS 'Rows of the file, the sum of the next eight counts.';


--
-- Name: COLUMN load_history.inserted; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.inserted IS 'Tickets new with this file.';


--
-- Name: COLUMN load_history.updated; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.updated IS 'Tickets changed by this file.';


--
-- Name: COLUMN load_history.unchanged; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.unchanged IS 'Rows that said what was known.';


--
-- Name: COLUMN load_history.stale; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.stale IS 'Rows older than what was known of their ticket.';


--
-- Name: COLUMN load_history.duplicates; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.duplicates IS 'Rows that a later line of the file replaced.';


--
-- Name: COLUMN load_history.dropped_alarm; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.dropped_alarm IS 'Rows dropped because they are alarms.';


--
-- Name: COLUMN load_history.dropped_sentinel; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.dropped_sentinel IS 'EXPORT STOPPED lines dropped.';


--
-- Name: COLUMN load_history.rejected; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.rejected IS 'Rows now in tickets.rejected_rows.';


--
-- Name: COLUMN load_history.closures; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.closures IS 'Closures first observed with this file.';


--
-- Name: COLUMN load_history.export_stopped; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.export_stopped IS 'Whether it carries an EXPORT STOPPED line: the export was cut short.';


--
-- Name: COLUMN load_history.extra_columns; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.extra_columns IS 'Columns that the contract does not know, kept in raw.';


--
-- Name: COLUMN load_history.missing_columns; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.missing_columns IS 'Columns of the contract that the file lacks.';


--
-- Name: COLUMN load_history.error_code; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.error_code IS 'Why it was refused: the SQLSTATE, TK….';


--
-- Name: COLUMN load_history.error_line; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.error_line IS 'Line of the file at which it went wrong, if one can be named.';


--
-- Name: COLUMN load_history.error; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.error IS 'Why it was refused, in words.';


--
-- Name: COLUMN load_history.seen_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.seen_at IS 'When it was first seen.';


--
-- Name: COLUMN load_history.earlier_loads; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.load_history.earlier_loads IS 'When it was applied before, and the counts of each time, the first first.';


--
-- Name: rejected_rows; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.rejected_rows (
    dataset text NOT NULL,
    source_key text NOT NULL COLLATE pg_catalog."C",
    line bigint NOT NULL,
    reason text NOT NULL,
    raw jsonb NOT NULL,
    rejected_at timestamp with time zone DEFAULT tickets._now() NOT NULL
);


--
-- Name: TABLE rejected_rows; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.rejected_rows IS 'Rows of applied files that are no ticket, for mending at the source.';


--
-- Name: COLUMN rejected_rows.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.rejected_rows.dataset IS 'Dataset.';


--
-- Name: COLUMN rejected_rows.source_key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.rejected_rows.source_key IS 'The file.';


--
-- Name: COLUMN rejected_rows.line; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.rejected_rows.line IS 'Line of the file at which the row begins.';


--
-- Name: COLUMN rejected_rows.reason; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.rejected_rows.reason IS 'Why it was rejected.';


--
-- Name: COLUMN rejected_rows.raw; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.rejected_rows.raw IS 'The whole row as staged, blank values absent.';


--
-- Name: COLUMN rejected_rows.rejected_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.rejected_rows.rejected_at IS 'When.';


--
-- Name: status_events; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.status_events (
    status_event_id bigint NOT NULL,
    dataset text NOT NULL,
    ticket_id text NOT NULL COLLATE pg_catalog."C",
    from_open boolean,
    to_open boolean,
    from_status text,
    to_status text,
    from_team text,
    to_team text,
    from_owner text,
    to_owner text,
    exported_at timestamp with time zone,
    observed_at timestamp with time zone DEFAULT tickets._now() NOT NULL,
    source_key text COLLATE pg_catalog."C",
    from_normalized_status text,
    to_normalized_status text
);


--
-- Name: TABLE status_events; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.status_events IS 'Each observed change of open/closed, status, team or owner of a known ticket, append-only; a reopening is from_open false, to_open true.';


--
-- Name: COLUMN status_events.status_event_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.status_event_id IS 'Order of recording.';


--
-- Name: COLUMN status_events.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.dataset IS 'Dataset.';


--
-- Name: COLUMN status_events.ticket_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.ticket_id IS 'The ticket.';


--
-- Name: COLUMN status_events.from_open; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.from_open IS 'Whether it was open before.';


--
-- Name: COLUMN status_events.to_open; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.to_open IS 'Whether it is open after.';


--
-- Name: COLUMN status_events.from_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.from_status IS 'raw_status before.';


--
-- Name: COLUMN status_events.to_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.to_status IS 'raw_status after.';


--
-- Name: COLUMN status_events.from_team; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.from_team IS 'Team before.';


--
-- Name: COLUMN status_events.to_team; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.to_team IS 'Team after.';


--
-- Name: COLUMN status_events.from_owner; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.from_owner IS 'Owner before.';


--
-- Name: COLUMN status_events.to_owner; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.to_owner IS 'Owner after.';


--
-- Name: COLUMN status_events.exported_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.exported_at IS 'Export time of the file that brought it.';


--
-- Name: COLUMN status_events.observed_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.observed_at IS 'When it was recorded.';


--
-- Name: COLUMN status_events.source_key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.source_key IS 'The file that brought it.';


--
-- Name: COLUMN status_events.from_normalized_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.from_normalized_status IS 'normalized_status before.';


--
-- Name: COLUMN status_events.to_normalized_status; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.status_events.to_normalized_status IS 'normalized_status after.';


--
-- Name: overview; Type: VIEW; Schema: tickets; Owner: -
--

CREATE VIEW tickets.overview AS
 SELECT d.dataset,
    t.tickets,
    t.open,
    (t.tickets - t.open) AS closed,
    t.located,
    (( SELECT count(*) AS count
           FROM tickets.closure_events e
          WHERE (e.dataset = d.dataset)))::integer AS closures,
    (( SELECT count(*) AS count
           FROM tickets.status_events e
          WHERE (e.dataset = d.dataset)))::integer AS status_changes,
    (( SELECT count(*) AS count
           FROM tickets.rejected_rows r
          WHERE (r.dataset = d.dataset)))::integer AS rejected_rows,
    (( SELECT count(*) AS count
           FROM tickets.data_quality q
          WHERE (q.dataset = d.dataset)))::integer AS bad_values
   FROM (tickets.datasets d
     CROSS JOIN LATERAL ( SELECT (count(*))::integer AS tickets,
            (count(*) FILTER (WHERE k.is_open))::integer AS open,
            (count(k.geom))::integer AS located
           FROM tickets.ticket k
          WHERE (k.dataset = d.dataset)) t)
  ORDER BY d.dataset DESC;


--
-- Name: VIEW overview; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON VIEW tickets.overview IS 'How much there is of each dataset: tickets, history, oddities.';


--
-- Name: COLUMN overview.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.overview.dataset IS 'Dataset.';


--
-- Name: COLUMN overview.tickets; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.overview.tickets IS 'Tickets.';


--
-- Name: COLUMN overview.open; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.overview.open IS 'Open tickets.';


--
-- Name: COLUMN overview.closed; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.overview.closed IS 'Closed tickets.';


--
-- Name: COLUMN overview.located; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.overview.located IS 'Tickets with a point.';


--
-- Name: COLUMN overview.closures; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.overview.closures IS 'Closures recorded.';


--
-- Name: COLUMN overview.status_changes; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.overview.status_changes IS 'Changes of status, team or owner recorded.';


--
-- Name: COLUMN overview.rejected_rows; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.overview.rejected_rows IS 'Rows of applied files that are no ticket.';


--
-- Name: COLUMN overview.bad_values; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.overview.bad_values IS 'Values that did not cast, see tickets.data_quality.';


--
-- Name: snapshot_fence; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.snapshot_fence (
    dataset text NOT NULL,
    exported_at timestamp with time zone NOT NULL,
    source_key text NOT NULL COLLATE pg_catalog."C",
    ticket_ids text[] NOT NULL COLLATE pg_catalog."C",
    fingerprint bigint
);


--
-- Name: TABLE snapshot_fence; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.snapshot_fence IS 'The newest snapshot of each dataset. It repeats its tickets, which holds off older files.';


--
-- Name: COLUMN snapshot_fence.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.snapshot_fence.dataset IS 'Dataset, tickets.datasets.dataset.';


--
-- Name: COLUMN snapshot_fence.exported_at; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.snapshot_fence.exported_at IS 'Export time of the snapshot.';


--
-- Name: COLUMN snapshot_fence.source_key; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.snapshot_fence.source_key IS 'Its key in the bucket.';


--
-- Name: COLUMN snapshot_fence.ticket_ids; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.snapshot_fence.ticket_ids IS 'The tickets in it.';


--
-- Name: COLUMN snapshot_fence.fingerprint; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.snapshot_fence.fingerprint IS 'Exclusive or of hashes of the tickets: the same, in whatever order they come.';


--
-- Name: status_events_status_event_id_seq; Type: SEQUENCE; Schema: tickets; Owner: -
--

ALTER TABLE tickets.status_events ALTER COLUMN status_event_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME tickets.status_events_status_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: ticket_repeats; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.ticket_repeats (
    dataset text NOT NULL,
    ticket_id text NOT NULL COLLATE pg_catalog."C",
    repeats tickets.file_version[] NOT NULL,
    CONSTRAINT there_is_a_repeat CHECK ((cardinality(repeats) > 0))
)
WITH (fillfactor='70');


--
-- Name: TABLE ticket_repeats; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.ticket_repeats IS 'Tickets that later files repeated unchanged: those files, oldest first. No row, no repeat.';


--
-- Name: COLUMN ticket_repeats.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_repeats.dataset IS 'Dataset of the ticket.';


--
-- Name: COLUMN ticket_repeats.ticket_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_repeats.ticket_id IS 'The ticket.';


--
-- Name: COLUMN ticket_repeats.repeats; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.ticket_repeats.repeats IS 'The files after ticket.source_key that said the same; of snapshots only the newest.';


--
-- Name: unrecorded_changes; Type: TABLE; Schema: tickets; Owner: -
--

CREATE TABLE tickets.unrecorded_changes (
    dataset text NOT NULL,
    ticket_id text NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: TABLE unrecorded_changes; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON TABLE tickets.unrecorded_changes IS 'Tickets written or deleted by other means than a file since tickets.capture_history() looked.';


--
-- Name: COLUMN unrecorded_changes.dataset; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.unrecorded_changes.dataset IS 'Dataset of the ticket.';


--
-- Name: COLUMN unrecorded_changes.ticket_id; Type: COMMENT; Schema: tickets; Owner: -
--

COMMENT ON COLUMN tickets.unrecorded_changes.ticket_id IS 'The ticket.';


--
-- Name: crq; Type: TABLE ATTACH; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.ticket ATTACH PARTITION tickets.crq FOR VALUES IN ('crq');


--
-- Name: crq_daily_snapshot; Type: TABLE ATTACH; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.daily_snapshot ATTACH PARTITION tickets.crq_daily_snapshot FOR VALUES IN ('crq');


--
-- Name: crq_staging; Type: TABLE ATTACH; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.staging ATTACH PARTITION tickets.crq_staging FOR VALUES IN ('crq');


--
-- Name: inc; Type: TABLE ATTACH; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.ticket ATTACH PARTITION tickets.inc FOR VALUES IN ('inc');


--
-- Name: inc_daily_snapshot; Type: TABLE ATTACH; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.daily_snapshot ATTACH PARTITION tickets.inc_daily_snapshot FOR VALUES IN ('inc');


--
-- Name: inc_staging; Type: TABLE ATTACH; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.staging ATTACH PARTITION tickets.inc_staging FOR VALUES IN ('inc');


--
-- Name: closure_events a_closure_is_recorded_once; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.closure_events
    ADD CONSTRAINT a_closure_is_recorded_once UNIQUE NULLS NOT DISTINCT (ticket_id, closed_at, dataset);


--
-- Name: daily_snapshot a_day_and_cluster_stand_once; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.daily_snapshot
    ADD CONSTRAINT a_day_and_cluster_stand_once UNIQUE NULLS NOT DISTINCT (day, cluster, dataset);


--
-- Name: closure_events closure_events_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.closure_events
    ADD CONSTRAINT closure_events_pkey PRIMARY KEY (closure_event_id);


--
-- Name: cluster_aliases cluster_aliases_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.cluster_aliases
    ADD CONSTRAINT cluster_aliases_pkey PRIMARY KEY (alias);


--
-- Name: counted_days counted_days_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.counted_days
    ADD CONSTRAINT counted_days_pkey PRIMARY KEY (dataset);


--
-- Name: crq_daily_snapshot crq_daily_snapshot_day_cluster_dataset_key; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.crq_daily_snapshot
    ADD CONSTRAINT crq_daily_snapshot_day_cluster_dataset_key UNIQUE NULLS NOT DISTINCT (day, cluster, dataset);


--
-- Name: ticket ticket_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.ticket
    ADD CONSTRAINT ticket_pkey PRIMARY KEY (ticket_id, dataset);


--
-- Name: crq crq_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.crq
    ADD CONSTRAINT crq_pkey PRIMARY KEY (ticket_id, dataset);


--
-- Name: datasets datasets_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.datasets
    ADD CONSTRAINT datasets_pkey PRIMARY KEY (dataset);


--
-- Name: geo_clusters geo_clusters_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.geo_clusters
    ADD CONSTRAINT geo_clusters_pkey PRIMARY KEY (cluster);


--
-- Name: geo_locations geo_locations_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.geo_locations
    ADD CONSTRAINT geo_locations_pkey PRIMARY KEY (cluster, place);


--
-- Name: geocoder_services geocoder_services_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.geocoder_services
    ADD CONSTRAINT geocoder_services_pkey PRIMARY KEY (service);


--
-- Name: geocoding geocoding_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.geocoding
    ADD CONSTRAINT geocoding_pkey PRIMARY KEY (is_only_row);


--
-- Name: import_meta import_meta_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.import_meta
    ADD CONSTRAINT import_meta_pkey PRIMARY KEY (dataset);


--
-- Name: inc_daily_snapshot inc_daily_snapshot_day_cluster_dataset_key; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.inc_daily_snapshot
    ADD CONSTRAINT inc_daily_snapshot_day_cluster_dataset_key UNIQUE NULLS NOT DISTINCT (day, cluster, dataset);


--
-- Name: inc inc_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.inc
    ADD CONSTRAINT inc_pkey PRIMARY KEY (ticket_id, dataset);


--
-- Name: ingest_files ingest_files_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.ingest_files
    ADD CONSTRAINT ingest_files_pkey PRIMARY KEY (source_key, etag, dataset);


--
-- Name: locks locks_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.locks
    ADD CONSTRAINT locks_pkey PRIMARY KEY (name);


--
-- Name: place_codes place_codes_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.place_codes
    ADD CONSTRAINT place_codes_pkey PRIMARY KEY (code);


--
-- Name: rejected_rows rejected_rows_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.rejected_rows
    ADD CONSTRAINT rejected_rows_pkey PRIMARY KEY (source_key, line, dataset);


--
-- Name: snapshot_fence snapshot_fence_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.snapshot_fence
    ADD CONSTRAINT snapshot_fence_pkey PRIMARY KEY (dataset);


--
-- Name: status_events status_events_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.status_events
    ADD CONSTRAINT status_events_pkey PRIMARY KEY (status_event_id);


--
-- Name: ticket_repeats ticket_repeats_pkey; Type: CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.ticket_repeats
    ADD CONSTRAINT ticket_repeats_pkey PRIMARY KEY (ticket_id, dataset);


--
-- Name: closure_events_closed_at_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX closure_events_closed_at_idx ON tickets.closure_events USING brin (closed_at);


--
-- Name: crq_closed_at_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX crq_closed_at_idx ON tickets.crq USING btree (closed_at) WHERE (closed_at IS NOT NULL);


--
-- Name: crq_cluster_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX crq_cluster_idx ON tickets.crq USING btree ((
CASE
    WHEN (length(cluster) > 255) THEN (("left"(cluster, 222) || ' '::text) || md5(cluster))
    ELSE cluster
END));


--
-- Name: crq_geog_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX crq_geog_idx ON tickets.crq USING gist (geog) WHERE (geog IS NOT NULL);


--
-- Name: crq_geom_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX crq_geom_idx ON tickets.crq USING gist (geom) WHERE (geom IS NOT NULL);


--
-- Name: crq_open_geog_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX crq_open_geog_idx ON tickets.crq USING gist (geog) WHERE (is_open AND is_actionable AND (geog IS NOT NULL));


--
-- Name: crq_open_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX crq_open_idx ON tickets.crq USING btree (ticket_id) WHERE is_open;


--
-- Name: crq_opened_at_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX crq_opened_at_idx ON tickets.crq USING btree (COALESCE(created_at_service, first_seen_at));


--
-- Name: geocoder_requests_service_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX geocoder_requests_service_idx ON tickets.geocoder_requests USING btree (service, due_at);


--
-- Name: inc_closed_at_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX inc_closed_at_idx ON tickets.inc USING btree (closed_at) WHERE (closed_at IS NOT NULL);


--
-- Name: inc_cluster_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX inc_cluster_idx ON tickets.inc USING btree ((
CASE
    WHEN (length(cluster) > 255) THEN (("left"(cluster, 222) || ' '::text) || md5(cluster))
    ELSE cluster
END));


--
-- Name: inc_geog_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX inc_geog_idx ON tickets.inc USING gist (geog) WHERE (geog IS NOT NULL);


--
-- Name: inc_geom_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX inc_geom_idx ON tickets.inc USING gist (geom) WHERE (geom IS NOT NULL);


--
-- Name: inc_open_geog_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX inc_open_geog_idx ON tickets.inc USING gist (geog) WHERE (is_open AND is_actionable AND (geog IS NOT NULL));


--
-- Name: inc_open_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX inc_open_idx ON tickets.inc USING btree (ticket_id) WHERE is_open;


--
-- Name: inc_opened_at_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX inc_opened_at_idx ON tickets.inc USING btree (COALESCE(created_at_service, first_seen_at));


--
-- Name: ingest_files_unarchived_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX ingest_files_unarchived_idx ON tickets.ingest_files USING btree (dataset, source_key) WHERE ((archived_at IS NULL) AND (status = ANY (ARRAY['applied'::text, 'skipped'::text])));


--
-- Name: status_events_reopened_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX status_events_reopened_idx ON tickets.status_events USING btree (dataset, exported_at) WHERE ((NOT from_open) AND to_open);


--
-- Name: status_events_ticket_idx; Type: INDEX; Schema: tickets; Owner: -
--

CREATE INDEX status_events_ticket_idx ON tickets.status_events USING btree (ticket_id, dataset);


--
-- Name: crq_daily_snapshot_day_cluster_dataset_key; Type: INDEX ATTACH; Schema: tickets; Owner: -
--

ALTER INDEX tickets.a_day_and_cluster_stand_once ATTACH PARTITION tickets.crq_daily_snapshot_day_cluster_dataset_key;


--
-- Name: crq_pkey; Type: INDEX ATTACH; Schema: tickets; Owner: -
--

ALTER INDEX tickets.ticket_pkey ATTACH PARTITION tickets.crq_pkey;


--
-- Name: inc_daily_snapshot_day_cluster_dataset_key; Type: INDEX ATTACH; Schema: tickets; Owner: -
--

ALTER INDEX tickets.a_day_and_cluster_stand_once ATTACH PARTITION tickets.inc_daily_snapshot_day_cluster_dataset_key;


--
-- Name: inc_pkey; Type: INDEX ATTACH; Schema: tickets; Owner: -
--

ALTER INDEX tickets.ticket_pkey ATTACH PARTITION tickets.inc_pkey;


--
-- Name: ticket await_files; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER await_files BEFORE DELETE ON tickets.ticket FOR EACH ROW EXECUTE FUNCTION tickets._await_files();


--
-- Name: cluster_aliases await_gazetteers; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER await_gazetteers BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON tickets.cluster_aliases FOR EACH STATEMENT EXECUTE FUNCTION tickets._await_gazetteers();


--
-- Name: geo_clusters await_gazetteers; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER await_gazetteers BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON tickets.geo_clusters FOR EACH STATEMENT EXECUTE FUNCTION tickets._await_gazetteers();


--
-- Name: geo_locations await_gazetteers; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER await_gazetteers BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON tickets.geo_locations FOR EACH STATEMENT EXECUTE FUNCTION tickets._await_gazetteers();


--
-- Name: place_codes await_gazetteers; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER await_gazetteers BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON tickets.place_codes FOR EACH STATEMENT EXECUTE FUNCTION tickets._await_gazetteers();


--
-- Name: crq_staging check_staged; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER check_staged AFTER INSERT ON tickets.crq_staging FOR EACH STATEMENT WHEN ((COALESCE(current_setting('tickets.object_key'::text, true), ''::text) = ''::text)) EXECUTE FUNCTION tickets._check_staged();


--
-- Name: inc_staging check_staged; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER check_staged AFTER INSERT ON tickets.inc_staging FOR EACH STATEMENT WHEN ((COALESCE(current_setting('tickets.object_key'::text, true), ''::text) = ''::text)) EXECUTE FUNCTION tickets._check_staged();


--
-- Name: closure_events closure_events_are_append_only; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER closure_events_are_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON tickets.closure_events FOR EACH STATEMENT EXECUTE FUNCTION tickets._refuse_change();


--
-- Name: ticket derive_ticket; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER derive_ticket BEFORE INSERT OR UPDATE ON tickets.ticket FOR EACH ROW WHEN (((current_setting('tickets.triggers_are_spared_in'::text, true) IS DISTINCT FROM (pg_current_xact_id())::text) OR (NOT has_schema_privilege('tickets'::text, 'create'::text)))) EXECUTE FUNCTION tickets._derive_ticket();


--
-- Name: cluster_aliases follow_gazetteer_on_delete; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_delete AFTER DELETE ON tickets.cluster_aliases REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer('select alias as cluster, cluster as target from %s');


--
-- Name: geo_clusters follow_gazetteer_on_delete; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_delete AFTER DELETE ON tickets.geo_clusters REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer('select cluster, used_geom from %s where used_geom is not null');


--
-- Name: geo_locations follow_gazetteer_on_delete; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_delete AFTER DELETE ON tickets.geo_locations REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer('select cluster, place, used_geom from %s where used_geom is not null');


--
-- Name: place_codes follow_gazetteer_on_delete; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_delete AFTER DELETE ON tickets.place_codes REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer();


--
-- Name: cluster_aliases follow_gazetteer_on_insert; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_insert AFTER INSERT ON tickets.cluster_aliases REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer('select alias as cluster, cluster as target from %s');


--
-- Name: geo_clusters follow_gazetteer_on_insert; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_insert AFTER INSERT ON tickets.geo_clusters REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer('select cluster, used_geom from %s where used_geom is not null');


--
-- Name: geo_locations follow_gazetteer_on_insert; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_insert AFTER INSERT ON tickets.geo_locations REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer('select cluster, place, used_geom from %s where used_geom is not null');


--
-- Name: place_codes follow_gazetteer_on_insert; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_insert AFTER INSERT ON tickets.place_codes REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer();


--
-- Name: cluster_aliases follow_gazetteer_on_truncate; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_truncate AFTER TRUNCATE ON tickets.cluster_aliases FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer('select alias as cluster, cluster as target from %s');


--
-- Name: geo_clusters follow_gazetteer_on_truncate; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_truncate AFTER TRUNCATE ON tickets.geo_clusters FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer('select cluster, used_geom from %s where used_geom is not null');


--
-- Name: geo_locations follow_gazetteer_on_truncate; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_truncate AFTER TRUNCATE ON tickets.geo_locations FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer('select cluster, place, used_geom from %s where used_geom is not null');


--
-- Name: place_codes follow_gazetteer_on_truncate; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_truncate AFTER TRUNCATE ON tickets.place_codes FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer();


--
-- Name: cluster_aliases follow_gazetteer_on_update; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_update AFTER UPDATE ON tickets.cluster_aliases REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer('select alias as cluster, cluster as target from %s');


--
-- Name: geo_clusters follow_gazetteer_on_update; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_update AFTER UPDATE ON tickets.geo_clusters REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer('select cluster, used_geom from %s where used_geom is not null');


--
-- Name: geo_locations follow_gazetteer_on_update; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_update AFTER UPDATE ON tickets.geo_locations REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer('select cluster, place, used_geom from %s where used_geom is not null');


--
-- Name: place_codes follow_gazetteer_on_update; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER follow_gazetteer_on_update AFTER UPDATE ON tickets.place_codes REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tickets._follow_gazetteer();


--
-- Name: status_events status_events_are_append_only; Type: TRIGGER; Schema: tickets; Owner: -
--

CREATE TRIGGER status_events_are_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON tickets.status_events FOR EACH STATEMENT EXECUTE FUNCTION tickets._refuse_change();


--
-- Name: counted_days counted_days_dataset_fkey; Type: FK CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.counted_days
    ADD CONSTRAINT counted_days_dataset_fkey FOREIGN KEY (dataset) REFERENCES tickets.datasets(dataset);


--
-- Name: geocoder_requests geocoder_requests_service_fkey; Type: FK CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.geocoder_requests
    ADD CONSTRAINT geocoder_requests_service_fkey FOREIGN KEY (service) REFERENCES tickets.geocoder_services(service) ON DELETE CASCADE;


--
-- Name: import_meta import_meta_dataset_fkey; Type: FK CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.import_meta
    ADD CONSTRAINT import_meta_dataset_fkey FOREIGN KEY (dataset) REFERENCES tickets.datasets(dataset);


--
-- Name: ingest_files ingest_files_dataset_fkey; Type: FK CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.ingest_files
    ADD CONSTRAINT ingest_files_dataset_fkey FOREIGN KEY (dataset) REFERENCES tickets.datasets(dataset);


--
-- Name: rejected_rows rejected_rows_dataset_fkey; Type: FK CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.rejected_rows
    ADD CONSTRAINT rejected_rows_dataset_fkey FOREIGN KEY (dataset) REFERENCES tickets.datasets(dataset);


--
-- Name: snapshot_fence snapshot_fence_dataset_fkey; Type: FK CONSTRAINT; Schema: tickets; Owner: -
--

ALTER TABLE ONLY tickets.snapshot_fence
    ADD CONSTRAINT snapshot_fence_dataset_fkey FOREIGN KEY (dataset) REFERENCES tickets.datasets(dataset);


--
-- Name: SCHEMA reporting; Type: ACL; Schema: -; Owner: -
--

GRANT USAGE ON SCHEMA reporting TO fleettickets_reader;


--
-- Name: SCHEMA tickets; Type: ACL; Schema: -; Owner: -
--

GRANT USAGE ON SCHEMA tickets TO fleettickets_loader;
GRANT USAGE ON SCHEMA tickets TO fleettickets_reader;


--
-- Name: FUNCTION _dashboard(p_dataset text, p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone); Type: ACL; Schema: reporting; Owner: -
--

REVOKE ALL ON FUNCTION reporting._dashboard(p_dataset text, p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION _now(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._now() FROM PUBLIC;


--
-- Name: TABLE datasets; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.datasets TO fleettickets_loader;


--
-- Name: TABLE ticket_sla; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.ticket_sla TO fleettickets_loader;
GRANT SELECT ON TABLE tickets.ticket_sla TO fleettickets_reader;


--
-- Name: FUNCTION _feature(p_ticket tickets.ticket_sla); Type: ACL; Schema: reporting; Owner: -
--

REVOKE ALL ON FUNCTION reporting._feature(p_ticket tickets.ticket_sla) FROM PUBLIC;


--
-- Name: FUNCTION _freshness(p_dataset text); Type: ACL; Schema: reporting; Owner: -
--

REVOKE ALL ON FUNCTION reporting._freshness(p_dataset text) FROM PUBLIC;


--
-- Name: FUNCTION _read_window(p_window text, p_from timestamp with time zone, p_to timestamp with time zone, OUT window_text text, OUT window_from timestamp with time zone, OUT window_to timestamp with time zone); Type: ACL; Schema: reporting; Owner: -
--

REVOKE ALL ON FUNCTION reporting._read_window(p_window text, p_from timestamp with time zone, p_to timestamp with time zone, OUT window_text text, OUT window_from timestamp with time zone, OUT window_to timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION fn_backlog(p_dataset text, p_from date, p_to date, p_cluster text); Type: ACL; Schema: reporting; Owner: -
--

REVOKE ALL ON FUNCTION reporting.fn_backlog(p_dataset text, p_from date, p_to date, p_cluster text) FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.fn_backlog(p_dataset text, p_from date, p_to date, p_cluster text) TO fleettickets_reader;


--
-- Name: FUNCTION fn_crq_dashboard(p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone); Type: ACL; Schema: reporting; Owner: -
--

REVOKE ALL ON FUNCTION reporting.fn_crq_dashboard(p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.fn_crq_dashboard(p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone) TO fleettickets_reader;


--
-- Name: FUNCTION fn_inc_dashboard(p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone); Type: ACL; Schema: reporting; Owner: -
--

REVOKE ALL ON FUNCTION reporting.fn_inc_dashboard(p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.fn_inc_dashboard(p_cluster text, p_status text, p_window text, p_from timestamp with time zone, p_to timestamp with time zone) TO fleettickets_reader;


--
-- Name: FUNCTION fn_nearest_tickets(p_lat double precision, p_lng double precision, p_limit integer, p_dataset text); Type: ACL; Schema: reporting; Owner: -
--

REVOKE ALL ON FUNCTION reporting.fn_nearest_tickets(p_lat double precision, p_lng double precision, p_limit integer, p_dataset text) FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.fn_nearest_tickets(p_lat double precision, p_lng double precision, p_limit integer, p_dataset text) TO fleettickets_reader;


--
-- Name: FUNCTION fn_team_closures(p_dataset text, p_from timestamp with time zone, p_to timestamp with time zone); Type: ACL; Schema: reporting; Owner: -
--

REVOKE ALL ON FUNCTION reporting.fn_team_closures(p_dataset text, p_from timestamp with time zone, p_to timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.fn_team_closures(p_dataset text, p_from timestamp with time zone, p_to timestamp with time zone) TO fleettickets_reader;


--
-- Name: FUNCTION fn_tickets_for_map(p_dataset text, p_cluster text, p_status text); Type: ACL; Schema: reporting; Owner: -
--

REVOKE ALL ON FUNCTION reporting.fn_tickets_for_map(p_dataset text, p_cluster text, p_status text) FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.fn_tickets_for_map(p_dataset text, p_cluster text, p_status text) TO fleettickets_reader;


--
-- Name: FUNCTION tickets_mvt(z integer, x integer, y integer, query_params json); Type: ACL; Schema: reporting; Owner: -
--

REVOKE ALL ON FUNCTION reporting.tickets_mvt(z integer, x integer, y integer, query_params json) FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.tickets_mvt(z integer, x integer, y integer, query_params json) TO fleettickets_reader;


--
-- Name: FUNCTION _advance_watermark(p_dataset text, p_source_key text, p_snapshot_etag text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._advance_watermark(p_dataset text, p_source_key text, p_snapshot_etag text) FROM PUBLIC;


--
-- Name: FUNCTION _apply_file(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_staged bigint, p_extra_columns text[], p_missing_columns text[], p_dropped_lines integer, p_is_snapshot boolean, p_first_line bigint); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._apply_file(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_staged bigint, p_extra_columns text[], p_missing_columns text[], p_dropped_lines integer, p_is_snapshot boolean, p_first_line bigint) FROM PUBLIC;


--
-- Name: FUNCTION _await_files(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._await_files() FROM PUBLIC;


--
-- Name: FUNCTION _await_gazetteers(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._await_gazetteers() FROM PUBLIC;


--
-- Name: FUNCTION _boolean(p_text text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._boolean(p_text text) FROM PUBLIC;


--
-- Name: FUNCTION _capture_day(p_dataset text, p_in_full boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._capture_day(p_dataset text, p_in_full boolean) FROM PUBLIC;


--
-- Name: FUNCTION _catch_up(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._catch_up(p_dataset text) FROM PUBLIC;


--
-- Name: FUNCTION _check_dataset(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._check_dataset(p_dataset text) FROM PUBLIC;


--
-- Name: FUNCTION _check_manual_keys(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._check_manual_keys(p_dataset text) FROM PUBLIC;


--
-- Name: FUNCTION _check_rejected(p_result tickets.applied_file); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._check_rejected(p_result tickets.applied_file) FROM PUBLIC;


--
-- Name: FUNCTION _check_staged(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._check_staged() FROM PUBLIC;


--
-- Name: FUNCTION _clean_place(p_location_name text, p_codes text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._clean_place(p_location_name text, p_codes text) FROM PUBLIC;


--
-- Name: FUNCTION _clean_row(p_row tickets.staging, p_is_partial boolean, p_known_raw jsonb); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._clean_row(p_row tickets.staging, p_is_partial boolean, p_known_raw jsonb) FROM PUBLIC;


--
-- Name: FUNCTION _cluster_key(p_cluster text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._cluster_key(p_cluster text) FROM PUBLIC;


--
-- Name: FUNCTION _cluster_point(p_cluster text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._cluster_point(p_cluster text) FROM PUBLIC;


--
-- Name: FUNCTION _cluster_points(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._cluster_points() FROM PUBLIC;


--
-- Name: FUNCTION _contract_columns(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._contract_columns() FROM PUBLIC;


--
-- Name: FUNCTION _count_day(p_now tickets.counted_days); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._count_day(p_now tickets.counted_days) FROM PUBLIC;


--
-- Name: FUNCTION _count_lines(p_dataset text, p_source_key text, OUT fingerprint bigint, OUT repeated text[]); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._count_lines(p_dataset text, p_source_key text, OUT fingerprint bigint, OUT repeated text[]) FROM PUBLIC;


--
-- Name: FUNCTION _datasets(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._datasets(p_dataset text) FROM PUBLIC;


--
-- Name: FUNCTION _day_now(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._day_now(p_dataset text) FROM PUBLIC;


--
-- Name: FUNCTION _derive_ticket(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._derive_ticket() FROM PUBLIC;


--
-- Name: FUNCTION _derived(p_normalized_status text, p_raw_status text, p_bucket text, p_is_actionable text, p_cluster text, p_region text, p_location_name text, p_assigned_team text, p_owner text, p_sla_status text, p_mttr text, p_created_at_service text, p_scheduled_at text, p_closed_at text, p_first_seen_at text, p_last_seen_at text, p_source_created_at text, p_source_updated_at text, p_latitude text, p_longitude text, p_created_at_service_cast timestamp without time zone, p_scheduled_at_cast timestamp without time zone, p_closed_at_cast timestamp without time zone, p_first_seen_at_cast timestamp without time zone, p_last_seen_at_cast timestamp without time zone, p_source_created_at_cast timestamp without time zone, p_source_updated_at_cast timestamp without time zone); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._derived(p_normalized_status text, p_raw_status text, p_bucket text, p_is_actionable text, p_cluster text, p_region text, p_location_name text, p_assigned_team text, p_owner text, p_sla_status text, p_mttr text, p_created_at_service text, p_scheduled_at text, p_closed_at text, p_first_seen_at text, p_last_seen_at text, p_source_created_at text, p_source_updated_at text, p_latitude text, p_longitude text, p_created_at_service_cast timestamp without time zone, p_scheduled_at_cast timestamp without time zone, p_closed_at_cast timestamp without time zone, p_first_seen_at_cast timestamp without time zone, p_last_seen_at_cast timestamp without time zone, p_source_created_at_cast timestamp without time zone, p_source_updated_at_cast timestamp without time zone) FROM PUBLIC;


--
-- Name: FUNCTION _drop_ticket_indexes(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._drop_ticket_indexes(p_dataset text) FROM PUBLIC;


--
-- Name: FUNCTION _empty_staging(p_dataset text, p_source_keys text[]); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._empty_staging(p_dataset text, p_source_keys text[]) FROM PUBLIC;


--
-- Name: FUNCTION _exported_at(p_source_key text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._exported_at(p_source_key text) FROM PUBLIC;


--
-- Name: FUNCTION _extra_values(p_row tickets.staging, p_names text[]); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._extra_values(p_row tickets.staging, p_names text[]) FROM PUBLIC;


--
-- Name: FUNCTION _feed_point(p_latitude text, p_longitude text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._feed_point(p_latitude text, p_longitude text) FROM PUBLIC;


--
-- Name: FUNCTION _fence_snapshot(p_dataset text, p_version tickets.file_version, p_fingerprint bigint); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._fence_snapshot(p_dataset text, p_version tickets.file_version, p_fingerprint bigint) FROM PUBLIC;


--
-- Name: FUNCTION _follow_gazetteer(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._follow_gazetteer() FROM PUBLIC;


--
-- Name: FUNCTION _index_tickets(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._index_tickets(p_dataset text) FROM PUBLIC;


--
-- Name: FUNCTION _insert_version(p_run tickets.file_version[], p_previous tickets.file_version, p_version tickets.file_version, p_is_same boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._insert_version(p_run tickets.file_version[], p_previous tickets.file_version, p_version tickets.file_version, p_is_same boolean) FROM PUBLIC;


--
-- Name: FUNCTION _instant(p_text text, p_wall_time timestamp without time zone); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._instant(p_text text, p_wall_time timestamp without time zone) FROM PUBLIC;


--
-- Name: FUNCTION _is_due(p_status text, p_verified boolean, p_geom public.geometry, p_fetched_at timestamp with time zone, p_ask_before timestamp with time zone); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._is_due(p_status text, p_verified boolean, p_geom public.geometry, p_fetched_at timestamp with time zone, p_ask_before timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION _is_open(p_bucket text, p_closed_at text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._is_open(p_bucket text, p_closed_at text) FROM PUBLIC;


--
-- Name: FUNCTION _is_sentinel(p_row tickets.staging); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._is_sentinel(p_row tickets.staging) FROM PUBLIC;


--
-- Name: FUNCTION _judge_point(p_point public.geometry, p_near public.geometry, p_country_code text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._judge_point(p_point public.geometry, p_near public.geometry, p_country_code text) FROM PUBLIC;


--
-- Name: FUNCTION _judge_staged(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_is_whole boolean, p_is_snapshot boolean, p_is_first boolean, p_repeated text[], p_last_lines bigint[]); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._judge_staged(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_is_whole boolean, p_is_snapshot boolean, p_is_first boolean, p_repeated text[], p_last_lines bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION _keep_keys(p_raw jsonb, p_keys text[]); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._keep_keys(p_raw jsonb, p_keys text[]) FROM PUBLIC;


--
-- Name: FUNCTION _located_clusters(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._located_clusters() FROM PUBLIC;


--
-- Name: FUNCTION _lock_dataset(p_dataset text, p_for_session boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._lock_dataset(p_dataset text, p_for_session boolean) FROM PUBLIC;


--
-- Name: FUNCTION _lock_gazetteers(p_to_change boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._lock_gazetteers(p_to_change boolean) FROM PUBLIC;


--
-- Name: FUNCTION _lock_row(p_name text, p_is_shared boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._lock_row(p_name text, p_is_shared boolean) FROM PUBLIC;


--
-- Name: FUNCTION _lock_tickets(p_dataset text, p_to_apply boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._lock_tickets(p_dataset text, p_to_apply boolean) FROM PUBLIC;


--
-- Name: FUNCTION _map_header(p_source_key text, p_header text[]); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._map_header(p_source_key text, p_header text[]) FROM PUBLIC;


--
-- Name: FUNCTION _minutes(p_text text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._minutes(p_text text) FROM PUBLIC;


--
-- Name: FUNCTION _missing_in_row(p_row tickets.staging); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._missing_in_row(p_row tickets.staging) FROM PUBLIC;


--
-- Name: FUNCTION _no_such_place(p_cluster text, p_place text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._no_such_place(p_cluster text, p_place text) FROM PUBLIC;


--
-- Name: FUNCTION _not_in_file(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._not_in_file() FROM PUBLIC;


--
-- Name: FUNCTION _other_keys(p_row tickets.staging, p_extra_columns text[], p_is_partial boolean, p_known_raw jsonb); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._other_keys(p_row tickets.staging, p_extra_columns text[], p_is_partial boolean, p_known_raw jsonb) FROM PUBLIC;


--
-- Name: FUNCTION _place_codes(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._place_codes() FROM PUBLIC;


--
-- Name: FUNCTION _place_tickets(p_clusters text[]); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._place_tickets(p_clusters text[]) FROM PUBLIC;


--
-- Name: FUNCTION _places_of(p_clusters text[], p_location_names text[]); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._places_of(p_clusters text[], p_location_names text[]) FROM PUBLIC;


--
-- Name: FUNCTION _query_text(p_place text, p_cluster text, p_name text, p_country text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._query_text(p_place text, p_cluster text, p_name text, p_country text) FROM PUBLIC;


--
-- Name: FUNCTION _raw(p_ticket_id text, p_normalized_status text, p_raw_status text, p_bucket text, p_is_actionable text, p_cluster text, p_region text, p_location_name text, p_assigned_team text, p_owner text, p_sla_status text, p_mttr text, p_created_at_service text, p_scheduled_at text, p_closed_at text, p_first_seen_at text, p_last_seen_at text, p_source_created_at text, p_source_updated_at text, p_latitude text, p_longitude text, p_service_type text, p_is_alarm text, p_is_auto_created text, p_is_auto_closed text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._raw(p_ticket_id text, p_normalized_status text, p_raw_status text, p_bucket text, p_is_actionable text, p_cluster text, p_region text, p_location_name text, p_assigned_team text, p_owner text, p_sla_status text, p_mttr text, p_created_at_service text, p_scheduled_at text, p_closed_at text, p_first_seen_at text, p_last_seen_at text, p_source_created_at text, p_source_updated_at text, p_latitude text, p_longitude text, p_service_type text, p_is_alarm text, p_is_auto_created text, p_is_auto_closed text) FROM PUBLIC;


--
-- Name: FUNCTION _record_file(p_result tickets.applied_file, p_exported_at timestamp with time zone, p_etag text, p_bytes bigint, p_extra_columns text[], p_missing_columns text[]); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._record_file(p_result tickets.applied_file, p_exported_at timestamp with time zone, p_etag text, p_bytes bigint, p_extra_columns text[], p_missing_columns text[]) FROM PUBLIC;


--
-- Name: FUNCTION _refuse_change(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._refuse_change() FROM PUBLIC;


--
-- Name: FUNCTION _release_lock(p_name text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._release_lock(p_name text) FROM PUBLIC;


--
-- Name: FUNCTION _replace_file(p_dataset text, p_source_key text, p_etag text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._replace_file(p_dataset text, p_source_key text, p_etag text) FROM PUBLIC;


--
-- Name: FUNCTION _retry_hint(p_source_key text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._retry_hint(p_source_key text) FROM PUBLIC;


--
-- Name: FUNCTION _rows_on_lines(p_dataset text, p_source_key text, p_is_partial boolean, p_lines bigint[], p_all_but boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._rows_on_lines(p_dataset text, p_source_key text, p_is_partial boolean, p_lines bigint[], p_all_but boolean) FROM PUBLIC;


--
-- Name: FUNCTION _set_counted_day(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._set_counted_day(p_dataset text) FROM PUBLIC;


--
-- Name: FUNCTION _shrink_staging(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._shrink_staging(p_dataset text) FROM PUBLIC;


--
-- Name: FUNCTION _spare_triggers(p_are_spared boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._spare_triggers(p_are_spared boolean) FROM PUBLIC;


--
-- Name: FUNCTION _staged_files(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._staged_files(p_dataset text) FROM PUBLIC;


--
-- Name: FUNCTION _staged_kind(p_row tickets.staging); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._staged_kind(p_row tickets.staging) FROM PUBLIC;


--
-- Name: FUNCTION _staged_tickets(p_dataset text, p_source_key text, p_extra_columns text[], p_is_partial boolean, p_is_careful boolean, p_lines bigint[], p_all_but boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._staged_tickets(p_dataset text, p_source_key text, p_extra_columns text[], p_is_partial boolean, p_is_careful boolean, p_lines bigint[], p_all_but boolean) FROM PUBLIC;


--
-- Name: FUNCTION _staged_value(p_text text, p_is_partial boolean, p_known_raw jsonb, p_key text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._staged_value(p_text text, p_is_partial boolean, p_known_raw jsonb, p_key text) FROM PUBLIC;


--
-- Name: FUNCTION _text_hash(p_row tickets.staging); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._text_hash(p_row tickets.staging) FROM PUBLIC;


--
-- Name: FUNCTION _ticket_indexes(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._ticket_indexes(p_dataset text) FROM PUBLIC;


--
-- Name: FUNCTION _try_key(p_key bigint, p_for_session boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._try_key(p_key bigint, p_for_session boolean) FROM PUBLIC;


--
-- Name: FUNCTION _try_lock(p_name text, p_for_session boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._try_lock(p_name text, p_for_session boolean) FROM PUBLIC;


--
-- Name: FUNCTION _unless_blank(p_text text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._unless_blank(p_text text) FROM PUBLIC;


--
-- Name: FUNCTION _wall_time(p_text text, p_is_careful boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._wall_time(p_text text, p_is_careful boolean) FROM PUBLIC;


--
-- Name: FUNCTION _whole_row(p_row tickets.staging, p_extra_columns text[]); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._whole_row(p_row tickets.staging, p_extra_columns text[]) FROM PUBLIC;


--
-- Name: FUNCTION _write_tickets(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_staged bigint, p_extra_columns text[], p_is_partial boolean, p_dropped_lines integer, p_is_snapshot boolean, p_first_line bigint, p_repeated text[], p_last_lines bigint[], p_is_first boolean, p_is_careful boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets._write_tickets(p_dataset text, p_source_key text, p_exported_at timestamp with time zone, p_staged bigint, p_extra_columns text[], p_is_partial boolean, p_dropped_lines integer, p_is_snapshot boolean, p_first_line bigint, p_repeated text[], p_last_lines bigint[], p_is_first boolean, p_is_careful boolean) FROM PUBLIC;


--
-- Name: FUNCTION applied_migrations(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.applied_migrations() FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.applied_migrations() TO fleettickets_loader;


--
-- Name: FUNCTION apply_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint, p_header text[], p_rows bigint, p_dropped_lines integer, p_is_snapshot boolean); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.apply_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint, p_header text[], p_rows bigint, p_dropped_lines integer, p_is_snapshot boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.apply_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint, p_header text[], p_rows bigint, p_dropped_lines integer, p_is_snapshot boolean) TO fleettickets_loader;


--
-- Name: FUNCTION apply_staged(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.apply_staged(p_dataset text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.apply_staged(p_dataset text) TO fleettickets_loader;


--
-- Name: FUNCTION capture_history(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.capture_history(p_dataset text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.capture_history(p_dataset text) TO fleettickets_loader;


--
-- Name: FUNCTION clean_place(p_location_name text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.clean_place(p_location_name text) FROM PUBLIC;


--
-- Name: FUNCTION clusters_to_geocode(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.clusters_to_geocode() FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.clusters_to_geocode() TO fleettickets_loader;


--
-- Name: FUNCTION correct_place(p_cluster text, p_lat double precision, p_lng double precision, p_place text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.correct_place(p_cluster text, p_lat double precision, p_lng double precision, p_place text) FROM PUBLIC;


--
-- Name: FUNCTION dataset_of_key(p_source_key text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.dataset_of_key(p_source_key text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.dataset_of_key(p_source_key text) TO fleettickets_loader;


--
-- Name: FUNCTION eat_ts(p_text text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.eat_ts(p_text text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.eat_ts(p_text text) TO fleettickets_loader;


--
-- Name: FUNCTION finish_geocoding(p_kind text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.finish_geocoding(p_kind text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.finish_geocoding(p_kind text) TO fleettickets_loader;


--
-- Name: FUNCTION finish_run(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.finish_run(p_dataset text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.finish_run(p_dataset text) TO fleettickets_loader;


--
-- Name: FUNCTION import_state(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.import_state(p_dataset text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.import_state(p_dataset text) TO fleettickets_loader;


--
-- Name: FUNCTION locations_to_geocode(); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.locations_to_geocode() FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.locations_to_geocode() TO fleettickets_loader;


--
-- Name: FUNCTION mark_archived(p_dataset text, p_source_key text, p_etag text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.mark_archived(p_dataset text, p_source_key text, p_etag text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.mark_archived(p_dataset text, p_source_key text, p_etag text) TO fleettickets_loader;


--
-- Name: FUNCTION open_file(p_dataset text, p_source_key text, p_header text[]); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.open_file(p_dataset text, p_source_key text, p_header text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.open_file(p_dataset text, p_source_key text, p_header text[]) TO fleettickets_loader;


--
-- Name: FUNCTION pause_requests(p_service text, p_wait_ms integer); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.pause_requests(p_service text, p_wait_ms integer) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.pause_requests(p_service text, p_wait_ms integer) TO fleettickets_loader;


--
-- Name: FUNCTION record_answer(p_places text[], p_clusters text[], p_provider text, p_query text, p_outcome text, p_latitude double precision, p_longitude double precision, p_country_code text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.record_answer(p_places text[], p_clusters text[], p_provider text, p_query text, p_outcome text, p_latitude double precision, p_longitude double precision, p_country_code text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.record_answer(p_places text[], p_clusters text[], p_provider text, p_query text, p_outcome text, p_latitude double precision, p_longitude double precision, p_country_code text) TO fleettickets_loader;


--
-- Name: FUNCTION refuse_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint, p_error_code text, p_error text, p_error_line bigint); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.refuse_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint, p_error_code text, p_error text, p_error_line bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.refuse_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint, p_error_code text, p_error text, p_error_line bigint) TO fleettickets_loader;


--
-- Name: FUNCTION reject_place(p_cluster text, p_place text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.reject_place(p_cluster text, p_place text) FROM PUBLIC;


--
-- Name: FUNCTION reserve_request(p_service text, p_per_second double precision); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.reserve_request(p_service text, p_per_second double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.reserve_request(p_service text, p_per_second double precision) TO fleettickets_loader;


--
-- Name: FUNCTION skip_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.skip_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.skip_file(p_dataset text, p_source_key text, p_etag text, p_bytes bigint) TO fleettickets_loader;


--
-- Name: FUNCTION sort_files(p_dataset text, p_source_keys text[], p_etags text[]); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.sort_files(p_dataset text, p_source_keys text[], p_etags text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.sort_files(p_dataset text, p_source_keys text[], p_etags text[]) TO fleettickets_loader;


--
-- Name: FUNCTION staged_rows(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.staged_rows(p_dataset text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.staged_rows(p_dataset text) TO fleettickets_loader;


--
-- Name: FUNCTION start_geocoding(p_kind text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.start_geocoding(p_kind text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.start_geocoding(p_kind text) TO fleettickets_loader;


--
-- Name: FUNCTION start_run(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.start_run(p_dataset text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.start_run(p_dataset text) TO fleettickets_loader;


--
-- Name: FUNCTION unarchived_files(p_dataset text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.unarchived_files(p_dataset text) FROM PUBLIC;
GRANT ALL ON FUNCTION tickets.unarchived_files(p_dataset text) TO fleettickets_loader;


--
-- Name: FUNCTION verify_place(p_cluster text, p_place text); Type: ACL; Schema: tickets; Owner: -
--

REVOKE ALL ON FUNCTION tickets.verify_place(p_cluster text, p_place text) FROM PUBLIC;


--
-- Name: TABLE open_sla; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.open_sla TO fleettickets_loader;
GRANT SELECT ON TABLE tickets.open_sla TO fleettickets_reader;


--
-- Name: TABLE crq_open_sla; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.crq_open_sla TO fleettickets_loader;
GRANT SELECT ON TABLE tickets.crq_open_sla TO fleettickets_reader;


--
-- Name: SEQUENCE staging_line; Type: ACL; Schema: tickets; Owner: -
--

GRANT USAGE ON SEQUENCE tickets.staging_line TO fleettickets_loader;


--
-- Name: TABLE crq_staging; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT,INSERT,DELETE,TRUNCATE ON TABLE tickets.crq_staging TO fleettickets_loader;


--
-- Name: TABLE data_quality; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.data_quality TO fleettickets_loader;
GRANT SELECT ON TABLE tickets.data_quality TO fleettickets_reader;


--
-- Name: TABLE import_meta; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.import_meta TO fleettickets_loader;


--
-- Name: TABLE ingest_files; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.ingest_files TO fleettickets_loader;


--
-- Name: TABLE freshness; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.freshness TO fleettickets_loader;
GRANT SELECT ON TABLE tickets.freshness TO fleettickets_reader;


--
-- Name: TABLE geo_review; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.geo_review TO fleettickets_loader;
GRANT SELECT ON TABLE tickets.geo_review TO fleettickets_reader;


--
-- Name: TABLE held_locks; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.held_locks TO fleettickets_loader;
GRANT SELECT ON TABLE tickets.held_locks TO fleettickets_reader;


--
-- Name: TABLE inc_open_sla; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.inc_open_sla TO fleettickets_loader;
GRANT SELECT ON TABLE tickets.inc_open_sla TO fleettickets_reader;


--
-- Name: TABLE inc_staging; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT,INSERT,DELETE,TRUNCATE ON TABLE tickets.inc_staging TO fleettickets_loader;


--
-- Name: TABLE load_history; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.load_history TO fleettickets_loader;
GRANT SELECT ON TABLE tickets.load_history TO fleettickets_reader;


--
-- Name: TABLE rejected_rows; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.rejected_rows TO fleettickets_loader;


--
-- Name: TABLE overview; Type: ACL; Schema: tickets; Owner: -
--

GRANT SELECT ON TABLE tickets.overview TO fleettickets_loader;
GRANT SELECT ON TABLE tickets.overview TO fleettickets_reader;


--
-- PostgreSQL database dump complete
--


