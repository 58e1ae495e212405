--! Previous: sha1:9b6a9ce863f63a12647663c48f7f2adaa19c63c2
--! Hash: sha1:399abd12ca5df41c67ecd5b13e4cc1e14f935845
--! Message: times are EAT at a fixed offset

-- EAT is UTC+3 in every year, which the zone database says from 1960 on. A time is of a year from
-- 1900 to 2200, or does not cast.

--! Included functions/tickets.eat_ts.sql
create or replace function tickets.eat_ts(p_text text)
  returns timestamptz
  language plpgsql immutable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function tickets.eat_ts(text) is
  'The instant that a timestamp of the export means: EAT unless it says else; NULL if it is none.';
--! EndIncluded functions/tickets.eat_ts.sql
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

    The shape is of a year that tickets.eat_ts takes.

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

    The caller has `set datestyle = 'ISO, YMD'`. One expression, so that the planner copies it into
    the statement. It names both arguments more than once: give it columns, not expressions. That is
    why casting, which is what takes time, is a function of its own.
  */
  select case
    when p_wall_time::text = p_text then p_wall_time at time zone interval '3 hours'
    else tickets.eat_ts(p_text)
  end;
$$;

comment on function tickets._instant(text, timestamp) is
  'What tickets.eat_ts says of a text, for many of them in one statement.';
--! EndIncluded functions/tickets._instant.sql
--! Included functions/tickets._cluster_key.sql
create or replace function tickets._cluster_key(p_cluster text)
  returns text
  language sql immutable parallel safe
as $$
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

comment on function tickets._cluster_key(text) is
  'What stands for a cluster where an index has to hold it: names longer than that with a hash.';
--! EndIncluded functions/tickets._cluster_key.sql
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
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_custom_plan
  set work_mem = '64MB'
  set jit = off
  -- As tickets._wall_time and tickets._instant need it.
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
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_custom_plan
  set work_mem = '64MB'
  -- What it looks up is in memory: it was a moment ago, or is to be written.
  set random_page_cost = 1.1
  -- Compiling this statement takes longer than running it.
  set jit = off
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

comment on function tickets._write_tickets(
  text, text, timestamptz, bigint, text[], boolean, integer, boolean, bigint, text[], bigint[],
  boolean, boolean
) is
  'Writes the tickets of a staged file with their history and its rejected rows, and counts them.';
--! EndIncluded functions/tickets._write_tickets.sql
--! Included functions/tickets._day_now.sql
create or replace function tickets._day_now(p_dataset text)
  returns tickets.counted_days
  language sql stable
  set search_path = pg_catalog, pg_temp
as $$
  /*
    What a count of the day goes by now: the day in Nairobi, and when an open ticket of the dataset
    must have been opened to be within its SLA target.
  */
  select d.dataset, (tickets._now() at time zone interval '3 hours')::date,
    tickets._now() - make_interval(secs => extract(epoch from d.sla_target)::float8)
  from tickets.datasets as d
  where d.dataset = p_dataset;
$$;

comment on function tickets._day_now(text) is
  'What a count of the day goes by now: the day in Nairobi, and what has breached its SLA target.';
--! EndIncluded functions/tickets._day_now.sql
--! Included functions/tickets._count_day.sql
create or replace function tickets._count_day(p_now tickets.counted_days)
  returns table (
    cluster text,
    open bigint,
    actionable bigint,
    breached bigint,
    created bigint,
    closed bigint
  )
  language plpgsql stable
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_custom_plan
  set jit = off
as $$
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

comment on function tickets._count_day(tickets.counted_days) is
  'What there is to count on a day of each cluster of a dataset.';
--! EndIncluded functions/tickets._count_day.sql
--! Included functions/tickets._capture_day.sql
create or replace function tickets._capture_day(
  p_dataset text,
  p_in_full boolean
)
  returns integer
  language plpgsql volatile
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_custom_plan
as $$
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

comment on function tickets._capture_day(text, boolean) is
  'Brings today''s rows of the daily snapshot of a dataset up to date.';
