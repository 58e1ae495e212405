--! Previous: sha1:2ae6d2ecff34c21eb6e5845ca8d0908f5dd204cd
--! Hash: sha1:a4cc492554cc0f2f700b2dd43d43d46300ee32a4
--! Message: places, history, reading, geocoding, operations

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
-- Cut, because an index holds no longer ones.
create index ticket_cluster_idx on tickets.ticket (left(cluster, 255));

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
  -- As the index has them, which holds no longer names.
  v_names constant text[] := array(select left(c, 255) from unnest(p_clusters) as c);
  v_clusters text[];
  v_location_names text[];
  v_moved bigint;
begin
  select array_agg(k.cluster), array_agg(k.location_name) into v_clusters, v_location_names
  from (
    select distinct t.cluster, t.location_name
    from tickets.ticket as t
    where left(t.cluster, 255) = any (v_names)
      or (p_clusters is null and t.cluster is not null)
  ) as k;

  -- Spares each row the trigger.
  perform set_config('tickets.is_placing', 'on', true);
  with places as materialized (
    select p.* from tickets._places_of(v_clusters, v_location_names) as p
  )
  update tickets.ticket as t
  set place_geom = p.geom, place_source = p.source
  from places as p
  where (left(t.cluster, 255) = any (v_names) or p_clusters is null)
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

drop function tickets._empty_staging(text, text[]);

--! Included functions/tickets._empty_staging.sql
create or replace function tickets._empty_staging(p_dataset text, p_source_keys text[])
  returns bigint
  language plpgsql volatile
  set search_path = ''
  -- A plan for one dataset alone: a general one locks the staging tables of the others, too.
  set plan_cache_mode = force_custom_plan
as $$
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

comment on function tickets._empty_staging(text, text[]) is 'Takes applied files out of staging.';
--! EndIncluded functions/tickets._empty_staging.sql
--! Included functions/tickets.apply_staged.sql
create or replace function tickets.apply_staged(p_dataset text default null)
  returns setof tickets.applied_file
  language plpgsql volatile security definer
  set search_path = ''
as $$
/*
  Applies whatever is staged, for a DBA who has staged a file by hand:

    \copy tickets.inc_staging (<the file's columns>) from 'f.csv' with (format csv, header)
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
             TK022 a line break within a ticket_id, TK023 rows of a file were staged meanwhile.
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

comment on function tickets.apply_staged(text) is
  'Applies whatever is staged, of one dataset or all, and returns a row of counts a file.';
--! EndIncluded functions/tickets.apply_staged.sql

comment on column tickets.datasets.sla_target is 'Age beyond which an open ticket is breached.';

create type reporting.ticket_properties as (
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
  opened_at timestamptz,
  scheduled_at timestamptz,
  closed_at timestamptz,
  geo_source text
);
comment on type reporting.ticket_properties is
  'What a feature says of its ticket: the names and the order of its properties.';

-- Reopenings are few among all changes, and each dashboard asks for those of its window.
create index status_events_reopened_idx on tickets.status_events (dataset, exported_at)
  where not from_open and to_open;

--! Included views/tickets.ticket_sla.sql
create or replace view tickets.ticket_sla as
select t.dataset, t.ticket_id, t.normalized_status, t.raw_status, t.bucket, t.is_open,
  t.is_actionable, t.cluster, t.region, t.location_name, t.assigned_team, t.owner, t.sla_status,
  t.mttr, t.scheduled_at, t.closed_at, o.opened_at,
  case when t.is_open then d.now - o.opened_at end as age,
  o.opened_at + d.target as due_at,
  case
    when not t.is_open then null
    when o.opened_at is null then 'unknown'
    when o.opened_at + d.target < d.now then 'breached'
    when o.opened_at + d.at_risk_from <= d.now then 'at_risk'
    else 'within'
  end as sla_state,
  t.geo_source, t.geom
from tickets.ticket as t
join (
  -- In seconds, because a day is not 24 hours in every TimeZone that a session may have.
  select c.dataset, n.now,
    make_interval(secs => extract(epoch from c.sla_target)::float8) as target,
    make_interval(secs => (extract(epoch from c.sla_target) * c.sla_at_risk_share)::float8)
      as at_risk_from
  from tickets.datasets as c
  cross join (
    -- tickets._now() written out: a view calls functions with the rights of whoever reads it.
    select coalesce(nullif(current_setting('tickets.now', true), '')::timestamptz, now()) as now
  ) as n
  offset 0 -- keeps all this from being computed for each ticket
) as d on d.dataset = t.dataset
cross join lateral (
  select coalesce(t.created_at_service, t.first_seen_at) as opened_at
) as o;

comment on view tickets.ticket_sla is
  'Every ticket: when it was opened, when it is due, how an open one stands against its target.';
comment on column tickets.ticket_sla.opened_at is 'created_at_service, else first_seen_at.';
comment on column tickets.ticket_sla.age is 'How long it has been open; NULL for a closed one.';
comment on column tickets.ticket_sla.due_at is 'opened_at and the sla_target of its dataset.';
comment on column tickets.ticket_sla.sla_state is
  'Of an open ticket: within, at_risk, breached, or unknown without opened_at; NULL if closed.';
do $do$
declare
  v_column record;
begin
  for v_column in
    select a.attname,
      col_description('tickets.ticket'::regclass, t.attnum) as meaning
    from pg_attribute as a
    join pg_attribute as t on t.attrelid = 'tickets.ticket'::regclass and t.attname = a.attname
    where a.attrelid = 'tickets.ticket_sla'::regclass and a.attnum > 0
  loop
    execute format(
      'comment on column tickets.ticket_sla.%I is %L', v_column.attname, v_column.meaning
    );
  end loop;
end;
$do$;
--! EndIncluded views/tickets.ticket_sla.sql
--! Included views/tickets.open_sla.sql
create or replace view tickets.open_sla as
select s.dataset, s.ticket_id, s.normalized_status, s.raw_status, s.is_actionable, s.cluster,
  s.region, s.location_name, s.assigned_team, s.owner, s.scheduled_at, s.opened_at, s.age, s.due_at,
  s.sla_state
from tickets.ticket_sla as s
where s.is_open;

comment on view tickets.open_sla is
  'Open tickets of every dataset: age, due time, and how each stands against its target.';
do $do$
declare
  v_column record;
begin
  for v_column in
    select a.attname,
      col_description('tickets.ticket_sla'::regclass, t.attnum) as meaning
    from pg_attribute as a
    join pg_attribute as t
      on t.attrelid = 'tickets.ticket_sla'::regclass and t.attname = a.attname
    where a.attrelid = 'tickets.open_sla'::regclass and a.attnum > 0
  loop
    execute format(
      'comment on column tickets.open_sla.%I is %L', v_column.attname, v_column.meaning
    );
  end loop;
end;
$do$;
--! EndIncluded views/tickets.open_sla.sql
--! Included views/tickets.inc_open_sla.sql
create or replace view tickets.inc_open_sla as
select s.* from tickets.open_sla as s where s.dataset = 'inc';

comment on view tickets.inc_open_sla is
  'Open INC tickets: age, due time, and how each stands against the target.';
do $do$
declare
  v_column record;
begin
  for v_column in
    select a.attname, col_description('tickets.open_sla'::regclass, a.attnum) as meaning
    from pg_attribute as a
    where a.attrelid = 'tickets.inc_open_sla'::regclass and a.attnum > 0
  loop
    execute format(
      'comment on column tickets.inc_open_sla.%I is %L', v_column.attname, v_column.meaning
    );
  end loop;
end;
$do$;
--! EndIncluded views/tickets.inc_open_sla.sql
--! Included views/tickets.crq_open_sla.sql
create or replace view tickets.crq_open_sla as
select s.* from tickets.open_sla as s where s.dataset = 'crq';

comment on view tickets.crq_open_sla is
  'Open CRQ tickets: age, due time, and how each stands against the target.';
do $do$
declare
  v_column record;
begin
  for v_column in
    select a.attname, col_description('tickets.open_sla'::regclass, a.attnum) as meaning
    from pg_attribute as a
    where a.attrelid = 'tickets.crq_open_sla'::regclass and a.attnum > 0
  loop
    execute format(
      'comment on column tickets.crq_open_sla.%I is %L', v_column.attname, v_column.meaning
    );
  end loop;
end;
$do$;
--! EndIncluded views/tickets.crq_open_sla.sql
--! Included functions/reporting._feature.sql
create or replace function reporting._feature(p_ticket tickets.ticket_sla)
  returns json
  language sql stable parallel safe
as $$
  /*
    A ticket with a point as a GeoJSON feature (RFC 7946).

    The properties are a row of a type: that takes half the time of naming each of them to
    json_build_object. No `set search_path` here: it would keep the function from being inlined into
    the query that calls it.
  */
  select json_build_object(
    'type', 'Feature',
    'id', p_ticket.ticket_id,
    'geometry', public.st_asgeojson(p_ticket.geom, 6)::json,
    'properties', row(
      p_ticket.dataset, p_ticket.ticket_id, p_ticket.normalized_status, p_ticket.raw_status,
      p_ticket.bucket, p_ticket.is_actionable, p_ticket.cluster, p_ticket.region,
      p_ticket.location_name, p_ticket.assigned_team, p_ticket.owner, p_ticket.sla_status,
      p_ticket.sla_state, p_ticket.mttr, p_ticket.opened_at, p_ticket.scheduled_at,
      p_ticket.closed_at, p_ticket.geo_source
    )::reporting.ticket_properties
  );
