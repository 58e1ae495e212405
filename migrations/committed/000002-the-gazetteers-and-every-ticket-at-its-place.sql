--! Previous: sha1:2ae6d2ecff34c21eb6e5845ca8d0908f5dd204cd
--! Hash: sha1:d882a72d17476d16c31f7f22a2a99c0e6491ea2d
--! Message: the gazetteers, and every ticket at its place

--! Included functions/tickets._clean_place.sql
create or replace function tickets._clean_place(p_location_name text, p_codes text)
  returns text
  language sql immutable parallel safe
as $$
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

comment on function tickets._clean_place(text, text) is
  'The place that a ticket''s location names, without network codes; NULL where nothing is left.';
--! EndIncluded functions/tickets._clean_place.sql

-- The gazetteers --------------------------------------------------------------------------------

create table tickets.place_codes (
  code text primary key,
  pattern text not null,
  constraint pattern_is_a_regular_expression check (regexp_replace('', pattern, '') = '')
);
comment on table tickets.place_codes is
  'Network codes that are no part of a place''s name, as written in location_name. A change moves the tickets it concerns.';
comment on column tickets.place_codes.code is 'The code, as a person writes it.';
comment on column tickets.place_codes.pattern is
  'The regular expression of it, in any case, where no letter or digit stands before it.';

insert into tickets.place_codes (code, pattern) values
  ('NW_', 'NW_'),
  ('ADR_MNT_', 'ADR_MNT_'),
  ('FDT<n>', 'FDT[0-9]+(?![A-Za-z0-9])'),
  ('SDUS', 'SDUS(?![A-Za-z0-9])');

create table tickets.geo_clusters (
  cluster text collate "C" primary key,
  geom public.geometry(Point, 4326),
  provider text,
  query text,
  status text not null default 'ok',
  attempts integer not null default 0,
  fetched_at timestamptz,
  verified boolean not null default false,
  used_geom public.geometry(Point, 4326)
    generated always as (case when status = 'ok' or verified then geom end) stored,
  constraint cluster_has_a_name check (cluster <> ''),
  constraint status_is_known check (status in ('ok', 'no_match', 'rejected_far', 'error')),
  constraint point_is_on_the_earth check (
    public.st_x(geom) between -180 and 180 and public.st_y(geom) between -90 and 90
  )
);
comment on table tickets.geo_clusters is
  'Where each cluster is. Tickets without a better point stand there, and follow every change.';
comment on column tickets.geo_clusters.cluster is 'Cluster, as tickets name it.';

create table tickets.geo_locations (
  place text collate "C",
  cluster text collate "C",
  geom public.geometry(Point, 4326),
  provider text,
  query text,
  status text not null default 'ok',
  attempts integer not null default 0,
  fetched_at timestamptz,
  verified boolean not null default false,
  used_geom public.geometry(Point, 4326)
    generated always as (case when status = 'ok' or verified then geom end) stored,
  constraint geo_locations_pkey primary key (cluster, place),
  constraint place_has_a_name check (place <> ''),
  constraint cluster_has_a_name check (cluster <> ''),
  constraint status_is_known check (status in ('ok', 'no_match', 'rejected_far', 'error')),
  constraint point_is_on_the_earth check (
    public.st_x(geom) between -180 and 180 and public.st_y(geom) between -90 and 90
  )
);
comment on table tickets.geo_locations is
  'Where each place of a cluster is. Its tickets stand there, and follow every change.';
comment on column tickets.geo_locations.place is 'Place, as tickets.clean_place gives it.';
comment on column tickets.geo_locations.cluster is 'Cluster of the tickets that name it.';

do $do$
declare
  v_table text;
