--! Previous: sha1:417abe302e487183006843b6a7a5c756e8273538
--! Hash: sha1:937c6d9a58a8c1ba35f9ba68e3c0219aa7c4a44e
--! Message: each timestamp of a file is cast once

-- Casting is a function of its own, whose value can be looked at and used without doing it again.
drop function tickets._derived(
  text, text, text, text, text, text, text, text, text, text,
  text, text, text, text, text, text, text, text, text, text, boolean
);
drop function tickets._instant(text, boolean);

--! Included functions/tickets._minutes.sql
create or replace function tickets._minutes(p_text text)
  returns integer
  language sql immutable parallel safe
as $$
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
    when btrim(p_text, E' \t\r\n') ~ '^[0-9]{1,40}(\.[0-9]{1,40})?$' then
      case
        when round(btrim(p_text, E' \t\r\n')::numeric) <= 2147483647
        then round(btrim(p_text, E' \t\r\n')::numeric)::integer
      end
  end;
$$;

comment on function tickets._minutes(text) is
  'A duration of the export in whole minutes, half rounded up; NULL if it is no number.';
--! EndIncluded functions/tickets._minutes.sql
--! Included functions/tickets._wall_time.sql
create or replace function tickets._wall_time(p_text text, p_is_careful boolean)
  returns timestamp
  language sql stable parallel safe
as $$
  /*
    A text in the shape of most timestamps of the export, cast without a closer look, for many of
    them in one statement: the first half of tickets._instant.

    Takes      the text; whether all texts are to be looked at closely, which is not done here.
    Returns    what PostgreSQL takes it for, which need not be what it says: `24:00:00` is the next
               day. NULL for any other shape, and with care.
    Raises     22007, 22008 and others of their class: the text has the shape of a timestamp and is
               none. Then ask for all once more with care.

    The caller has `set datestyle = 'ISO, YMD'`. One expression, so that the planner copies it into
    the statement.
  */
  select case
    when not p_is_careful and p_text like '20__-__-__ __:__:__' then p_text::timestamp
  end;
$$;

comment on function tickets._wall_time(text, boolean) is
  'A text in the shape of most timestamps of the export, cast without a closer look.';
--! EndIncluded functions/tickets._wall_time.sql
--! Included functions/tickets._instant.sql
create or replace function tickets._instant(p_text text, p_wall_time timestamp)
  returns timestamptz
  language sql stable parallel safe
as $$
  /*
    What tickets.eat_ts says of a text, for many of them in one statement.

    Takes      the text; what tickets._wall_time says of it, which counts if it comes out as the
               text went in: `24:00:00` does not.
    Returns    the instant, NULL where the text is no timestamp.
    Raises     nothing.

    The caller has `set timezone = 'Africa/Nairobi'` and `set datestyle = 'ISO, YMD'`. One
    expression, so that the planner copies it into the statement. It names both arguments more than
    once: give it columns, not expressions. That is why casting, which is what takes time, is a
    function of its own.
  */
  select case
    when p_wall_time::text = p_text then p_wall_time::timestamptz
    else tickets.eat_ts(p_text)
  end;
$$;

comment on function tickets._instant(text, timestamp) is
  'What tickets.eat_ts says of a text, for many of them in one statement.';
--! EndIncluded functions/tickets._instant.sql
--! Included functions/tickets._derived.sql
create or replace function tickets._derived(
  p_normalized_status text,
  p_raw_status text,
  p_bucket text,
  p_is_actionable text,
  p_cluster text,
  p_region text,
  p_location_name text,
  p_assigned_team text,
  p_owner text,
  p_sla_status text,
  p_mttr text,
  p_created_at_service text,
  p_scheduled_at text,
  p_closed_at text,
  p_first_seen_at text,
  p_last_seen_at text,
  p_source_created_at text,
  p_source_updated_at text,
  p_latitude text,
  p_longitude text,
  p_created_at_service_cast timestamp default null,
  p_scheduled_at_cast timestamp default null,
  p_closed_at_cast timestamp default null,
  p_first_seen_at_cast timestamp default null,
  p_last_seen_at_cast timestamp default null,
  p_source_created_at_cast timestamp default null,
  p_source_updated_at_cast timestamp default null
)
  returns table (
    normalized_status text,
    raw_status text,
    bucket text,
    is_actionable boolean,
    is_open boolean,
    cluster text,
    region text,
    location_name text,
    assigned_team text,
    owner text,
    sla_status text,
    mttr integer,
    created_at_service timestamptz,
    scheduled_at timestamptz,
    closed_at timestamptz,
    first_seen_at timestamptz,
    last_seen_at timestamptz,
    source_created_at timestamptz,
    source_updated_at timestamptz,
    feed_geom public.geometry
  )
  language sql stable rows 1 parallel safe