$$;

comment on function reporting._feature(tickets.ticket_sla) is
  'A ticket with a point as a GeoJSON feature.';
--! EndIncluded functions/reporting._feature.sql
--! Included functions/reporting._freshness.sql
create or replace function reporting._freshness(p_dataset text)
  returns json
  language sql stable
  set search_path = ''
as $$
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

comment on function reporting._freshness(text) is
  'How far a dataset is: watermark, its age, files by state.';
--! EndIncluded functions/reporting._freshness.sql
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
  set search_path = ''
  set timezone = 'Africa/Nairobi'
as $$
/*
  The time that a dashboard looks at: from window_from up to, but without, window_to.

  Takes      all, or an interval that ends at p_to, else now; p_from in the place of its beginning.
             NULL is 7d.
  Returns    the window as understood, NULL where p_from made it needless, and its two ends, which
             are infinite where it has none.
  Raises     TK031 the window is neither all nor an interval, TK032 it ends before it begins.
*/
declare
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
  set search_path = ''
  set timezone = 'Africa/Nairobi'
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
        case when t.geom is not null and (t.is_open or w.is_closed) then reporting._feature(t) end
          as feature
      from tickets.ticket_sla as t
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
      'open', json_build_object(
        'type', 'FeatureCollection',
        'features', coalesce(c.open_features, '[]')
      ),
      'closed', json_build_object(
        'type', 'FeatureCollection',
        'features', coalesce(c.closed_features, '[]')
      ),
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
  set search_path = ''
  set timezone = 'Africa/Nairobi'
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
        case when t.geom is not null then reporting._feature(t) end as feature
      from tickets.ticket_sla as t
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
--! Included functions/reporting.fn_inc_dashboard.sql
create or replace function reporting.fn_inc_dashboard(
  p_cluster text default null,
  p_status text default null,
  p_window text default '7d',
  p_from timestamptz default null,
  p_to timestamptz default null
)
  returns json
  language sql stable security definer
  set search_path = ''
as $$
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
  select reporting._dashboard('inc', p_cluster, p_status, p_window, p_from, p_to);
$$;

comment on function reporting.fn_inc_dashboard(text, text, text, timestamptz, timestamptz) is
  'The live dashboard of INC: open tickets, those closed in a window, and the numbers of both.';
--! EndIncluded functions/reporting.fn_inc_dashboard.sql
--! Included functions/reporting.fn_crq_dashboard.sql
create or replace function reporting.fn_crq_dashboard(
  p_cluster text default null,
  p_status text default null,
  p_window text default '7d',
  p_from timestamptz default null,
  p_to timestamptz default null
)
  returns json
  language sql stable security definer
  set search_path = ''
as $$
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
  select reporting._dashboard('crq', p_cluster, p_status, p_window, p_from, p_to);
$$;

comment on function reporting.fn_crq_dashboard(text, text, text, timestamptz, timestamptz) is
  'The live dashboard of CRQ: open tickets, those closed in a window, and the numbers of both.';
--! EndIncluded functions/reporting.fn_crq_dashboard.sql

-- History stays as it was observed --------------------------------------------------------------

alter table tickets.status_events
  add column from_normalized_status text,
  add column to_normalized_status text;
comment on column tickets.status_events.from_normalized_status is 'normalized_status before.';
comment on column tickets.status_events.to_normalized_status is 'normalized_status after.';
comment on table tickets.status_events is
  'Each observed change of open/closed, status, team or owner of a known ticket, append-only; a reopening is from_open false, to_open true.';

--! Included functions/tickets._refuse_change.sql
create or replace function tickets._refuse_change()
  returns trigger
  language plpgsql volatile
  set search_path = ''
as $$
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

comment on function tickets._refuse_change() is
  'Trigger: keeps a table append-only by refusing every statement that changes or removes rows.';
--! EndIncluded functions/tickets._refuse_change.sql
create trigger closure_events_are_append_only
  before update or delete or truncate on tickets.closure_events
  for each statement execute function tickets._refuse_change();
create trigger status_events_are_append_only
  before update or delete or truncate on tickets.status_events
  for each statement execute function tickets._refuse_change();

-- Closures that no file brought -----------------------------------------------------------------

-- Without a key: a row must not be kept out by one that capture_history is just taking away.
create table tickets.unrecorded_closures (
  dataset text not null,
  ticket_id text collate "C" not null
);
comment on table tickets.unrecorded_closures is
  'Tickets that something else than a file has written closed, until capture_history records the closure.';
comment on column tickets.unrecorded_closures.dataset is 'Dataset of the ticket.';
comment on column tickets.unrecorded_closures.ticket_id is 'The ticket.';

--! Included functions/tickets._note_closed.sql
create or replace function tickets._note_closed()
  returns trigger
  language plpgsql volatile
  set search_path = ''
