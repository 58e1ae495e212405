--! Previous: sha1:2ebe78a38103c1a72042c964fd0329c00a565c5b
--! Hash: sha1:417abe302e487183006843b6a7a5c756e8273538
--! Message: every staged ticket by one definition

-- What a file brings is put together by tickets._staged_tickets, for new tickets and for those that
-- are here alike, by the same tickets._derived as whoever writes by hand.

alter table tickets.snapshot_fence add column fingerprint bigint;
comment on column tickets.snapshot_fence.fingerprint is
  'Exclusive or of hashes of the tickets: the same, in whatever order they come.';

drop function tickets._new_tickets(
  text, text, text[], boolean, boolean, text[], bigint[], boolean
);
drop function tickets._derived(jsonb, boolean);
drop function tickets._clean_row(tickets.staging, boolean);
drop function tickets._staged_value(text, boolean);
drop function tickets._judge_staged(
  text, text, timestamptz, boolean, boolean, boolean, text[], bigint[]
);
drop function tickets._count_lines(text, text);
drop function tickets._fence_snapshot(text, tickets.file_version, text[]);

--! Included functions/tickets._staged_value.sql
create or replace function tickets._staged_value(
  p_text text,
  p_is_partial boolean,
  p_known_raw jsonb,
  p_key text
)
  returns text
  language sql immutable parallel safe
as $$
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

comment on function tickets._staged_value(text, boolean, jsonb, text) is
  'A value of a staged row to the letter; NULL where it is blank, as before where it is not in the '
  'file.';
--! EndIncluded functions/tickets._staged_value.sql
--! Included functions/tickets._clean_row.sql
create or replace function tickets._clean_row(
  p_row tickets.staging,
  p_is_partial boolean,
  p_known_raw jsonb
)
  returns table (
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
    is_auto_closed text
  )
  language sql immutable rows 1 parallel safe
as $$
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

comment on function tickets._clean_row(tickets.staging, boolean, jsonb) is
  'What a staged row says of its ticket, cleaned, value by value.';
--! EndIncluded functions/tickets._clean_row.sql
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
  p_is_careful boolean
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

    Takes      what its raw says; whether to cast with care, as tickets._instant. Columns, not
               expressions: some are named more than once, and the planner copies this into the
               statement.
    Raises     nothing with care: what does not cast is NULL.

    No `set search_path`, so that the planner takes it apart; no `offset 0`, so that parallel
    workers can do it.
  */
  select p_normalized_status, p_raw_status, p_bucket, tickets._boolean(p_is_actionable),
    tickets._is_open(p_bucket, p_closed_at), p_cluster, p_region, p_location_name, p_assigned_team,
    p_owner, p_sla_status, tickets._minutes(p_mttr),
    tickets._instant(p_created_at_service, p_is_careful),
    tickets._instant(p_scheduled_at, p_is_careful),
    tickets._instant(p_closed_at, p_is_careful),
    tickets._instant(p_first_seen_at, p_is_careful),
    tickets._instant(p_last_seen_at, p_is_careful),
    tickets._instant(p_source_created_at, p_is_careful),
    tickets._instant(p_source_updated_at, p_is_careful),
    case
      when p_latitude is not null then tickets._feed_point(p_latitude, p_longitude)
    end;
$$;

comment on function tickets._derived(
  text, text, text, text, text, text, text, text, text, text,
  text, text, text, text, text, text, text, text, text, text, boolean
) is
  'What the typed columns of a ticket are, and the point of its own coordinates.';
--! EndIncluded functions/tickets._derived.sql
--! Included functions/tickets._staged_kind.sql
create or replace function tickets._staged_kind(p_row tickets.staging)
  returns text
  language sql stable parallel safe
as $$
  /*
    What a staged row is.

    Returns    ticket, alarm, sentinel, or the reason for which it is rejected.

    One expression, so that the planner copies it into the statement. Cheap questions first, of
    which most rows need no more.
  */
  select case
    when p_row.is_alarm <> 'false'
      and lower(btrim(p_row.is_alarm, E' \t\r\n')) in ('true', 't', '1', 'yes') then 'alarm'
    when p_row.ticket_id like '% %' and p_row.ticket_id ~* '^\s*export stopped' then 'sentinel'
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

comment on function tickets._staged_kind(tickets.staging) is
  'What a staged row is: ticket, alarm, sentinel, or the reason for which it is rejected.';
--! EndIncluded functions/tickets._staged_kind.sql
--! Included functions/tickets._count_lines.sql
create or replace function tickets._count_lines(
  p_dataset text,
  p_source_key text,
  out fingerprint bigint,
  out repeated text[]
)
  language plpgsql stable
  set search_path = ''
  set plan_cache_mode = force_custom_plan
  set work_mem = '64MB'
  -- To bring together what several workers have counted costs more than they save.
  set max_parallel_workers_per_gather = 0