as $$
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

comment on function tickets._derived(
  text, text, text, text, text, text, text, text, text, text,
  text, text, text, text, text, text, text, text, text, text,
  timestamp, timestamp, timestamp, timestamp, timestamp, timestamp, timestamp
) is
  'What the typed columns of a ticket are, and the point of its own coordinates.';
--! EndIncluded functions/tickets._derived.sql
--! Included functions/tickets._derive_ticket.sql
create or replace function tickets._derive_ticket()
  returns trigger
  language plpgsql volatile security definer
  set search_path = ''
as $$
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

comment on function tickets._derive_ticket() is
  'Trigger: the columns of a ticket are what follows from raw and the gazetteers.';
--! EndIncluded functions/tickets._derive_ticket.sql
--! Included functions/tickets._staged_tickets.sql
create or replace function tickets._staged_tickets(
  p_dataset text,
  p_source_key text,
  p_extra_columns text[],
  p_is_partial boolean,
  p_is_careful boolean,
  p_lines bigint[],
  p_all_but boolean
)
  returns table (
    ticket_id text,
    raw jsonb,
    text_hash bigint,
    normalized_status text,
    raw_status text,
    bucket text,
    is_actionable boolean,
    is_open boolean,
    cluster text,
    region text,
    location_name text,
    assigned_team text,
    owner text,
    sla_status text,
    mttr integer,
    created_at_service timestamptz,
    scheduled_at timestamptz,
    closed_at timestamptz,
    first_seen_at timestamptz,
    last_seen_at timestamptz,
    source_created_at timestamptz,
    source_updated_at timestamptz,
    geom public.geometry,
    geog public.geography,
    latitude float8,
    longitude float8,
    geo_source text
  )
  language plpgsql stable
  set search_path = ''
  set plan_cache_mode = force_custom_plan
  set work_mem = '64MB'
  set jit = off
  -- As tickets._wall_time and tickets._instant need them.
  set timezone = 'Africa/Nairobi'
  set datestyle = 'ISO, YMD'
as $$
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

comment on function tickets._staged_tickets(
  text, text, text[], boolean, boolean, bigint[], boolean
) is
  'Tickets that a staged file brings, as they are to be.';
--! EndIncluded functions/tickets._staged_tickets.sql
--! Included functions/tickets._write_tickets.sql
create or replace function tickets._write_tickets(
  p_dataset text,
  p_source_key text,
  p_exported_at timestamptz,
  p_staged bigint,
  p_extra_columns text[],
  p_is_partial boolean,
  p_dropped_lines integer,
  p_is_snapshot boolean,
  p_first_line bigint,
  p_repeated text[],
  p_last_lines bigint[],
  p_is_first boolean,
  p_is_careful boolean
)
  returns tickets.applied_file
  language plpgsql volatile
  set search_path = ''
  set plan_cache_mode = force_custom_plan
  set work_mem = '64MB'
  -- What it looks up is in memory: it was a moment ago, or is to be written.
  set random_page_cost = 1.1
  -- Compiling this statement takes longer than running it.
  set jit = off
  -- The day is that of Nairobi, wherever the session may be.
  set timezone = 'Africa/Nairobi'
as $$
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
  c_begins_at constant timestamptz := c_today.day;
  c_ends_at constant timestamptz := c_today.day + 1;
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
    select p_dataset, c_today.day, left(w.cluster, 255),
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
    group by left(w.cluster, 255)
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

comment on function tickets._write_tickets(
  text, text, timestamptz, bigint, text[], boolean, integer, boolean, bigint, text[], bigint[],
  boolean, boolean
) is
  'Writes the tickets of a staged file with their history and its rejected rows, and counts them.';
--! EndIncluded functions/tickets._write_tickets.sql
--! Included functions/tickets._fence_snapshot.sql
create or replace function tickets._fence_snapshot(
  p_dataset text,
  p_version tickets.file_version,
  p_fingerprint bigint
)
  returns void
  language plpgsql volatile
  set search_path = ''
  set plan_cache_mode = force_custom_plan
as $$
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

comment on function tickets._fence_snapshot(text, tickets.file_version, bigint) is
  'Remembers which tickets the snapshot just applied carries: it holds off whatever is older.';
--! EndIncluded functions/tickets._fence_snapshot.sql