--! EndIncluded functions/tickets._capture_day.sql
--! Included functions/tickets._place_tickets.sql
create or replace function tickets._place_tickets(p_clusters text[] default null)
  returns bigint
  language plpgsql volatile
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_custom_plan
  set work_mem = '64MB'
  set jit = off
  -- Right after a first load the planner knows nothing of the tickets; by hash it is never far off.
  set enable_nestloop = off
  set enable_mergejoin = off
as $$
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

comment on function tickets._place_tickets(text[]) is
  'Puts the tickets of some clusters, or of all, where the gazetteers say; returns how many moved.';
--! EndIncluded functions/tickets._place_tickets.sql
--! Included functions/tickets._ticket_indexes.sql
create or replace function tickets._ticket_indexes(p_dataset text)
  returns table (name text, definition text)
  language sql stable
  set search_path = pg_catalog, pg_temp
as $$
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

comment on function tickets._ticket_indexes(text) is
  'The indexes of a dataset''s partition of tickets.ticket, and the statements that create them.';
--! EndIncluded functions/tickets._ticket_indexes.sql
--! Included functions/reporting.fn_backlog.sql
create or replace function reporting.fn_backlog(
  p_dataset text,
  p_from date,
  p_to date,
  p_cluster text default null
)
  returns table (
    day date,
    open integer,
    actionable integer,
    breached integer,
    created integer,
    closed integer
  )
  language plpgsql stable security definer
  set search_path = pg_catalog, pg_temp
as $$
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

comment on function reporting.fn_backlog(text, date, date, text) is
  'The backlog of a dataset day by day, from the daily snapshots; NULL for days without one.';
--! EndIncluded functions/reporting.fn_backlog.sql
--! Included functions/tickets.capture_history.sql
create or replace function tickets.capture_history(p_dataset text default null)
  returns table (dataset text, closures integer, clusters integer)
  language plpgsql volatile security definer
  set search_path = pg_catalog, pg_temp
as $$
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

comment on function tickets.capture_history(text) is
  'Records closures not recorded yet and today''s snapshot, of one dataset or all.';
--! EndIncluded functions/tickets.capture_history.sql
--! Included functions/reporting._read_window.sql
create or replace function reporting._read_window(
  p_window text,
  p_from timestamptz,
  p_to timestamptz,
  out window_text text,
  out window_from timestamptz,
  out window_to timestamptz
)
  language plpgsql stable
  set search_path = pg_catalog, pg_temp
  set timezone = '<+03>-03'
as $$
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

comment on function reporting._read_window(text, timestamptz, timestamptz) is
  'The two ends of the time that a dashboard looks at; TK031 or TK032 where there is none.';
--! EndIncluded functions/reporting._read_window.sql
--! Included functions/reporting._dashboard.sql
create or replace function reporting._dashboard(
  p_dataset text,
  p_cluster text,
  p_status text,
  p_window text,
  p_from timestamptz,
  p_to timestamptz
)
  returns json
  language plpgsql stable
  set search_path = pg_catalog, pg_temp
  set timezone = '<+03>-03'
  set plan_cache_mode = force_custom_plan
  set work_mem = '128MB'
  -- Compiling the query takes longer than running it.
  set jit = off
as $$
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

comment on function reporting._dashboard(text, text, text, text, timestamptz, timestamptz) is
  'The dashboard of a dataset: open tickets, closed ones of a window, numbers of both.';
--! EndIncluded functions/reporting._dashboard.sql
--! Included functions/reporting.fn_tickets_for_map.sql
create or replace function reporting.fn_tickets_for_map(
  p_dataset text default null,
  p_cluster text default null,
  p_status text default 'open'
)
  returns json
  language plpgsql stable security definer
  set search_path = pg_catalog, pg_temp
  set timezone = '<+03>-03'
  set plan_cache_mode = force_custom_plan
  set work_mem = '64MB'
  -- Compiling the query takes longer than running it.
  set jit = off
as $$
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