begin
  foreach v_table in array array['geo_clusters', 'geo_locations'] loop
    execute format(
      $sql$
        comment on column tickets.%1$I.geom is
          'The point that was found, WGS 84; one that was refused is kept for a person to look at.';
        comment on column tickets.%1$I.provider is 'Who answered: a geocoder, or a person.';
        comment on column tickets.%1$I.query is 'What was asked.';
        comment on column tickets.%1$I.status is
          'ok; no_match; rejected_far: further from the cluster than a place of it can be; error: no answer.';
        comment on column tickets.%1$I.attempts is 'How often it was asked.';
        comment on column tickets.%1$I.fetched_at is 'When it was last asked.';
        comment on column tickets.%1$I.verified is
          'Whether a person has checked it; the geocoder leaves it alone from then on.';
        comment on column tickets.%1$I.used_geom is
          'The point that tickets get: geom, where status is ok or a person has verified it.';
      $sql$,
      v_table
    );
  end loop;
end;
$do$;

create table tickets.cluster_aliases (
  alias text collate "C" primary key,
  cluster text collate "C" not null,
  constraint alias_is_another_name check (alias <> cluster)
);
comment on table tickets.cluster_aliases is
  'Other names of clusters. A cluster without a point of its own stands at that of the name behind its alias.';
comment on column tickets.cluster_aliases.alias is 'Cluster, as tickets name it.';
comment on column tickets.cluster_aliases.cluster is 'What it is called on a map.';

insert into tickets.cluster_aliases (alias, cluster) values
  ('QOA', 'Quarry Road'),
  ('PTMP', 'Pipeline');

-- A ticket's point: its own coordinates, else what the gazetteers say -----------------------------

-- They name the columns that are made anew.
drop view tickets.overview;
drop view tickets.data_quality;

alter table tickets.ticket
  drop column latitude,
  drop column longitude,
  drop column geom,
  drop column geog,
  drop column geo_source,
  -- As the gazetteers have it, and compared without the rules of a language.
  alter column cluster type text collate "C";
alter table tickets.ticket
  add column place_geom public.geometry(Point, 4326),
  add column place_source text,
  add column geom public.geometry(Point, 4326)
    generated always as (
      coalesce(tickets._feed_point(raw ->> 'latitude', raw ->> 'longitude'), place_geom)
    ) stored,
  add column geog public.geography(Point, 4326)
    generated always as (
      coalesce(tickets._feed_point(raw ->> 'latitude', raw ->> 'longitude'), place_geom)
        ::public.geography
    ) stored,
  add column latitude double precision
    generated always as (
      public.st_y(coalesce(tickets._feed_point(raw ->> 'latitude', raw ->> 'longitude'), place_geom))
    ) stored,
  add column longitude double precision
    generated always as (
      public.st_x(coalesce(tickets._feed_point(raw ->> 'latitude', raw ->> 'longitude'), place_geom))
    ) stored,
  add column geo_source text
    generated always as (
      case
        when tickets._feed_point(raw ->> 'latitude', raw ->> 'longitude') is not null then 'feed'
        else coalesce(place_source, 'none')
      end
    ) stored,
  add constraint place_source_is_known check (place_source in ('location', 'cluster')),
  add constraint a_place_has_a_source check ((place_geom is null) = (place_source is null));

comment on column tickets.ticket.place_geom is
  'Point that the gazetteers have for its place or cluster, whether used or not.';
comment on column tickets.ticket.place_source is 'Which of them: location or cluster.';
comment on column tickets.ticket.geom is
  'Point, WGS 84: its own coordinates, else of its place, else of its cluster.';
comment on column tickets.ticket.geog is 'geom as geography, for distances in metres.';
comment on column tickets.ticket.latitude is 'Latitude of geom in degrees.';
comment on column tickets.ticket.longitude is 'Longitude of geom in degrees.';
comment on column tickets.ticket.geo_source is
  'Where geom comes from: feed, location, cluster; none without one.';

create index ticket_geom_idx on tickets.ticket using gist (geom) where geom is not null;
create index ticket_geog_idx on tickets.ticket using gist (geog) where geog is not null;
create index ticket_cluster_idx on tickets.ticket (cluster);

--! Included functions/tickets._place_codes.sql
create or replace function tickets._place_codes()
  returns text
  language sql stable
  set search_path = ''
as $$
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