as $$
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

comment on function tickets._count_lines(text, text) is
  'The fingerprint of a staged file''s tickets, and those that stand on more than one line.';
--! EndIncluded functions/tickets._count_lines.sql
--! Included functions/tickets._rows_on_lines.sql
create or replace function tickets._rows_on_lines(
  p_dataset text,
  p_source_key text,
  p_is_partial boolean,
  p_lines bigint[],
  p_all_but boolean
)
  returns table (staged tickets.staging, known_raw jsonb)
  language sql stable parallel safe
as $$
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

comment on function tickets._rows_on_lines(text, text, boolean, bigint[], boolean) is
  'Staged rows of a file by their lines, with what raw of their tickets says where that matters.';
--! EndIncluded functions/tickets._rows_on_lines.sql
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
  -- As tickets._instant needs them.
  set timezone = 'Africa/Nairobi'
  set datestyle = 'ISO, YMD'
as $$
/*
  Tickets that a staged file brings, as they are to be.

  Takes      as tickets._write_tickets; as tickets._rows_on_lines, which rows these are on.
  Returns    a row for each of those.
  Raises     as tickets._instant.

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
        case when c_is_whole then tickets._text_hash(r.staged) end as text_hash
      from tickets._rows_on_lines(p_dataset, p_source_key, p_is_partial, p_lines, p_all_but) as r
      cross join lateral tickets._clean_row(r.staged, p_is_partial, r.known_raw) as c
      offset bigint '0' -- keeps a value from being cleaned once for each place that names it
    ) as c
    cross join lateral tickets._derived(
      c.normalized_status, c.raw_status, c.bucket, c.is_actionable, c.cluster, c.region,
      c.location_name, c.assigned_team, c.owner, c.sla_status, c.mttr, c.created_at_service,
      c.scheduled_at, c.closed_at, c.first_seen_at, c.last_seen_at, c.source_created_at,
      c.source_updated_at, c.latitude, c.longitude, p_is_careful
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
--! Included functions/tickets._judge_staged.sql
create or replace function tickets._judge_staged(
  p_dataset text,
  p_source_key text,
  p_exported_at timestamptz,
  p_is_whole boolean,
  p_is_snapshot boolean,
  p_is_first boolean,
  p_repeated text[],
  p_last_lines bigint[]
)
  returns table (
    line bigint,
    ticket_id text,
    kind text,
    is_known boolean,
    fits boolean,
    has_repeats boolean
  )
  language plpgsql stable
  set search_path = ''
  set plan_cache_mode = force_custom_plan
  set work_mem = '64MB'
  set jit = off
as $$
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

comment on function tickets._judge_staged(
  text, text, timestamptz, boolean, boolean, boolean, text[], bigint[]
) is
  'What the staged rows of a file are, and which of them bring a ticket that is here already.';
--! EndIncluded functions/tickets._judge_staged.sql
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
  -- As tickets._instant needs them.
  set timezone = 'Africa/Nairobi'
  set datestyle = 'ISO, YMD'
as $$
/*
  Writes the tickets of a staged file, with their places, the order of their versions, their closure
  and status events, and its rejected rows: one statement, so that each question is asked once. Its
  parts see the tables as they were before it, which is how an event knows both sides.

  Takes      as tickets._apply_file; whether columns of the contract are missing; the tickets that
             stand on more than one line and the last line of each; whether there are no tickets
             yet; as tickets._instant, whether to cast with care.
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
    bit_xor(hashtextextended(k.ticket_id, 0))
  from unnest(v_ticket_ids) as k (ticket_id)
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
--! Included functions/tickets._apply_file.sql
create or replace function tickets._apply_file(
  p_dataset text,
  p_source_key text,
  p_exported_at timestamptz,
  p_staged bigint,
  p_extra_columns text[] default '{}',
  p_missing_columns text[] default '{}',
  p_dropped_lines integer default 0,
  p_is_snapshot boolean default false,
  p_first_line bigint default null
)
  returns tickets.applied_file
  language plpgsql volatile
  set search_path = ''
  set plan_cache_mode = force_custom_plan
  -- What the planner is to know of staging is told by a few rows.
  set default_statistics_target = 10
as $$
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

comment on function tickets._apply_file(
  text, text, timestamptz, bigint, text[], text[], integer, boolean, bigint
) is
  'Brings the staged rows of one file into tickets.ticket with its history, and counts them.';
--! EndIncluded functions/tickets._apply_file.sql
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
    r.source_updated_at, r.latitude, r.longitude, p_is_careful => true
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