comment on function reporting.fn_tickets_for_map(text, text, text) is
  'The Tickets map: a GeoJSON FeatureCollection of located tickets, with a summary of all.';
--! EndIncluded functions/reporting.fn_tickets_for_map.sql
--! Included functions/reporting.fn_nearest_tickets.sql
create or replace function reporting.fn_nearest_tickets(
  p_lat double precision,
  p_lng double precision,
  p_limit integer default 20,
  p_dataset text default null
)
  returns table (
    dataset text,
    ticket_id text,
    metres double precision,
    normalized_status text,
    raw_status text,
    cluster text,
    region text,
    location_name text,
    assigned_team text,
    owner text,
    opened_at timestamptz,
    scheduled_at timestamptz,
    latitude double precision,
    longitude double precision,
    geo_source text
  )
  language plpgsql stable security definer
  set search_path = pg_catalog, pg_temp
  -- A plan for one dataset alone, where one is named.
  set plan_cache_mode = force_custom_plan
as $$
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

comment on function reporting.fn_nearest_tickets(
  double precision, double precision, integer, text
) is
  'The open, actionable tickets nearest to a point, with their distance in metres.';
--! EndIncluded functions/reporting.fn_nearest_tickets.sql
--! Included functions/reporting.tickets_mvt.sql
create or replace function reporting.tickets_mvt(
  z integer,
  x integer,
  y integer,
  query_params json default '{}'
)
  returns bytea
  language plpgsql stable security definer
  set search_path = pg_catalog, pg_temp
  set timezone = '<+03>-03'
  -- A plan for the tile and the filters at hand: one for all of them would go by no index.
  set plan_cache_mode = force_custom_plan
as $$
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

-- Martin merges the JSON of a comment into the TileJSON that it serves.
comment on function reporting.tickets_mvt(integer, integer, integer, json) is
  '{"description": "INC and CRQ tickets with a point.'
  ' Filters: dataset, cluster, status (open, closed, all).",'
  ' "minzoom": 0, "maxzoom": 22,'
  ' "vector_layers": [{"id": "tickets", "fields": {'
  '"dataset": "inc or crq", "ticket_id": "number, unique in its dataset",'
  ' "normalized_status": "text", "raw_status": "text", "bucket": "closed or pending",'
  ' "is_open": "boolean", "is_actionable": "boolean",'
  ' "cluster": "text", "region": "text", "location_name": "text",'
  ' "assigned_team": "text", "owner": "text",'
  ' "sla_status": "text, of closed tickets", "mttr": "minutes, of closed tickets",'
  ' "opened_at": "time", "scheduled_at": "time", "closed_at": "time",'
  ' "geo_source": "where the point comes from"}}]}';
--! EndIncluded functions/reporting.tickets_mvt.sql

-- What follows from raw follows anew, by the trigger. tickets.capture_history() then finds what
-- this means for the history.
with recomputed as (
  update tickets.ticket as t set raw = t.raw
  where least(
      t.created_at_service, t.scheduled_at, t.closed_at, t.first_seen_at, t.last_seen_at,
      t.source_created_at, t.source_updated_at
    ) < '1960-01-01 00:00+03'
    or greatest(
      t.created_at_service, t.scheduled_at, t.closed_at, t.first_seen_at, t.last_seen_at,
      t.source_created_at, t.source_updated_at
    ) >= '2201-01-01 00:00+03'
  returning t.dataset, t.ticket_id
)
insert into tickets.unrecorded_changes (dataset, ticket_id)
select r.dataset, r.ticket_id from recomputed as r;