comment on function tickets._place_codes() is 'All network codes as one regular expression.';
--! EndIncluded functions/tickets._place_codes.sql
--! Included functions/tickets.clean_place.sql
create or replace function tickets.clean_place(p_location_name text)
  returns text
  language sql stable
  set search_path = ''
as $$
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

comment on function tickets.clean_place(text) is
  'The place that a ticket''s location names, without network codes; NULL where nothing is left.';
--! EndIncluded functions/tickets.clean_place.sql
--! Included functions/tickets._cluster_points.sql
create or replace function tickets._cluster_points()
  returns table (cluster text, geom public.geometry)
  language sql stable
as $$
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

comment on function tickets._cluster_points() is
  'The point of every cluster and alias that has one.';
--! EndIncluded functions/tickets._cluster_points.sql
--! Included functions/tickets._cluster_point.sql
create or replace function tickets._cluster_point(p_cluster text)
  returns public.geometry
  language sql stable
  set search_path = ''
as $$
  /*
    The point of a cluster, also under an alias; NULL where it has none.
  */
  select c.geom from tickets._cluster_points() as c where c.cluster = p_cluster;
$$;

comment on function tickets._cluster_point(text) is
  'The point of a cluster, also under an alias; NULL where it has none.';
--! EndIncluded functions/tickets._cluster_point.sql
--! Included functions/tickets._places_of.sql
create or replace function tickets._places_of(p_clusters text[], p_location_names text[])
  returns table (cluster text, location_name text, geom public.geometry, source text)
  language sql stable
as $$
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
    on l.place = tickets._clean_place(k.location_name, (select tickets._place_codes()))
    and l.cluster = k.cluster
    and l.used_geom is not null
  left join tickets._cluster_points() as c on c.cluster = k.cluster;
$$;

comment on function tickets._places_of(text[], text[]) is
  'Where the gazetteers put tickets of these clusters and locations.';
--! EndIncluded functions/tickets._places_of.sql
--! Included functions/tickets._lock_gazetteers.sql
create or replace function tickets._lock_gazetteers(p_to_change boolean)
  returns void
  language sql volatile
  set search_path = ''
as $$
  /*
    Keeps what tickets get from the gazetteers true while both change: whoever places tickets shares
    this lock, whoever changes a gazetteer has it alone, either till the end of the transaction.
    Waits for the others.
  */
  select case
    when p_to_change
    then pg_advisory_xact_lock(hashtext('fleettickets'), hashtext('<gazetteers>'))
    else pg_advisory_xact_lock_shared(hashtext('fleettickets'), hashtext('<gazetteers>'))
  end;
$$;

comment on function tickets._lock_gazetteers(boolean) is
  'Lets those who place tickets and those who change a gazetteer take turns.';
--! EndIncluded functions/tickets._lock_gazetteers.sql
--! Included functions/tickets._place_tickets.sql
create or replace function tickets._place_tickets(p_clusters text[] default null)
  returns bigint
  language plpgsql volatile
  set search_path = ''
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
  Touches    place_geom and place_source of tickets.ticket. The caller has the lock.
*/
declare
  v_clusters text[];
  v_location_names text[];
  v_moved bigint;
begin
  select array_agg(k.cluster), array_agg(k.location_name) into v_clusters, v_location_names
  from (
    select distinct t.cluster, t.location_name
    from tickets.ticket as t
    where t.cluster = any (p_clusters) or (p_clusters is null and t.cluster is not null)
  ) as k;

  -- Spares each row the trigger.
  perform set_config('tickets.is_placing', 'on', true);
  with places as materialized (
    select p.* from tickets._places_of(v_clusters, v_location_names) as p
  )
  update tickets.ticket as t
  set place_geom = p.geom, place_source = p.source
  from places as p
  where (t.cluster = any (p_clusters) or p_clusters is null)
    and t.cluster = p.cluster
    and coalesce(t.location_name, '') = coalesce(p.location_name, '')
    -- As text, because with an empty search_path a geometry has no = of its own.
    and (t.place_geom::text, t.place_source) is distinct from (p.geom::text, p.source);
  get diagnostics v_moved = row_count;
  perform set_config('tickets.is_placing', '', true);
  return v_moved;