as $$
/*
  Notes a ticket that something else than a file has written closed, so that
  tickets.capture_history() finds it without a look at all tickets.

  Touches    tickets.unrecorded_closures.
*/
begin
  insert into tickets.unrecorded_closures (dataset, ticket_id)
  values (new.dataset, new.ticket_id);
  return null;
end;
$$;

comment on function tickets._note_closed() is
  'Trigger: notes a ticket that something else than a file has written closed.';
--! EndIncluded functions/tickets._note_closed.sql
create trigger closed_tickets_are_noted
  after insert or update of raw on tickets.ticket
  for each row
  when (
    not new.is_open and current_setting('tickets.closures_are_recorded', true) is distinct from 'on'
  )
  execute function tickets._note_closed();

insert into tickets.unrecorded_closures (dataset, ticket_id)
select t.dataset, t.ticket_id
from tickets.ticket as t
where not t.is_open
  and not exists (
    select from tickets.closure_events as e
    where e.dataset = t.dataset and e.ticket_id = t.ticket_id
      and e.closed_at is not distinct from t.closed_at
  );

-- What the questions go by ----------------------------------------------------------------------

create index ticket_open_idx on tickets.ticket (ticket_id) where is_open;
create index ticket_opened_at_idx on tickets.ticket (coalesce(created_at_service, first_seen_at));
create index ticket_open_geog_idx on tickets.ticket using gist (geog)
  where is_open and is_actionable and geog is not null;
-- Events are recorded in the order in which tickets are closed, but for the first load.
create index closure_events_closed_at_idx on tickets.closure_events using brin (closed_at);

-- Functions -------------------------------------------------------------------------------------

--! Included functions/tickets._check_dataset.sql
create or replace function tickets._check_dataset(p_dataset text)
  returns void
  language plpgsql stable
  set search_path = ''
as $$
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

comment on function tickets._check_dataset(text) is 'TK001 where there is no such dataset.';
--! EndIncluded functions/tickets._check_dataset.sql
--! Included functions/tickets._lock_dataset.sql
create or replace function tickets._lock_dataset(
  p_dataset text,
  p_for_session boolean default false
)
  returns void
  language plpgsql volatile
  set search_path = ''
as $$
/*
  Takes the one lock that loading a dataset needs, without waiting: till the end of the transaction,
  or of the session. A session that has it may take it again.

  Raises     TK001 where there is no such dataset, TK002 where another session has the lock.
*/
declare
  v_is_locked boolean;
begin
  perform tickets._check_dataset(p_dataset);
  if p_for_session then
    v_is_locked := pg_try_advisory_lock(hashtext('fleettickets'), hashtext(p_dataset));
  else
    v_is_locked := pg_try_advisory_xact_lock(hashtext('fleettickets'), hashtext(p_dataset));
  end if;
  if not v_is_locked then
    raise exception using
      errcode = 'TK002',
      message = format('another run is loading %s', p_dataset),
      detail = 'One run a dataset at a time; nothing was changed.',
      hint = 'Wait for it to end. Who it is: select pid, application_name, query_start '
        || 'from pg_stat_activity join pg_locks using (pid) where locktype = ''advisory''';
  end if;
end;
$$;

comment on function tickets._lock_dataset(text, boolean) is
  'Takes a dataset''s loading lock for the transaction or the session; TK002 where another has it.';
--! EndIncluded functions/tickets._lock_dataset.sql
--! Included functions/tickets._capture_day.sql
create or replace function tickets._capture_day(p_dataset text)
  returns integer
  language sql volatile
  set search_path = ''
  -- The day is that of Nairobi, wherever the session may be.
  set timezone = 'Africa/Nairobi'
as $$
  /*
    Brings today's rows of tickets.daily_snapshot up to date, for one dataset. Every file and every
    run without one comes here: each part goes by an index, none looks at all tickets.

    Returns    how many clusters changed; rows that are right already are not written again.
  */
  with recursive today as (
    -- Once, because a call of the clock for each ticket costs more than all the rest.
    select tickets._now()::date as day, date_trunc('day', tickets._now()) as begins_at,
      tickets._now() - make_interval(secs => extract(epoch from d.sla_target)::float8)
        as breached_before
    from tickets.datasets as d
    where d.dataset = p_dataset
  ),
  clusters as (
    -- Each one once, from one to the next in the index. NULL ends it.
    select (
      select min(left(t.cluster, 255))
      from tickets.ticket as t
      where t.dataset = p_dataset
    ) as cluster
    union all
    select (
      select min(left(t.cluster, 255))
      from tickets.ticket as t
      where t.dataset = p_dataset and left(t.cluster, 255) > c.cluster
    )
    from clusters as c
    where c.cluster is not null
  ),
  counted as (
    select k.cluster,
      count(*) filter (where k.what = 'open') as open,
      count(*) filter (where k.what = 'open' and k.is_actionable) as actionable,
      count(*) filter (where k.what = 'open' and k.is_breached) as breached,
      count(*) filter (where k.what = 'created') as created,
      count(*) filter (where k.what = 'closed') as closed
    from (
      select 'open' as what, left(t.cluster, 255) as cluster, t.is_actionable,
        coalesce(t.created_at_service, t.first_seen_at) < y.breached_before as is_breached
      from tickets.ticket as t
      cross join today as y
      where t.dataset = p_dataset and t.is_open
      union all
      select 'created', left(t.cluster, 255), null, null
      from tickets.ticket as t
      cross join today as y
      where t.dataset = p_dataset
        and coalesce(t.created_at_service, t.first_seen_at) >= y.begins_at
        and coalesce(t.created_at_service, t.first_seen_at) < y.begins_at + interval '1 day'
      union all
      select 'closed', left(t.cluster, 255), null, null
      from tickets.ticket as t
      cross join today as y
      where t.dataset = p_dataset
        and t.closed_at >= y.begins_at and t.closed_at < y.begins_at + interval '1 day'
      union all
      -- A cluster of which there is nothing to count today has a row, too.
      select 'known', c.cluster, null, null
      from clusters as c
      where c.cluster is not null
        or exists (
          select from tickets.ticket as t
          where t.dataset = p_dataset and left(t.cluster, 255) is null
        )
    ) as k
    group by k.cluster
  ),
  captured as (
    insert into tickets.daily_snapshot as s (
      dataset, day, cluster, open, actionable, breached, created, closed
    )
    select p_dataset, y.day, c.cluster, c.open, c.actionable, c.breached, c.created, c.closed
    from counted as c
    cross join today as y
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
    returning s.cluster
  ),
  emptied as (
    -- A cluster that all tickets have left since the last look.
    delete from tickets.daily_snapshot as s
    using today as y
    where s.dataset = p_dataset and s.day = y.day
      and not exists (
        select from counted as c where c.cluster is not distinct from s.cluster
      )
    returning s.cluster
  )
  select (select count(*) from captured)::integer + (select count(*) from emptied)::integer;
$$;

comment on function tickets._capture_day(text) is
  'Brings today''s rows of the daily snapshot of a dataset up to date.';