-- The same closures by their new times, so that none is recorded twice. What a ticket says still was
-- right; of others it is not known whether their text had an offset, which is rare.
alter table tickets.closure_events disable trigger closure_events_are_append_only;
with wrong as (
  delete from tickets.closure_events as e
  where (e.closed_at < '1960-01-01 00:00+03' or e.closed_at >= '2201-01-01 00:00+03')
    and not exists (
      select from tickets.ticket as t
      where t.dataset = e.dataset and t.ticket_id = e.ticket_id and t.closed_at = e.closed_at
    )
  returning e.*
)
insert into tickets.closure_events (
  closure_event_id, dataset, ticket_id, closed_at, mttr, cluster, team, owner, observed_at,
  source_key
)
overriding system value
select w.closure_event_id, w.dataset, w.ticket_id,
  case
    when extract(year from l.closed_at) between 1900 and 2200
    then l.closed_at at time zone interval '3 hours'
  end,
  w.mttr, w.cluster, w.team, w.owner, w.observed_at, w.source_key
from wrong as w
cross join lateral (select w.closed_at at time zone 'Africa/Nairobi' as closed_at) as l
order by w.closure_event_id
on conflict (ticket_id, closed_at, dataset) do nothing;
alter table tickets.closure_events enable trigger closure_events_are_append_only;

-- A file that is loaded once more keeps what came of it before.
alter table tickets.ingest_files
  add column if not exists earlier_loads jsonb not null default '[]',
  drop constraint if exists earlier_loads_are_a_list,
  add constraint earlier_loads_are_a_list check (jsonb_typeof(earlier_loads) = 'array');
comment on column tickets.ingest_files.earlier_loads is
  'When it was applied before, and the counts of each time, the first first.';

--! Included functions/tickets._record_file.sql
create or replace function tickets._record_file(
  p_result tickets.applied_file,
  p_exported_at timestamptz,
  p_etag text default '',
  p_bytes bigint default null,
  p_extra_columns text[] default '{}',
  p_missing_columns text[] default '{}'
)
  returns void
  language plpgsql volatile
  set search_path = pg_catalog, pg_temp
  -- Of times in JSON.
  set timezone = '<+03>-03'
as $$
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

comment on function tickets._record_file(
  tickets.applied_file, timestamptz, text, bigint, text[], text[]
) is
  'Writes an applied file into the ledger.';
--! EndIncluded functions/tickets._record_file.sql
--! Included views/tickets.load_history.sql
create or replace view tickets.load_history as
select f.dataset, f.source_key, f.exported_at, f.status, f.applied_at, f.archived_at, f.bytes,
  f.staged, f.inserted, f.updated, f.unchanged, f.stale, f.duplicates, f.dropped_alarm,
  f.dropped_sentinel, f.rejected, f.closures, f.export_stopped, f.extra_columns,
  f.missing_columns, f.error_code, f.error_line, f.error, f.seen_at,
  f.earlier_loads
from tickets.ingest_files as f
order by coalesce(f.applied_at, f.seen_at) desc, f.dataset, f.source_key desc;

comment on view tickets.load_history is
  'The ledger as a person reads it, the latest file first.';
do $do$
declare
  v_column record;
begin
  for v_column in
    select a.attname,
      col_description('tickets.ingest_files'::regclass, f.attnum) as meaning
    from pg_attribute as a
    join pg_attribute as f on f.attrelid = 'tickets.ingest_files'::regclass
      and f.attname = a.attname
    where a.attrelid = 'tickets.load_history'::regclass and a.attnum > 0
  loop
    execute format(
      'comment on column tickets.load_history.%I is %L', v_column.attname, v_column.meaning
    );
  end loop;
end;
$do$;
--! EndIncluded views/tickets.load_history.sql

-- Clusters that are alike for 255 characters are told apart, from today's snapshot on.
do $do$
declare
  v_dataset text;
begin
  for v_dataset in select d.dataset from tickets.datasets as d loop
    execute format('drop index if exists tickets.%I', v_dataset || '_cluster_idx');
    perform tickets._index_tickets(v_dataset);
  end loop;
end;
$do$;
delete from tickets.counted_days as d
where exists (
  select from tickets.ticket as t where t.dataset = d.dataset and length(t.cluster) > 255
);
comment on column tickets.daily_snapshot.cluster is
  'Cluster, of more than 255 characters by its beginning and a hash; NULL for tickets without one.';

revoke all on all functions in schema tickets, reporting from public;