end;
$$;

comment on function tickets._place_tickets(text[]) is
  'Puts the tickets of some clusters, or of all, where the gazetteers say; returns how many moved.';
--! EndIncluded functions/tickets._place_tickets.sql
--! Included functions/tickets._place_ticket.sql
create or replace function tickets._place_ticket()
  returns trigger
  language plpgsql volatile security definer
  set search_path = ''
as $$
/*
  Trigger on tickets.ticket: a ticket that is written by other means than a file gets its place from
  the gazetteers, whatever the writer says. Applying a file does it for all its tickets at once.

  After the row, although that writes some rows twice: beside a trigger before it, each update of a
  ticket would compute all of its generated columns anew.
*/
begin
  perform tickets._lock_gazetteers(p_to_change => false),
    set_config('tickets.is_placing', 'on', true);
  update tickets.ticket as t
  set place_geom = p.geom, place_source = p.source
  from tickets._places_of(array[new.cluster], array[new.location_name]) as p
  where t.dataset = new.dataset and t.ticket_id = new.ticket_id
    and (t.place_geom::text, t.place_source) is distinct from (p.geom::text, p.source);
  perform set_config('tickets.is_placing', '', true);
  return null;
end;
$$;

comment on function tickets._place_ticket() is
  'Trigger: a ticket written by hand gets its place from the gazetteers.';
--! EndIncluded functions/tickets._place_ticket.sql
--! Included functions/tickets._await_gazetteers.sql
create or replace function tickets._await_gazetteers()
  returns trigger
  language plpgsql volatile security definer
  set search_path = ''
as $$
/*
  Trigger before a gazetteer changes: waits for those who are placing tickets by it, and keeps the
  next ones waiting till the end of the transaction.
*/
begin
  perform tickets._lock_gazetteers(p_to_change => true);
  return null;
end;
$$;

comment on function tickets._await_gazetteers() is
  'Trigger: waits for those who are placing tickets by a gazetteer before it changes.';
--! EndIncluded functions/tickets._await_gazetteers.sql
--! Included functions/tickets._follow_gazetteer.sql
create or replace function tickets._follow_gazetteer()
  returns trigger
  language plpgsql volatile security definer
  set search_path = ''
as $$
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
$$;

comment on function tickets._follow_gazetteer() is
  'Trigger: the tickets of what has changed in a gazetteer follow, in the same transaction.';