--! EndIncluded functions/tickets._capture_day.sql
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
  set search_path = ''
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
      select (p_cluster is null or d.cluster is not distinct from left(p_cluster, 255))::integer
        as counts
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
--! Included functions/reporting.fn_team_closures.sql
create or replace function reporting.fn_team_closures(
  p_dataset text,
  p_from timestamptz,
  p_to timestamptz
)
  returns table (
    team text,
    owner text,
    closures integer,
    mttr_median_minutes double precision,
    mttr_p90_minutes double precision,
    mttr_mean_minutes double precision,
    last_closed_at timestamptz
  )
  language plpgsql stable security definer
  set search_path = ''
as $$
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

comment on function reporting.fn_team_closures(text, timestamptz, timestamptz) is
  'Closures of a dataset in a range of time by team and owner, with the time to repair.';
--! EndIncluded functions/reporting.fn_team_closures.sql
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
  set search_path = ''
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

  -- The index is in the order of distances on a sphere, which are off by up to 0.6 %: it says how
  -- far to look, and what lies within that is measured. So all of the same distance are seen, too,
  -- and which of them come first does not depend on the index.
  select max(n.metres) * 1.015
  into v_metres
  from (
    select t.geog operator(public.<->) v_point as metres
    from tickets.ticket as t
    where t.is_open and t.is_actionable and t.geog is not null
      and (p_dataset is null or t.dataset = p_dataset)
    order by t.geog operator(public.<->) v_point
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
  set search_path = ''
  set timezone = 'Africa/Nairobi'
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
  v_dataset := query_params ->> 'dataset';
  v_cluster := query_params ->> 'cluster';
  v_status := coalesce(query_params ->> 'status', 'open');
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

create table tickets.geocoding (
  is_only_row boolean primary key default true,
  country text not null,
  country_code text not null,
  area public.geometry(Polygon, 4326) not null,
  max_distance double precision not null default 25000,
  ask_again_after interval not null default '30 days',
  constraint there_is_one_row check (is_only_row),
  constraint country_code_has_two_lower_case_letters check (country_code ~ '^[a-z]{2}$'),
  constraint max_distance_is_positive check (max_distance > 0),
  constraint ask_again_after_is_positive check (ask_again_after > interval '0')
);
comment on table tickets.geocoding is 'What geocoding goes by, one row.';
comment on column tickets.geocoding.is_only_row is 'Keeps it one row.';
comment on column tickets.geocoding.country is 'The country of the tickets, as it ends a question.';
comment on column tickets.geocoding.country_code is 'Its code, ISO 3166, two lower-case letters.';
comment on column tickets.geocoding.area is 'Box around it; a point outside is refused.';
comment on column tickets.geocoding.max_distance is
  'Metres from the point of its cluster beyond which a place''s point is refused.';
comment on column tickets.geocoding.ask_again_after is
  'How old a missing match must be to be asked for again.';

insert into tickets.geocoding (country, country_code, area)
values ('Kenya', 'ke', public.st_makeenvelope(33.5, -5.0, 42.0, 5.6, 4326));

create table tickets.geocoder_services (
  service text collate "C" primary key,
  per_second double precision,
  per_minute integer,
  per_day integer,
  paused_until timestamptz,
  constraint service_has_a_name check (service <> ''),
  constraint per_second_is_positive check (per_second > 0),
  constraint per_minute_is_positive check (per_minute > 0),
  constraint per_day_is_positive check (per_day > 0)
);
comment on table tickets.geocoder_services is
  'What each geocoding service lets us ask. All runs share it; a service that is not here is added with its first request, without limits.';
comment on column tickets.geocoder_services.service is
  'The provider''s public service by its name, a server of one''s own by host and port.';
comment on column tickets.geocoder_services.per_second is
  'Requests a second; GEOCODER_RPS may ask for fewer. NULL for as many as GEOCODER_RPS says.';
comment on column tickets.geocoder_services.per_minute is 'Requests in any minute; NULL for no limit.';
comment on column tickets.geocoder_services.per_day is 'Requests on a day of UTC; NULL for no limit.';
comment on column tickets.geocoder_services.paused_until is
  'Nobody asks before: the service has said so, or was in trouble.';

-- Of the free plans.
insert into tickets.geocoder_services (service, per_second, per_minute, per_day) values
  ('locationiq', 2, 60, 5000),
  ('opencage', 1, null, 2500),
  ('nominatim', 1, null, null);

create table tickets.geocoder_requests (
  service text collate "C" not null references tickets.geocoder_services on delete cascade,
  due_at timestamptz not null
);
create index geocoder_requests_service_idx on tickets.geocoder_requests (service, due_at);
comment on table tickets.geocoder_requests is
  'Requests of the day, made or about to be made, by which the limits of tickets.geocoder_services are kept.';
comment on column tickets.geocoder_requests.service is 'tickets.geocoder_services.service.';
comment on column tickets.geocoder_requests.due_at is 'When the request is made, not before.';

--! Included functions/tickets.start_geocoding.sql
create or replace function tickets.start_geocoding(p_kind text)
  returns text
  language plpgsql volatile security definer
  set search_path = ''
as $$
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
  if not pg_try_advisory_lock(hashtext('fleettickets'), hashtext('geocode:' || p_kind)) then
    raise exception using
      errcode = 'TK051',
      message = format('another run is geocoding %s', p_kind),
      detail = 'One run of a kind at a time; nothing was asked.',
      hint = 'Wait for it to end. Who it is: select pid, application_name, query_start '
        || 'from pg_stat_activity join pg_locks using (pid) where locktype = ''advisory''';
  end if;
  return (select s.country_code from tickets.geocoding as s);
end;
$$;

comment on function tickets.start_geocoding(text) is
  'Begins a geocoding run: takes the lock of its kind and returns the country to look in.';
--! EndIncluded functions/tickets.start_geocoding.sql
--! Included functions/tickets.finish_geocoding.sql
create or replace function tickets.finish_geocoding(p_kind text)
  returns boolean
  language sql volatile security definer
  set search_path = ''
as $$
  /*
    Ends a geocoding run: gives the lock of its kind back. The end of the session does so, too.

    Returns    whether this session had it.
  */
  select pg_advisory_unlock(hashtext('fleettickets'), hashtext('geocode:' || p_kind));
$$;

comment on function tickets.finish_geocoding(text) is
  'Ends a geocoding run: gives the lock of its kind back.';
--! EndIncluded functions/tickets.finish_geocoding.sql
--! Included functions/tickets._is_due.sql
create or replace function tickets._is_due(
  p_status text,
  p_verified boolean,
  p_geom public.geometry,
  p_fetched_at timestamptz,
  p_ask_before timestamptz
)
  returns boolean
  language sql immutable parallel safe
as $$
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

comment on function tickets._is_due(text, boolean, public.geometry, timestamptz, timestamptz) is
  'Whether a gazetteer''s row is to be asked for.';
--! EndIncluded functions/tickets._is_due.sql
--! Included functions/tickets._query_text.sql
create or replace function tickets._query_text(
  p_place text,
  p_cluster text,
  p_name text,
  p_country text
)
  returns text
  language sql immutable parallel safe
as $$
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

comment on function tickets._query_text(text, text, text, text) is
  'What a geocoder is asked for a place, or for a cluster.';
--! EndIncluded functions/tickets._query_text.sql
--! Included functions/tickets.clusters_to_geocode.sql
create or replace function tickets.clusters_to_geocode()
  returns table (cluster text, query text, tickets integer)
  language sql stable security definer
  set search_path = ''
as $$
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

comment on function tickets.clusters_to_geocode() is
  'The clusters of tickets that have no point and that a geocoder is to be asked for.';
--! EndIncluded functions/tickets.clusters_to_geocode.sql
--! Included functions/tickets.locations_to_geocode.sql
create or replace function tickets.locations_to_geocode()
  returns table (
    place text,
    cluster text,
    query text,
    tickets integer,
    skipped text,
    latitude double precision,
    longitude double precision,
    box double precision[]
  )
  language sql stable security definer
  set search_path = ''
as $$
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

comment on function tickets.locations_to_geocode() is
  'The places of open and actionable tickets that a geocoder is to be asked for.';
--! EndIncluded functions/tickets.locations_to_geocode.sql
--! Included functions/tickets._judge_point.sql
create or replace function tickets._judge_point(
  p_point public.geometry,
  p_near public.geometry,
  p_country_code text
)
  returns text
  language sql stable
  set search_path = ''
as $$
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

comment on function tickets._judge_point(public.geometry, public.geometry, text) is
  'Whether a geocoder''s point is to be believed: ok or rejected_far.';
--! EndIncluded functions/tickets._judge_point.sql
--! Included functions/tickets.record_answer.sql
create or replace function tickets.record_answer(
  p_places text[],
  p_clusters text[],
  p_provider text,
  p_query text,
  p_outcome text,
  p_latitude double precision default null,
  p_longitude double precision default null,
  p_country_code text default null
)
  returns table (place text, cluster text, status text, distance double precision)
  language sql volatile security definer
  set search_path = ''
  -- Files that are being applied keep a gazetteer from changing, and an answer was paid for.
  set lock_timeout = 0
as $$
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

comment on function tickets.record_answer(
  text[], text[], text, text, text, double precision, double precision, text
) is 'Writes a geocoder''s answer into the gazetteers; what a person has verified stays.';
--! EndIncluded functions/tickets.record_answer.sql
--! Included functions/tickets.reserve_request.sql
create or replace function tickets.reserve_request(
  p_service text,
  p_per_second double precision
)
  returns table (wait_ms integer, quota_until timestamptz)
  language plpgsql volatile security definer
  set search_path = ''
as $$
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

comment on function tickets.reserve_request(text, double precision) is
  'Reserves the next request to a geocoding service and returns how long to wait for it.';
--! EndIncluded functions/tickets.reserve_request.sql
--! Included functions/tickets.pause_requests.sql
create or replace function tickets.pause_requests(p_service text, p_wait_ms integer)
  returns void
  language sql volatile security definer
  set search_path = ''
as $$
  /*
    Lets no run ask a geocoding service for a while, because it said so or is in trouble.
  */
  update tickets.geocoder_services as s
  set paused_until = greatest(
    s.paused_until, tickets._now() + p_wait_ms * interval '1 millisecond'
  )
  where s.service = p_service;
$$;

comment on function tickets.pause_requests(text, integer) is
  'Lets no run ask a geocoding service for a while.';
--! EndIncluded functions/tickets.pause_requests.sql
--! Included functions/tickets._no_such_place.sql
create or replace function tickets._no_such_place(p_cluster text, p_place text)
  returns void
  language plpgsql stable
  set search_path = ''
as $$
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

comment on function tickets._no_such_place(text, text) is
  'Raises TK052: there is no such cluster, or no such place in it.';
--! EndIncluded functions/tickets._no_such_place.sql
--! Included functions/tickets.verify_place.sql
create or replace function tickets.verify_place(p_cluster text, p_place text default null)
  returns void
  language plpgsql volatile
  set search_path = ''
as $$
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

comment on function tickets.verify_place(text, text) is
  'A person says that the point of a place, or of a cluster, is right.';
--! EndIncluded functions/tickets.verify_place.sql
--! Included functions/tickets.correct_place.sql
create or replace function tickets.correct_place(
  p_cluster text,
  p_lat double precision,
  p_lng double precision,
  p_place text default null
)
  returns void
  language plpgsql volatile
  set search_path = ''
as $$
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

comment on function tickets.correct_place(text, double precision, double precision, text) is
  'A person says where a place, or a cluster, is.';
--! EndIncluded functions/tickets.correct_place.sql
--! Included functions/tickets.reject_place.sql
create or replace function tickets.reject_place(p_cluster text, p_place text default null)
  returns void
  language plpgsql volatile
  set search_path = ''
as $$
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

comment on function tickets.reject_place(text, text) is
  'A person says that the point of a place, or of a cluster, is wrong and not to be asked for.';
--! EndIncluded functions/tickets.reject_place.sql
--! Included views/tickets.geo_review.sql
create or replace view tickets.geo_review as
with open_tickets as (
  -- tickets.clean_place() written out: a view calls functions with the rights of whoever reads it.
  select t.cluster collate "C" as cluster,
    btrim(regexp_replace(
      case
        when c.codes is null then t.location_name
        else regexp_replace(t.location_name, '(?<![A-Za-z0-9])(?:' || c.codes || ')', ' ', 'gi')
      end,
      '[_ \t\r\n]+', ' ', 'g'
    )) collate "C" as place,
    count(*)::integer as tickets
  from tickets.ticket as t
  cross join (
    select string_agg(p.pattern, '|' order by length(p.pattern) desc, p.code) as codes
    from tickets.place_codes as p
  ) as c
  where t.is_open
  group by 1, 2
)
select r.kind, r.cluster, r.place, r.status, r.tickets,
  public.st_y(r.geom) as latitude,
  public.st_x(r.geom) as longitude,
  round(r.distance::numeric / 1000, 1) as distance_km,
  r.provider, r.query, r.attempts, r.fetched_at,
  case
    when r.geom is not null then
      format('https://www.openstreetmap.org/?mlat=%1$s&mlon=%2$s#map=15/%1$s/%2$s',
        round(public.st_y(r.geom)::numeric, 6), round(public.st_x(r.geom)::numeric, 6))
  end as map
from (
  select 'cluster' as kind, g.cluster, null::text collate "C" as place, g.geom,
    null::double precision as distance, g.status, g.provider, g.query, g.attempts, g.fetched_at,
    coalesce((
      select sum(o.tickets) from open_tickets as o
      where o.cluster = g.cluster
        or o.cluster in (
          select a.alias from tickets.cluster_aliases as a where a.cluster = g.cluster
        )
    ), 0)::integer as tickets
  from tickets.geo_clusters as g
  where not g.verified
  union all
  select 'location', g.cluster, g.place, g.geom,
    public.st_distance(
      g.geom::public.geography, coalesce(c.used_geom, behind.used_geom)::public.geography
    ),
    g.status, g.provider, g.query, g.attempts,
    g.fetched_at, coalesce(o.tickets, 0)
  from tickets.geo_locations as g
  left join open_tickets as o on o.cluster = g.cluster and o.place = g.place
  left join tickets.geo_clusters as c on c.cluster = g.cluster
  left join tickets.cluster_aliases as a on a.alias = g.cluster
  left join tickets.geo_clusters as behind on behind.cluster = a.cluster
  where not g.verified
) as r
order by r.tickets desc, r.cluster, r.place nulls first;

comment on view tickets.geo_review is
  'Places and clusters that are in a gazetteer and that no person has verified.';
comment on column tickets.geo_review.kind is 'cluster or location.';
comment on column tickets.geo_review.cluster is 'Cluster.';
comment on column tickets.geo_review.place is 'Place in the cluster; NULL for the cluster itself.';
comment on column tickets.geo_review.status is
  'ok; rejected_far: too far from its cluster or abroad; no_match; error: no answer.';
comment on column tickets.geo_review.tickets is
  'Open tickets that name it; of a cluster also those that name it by an alias.';
comment on column tickets.geo_review.latitude is 'Latitude of the point that was found.';
comment on column tickets.geo_review.longitude is 'Longitude of the point that was found.';
comment on column tickets.geo_review.distance_km is 'Kilometres from the point of its cluster.';
comment on column tickets.geo_review.provider is 'Who answered.';
comment on column tickets.geo_review.query is 'What was asked.';
comment on column tickets.geo_review.attempts is 'How often it was asked.';
comment on column tickets.geo_review.fetched_at is 'When it was last asked.';
comment on column tickets.geo_review.map is 'Where to look at the point; NULL where there is none.';
--! EndIncluded views/tickets.geo_review.sql

--! Included functions/tickets.eat_ts.sql
create or replace function tickets.eat_ts(p_text text)
  returns timestamptz
  language plpgsql immutable strict parallel safe
as $$
/*
  The instant that a timestamp of the export means.

  Takes      `YYYY-MM-DD`, optionally with `HH:MM`, `HH:MM:SS` or `HH:MM:SS.f` after a blank or a
             `T`, optionally with `Z` or an offset (`+03`, `+03:00`, `+0300`) after that.
             Without an offset it is wall time in Nairobi (EAT, UTC+3, no daylight saving).
  Returns    the instant, or NULL where the text is no timestamp (`2026-02-30`, `yesterday`, ``).
  Raises     nothing.

  The stored columns of tickets.ticket are generated by this function, so its answer must depend on
  its argument alone. The casts below are marked stable in the catalogue because of DateStyle and
  TimeZone; on the year-first text that comes so far, with its zone stated, neither
  setting has a say. No `set search_path` here: it would cost more than the function itself, and
  every name resolves in pg_catalog.
*/
declare
  v_text text;
  v_day integer;
begin
  -- What the export nearly always writes, on a day that every month has. To look its parts up costs
  -- half of a regular expression: of nine or more constants, `in` makes a hash table.
  if substr(p_text, 1, 5) collate "C" in (
      '2020-', '2021-', '2022-', '2023-', '2024-', '2025-', '2026-', '2027-', '2028-', '2029-',
      '2030-', '2031-', '2032-', '2033-', '2034-', '2035-', '2036-', '2037-', '2038-', '2039-'
    )
    and substr(p_text, 6, 3) collate "C" in (
      '01-', '02-', '03-', '04-', '05-', '06-', '07-', '08-', '09-', '10-', '11-', '12-'
    )
    and substr(p_text, 9, 3) collate "C" in (
      '01 ', '02 ', '03 ', '04 ', '05 ', '06 ', '07 ', '08 ', '09 ', '10 ', '11 ', '12 ', '13 ',
      '14 ', '15 ', '16 ', '17 ', '18 ', '19 ', '20 ', '21 ', '22 ', '23 ', '24 ', '25 ', '26 ',
      '27 ', '28 '
    )
    and substr(p_text, 12, 3) collate "C" in (
      '00:', '01:', '02:', '03:', '04:', '05:', '06:', '07:', '08:', '09:', '10:', '11:', '12:',
      '13:', '14:', '15:', '16:', '17:', '18:', '19:', '20:', '21:', '22:', '23:'
    )
    and substr(p_text, 15, 3) collate "C" in (
      '00:', '01:', '02:', '03:', '04:', '05:', '06:', '07:', '08:', '09:', '10:', '11:', '12:',
      '13:', '14:', '15:', '16:', '17:', '18:', '19:', '20:', '21:', '22:', '23:', '24:', '25:',
      '26:', '27:', '28:', '29:', '30:', '31:', '32:', '33:', '34:', '35:', '36:', '37:', '38:',
      '39:', '40:', '41:', '42:', '43:', '44:', '45:', '46:', '47:', '48:', '49:', '50:', '51:',
      '52:', '53:', '54:', '55:', '56:', '57:', '58:', '59:'
    )
    and substr(p_text, 18) collate "C" in (
      '00', '01', '02', '03', '04', '05', '06', '07', '08', '09', '10', '11', '12', '13', '14',
      '15', '16', '17', '18', '19', '20', '21', '22', '23', '24', '25', '26', '27', '28', '29',
      '30', '31', '32', '33', '34', '35', '36', '37', '38', '39', '40', '41', '42', '43', '44',
      '45', '46', '47', '48', '49', '50', '51', '52', '53', '54', '55', '56', '57', '58', '59'
    )
  then
    return p_text::timestamp at time zone 'Africa/Nairobi';
  end if;

  -- Digits by name: what \d takes in depends on the locale, and casts do not follow.
  v_text := btrim(p_text, E' \t\r\n');
  if v_text !~ ('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])'
                '([ Tt]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?'
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
    return v_text::timestamptz;
  end if;
  return v_text::timestamp at time zone 'Africa/Nairobi';
end;
$$;

comment on function tickets.eat_ts(text) is
  'The instant that a timestamp of the export means: EAT unless it says else; NULL if it is none.';
--! EndIncluded functions/tickets.eat_ts.sql
--! Included functions/tickets._boolean.sql
create or replace function tickets._boolean(p_text text)
  returns boolean
  language sql immutable parallel safe
as $$
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

comment on function tickets._boolean(text) is
  'A flag of the export as a boolean; NULL for anything that is not a flag.';
--! EndIncluded functions/tickets._boolean.sql
--! Included functions/tickets._is_open.sql
create or replace function tickets._is_open(p_raw jsonb)
  returns boolean
  language sql immutable parallel safe
as $$
  /*
    Whether a ticket is open: what its bucket says, else whether it lacks a closing time.

    Returns    never NULL for a ticket.
    Raises     nothing.
  */
  -- First as the export writes it: anything else is looked at more closely.
  select case p_raw ->> 'bucket'
    when 'closed' then false
    when 'pending' then true
    else
      case lower(btrim(p_raw ->> 'bucket', E' \t\r\n'))
        when 'closed' then false
        when 'pending' then true
        else tickets.eat_ts(p_raw ->> 'closed_at') is null
      end
  end;
$$;

comment on function tickets._is_open(jsonb) is
  'Whether a ticket is open: by its bucket, else while it has no closing time.';
--! EndIncluded functions/tickets._is_open.sql
--! Included functions/tickets._now.sql
create or replace function tickets._now()
  returns timestamptz
  language sql stable parallel safe
as $$
  /*
    The one clock of this schema: the start of the transaction, or the instant in the setting
    `tickets.now`, with which a test stands still in time.

    No `set search_path` here: it is asked for every row, as a default, too. So the planner takes it
    apart, and every name resolves in pg_catalog.
  */
  select coalesce(nullif(current_setting('tickets.now', true), '')::timestamptz, now());
$$;

comment on function tickets._now() is
  'The clock of this schema: now(), or the setting tickets.now where a test has frozen time.';
--! EndIncluded functions/tickets._now.sql
--! Included functions/tickets._unless_blank.sql
create or replace function tickets._unless_blank(p_text text)
  returns text
  language sql immutable parallel safe
as $$
  /*
    A value of the export to the letter, or NULL where it is nothing but blanks.

    What begins with a character beyond the blanks is not blank: mostly that is all to be looked at.
  */
  select case
    when p_text collate "C" >= '!' or btrim(p_text, E' \t\r\n') <> '' then p_text
  end;
$$;

comment on function tickets._unless_blank(text) is
  'A value of the export to the letter; NULL where it is nothing but blanks.';
--! EndIncluded functions/tickets._unless_blank.sql
--! Included functions/tickets._clean_row.sql
create or replace function tickets._clean_row(p_row tickets.staging)
  returns jsonb
  language sql immutable parallel safe
as $$
  /*
    What a staged row says of its ticket: the `raw` of tickets.ticket, without columns that the
    contract does not know.

    ticket_id, region and raw_status are trimmed, region in lower case, raw_status in upper case;
    blank values are absent; everything else is kept to the letter. The bookkeeping of the week and
    of the export (the contract's last seven columns) is dropped.

    One expression, so that the planner copies it into the statement that applies a file.
  */
  -- In the order in which jsonb keeps its keys, which spares their sorting.
  select jsonb_strip_nulls(jsonb_object(
    array[
      'mttr', 'owner', 'bucket', 'region', 'cluster', 'is_alarm', 'latitude', 'closed_at',
      'longitude', 'ticket_id', 'raw_status', 'sla_status', 'last_seen_at', 'scheduled_at',
      'service_type', 'assigned_team', 'first_seen_at', 'is_actionable', 'location_name',
      'is_auto_closed', 'is_auto_created', 'normalized_status', 'source_created_at',
      'source_updated_at', 'created_at_service'
    ],
    array[
      tickets._unless_blank(p_row.mttr),
      tickets._unless_blank(p_row.owner),
      tickets._unless_blank(p_row.bucket),
      nullif(lower(btrim(p_row.region, E' \t\r\n')), ''),
      tickets._unless_blank(p_row.cluster),
      tickets._unless_blank(p_row.is_alarm),
      tickets._unless_blank(p_row.latitude),
      tickets._unless_blank(p_row.closed_at),
      tickets._unless_blank(p_row.longitude),
      nullif(btrim(p_row.ticket_id, E' \t\r\n'), ''),
      nullif(upper(btrim(p_row.raw_status, E' \t\r\n')), ''),
      tickets._unless_blank(p_row.sla_status),
      tickets._unless_blank(p_row.last_seen_at),
      tickets._unless_blank(p_row.scheduled_at),
      tickets._unless_blank(p_row.service_type),
      tickets._unless_blank(p_row.assigned_team),
      tickets._unless_blank(p_row.first_seen_at),
      tickets._unless_blank(p_row.is_actionable),
      tickets._unless_blank(p_row.location_name),
      tickets._unless_blank(p_row.is_auto_closed),
      tickets._unless_blank(p_row.is_auto_created),
      tickets._unless_blank(p_row.normalized_status),
      tickets._unless_blank(p_row.source_created_at),
      tickets._unless_blank(p_row.source_updated_at),
      tickets._unless_blank(p_row.created_at_service)
    ]
  ));
$$;

comment on function tickets._clean_row(tickets.staging) is
  'What a staged row says of its ticket, cleaned: raw without columns unknown to the contract.';
--! EndIncluded functions/tickets._clean_row.sql
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
  -- It would sort all of staging before it sees that there is nothing to build.
  set enable_mergejoin = off
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

  -- The statement does for all its tickets at once what triggers would do for each: it asks the
  -- gazetteers, and records closures.
  perform tickets._lock_gazetteers(p_to_change => false),
    set_config('tickets.is_placing', 'on', true),
    set_config('tickets.closures_are_recorded', 'on', true);

  -- The planner knows nothing of a table that was filled a moment ago.
  execute format('analyze tickets.%I (dataset, source_key, line)', p_dataset || '_staging');

  with staged as materialized (
    -- Every staged row once: what it is, and a hash of what it says.
    select s.line,
      btrim(s.ticket_id, c_blank) collate "C" as ticket_id,
      case
        -- Cheap questions first, of which most rows need no more.
        when s.is_alarm <> 'false'
          and lower(btrim(s.is_alarm, c_blank)) in ('true', 't', '1', 'yes') then 'alarm'
        when s.ticket_id like '% %' and s.ticket_id ~* '^\s*export stopped' then 'sentinel'
        when coalesce(btrim(s.ticket_id, c_blank), '') = '' then
          case when tickets._is_sentinel(s) then 'sentinel' else 'ticket_id is blank' end
        when btrim(s.ticket_id, c_blank) = 'ticket_id' then 'header repeated'
        when btrim(s.ticket_id, c_blank) like any (array[E'%\n%', E'%\r%'])
          then 'line break within ticket_id'
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
  known as (
    -- What is known of each ticket. Of raw, only the text that it was made from, as its seal tells:
    -- a CASE, or the planner would carry every raw along to ask that of it later.
    select t.ticket_id,
      case
        when t.source_key is not null then t.content_seal # jsonb_hash_extended(t.raw, 0)
      end as text_hash,
      t.exported_at, t.source_key,
      (t.previous_exported_at, t.previous_source_key)::tickets.file_version as previous,
      t.is_open, t.normalized_status, t.raw_status, t.assigned_team, t.owner
    from tickets.ticket as t
    where t.dataset = p_dataset
  ),
  looked_up as materialized (
    select n.ticket_id, n.line, n.text_hash, coalesce(k.text_hash = n.text_hash, false) as fits,
      k.ticket_id is not null as is_known, k.exported_at, k.source_key, k.previous,
      case when k.ticket_id is not null then r.repeats end as repeats,
      r.ticket_id is not null as has_repeats, k.is_open, k.normalized_status,
      k.raw_status, k.assigned_team, k.owner
    from newest as n
    left join known as k on k.ticket_id = n.ticket_id
    left join tickets.ticket_repeats as r on r.dataset = p_dataset and r.ticket_id = n.ticket_id
  ),
  built as (
    -- Where the text does not fit, raw must be built and compared.
    select l.*,
      case when c_is_whole then '{}' else tickets._extra_values(s, p_extra_columns) end
        || case
          when m.missing = '{}' then tickets._clean_row(s)
          else tickets._keep_keys(k.raw, m.missing) || (tickets._clean_row(s) - m.missing)
        end as raw,
      k.raw as known_raw
    from looked_up as l
    join tickets.staging as s
      on s.dataset = p_dataset and s.source_key = p_source_key and s.line = l.line
    cross join lateral (
      select case
        when l.is_known then (
          select t.raw from tickets.ticket as t
          where t.dataset = p_dataset and t.ticket_id = l.ticket_id
        )
      end as raw
    ) as k
    cross join lateral (
      -- By hand, each row may lack other columns.
      select case
        when p_first_line is null or p_missing_columns = '{}' then p_missing_columns
        else tickets._missing_in_row(s)
      end as missing
    ) as m
    where not l.fits
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
        l.exported_at, l.source_key, l.is_open, l.normalized_status, l.raw_status,
        l.assigned_team, l.owner,
        l.fits or (l.raw = l.known_raw and l.source_key is not null) as is_same,
        -- NULL for a ticket that no file has brought: any file is newer.
        case
          when l.repeats is not null then l.repeats[cardinality(l.repeats)]
          when l.source_key is not null then
            (l.exported_at, l.source_key)::tickets.file_version
        end as newest
      from (
        select l.*, null::jsonb as raw, null::jsonb as known_raw from looked_up as l where l.fits
        union all
        select b.* from built as b
      ) as l
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
    returning t.ticket_id, t.is_open, t.normalized_status, t.raw_status, t.assigned_team, t.owner,
      t.closed_at, t.mttr, t.cluster
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
      dataset, ticket_id, from_open, to_open, from_normalized_status, to_normalized_status,
      from_status, to_status, from_team, to_team, from_owner, to_owner, exported_at, source_key
    )
    select p_dataset, w.ticket_id, c.is_open, w.is_open, c.normalized_status, w.normalized_status,
      c.raw_status, w.raw_status, c.assigned_team, w.assigned_team, c.owner, w.owner,
      p_exported_at, p_source_key
    from written as w
    join compared as c on c.ticket_id = w.ticket_id
    where c.outcome = 'updated'
      and (c.is_open, c.normalized_status, c.raw_status, c.assigned_team, c.owner)
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

  perform set_config('tickets.is_placing', '', true),
    set_config('tickets.closures_are_recorded', '', true);
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

comment on column tickets.daily_snapshot.captured_at is 'When a run last found it so.';

--! Included functions/tickets.capture_history.sql
create or replace function tickets.capture_history(p_dataset text default null)
  returns table (dataset text, closures integer, clusters integer)
  language plpgsql volatile security definer
  set search_path = ''
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
    with noted as (
      delete from tickets.unrecorded_closures as u
      where u.dataset = v_dataset
      returning u.ticket_id
    ),
    recorded as (
      insert into tickets.closure_events (
        dataset, ticket_id, closed_at, mttr, cluster, team, owner, source_key
      )
      select t.dataset, t.ticket_id, t.closed_at, t.mttr, t.cluster, t.assigned_team, t.owner,
        t.source_key
      from tickets.ticket as t
      where t.dataset = v_dataset and t.ticket_id in (select n.ticket_id from noted as n)
        and not t.is_open
      order by t.ticket_id
      on conflict (ticket_id, closed_at, dataset) do nothing
      returning 1
    )
    select count(*) into closures from recorded;
    dataset := v_dataset;
    clusters := tickets._capture_day(v_dataset);
    update tickets.daily_snapshot as s
    set captured_at = tickets._now()
    where s.dataset = v_dataset
      and s.day = (tickets._now() at time zone 'Africa/Nairobi')::date
      and s.captured_at <> tickets._now();
    return next;
  end loop;
end;
$$;

comment on function tickets.capture_history(text) is
  'Records closures not recorded yet and today''s snapshot, of one dataset or all.';
--! EndIncluded functions/tickets.capture_history.sql
--! Included functions/tickets.staged_rows.sql
create or replace function tickets.staged_rows(p_dataset text)
  returns table (source_key text, rows bigint)
  language plpgsql stable security definer
  set search_path = ''
  -- A plan for one dataset alone: a general one locks the staging tables of the others, too.
  set plan_cache_mode = force_custom_plan
as $$
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

comment on function tickets.staged_rows(text) is
  'What lies in staging and is not applied yet, a row a file.';
--! EndIncluded functions/tickets.staged_rows.sql
--! Included functions/tickets.applied_migrations.sql
create or replace function tickets.applied_migrations()
  returns table (hash text, filename text)
  language sql stable security definer
  set search_path = ''
as $$
  /*
    The migrations that this database has seen, in their order: for a program that wants to know
    whether the schema is its own.
  */
  select m.hash, m.filename
  from graphile_migrate.migrations as m
  order by m.filename;
$$;

comment on function tickets.applied_migrations() is
  'The migrations that this database has seen, in their order.';
--! EndIncluded functions/tickets.applied_migrations.sql
--! Included views/tickets.freshness.sql
create or replace view tickets.freshness as
select d.dataset,
  m.metadata ->> 'source_max_key' as source_max_key,
  w.exported_at,
  -- tickets._now() written out: a view calls functions with the rights of whoever reads it.
  coalesce(nullif(current_setting('tickets.now', true), '')::timestamptz, now()) - w.exported_at
    as age,
  f.applied_at,
  coalesce(f.applied, 0) as files_applied,
  coalesce(f.refused, 0) as files_refused,
  coalesce(f.unarchived, 0) as files_unarchived,
  r.captured_at as last_run_at
from tickets.datasets as d
left join tickets.import_meta as m on m.dataset = d.dataset
left join lateral (
  select max(k.exported_at) as exported_at
  from tickets.ingest_files as k
  where k.dataset = d.dataset and k.source_key = m.metadata ->> 'source_max_key'
) as w on true
left join (
  select i.dataset,
    max(i.applied_at) as applied_at,
    count(*) filter (where i.status = 'applied') as applied,
    count(*) filter (
      where i.status = 'rejected' and not exists (
        select from tickets.ingest_files as mended
        where mended.dataset = i.dataset and mended.source_key = i.source_key
          and mended.status = 'applied'
      )
    ) as refused,
    count(*) filter (
      where i.status in ('applied', 'skipped') and i.archived_at is null
        and i.source_key not like 'manual:%'
    ) as unarchived
  from tickets.ingest_files as i
  group by i.dataset
) as f on f.dataset = d.dataset
left join lateral (
  select s.captured_at
  from tickets.daily_snapshot as s
  where s.dataset = d.dataset
  order by s.day desc, s.captured_at desc
  limit 1
) as r on true
order by d.dataset;

comment on view tickets.freshness is 'How far each dataset is: watermark, its age, files by state.';
comment on column tickets.freshness.dataset is 'Dataset.';
comment on column tickets.freshness.source_max_key is 'The newest file applied, the watermark.';
comment on column tickets.freshness.exported_at is 'Export time of the watermark.';
comment on column tickets.freshness.age is 'How long ago that is.';
comment on column tickets.freshness.applied_at is 'When a file was last applied.';
comment on column tickets.freshness.files_applied is 'Files applied, of all time.';
comment on column tickets.freshness.files_refused is 'Files refused and not mended.';
comment on column tickets.freshness.files_unarchived is
  'Files done with and not in the archive yet.';
comment on column tickets.freshness.last_run_at is
  'When a run last came to its end, with or without anything new; NULL before the first ticket.';
--! EndIncluded views/tickets.freshness.sql