--! EndIncluded functions/tickets._follow_gazetteer.sql
--! Included functions/tickets._apply_file.sql
create or replace function tickets._apply_file(
  p_dataset text,
  p_source_key text,
  p_exported_at timestamptz,
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
  set work_mem = '64MB'
  -- Compiling this statement takes longer than running it.
  set jit = off
as $$
/*
  Brings the staged rows of one file into tickets.ticket, with all that hangs on it: rejected rows,
  their places, the order of versions, closure and status events, the day's snapshot.

  Takes      the file by its key, and its export time; the names behind the spare columns; contract
             columns that the file lacks (tickets keep their last value of them); how many bare
             EXPORT STOPPED lines were dropped before staging; whether it is a full snapshot; for a
             file staged by hand, which has no lines but an order, the first of them.
  Returns    the counts of the file.
  Raises     TK021 too many rows rejected, TK022 a line break within a ticket_id.
  Touches    everything but staging and the ledger, which are the caller's. The caller has the lock.

  How versions are ordered. A file's place in time is (exported_at, source_key); within a file the
  last line of a ticket counts. A ticket says what its newest version says. Its source_key is the
  first file of the unbroken run of versions that say so, tickets.ticket_repeats has the others of
  that run, and previous_source_key is the version right before it. A file that comes late only
  moves these borders, so that any order of files ends in the same row.

  One statement, so that each question is asked once. Its parts see the tables as they were before
  it, which is how an event knows both sides.
*/
declare
  c_blank constant text := E' \t\r\n';
  c_version constant tickets.file_version := (p_exported_at, p_source_key);
  -- Whether equal text of a row means equal content: not where other columns have a say.
  c_is_whole constant boolean := cardinality(p_extra_columns) + cardinality(p_missing_columns) = 0;
  v_result tickets.applied_file;
begin
  delete from tickets.rejected_rows as r
  where r.dataset = p_dataset and r.source_key = p_source_key;

  -- The statement asks the gazetteers for all its tickets at once; the trigger would for each.
  perform tickets._lock_gazetteers(p_to_change => false),
    set_config('tickets.is_placing', 'on', true);

  -- The planner knows nothing of a table that was filled a moment ago.
  execute format('analyze tickets.%I (dataset, source_key, line)', p_dataset || '_staging');

  with staged as materialized (
    -- Every staged row once: what it is, and a hash of what it says.
    select s.line,
      btrim(s.ticket_id, c_blank) collate "C" as ticket_id,
      case
        when lower(btrim(s.is_alarm, c_blank)) in ('true', 't', '1', 'yes') then 'alarm'
        when s.ticket_id ~* '^\s*export stopped' then 'sentinel'
        when coalesce(btrim(s.ticket_id, c_blank), '') = '' then
          case when tickets._is_sentinel(s) then 'sentinel' else 'ticket_id is blank' end
        when btrim(s.ticket_id, c_blank) = 'ticket_id' then 'header repeated'
        when btrim(s.ticket_id, c_blank) ~ '[\r\n]' then 'line break within ticket_id'
        when octet_length(s.ticket_id) > 2000 then 'ticket_id is longer than 2000 bytes'
        else 'ticket'
      end as kind,
      case
        when c_is_whole then
          hash_record_extended(
            row(
              s.normalized_status, s.raw_status, s.bucket, s.is_actionable, s.cluster, s.region,
              s.location_name, s.assigned_team, s.owner, s.sla_status, s.mttr,
              s.created_at_service, s.scheduled_at, s.closed_at, s.first_seen_at, s.last_seen_at,
              s.source_created_at, s.source_updated_at, s.latitude, s.longitude, s.service_type,
              s.is_alarm, s.is_auto_created, s.is_auto_closed
            ), 0
          )
      end as text_hash
    from tickets.staging as s
    where s.dataset = p_dataset and s.source_key = p_source_key
  ),
  rejected as (
    insert into tickets.rejected_rows (dataset, source_key, line, reason, raw)
    -- By hand, the first row stands on line 2, below the header.
    select p_dataset, p_source_key, r.line - coalesce(p_first_line - 2, 0), r.kind,
      tickets._whole_row(s, p_extra_columns)
    from staged as r
    join tickets.staging as s
      on s.dataset = p_dataset and s.source_key = p_source_key and s.line = r.line
    where r.kind not in ('ticket', 'alarm', 'sentinel')
  ),
  newest as (
    -- The line that counts of each ticket. Flags, and not comparisons, to filter by: the planner
    -- takes half of the rows to pass those, and a handful to pass these.
    select n.ticket_id, n.line, n.text_hash
    from (
      select r.ticket_id, r.line, r.text_hash,
        row_number() over (partition by r.ticket_id order by r.line desc) = 1 as is_newest
      from (select r.*, r.kind = 'ticket' as is_ticket from staged as r offset 0) as r
      where r.is_ticket
    ) as n
    where n.is_newest
  ),
  looked_up as (
    -- Beside what is known of each ticket. Where its seal fits the text, raw need not be built.
    select n.ticket_id, n.text_hash, f.fits,
      case
        when not f.fits then
          case when c_is_whole then '{}' else tickets._extra_values(s, p_extra_columns) end
          || case
            when m.missing = '{}' then tickets._clean_row(s)
            else tickets._keep_keys(t.raw, m.missing) || (tickets._clean_row(s) - m.missing)
          end
      end as raw,
      t.raw as known_raw, t.ticket_id is not null as is_known, t.exported_at, t.source_key,
      (t.previous_exported_at, t.previous_source_key)::tickets.file_version as previous,
      case when t.ticket_id is not null then r.repeats end as repeats,
      r.ticket_id is not null as has_repeats, t.is_open, t.raw_status, t.assigned_team, t.owner
    from newest as n
    join tickets.staging as s
      on s.dataset = p_dataset and s.source_key = p_source_key and s.line = n.line
    left join tickets.ticket as t on t.dataset = p_dataset and t.ticket_id = n.ticket_id
    left join tickets.ticket_repeats as r on r.dataset = p_dataset and r.ticket_id = n.ticket_id
    cross join lateral (
      -- By hand, each row may lack other columns.
      select case
        when p_first_line is null or p_missing_columns = '{}' then p_missing_columns
        else tickets._missing_in_row(s)
      end as missing
    ) as m
    cross join lateral (
      select coalesce(
        t.content_seal = n.text_hash # jsonb_hash_extended(t.raw, 0) and t.source_key is not null,
        false
      ) as fits
    ) as f
    offset 0 -- keeps raw from being built once for each place that names it
  ),
  compared as materialized (
    select l.*,
      case
        when not l.is_known then 'inserted'
        when l.newest > c_version then 'stale'
        when l.is_same then 'unchanged'
        else 'updated'
      end as outcome
    from (
      select l.ticket_id, l.raw, l.text_hash, l.is_known, l.previous, l.repeats, l.has_repeats,
        l.exported_at, l.source_key, l.is_open, l.raw_status, l.assigned_team, l.owner,
        l.fits or (l.raw = l.known_raw and l.source_key is not null) as is_same,
        -- NULL for a ticket that no file has brought: any file is newer.
        case
          when l.repeats is not null then l.repeats[cardinality(l.repeats)]
          when l.source_key is not null then
            (l.exported_at, l.source_key)::tickets.file_version
        end as newest
      from looked_up as l
    ) as l
  ),
  places as materialized (
    -- Once for each distinct pair of cluster and location.
    select p.*
    from (
      select array_agg(k.cluster) as clusters, array_agg(k.location_name) as location_names
      from (
        select distinct c.raw ->> 'cluster' as cluster, c.raw ->> 'location_name' as location_name
        from compared as c
        where c.outcome in ('inserted', 'updated')
      ) as k
    ) as k
    cross join lateral tickets._places_of(k.clusters, k.location_names) as p
    where p.source is not null
  ),
  written as (
    insert into tickets.ticket as t (
      dataset, ticket_id, raw, source_key, exported_at,
      previous_source_key, previous_exported_at, content_seal, place_geom, place_source
    )
    select p_dataset, c.ticket_id, c.raw, p_source_key, p_exported_at,
      (b.version).source_key, (b.version).exported_at,
      c.text_hash # jsonb_hash_extended(c.raw, 0), p.geom, p.source
    from compared as c
    left join places as p
      on p.cluster = c.raw ->> 'cluster'
      and coalesce(p.location_name, '') = coalesce(c.raw ->> 'location_name', '')
    cross join lateral (
      -- A file that replaces one of the same name replaces its version, too.
      select case
        when not c.is_known then null
        when c.newest < c_version then c.newest
        when cardinality(c.repeats) > 1 then c.repeats[cardinality(c.repeats) - 1]
        when cardinality(c.repeats) = 1 then
          (c.exported_at, c.source_key)::tickets.file_version
        else c.previous
      end as version
    ) as b
    where c.outcome in ('inserted', 'updated')
    on conflict (dataset, ticket_id) do update set
      raw = excluded.raw,
      source_key = excluded.source_key,
      exported_at = excluded.exported_at,
      ingested_at = excluded.ingested_at,
      previous_source_key = excluded.previous_source_key,
      previous_exported_at = excluded.previous_exported_at,
      content_seal = excluded.content_seal,
      place_geom = excluded.place_geom,
      place_source = excluded.place_source
    returning t.ticket_id, t.is_open, t.raw_status, t.assigned_team, t.owner, t.closed_at, t.mttr,
      t.cluster
  ),
  come_late as materialized (
    select c.ticket_id, c.is_same, v.run, v.previous
    from compared as c
    cross join lateral tickets._insert_version(
      (c.exported_at, c.source_key)::tickets.file_version || c.repeats,
      c.previous, c_version, c.is_same
    ) as v
    where c.outcome = 'stale'
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
    select p_dataset, c.ticket_id,
      case when p_is_snapshot then array[c_version] else c.repeats || c_version end
    from compared as c
    where c.outcome = 'unchanged' and c.newest < c_version
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
      select c.ticket_id from compared as c
      where c.has_repeats and c.outcome in ('inserted', 'updated')
      union all
      select l.ticket_id from come_late as l where cardinality(l.run) = 1
    ) as gone
    where r.dataset = p_dataset and r.ticket_id = gone.ticket_id
  ),
  status_changes as (
    insert into tickets.status_events (
      dataset, ticket_id, from_open, to_open, from_status, to_status,
      from_team, to_team, from_owner, to_owner, exported_at, source_key
    )
    select p_dataset, w.ticket_id, c.is_open, w.is_open, c.raw_status, w.raw_status,
      c.assigned_team, w.assigned_team, c.owner, w.owner, p_exported_at, p_source_key
    from written as w
    join compared as c on c.ticket_id = w.ticket_id
    where c.outcome = 'updated'
      and (c.is_open, c.raw_status, c.assigned_team, c.owner)
        is distinct from (w.is_open, w.raw_status, w.assigned_team, w.owner)
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
    select p_dataset, c.ticket_id, tickets.eat_ts(c.raw ->> 'closed_at'),
      tickets._minutes(c.raw ->> 'mttr'), c.raw ->> 'cluster', c.raw ->> 'assigned_team',
      c.raw ->> 'owner', p_source_key
    from compared as c
    where c.outcome = 'stale' and not c.is_same and not tickets._is_open(c.raw)
    order by 2
    on conflict (ticket_id, closed_at, dataset) do nothing
    returning 1
  )
  select p_dataset, p_source_key, r.staged + p_dropped_lines, r.alarm, r.sentinel + p_dropped_lines,
    r.rejected, r.ticket - c.tickets, c.stale, c.inserted, c.updated, c.unchanged,
    (select count(*) from closed)
  into v_result
  from (
    select count(*) as staged,
      count(*) filter (where s.kind = 'alarm') as alarm,
      count(*) filter (where s.kind = 'sentinel') as sentinel,
      count(*) filter (where s.kind = 'ticket') as ticket,
      count(*) filter (where s.kind not in ('alarm', 'sentinel', 'ticket')) as rejected
    from staged as s
  ) as r
  cross join (
    select count(*) as tickets,
      count(*) filter (where c.outcome = 'stale') as stale,
      count(*) filter (where c.outcome = 'inserted') as inserted,
      count(*) filter (where c.outcome = 'updated') as updated,
      count(*) filter (where c.outcome = 'unchanged') as unchanged
    from compared as c
  ) as c;

  perform set_config('tickets.is_placing', '', true);
  perform tickets._check_rejected(v_result);
  perform tickets._capture_day(p_dataset);
  return v_result;
end;
$$;

comment on function tickets._apply_file(
  text, text, timestamptz, text[], text[], integer, boolean, bigint
) is
  'Brings the staged rows of one file into tickets.ticket with its history, and counts them.';
--! EndIncluded functions/tickets._apply_file.sql
--! Included views/tickets.data_quality.sql
create or replace view tickets.data_quality as
select t.dataset, t.ticket_id, v.column_name, t.raw ->> v.column_name as value,
  t.source_key, t.exported_at
from tickets.ticket as t
cross join lateral (
  values
    ('is_actionable', t.is_actionable is null),
    ('mttr', t.mttr is null),
    ('created_at_service', t.created_at_service is null),
    ('scheduled_at', t.scheduled_at is null),
    ('closed_at', t.closed_at is null),
    ('first_seen_at', t.first_seen_at is null),
    ('last_seen_at', t.last_seen_at is null),
    ('source_created_at', t.source_created_at is null),
    ('source_updated_at', t.source_updated_at is null),
    ('latitude', t.geo_source <> 'feed'),
    ('longitude', t.geo_source <> 'feed')
) as v (column_name, is_missing)
where v.is_missing and t.raw ? v.column_name;

comment on view tickets.data_quality is
  'Values of the export that did not cast: raw keeps the text, the typed column is NULL.';
comment on column tickets.data_quality.dataset is 'Dataset.';
comment on column tickets.data_quality.ticket_id is 'The ticket.';
comment on column tickets.data_quality.column_name is 'The column that holds no value of its type.';
comment on column tickets.data_quality.value is 'What the export says instead.';
comment on column tickets.data_quality.source_key is 'The file that last changed the ticket.';
comment on column tickets.data_quality.exported_at is 'Export time of that file.';
--! EndIncluded views/tickets.data_quality.sql
--! Included views/tickets.overview.sql
create or replace view tickets.overview as
select d.dataset,
  t.tickets,
  t.open,
  t.tickets - t.open as closed,
  t.located,
  (select count(*) from tickets.closure_events as e where e.dataset = d.dataset)::integer
    as closures,
  (select count(*) from tickets.status_events as e where e.dataset = d.dataset)::integer
    as status_changes,
  (select count(*) from tickets.rejected_rows as r where r.dataset = d.dataset)::integer
    as rejected_rows,
  (select count(*) from tickets.data_quality as q where q.dataset = d.dataset)::integer
    as bad_values
from tickets.datasets as d
cross join lateral (
  select count(*)::integer as tickets,
    count(*) filter (where k.is_open)::integer as open,
    count(k.geom)::integer as located
  from tickets.ticket as k
  where k.dataset = d.dataset
) as t
order by d.dataset desc;

comment on view tickets.overview is
  'How much there is of each dataset: tickets, history, oddities.';
comment on column tickets.overview.dataset is 'Dataset.';
comment on column tickets.overview.tickets is 'Tickets.';
comment on column tickets.overview.open is 'Open tickets.';
comment on column tickets.overview.closed is 'Closed tickets.';
comment on column tickets.overview.located is 'Tickets with a point.';
comment on column tickets.overview.closures is 'Closures recorded.';
comment on column tickets.overview.status_changes is 'Changes of status, team or owner recorded.';
comment on column tickets.overview.rejected_rows is 'Rows of applied files that are no ticket.';
comment on column tickets.overview.bad_values is
  'Values that did not cast, see tickets.data_quality.';
--! EndIncluded views/tickets.overview.sql

create trigger place_ticket
  after insert or update on tickets.ticket
  for each row
  when (coalesce(current_setting('tickets.is_placing', true), '') <> 'on')
  execute function tickets._place_ticket();

do $do$
declare
  -- What counts in a gazetteer's rows, see tickets._follow_gazetteer.
  c_gazetteers constant jsonb := '{
    "geo_clusters": "select cluster, used_geom from %s where used_geom is not null",
    "geo_locations": "select cluster, place, used_geom from %s where used_geom is not null",
    "cluster_aliases": "select alias as cluster, cluster as target from %s",
    "place_codes": null
  }';
  v_table text;
  v_query text;
  v_event record;
begin
  for v_table, v_query in select * from jsonb_each_text(c_gazetteers) loop
    execute format(
      $sql$
        create trigger await_gazetteers
          before insert or update or delete or truncate on tickets.%I
          for each statement execute function tickets._await_gazetteers()
      $sql$,
      v_table
    );
    for v_event in
      select * from (values
        ('insert', 'referencing new table as new_rows'),
        ('update', 'referencing old table as old_rows new table as new_rows'),
        ('delete', 'referencing old table as old_rows'),
        ('truncate', '')
      ) as e (name, transition)
    loop
      execute format(
        $sql$
          create trigger follow_gazetteer_on_%1$s
            after %1$s on tickets.%2$I %3$s
            for each statement execute function tickets._follow_gazetteer(%4$s)
        $sql$,
        v_event.name, v_table, v_event.transition, coalesce(quote_literal(v_query), '')
      );
    end loop;
  end loop;
end;
$do$;
