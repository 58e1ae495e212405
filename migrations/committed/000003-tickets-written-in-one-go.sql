--! Previous: sha1:a4cc492554cc0f2f700b2dd43d43d46300ee32a4
--! Hash: sha1:533a96192aa6e14ed628803b979fa8ac90a8505e
--! Message: tickets written in one go

-- The columns of a ticket are still what follows from its raw, whoever writes it, but by a trigger:
-- generated columns are computed one by one, each from raw, and took half of a first load.

drop trigger place_ticket on tickets.ticket;
drop trigger closed_tickets_are_noted on tickets.ticket;
drop function tickets._place_ticket();
drop function tickets._note_closed();

do $do$
declare
  v_column text;
begin
  for v_column in
    select a.attname
    from pg_attribute as a
    where a.attrelid = 'tickets.ticket'::regclass and a.attgenerated = 's'
  loop
    execute format('alter table tickets.ticket alter column %I drop expression', v_column);
  end loop;
end;
$do$;

alter table tickets.ticket add column text_hash bigint;
update tickets.ticket as t set text_hash = t.content_seal # jsonb_hash_extended(t.raw, 0);
alter table tickets.ticket
  drop column content_seal,
  drop column place_geom,
  drop column place_source,
  alter column is_open set not null,
  alter column geo_source set not null,
  add constraint geo_source_is_known
    check (geo_source in ('feed', 'location', 'cluster', 'none'));
comment on column tickets.ticket.text_hash is
  'Hash of the staged text that raw was made from: the same text needs no second look. NULL where raw was written by hand, or by a file with other columns than the contract''s.';

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

  Its answer depends on its argument alone. The casts below are marked stable in the catalogue
  because of DateStyle and TimeZone; on the year-first text that comes so far, with its zone stated,
  neither setting has a say. No `set search_path` here: it would cost more than the function itself,
  and every name resolves in pg_catalog. For many texts in one statement there is tickets._instant.
*/
declare
  v_text text;
  v_day integer;
begin
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
--! Included functions/tickets._days.sql
create or replace function tickets._days()
  returns text[]
  language sql immutable parallel safe
  set search_path = ''
as $$
  /*
    Every day of twenty years as a timestamp of the export begins, `2026-06-15 `: what
    tickets._instant looks days up in.
  */
  select array_agg(to_char(d.day, 'YYYY-MM-DD ') order by d.day)
  from generate_series(timestamp '2020-01-01', timestamp '2039-12-31', interval '1 day') as d (day);
$$;

comment on function tickets._days() is
  'Every day of twenty years as a timestamp of the export begins.';
--! EndIncluded functions/tickets._days.sql
--! Included functions/tickets._minutes_of_day.sql
create or replace function tickets._minutes_of_day()
  returns text[]
  language sql immutable parallel safe
  set search_path = ''
as $$
  /*
    Every minute of a day as it stands in a timestamp of the export, `17:04:`: what tickets._instant
    looks minutes up in.
  */
  select array_agg(to_char(m.minute, 'HH24:MI:') order by m.minute)
  from generate_series(
    timestamp '2020-01-01 00:00', timestamp '2020-01-01 23:59', interval '1 minute'
  ) as m (minute);
$$;

comment on function tickets._minutes_of_day() is
  'Every minute of a day as it stands in a timestamp of the export.';
--! EndIncluded functions/tickets._minutes_of_day.sql
--! Included functions/tickets._instant.sql
create or replace function tickets._instant(p_text text, p_days text[], p_minutes text[])
  returns timestamptz
  language sql stable parallel safe
as $$
  /*
    What tickets.eat_ts says of a text, for many of them in one statement.

    Takes      the text; tickets._days() and tickets._minutes_of_day(), as constants: an `in` of
               nine or more constants is a look-up in a hash table. Three of those and a cast cost
               less than half of a regular expression, and no call of a function.
    Returns    the instant, NULL where the text is no timestamp.

    One expression, so that the planner copies it into the statement. It names p_text six times:
    give it a column, not an expression.
  */
  select case
    when substr(p_text, 1, 11) collate "C" = any (p_days)
      and substr(p_text, 12, 6) collate "C" = any (p_minutes)
      and substr(p_text, 18) collate "C" in (
        '00', '01', '02', '03', '04', '05', '06', '07', '08', '09', '10', '11', '12', '13', '14',
        '15', '16', '17', '18', '19', '20', '21', '22', '23', '24', '25', '26', '27', '28', '29',
        '30', '31', '32', '33', '34', '35', '36', '37', '38', '39', '40', '41', '42', '43', '44',
        '45', '46', '47', '48', '49', '50', '51', '52', '53', '54', '55', '56', '57', '58', '59'
      )
    then p_text::timestamp at time zone 'Africa/Nairobi'
    else tickets.eat_ts(p_text)
  end;
$$;

comment on function tickets._instant(text, text[], text[]) is
  'What tickets.eat_ts says of a text, for many of them in one statement.';
--! EndIncluded functions/tickets._instant.sql
--! Included functions/tickets._derived.sql
create or replace function tickets._derived(p_raw jsonb, p_days text[], p_minutes text[])
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
    for many. tickets._new_tickets says the same once more, and why; a test compares the two.

    Takes      its raw; tickets._days() and tickets._minutes_of_day().
    Raises     nothing: what does not cast is NULL.

    No `set search_path`, so that the planner takes it apart.
  */
  select t.normalized_status, t.raw_status, t.bucket, tickets._boolean(t.is_actionable),
    tickets._is_open(p_raw),
    t.cluster, t.region, t.location_name, t.assigned_team, t.owner, t.sla_status,
    tickets._minutes(t.mttr),
    tickets._instant(t.created_at_service, p_days, p_minutes),
    tickets._instant(t.scheduled_at, p_days, p_minutes),
    tickets._instant(t.closed_at, p_days, p_minutes),
    tickets._instant(t.first_seen_at, p_days, p_minutes),
    tickets._instant(t.last_seen_at, p_days, p_minutes),
    tickets._instant(t.source_created_at, p_days, p_minutes),
    tickets._instant(t.source_updated_at, p_days, p_minutes),
    case
      when t.latitude is not null then tickets._feed_point(t.latitude, t.longitude)
    end
  from (
    select p_raw ->> 'normalized_status' as normalized_status,
      p_raw ->> 'raw_status' as raw_status,
      p_raw ->> 'bucket' as bucket,
      p_raw ->> 'is_actionable' as is_actionable,
      p_raw ->> 'cluster' as cluster,
      p_raw ->> 'region' as region,
      p_raw ->> 'location_name' as location_name,
      p_raw ->> 'assigned_team' as assigned_team,
      p_raw ->> 'owner' as owner,
      p_raw ->> 'sla_status' as sla_status,
      p_raw ->> 'mttr' as mttr,
      p_raw ->> 'created_at_service' as created_at_service,
      p_raw ->> 'scheduled_at' as scheduled_at,
      p_raw ->> 'closed_at' as closed_at,
      p_raw ->> 'first_seen_at' as first_seen_at,
      p_raw ->> 'last_seen_at' as last_seen_at,
      p_raw ->> 'source_created_at' as source_created_at,
      p_raw ->> 'source_updated_at' as source_updated_at,
      p_raw ->> 'latitude' as latitude,
      p_raw ->> 'longitude' as longitude
    offset 0 -- keeps each text from being taken out of raw once for each time it is named
  ) as t;
$$;

comment on function tickets._derived(jsonb, text[], text[]) is
  'What the typed columns of a ticket are, and the point of its own coordinates.';
--! EndIncluded functions/tickets._derived.sql
--! Included functions/tickets._lock_tickets.sql
create or replace function tickets._lock_tickets(p_dataset text, p_to_apply boolean)
  returns void
  language sql volatile
  set search_path = ''
as $$
  /*
    Keeps what applying a file has looked up true until it has written: whoever writes tickets of a
    dataset by other means shares this lock, whoever applies a file has it alone, either till the
    end of the transaction. Waits for the others.

    No lock on the table, because that would wait for VACUUM, too.
  */
  select case
    when p_to_apply
    then pg_advisory_xact_lock(hashtext('fleettickets'), hashtext('<tickets> ' || p_dataset))
    else pg_advisory_xact_lock_shared(hashtext('fleettickets'), hashtext('<tickets> ' || p_dataset))
  end;
$$;

comment on function tickets._lock_tickets(text, boolean) is
  'Lets those who apply a file and those who write tickets by other means take turns.';
--! EndIncluded functions/tickets._lock_tickets.sql
--! Included functions/tickets._spare_triggers.sql
create or replace function tickets._spare_triggers(p_are_spared boolean)
  returns void
  language sql volatile
  set search_path = ''
as $$
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

comment on function tickets._spare_triggers(boolean) is
  'Has the triggers of tickets.ticket leave out what this transaction writes, or look at it again.';
--! EndIncluded functions/tickets._spare_triggers.sql
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
  Touches    tickets.unrecorded_closures: a ticket that is closed by other means than a file is
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
  from tickets._derived(new.raw, tickets._days(), tickets._minutes_of_day()) as d;

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
    if not new.is_open then
      insert into tickets.unrecorded_closures (dataset, ticket_id)
      values (new.dataset, new.ticket_id);
    end if;
  end if;
  return new;
end;
$$;

comment on function tickets._derive_ticket() is
  'Trigger: the columns of a ticket are what follows from raw and the gazetteers.';
--! EndIncluded functions/tickets._derive_ticket.sql
--! Included functions/tickets._await_files.sql
create or replace function tickets._await_files()
  returns trigger
  language plpgsql volatile security definer
  set search_path = ''
as $$
/*
  Trigger before a ticket is deleted: waits for a file that is being applied, and keeps the next one
  waiting till the end of the transaction.
*/
begin
  perform tickets._lock_tickets(old.dataset, p_to_apply => false);
  return old;
end;
$$;

comment on function tickets._await_files() is
  'Trigger: waits for a file that is being applied before a ticket is deleted.';
--! EndIncluded functions/tickets._await_files.sql

create trigger derive_ticket
  before insert or update on tickets.ticket
  for each row
  when (
    current_setting('tickets.triggers_are_spared_in', true)
      is distinct from pg_current_xact_id()::text
  )
  execute function tickets._derive_ticket();
create trigger await_files
  before delete on tickets.ticket
  for each row execute function tickets._await_files();

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
    -- Cleaning costs, and most clusters have no place with a point.
    on l.place = case
        when k.cluster in (select n.cluster from tickets.geo_locations as n)
        then tickets._clean_place(k.location_name, (select tickets._place_codes()))
      end
    and l.cluster = k.cluster
    and l.used_geom is not null
  left join tickets._cluster_points() as c on c.cluster = k.cluster;
$$;

comment on function tickets._places_of(text[], text[]) is
  'Where the gazetteers put tickets of these clusters and locations.';
--! EndIncluded functions/tickets._places_of.sql
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
  Touches    the points of tickets.ticket, but for those with coordinates of their own. The caller
             has the lock.
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
  where (left(t.cluster, 255) = any (v_names) or p_clusters is null)
    and t.cluster = p.cluster
    and coalesce(t.location_name, '') = coalesce(p.location_name, '')
    and t.geo_source <> 'feed'
    -- As text, because with an empty search_path a geometry has no = of its own.
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

-- A ticket that changes stays on its page, and out of the indexes on what has not changed of it.
do $do$
declare
  v_partition regclass;
begin
  for v_partition in
    select i.inhrelid from pg_inherits as i where i.inhparent = 'tickets.ticket'::regclass
  loop
    execute format('alter table %s set (fillfactor = 85)', v_partition);
  end loop;
end;
$do$;

drop index tickets.ticket_geom_idx, tickets.ticket_geog_idx, tickets.ticket_open_geog_idx,
  tickets.ticket_cluster_idx, tickets.ticket_open_idx, tickets.ticket_opened_at_idx,
  tickets.ticket_closed_at_idx;
--! Included functions/tickets._ticket_indexes.sql
create or replace function tickets._ticket_indexes(p_dataset text)
  returns table (name text, definition text)
  language sql stable
  set search_path = ''
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
    -- A gazetteer that changes looks for its tickets. Cut, because an index holds no longer ones.
    ('cluster_idx', 'btree (left(cluster, 255))'),
    -- The dashboards and the day's snapshot.
    ('open_idx', 'btree (ticket_id) where is_open'),
    ('opened_at_idx', 'btree (coalesce(created_at_service, first_seen_at))'),
    ('closed_at_idx', 'btree (closed_at) where closed_at is not null')
  ) as i (name, "on");
$$;

comment on function tickets._ticket_indexes(text) is
  'The indexes of a dataset''s partition of tickets.ticket, and the statements that create them.';
--! EndIncluded functions/tickets._ticket_indexes.sql
--! Included functions/tickets._index_tickets.sql
create or replace function tickets._index_tickets(p_dataset text)
  returns void
  language plpgsql volatile
  set search_path = ''
as $$
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

comment on function tickets._index_tickets(text) is
  'Creates the indexes of a dataset''s tickets that are not there.';
--! EndIncluded functions/tickets._index_tickets.sql
--! Included functions/tickets._drop_ticket_indexes.sql
create or replace function tickets._drop_ticket_indexes(p_dataset text)
  returns void
  language plpgsql volatile
  set search_path = ''
as $$
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

comment on function tickets._drop_ticket_indexes(text) is
  'Drops the indexes of a dataset without tickets, till its first file is written.';
--! EndIncluded functions/tickets._drop_ticket_indexes.sql
select tickets._index_tickets(d.dataset) from tickets.datasets as d;

-- A snapshot that changes nothing is one row, and not one for each of its tickets -----------------

create table tickets.snapshot_fence (
  dataset text primary key references tickets.datasets,
  exported_at timestamptz not null,
  source_key text collate "C" not null,
  ticket_ids text[] collate "C" not null
);
comment on table tickets.snapshot_fence is
  'The newest snapshot of each dataset. It repeats its tickets, which holds off older files.';
comment on column tickets.snapshot_fence.dataset is 'Dataset, tickets.datasets.dataset.';
comment on column tickets.snapshot_fence.exported_at is 'Export time of the snapshot.';
comment on column tickets.snapshot_fence.source_key is 'Its key in the bucket.';
comment on column tickets.snapshot_fence.ticket_ids is 'The tickets in it.';

-- Applying ----------------------------------------------------------------------------------------

drop function tickets._apply_file(
  text, text, timestamptz, text[], text[], integer, boolean, bigint
);
drop function tickets._staged_files(text);

--! Included functions/tickets._missing_in_row.sql
create or replace function tickets._missing_in_row(p_row tickets.staging)
  returns text[]
  language sql immutable parallel safe
as $$
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

comment on function tickets._missing_in_row(tickets.staging) is
  'The columns of the contract that the statement which staged a row by hand did not name.';
--! EndIncluded functions/tickets._missing_in_row.sql
--! Included functions/tickets._whole_row.sql
create or replace function tickets._whole_row(p_row tickets.staging, p_extra_columns text[])
  returns jsonb
  language sql stable parallel safe
  set search_path = ''
as $$
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
$$;

comment on function tickets._whole_row(tickets.staging, text[]) is
  'Everything that a staged row says, by the names of its file''s header; blank values absent.';
--! EndIncluded functions/tickets._whole_row.sql
--! Included functions/tickets._is_sentinel.sql
create or replace function tickets._is_sentinel(p_row tickets.staging)
  returns boolean
  language sql stable parallel safe
  set search_path = ''
as $$
  /*
    Whether a row without a ticket_id is the export's EXPORT STOPPED line: its only value says so,
    in whichever column, since a file may have its columns in any order.
  */
  select count(*) = 1 and bool_and(v.value ~* '^\s*export stopped')
  from jsonb_each_text(tickets._whole_row(p_row, '{}')) as v;
$$;

comment on function tickets._is_sentinel(tickets.staging) is
  'Whether a row without a ticket_id is the export''s EXPORT STOPPED line.';
--! EndIncluded functions/tickets._is_sentinel.sql
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
    when coalesce(btrim(p_row.ticket_id, E' \t\r\n'), '') = '' then
      case when tickets._is_sentinel(p_row) then 'sentinel' else 'ticket_id is blank' end
    when btrim(p_row.ticket_id, E' \t\r\n') = 'ticket_id' then 'header repeated'
    when btrim(p_row.ticket_id, E' \t\r\n') like any (array[E'%\n%', E'%\r%'])
      then 'line break within ticket_id'
    when octet_length(p_row.ticket_id) > 2000 then 'ticket_id is longer than 2000 bytes'
    else 'ticket'
  end;
$$;

comment on function tickets._staged_kind(tickets.staging) is
  'What a staged row is: ticket, alarm, sentinel, or the reason for which it is rejected.';
--! EndIncluded functions/tickets._staged_kind.sql
--! Included functions/tickets._staged_raw.sql
create or replace function tickets._staged_raw(
  p_row tickets.staging,
  p_extra_columns text[],
  p_is_partial boolean,
  p_known_raw jsonb
)
  returns jsonb
  language sql immutable parallel safe
as $$
  /*
    What raw of a ticket becomes by a staged row: what the row says, in columns unknown to the
    contract too, and of the contract's columns that the file does not have what raw said before.

    Takes      the row; the names behind the spare columns; whether columns are missing, by hand in
               each row others; raw as it is, NULL for a new ticket.
  */
  select case
      when p_extra_columns = '{}' then '{}' else tickets._extra_values(p_row, p_extra_columns)
    end
    || case
      when not p_is_partial then tickets._clean_row(p_row)
      else
        tickets._keep_keys(p_known_raw, tickets._missing_in_row(p_row))
        || (tickets._clean_row(p_row) - tickets._missing_in_row(p_row))
    end;
$$;

comment on function tickets._staged_raw(tickets.staging, text[], boolean, jsonb) is
  'What raw of a ticket becomes by a staged row.';
--! EndIncluded functions/tickets._staged_raw.sql
--! Included functions/tickets._staged_files.sql
create or replace function tickets._staged_files(p_dataset text)
  returns table (
    source_key text,
    exported_at timestamptz,
    first_line bigint,
    staged bigint,
    extra_columns text[],
    missing_columns text[]
  )
  language plpgsql stable
  set search_path = ''
  -- A plan for one dataset alone: a general one locks the staging tables of the others, too.
  set plan_cache_mode = force_custom_plan
as $$
/*
  The files that are staged by hand, as their rows tell of them.

  Returns    a row a file: its export time, the time in its name or else now; the staging line of
             its first row; how many rows; the spare columns it uses; the contract columns that it
             does not have.
*/
begin
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

comment on function tickets._staged_files(text) is
  'The files that are staged by hand, as their rows tell of them.';
--! EndIncluded functions/tickets._staged_files.sql
--! Included functions/tickets._text_hash.sql
create or replace function tickets._text_hash(p_row tickets.staging)
  returns bigint
  language sql immutable parallel safe
as $$
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

comment on function tickets._text_hash(tickets.staging) is
  'A hash of what a staged row says.';
--! EndIncluded functions/tickets._text_hash.sql
--! Included functions/tickets._count_lines.sql
create or replace function tickets._count_lines(p_dataset text, p_source_key text)
  returns table (ticket_id text, lines bigint)
  language sql stable
  set search_path = ''
  set work_mem = '64MB'
  -- To bring the groups of several workers together costs more than they save.
  set max_parallel_workers_per_gather = 0
as $$
  /*
    On how many lines each ticket of a staged file stands, whatever is on them.
  */
  select btrim(s.ticket_id, E' \t\r\n') collate "C", count(*)
  from tickets.staging as s
  where s.dataset = p_dataset and s.source_key = p_source_key
  group by 1;
$$;

comment on function tickets._count_lines(text, text) is
  'On how many lines each ticket of a staged file stands.';
--! EndIncluded functions/tickets._count_lines.sql
--! Included functions/tickets._judge_staged.sql
create or replace function tickets._judge_staged(
  p_dataset text,
  p_source_key text,
  p_exported_at timestamptz,
  p_is_whole boolean,
  p_is_snapshot boolean,
  p_repeated text[],
  p_last_lines bigint[]
)
  returns table (line bigint, ticket_id text, kind text, text_hash bigint, fits boolean)
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
             a full snapshot; the tickets that it has more than once, and the last line of each.
  Returns    a row for each staged one: its line; its ticket; its kind as tickets._staged_kind, or
             duplicate where a later line has the same ticket; a hash of what it says; whether raw
             of its ticket was made from the same text.
             Of a snapshot only those of which there is something to write: without the tickets
             that are unchanged, and that no newer file brought.

  Reads only, in a function of its own and by return query: so the planner may share it out among
  parallel workers, and of an unchanged snapshot no row goes further than this.
*/
begin
  return query
  select s.line, s.ticket_id,
    case when s.kind = 'ticket' and d.last_line <> s.line then 'duplicate' else s.kind end,
    s.text_hash, coalesce(t.text_hash = s.text_hash, false)
  from (
    select s.line, btrim(s.ticket_id, E' \t\r\n') collate "C" as ticket_id,
      tickets._staged_kind(s) as kind,
      case when p_is_whole then tickets._text_hash(s) end as text_hash
    from tickets.staging as s
    where s.dataset = p_dataset and s.source_key = p_source_key
    -- Keeps each from being computed once for each place that names it. A constant of the right
    -- type, or the planner would take it for a limit and not share this out.
    offset bigint '0'
  ) as s
  left join tickets.ticket as t on t.dataset = p_dataset and t.ticket_id = s.ticket_id
  left join tickets.ticket_repeats as r on r.dataset = p_dataset and r.ticket_id = s.ticket_id
  left join unnest(p_repeated, p_last_lines) as d (ticket_id, last_line)
    on d.ticket_id = s.ticket_id
  where not p_is_snapshot
    or t.text_hash is distinct from s.text_hash
    or r.ticket_id is not null
    or d.last_line <> s.line
    or (t.exported_at, t.source_key) > (p_exported_at, p_source_key)
    or s.kind <> 'ticket';
end;
$$;

comment on function tickets._judge_staged(
  text, text, timestamptz, boolean, boolean, text[], bigint[]
) is
  'What the staged rows of a file are, and which of them bring a ticket that is here already.';
--! EndIncluded functions/tickets._judge_staged.sql
--! Included functions/tickets._new_tickets.sql
create or replace function tickets._new_tickets(
  p_dataset text,
  p_source_key text,
  p_extra_columns text[],
  p_is_partial boolean,
  p_is_whole boolean,
  p_repeated text[],
  p_last_lines bigint[]
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
    feed_geom public.geometry
  )
  language plpgsql stable
  set search_path = ''
  set plan_cache_mode = force_custom_plan
  set work_mem = '64MB'
  set jit = off
as $$
/*
  The tickets that a staged file brings and that are not here yet, as they are to be, but for what
  the gazetteers say of their places.

  Takes      as tickets._judge_staged; the names behind the spare columns; whether columns of the
             contract are missing.

  Reads only, in a function of its own and by return query: so the planner may share it out among
  parallel workers. Next to the writing, this is what takes time in a first load. What it derives is
  what tickets._derived does, written out: a lateral sub-select cannot be shared out. Nor can one
  with `offset 0`, until its 0 is a constant of the right type.
*/
declare
  c_days constant text[] := tickets._days();
  c_minutes constant text[] := tickets._minutes_of_day();
begin
  return query
  select t.ticket_id, t.raw, t.text_hash, t.normalized_status, t.raw_status, t.bucket,
    tickets._boolean(t.is_actionable),
    tickets._is_open(t.raw),
    t.cluster, t.region, t.location_name, t.assigned_team, t.owner, t.sla_status,
    tickets._minutes(t.mttr),
    tickets._instant(t.created_at_service, c_days, c_minutes),
    tickets._instant(t.scheduled_at, c_days, c_minutes),
    tickets._instant(t.closed_at, c_days, c_minutes),
    tickets._instant(t.first_seen_at, c_days, c_minutes),
    tickets._instant(t.last_seen_at, c_days, c_minutes),
    tickets._instant(t.source_created_at, c_days, c_minutes),
    tickets._instant(t.source_updated_at, c_days, c_minutes),
    case
      when t.latitude is not null then tickets._feed_point(t.latitude, t.longitude)
    end
  from (
    select b.ticket_id, b.raw, b.text_hash,
      b.raw ->> 'normalized_status' as normalized_status,
      b.raw ->> 'raw_status' as raw_status,
      b.raw ->> 'bucket' as bucket,
      b.raw ->> 'is_actionable' as is_actionable,
      b.raw ->> 'cluster' as cluster,
      b.raw ->> 'region' as region,
      b.raw ->> 'location_name' as location_name,
      b.raw ->> 'assigned_team' as assigned_team,
      b.raw ->> 'owner' as owner,
      b.raw ->> 'sla_status' as sla_status,
      b.raw ->> 'mttr' as mttr,
      b.raw ->> 'created_at_service' as created_at_service,
      b.raw ->> 'scheduled_at' as scheduled_at,
      b.raw ->> 'closed_at' as closed_at,
      b.raw ->> 'first_seen_at' as first_seen_at,
      b.raw ->> 'last_seen_at' as last_seen_at,
      b.raw ->> 'source_created_at' as source_created_at,
      b.raw ->> 'source_updated_at' as source_updated_at,
      b.raw ->> 'latitude' as latitude,
      b.raw ->> 'longitude' as longitude
    from (
      select btrim(s.ticket_id, E' \t\r\n') collate "C" as ticket_id,
        tickets._staged_raw(s, p_extra_columns, p_is_partial, null) as raw,
        case when p_is_whole then tickets._text_hash(s) end as text_hash
      from tickets.staging as s
      left join tickets.ticket as t
        on t.dataset = p_dataset and t.ticket_id = btrim(s.ticket_id, E' \t\r\n') collate "C"
      left join unnest(p_repeated, p_last_lines) as d (ticket_id, last_line)
        on d.ticket_id = btrim(s.ticket_id, E' \t\r\n') collate "C"
      where s.dataset = p_dataset and s.source_key = p_source_key
        and t.ticket_id is null
        and coalesce(d.last_line = s.line, true)
        -- Not a comparison: the planner would take a handful of rows to pass it.
        and case tickets._staged_kind(s) when 'ticket' then true end
      offset bigint '0' -- keeps raw from being built once for each place that names it
    ) as b
    offset bigint '0' -- keeps each text from being taken out of raw for each time it is named
  ) as t;
end;
$$;

comment on function tickets._new_tickets(
  text, text, text[], boolean, boolean, text[], bigint[]
) is
  'The tickets that a staged file brings and that are not here yet, as they are to be.';
--! EndIncluded functions/tickets._new_tickets.sql
--! Included functions/tickets._fence_snapshot.sql
create or replace function tickets._fence_snapshot(
  p_dataset text,
  p_version tickets.file_version,
  p_ticket_ids text[]
)
  returns void
  language plpgsql volatile
  set search_path = ''
  set plan_cache_mode = force_custom_plan
as $$
/*
  Remembers which tickets the snapshot just applied carries: it repeats all that it did not change,
  and holds off whatever is older.

  Takes      the snapshot, still staged; its tickets, or NULL where they are to be told from other
             rows.
  Touches    tickets.snapshot_fence, and tickets.ticket_repeats for tickets that were in the last
             snapshot and are not in this one.
*/
declare
  v_ticket_ids text[] := p_ticket_ids;
  v_fence tickets.snapshot_fence;
  v_fence_version tickets.file_version;
begin
  if v_ticket_ids is null then
    select array_agg(distinct btrim(s.ticket_id, E' \t\r\n') collate "C") into v_ticket_ids
    from tickets.staging as s
    where s.dataset = p_dataset and s.source_key = p_version.source_key
      and tickets._staged_kind(s) = 'ticket';
  end if;
  select f.* into v_fence from tickets.snapshot_fence as f where f.dataset = p_dataset;
  v_fence_version := (v_fence.exported_at, v_fence.source_key);
  if v_ticket_ids is null or (v_fence.dataset is not null and v_fence_version > p_version) then
    return;
  end if;

  if v_fence_version < p_version and v_fence.ticket_ids <> v_ticket_ids then
    insert into tickets.ticket_repeats as r (dataset, ticket_id, repeats)
    select p_dataset, t.ticket_id, array[v_fence_version]
    from unnest(v_fence.ticket_ids) as k (ticket_id)
    join tickets.ticket as t on t.dataset = p_dataset and t.ticket_id = k.ticket_id
    where k.ticket_id <> all (v_ticket_ids)
      and (t.exported_at, t.source_key) < (v_fence.exported_at, v_fence.source_key)
    on conflict (dataset, ticket_id) do update set repeats = r.repeats || excluded.repeats
      where r.repeats[cardinality(r.repeats)] < v_fence_version;
  end if;

  insert into tickets.snapshot_fence as f (dataset, exported_at, source_key, ticket_ids)
  values (p_dataset, p_version.exported_at, p_version.source_key, v_ticket_ids)
  on conflict (dataset) do update set
    exported_at = excluded.exported_at,
    source_key = excluded.source_key,
    -- The same value is not written again.
    ticket_ids = case
      when v_fence.ticket_ids = v_ticket_ids then f.ticket_ids else excluded.ticket_ids
    end;
end;
$$;

comment on function tickets._fence_snapshot(text, tickets.file_version, text[]) is
  'Remembers which tickets the snapshot just applied carries: it holds off whatever is older.';
--! EndIncluded functions/tickets._fence_snapshot.sql
--! Included functions/tickets._count_day.sql
create or replace function tickets._count_day(p_dataset text)
  returns table (
    day date,
    cluster text,
    open bigint,
    actionable bigint,
    breached bigint,
    created bigint,
    closed bigint
  )
  language plpgsql stable
  set search_path = ''
  -- The day is that of Nairobi, wherever the session may be.
  set timezone = 'Africa/Nairobi'
  set plan_cache_mode = force_custom_plan
  set jit = off
as $$
/*
  What there is to count today of each cluster of a dataset. Each part goes by an index, none looks
  at all tickets.

  Reads only, by return query: so the planner may share it out among parallel workers.
*/
#variable_conflict use_column
declare
  c_now constant timestamptz := tickets._now();
  c_begins_at constant timestamptz := date_trunc('day', c_now);
  c_ends_at constant timestamptz := c_begins_at + interval '1 day';
  v_breached_before timestamptz;
begin
  select c_now - make_interval(secs => extract(epoch from d.sla_target)::float8)
  into v_breached_before
  from tickets.datasets as d
  where d.dataset = p_dataset;

  return query
  with recursive clusters as (
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
  )
  select c_now::date, k.cluster, sum(k.open)::bigint, sum(k.actionable)::bigint,
    sum(k.breached)::bigint, sum(k.created)::bigint, sum(k.closed)::bigint
  from (
    select left(t.cluster, 255) as cluster, count(*) as open,
      count(*) filter (where t.is_actionable) as actionable,
      count(*) filter (
        where coalesce(t.created_at_service, t.first_seen_at) < v_breached_before
      ) as breached,
      0 as created, 0 as closed
    from tickets.ticket as t
    where t.dataset = p_dataset and t.is_open
    group by left(t.cluster, 255)
    union all
    select left(t.cluster, 255), 0, 0, 0, count(*), 0
    from tickets.ticket as t
    where t.dataset = p_dataset
      and coalesce(t.created_at_service, t.first_seen_at) >= c_begins_at
      and coalesce(t.created_at_service, t.first_seen_at) < c_ends_at
    group by left(t.cluster, 255)
    union all
    select left(t.cluster, 255), 0, 0, 0, 0, count(*)
    from tickets.ticket as t
    where t.dataset = p_dataset and t.closed_at >= c_begins_at and t.closed_at < c_ends_at
    group by left(t.cluster, 255)
    union all
    -- A cluster of which there is nothing to count today has a row, too.
    select c.cluster, 0, 0, 0, 0, 0
    from clusters as c
    where c.cluster is not null
      or exists (
        select from tickets.ticket as t
        where t.dataset = p_dataset and left(t.cluster, 255) is null
      )
  ) as k
  group by k.cluster;
end;
$$;

comment on function tickets._count_day(text) is
  'What there is to count today of each cluster of a dataset.';
--! EndIncluded functions/tickets._count_day.sql
--! Included functions/tickets._capture_day.sql
create or replace function tickets._capture_day(p_dataset text)
  returns integer
  language sql volatile
  set search_path = ''
as $$
  /*
    Brings today's rows of tickets.daily_snapshot up to date, for one dataset.

    Returns    how many clusters changed; rows that are right already are not written again.
  */
  with counted as materialized (
    select c.* from tickets._count_day(p_dataset) as c
  ),
  captured as (
    insert into tickets.daily_snapshot as s (
      dataset, day, cluster, open, actionable, breached, created, closed
    )
    select p_dataset, c.day, c.cluster, c.open, c.actionable, c.breached, c.created, c.closed
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
    returning s.cluster
  ),
  emptied as (
    -- A cluster that all tickets have left since the last look.
    delete from tickets.daily_snapshot as s
    where s.dataset = p_dataset
      and s.day = (tickets._now() at time zone 'Africa/Nairobi')::date
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
  set work_mem = '64MB'
  -- It would sort all of staging before it sees that there is nothing to build.
  set enable_mergejoin = off
  -- Compiling this statement takes longer than running it.
  set jit = off
  -- What it is to know of staging is told by a few rows.
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

  One statement writes, so that each question is asked once. Its parts see the tables as they were
  before it, which is how an event knows both sides.
*/
declare
  c_blank constant text := E' \t\r\n';
  c_version constant tickets.file_version := (p_exported_at, p_source_key);
  -- Whether equal text of a row means equal content: not where other columns have a say.
  c_is_partial constant boolean := p_missing_columns <> '{}';
  c_is_whole constant boolean := not c_is_partial and p_extra_columns = '{}';
  c_days constant text[] := tickets._days();
  c_minutes constant text[] := tickets._minutes_of_day();
  v_is_first boolean;
  v_ticket_ids text[];
  v_repeated text[];
  v_last_lines bigint[];
  v_result tickets.applied_file;
begin
  delete from tickets.rejected_rows as r
  where r.dataset = p_dataset and r.source_key = p_source_key;

  -- The statement does for all its tickets at once what triggers would do for each: it derives
  -- their columns, asks the gazetteers, and records closures.
  perform tickets._lock_tickets(p_dataset, p_to_apply => true),
    tickets._lock_gazetteers(p_to_change => false),
    tickets._spare_triggers(true);

  v_is_first := not exists (select from tickets.ticket as t where t.dataset = p_dataset);
  -- Below some thousand rows, dropping and creating takes longer.
  if v_is_first and p_staged >= 1000 then
    perform tickets._drop_ticket_indexes(p_dataset);
  end if;

  -- The planner knows nothing of a table that was filled a moment ago.
  execute format('analyze tickets.%I (dataset, source_key, line)', p_dataset || '_staging');

  select array_agg(k.ticket_id), array_agg(k.ticket_id) filter (where k.lines > 1)
  into v_ticket_ids, v_repeated
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

  with judged as materialized (
    select j.*
    from tickets._judge_staged(
      p_dataset, p_source_key, p_exported_at, c_is_whole, p_is_snapshot,
      v_repeated, v_last_lines
    ) as j
  ),
  rejected as (
    insert into tickets.rejected_rows (dataset, source_key, line, reason, raw)
    -- By hand, the first row stands on line 2, below the header.
    select p_dataset, p_source_key, j.line - coalesce(p_first_line - 2, 0), j.kind,
      tickets._whole_row(s, p_extra_columns)
    from judged as j
    join tickets.staging as s
      on s.dataset = p_dataset and s.source_key = p_source_key and s.line = j.line
    where j.kind not in ('ticket', 'duplicate', 'alarm', 'sentinel')
  ),
  fenced as (
    -- The newest snapshot, which repeated its tickets all at once. A newer change file need not
    -- ask: it only matters to versions that are older than it.
    select k.ticket_id, (f.exported_at, f.source_key)::tickets.file_version as version
    from tickets.snapshot_fence as f
    cross join lateral unnest(f.ticket_ids) as k (ticket_id)
    where f.dataset = p_dataset
      and (p_is_snapshot or (f.exported_at, f.source_key) > (p_exported_at, p_source_key))
  ),
  looked_up as materialized (
    -- What is known of each ticket. What a snapshot repeated counts with the other repeats, or,
    -- where the ticket has changed since, as what came before.
    select l.*,
      -- NULL for a ticket that no file has brought: any file is newer.
      case
        when cardinality(l.repeats) > 0 then l.repeats[cardinality(l.repeats)]
        when l.source_key is not null then (l.exported_at, l.source_key)::tickets.file_version
      end as newest
    from (
      select j.ticket_id, j.line, j.text_hash, j.fits, t.ticket_id is not null as is_known,
        t.exported_at, t.source_key,
        case
          when f.version < (t.exported_at, t.source_key)::tickets.file_version
            and (
              t.previous_source_key is null
              or f.version
                > (t.previous_exported_at, t.previous_source_key)::tickets.file_version
            )
            then f.version
          else (t.previous_exported_at, t.previous_source_key)::tickets.file_version
        end as previous,
        case
          when t.ticket_id is null then null
          when f.version > coalesce(
              r.repeats[cardinality(r.repeats)],
              (t.exported_at, t.source_key)::tickets.file_version
            )
            then r.repeats || f.version
          else r.repeats
        end as repeats,
        r.ticket_id is not null as has_repeats, t.is_open, t.normalized_status, t.raw_status,
        t.assigned_team, t.owner
      from judged as j
      left join tickets.ticket as t on t.dataset = p_dataset and t.ticket_id = j.ticket_id
      left join tickets.ticket_repeats as r on r.dataset = p_dataset and r.ticket_id = j.ticket_id
      left join fenced as f on f.ticket_id = j.ticket_id and t.source_key is not null
      where j.kind = 'ticket'
      offset 0 -- keeps repeats from being put together once for each place that names it
    ) as l
  ),
  rebuilt as (
    -- Where the text of a ticket that is here does not fit, raw must be built and compared.
    select l.*, k.raw as known_raw,
      tickets._staged_raw(s, p_extra_columns, c_is_partial, k.raw) as raw
    from looked_up as l
    join tickets.staging as s
      on s.dataset = p_dataset and s.source_key = p_source_key and s.line = l.line
    join tickets.ticket as k on k.dataset = p_dataset and k.ticket_id = l.ticket_id
    where l.is_known and not l.fits
    offset 0 -- keeps raw from being built once for each place that names it
  ),
  compared as materialized (
    select c.*,
      case
        when c.newest > c_version then 'stale'
        when c.is_same then 'unchanged'
        else 'updated'
      end as outcome
    from (
      select l.*, null::jsonb as raw, true as is_same
      from looked_up as l
      where l.is_known and l.fits
      union all
      select b.ticket_id, b.line, b.text_hash, b.fits, b.is_known, b.exported_at, b.source_key,
        b.previous, b.repeats, b.has_repeats, b.is_open, b.normalized_status, b.raw_status,
        b.assigned_team, b.owner, b.newest, b.raw,
        b.raw = b.known_raw and b.source_key is not null
      from rebuilt as b
    ) as c
  ),
  places as materialized (
    -- Once for each distinct pair of cluster and location.
    select p.cluster, coalesce(p.location_name, '') as location_name, p.geom,
      p.geom::public.geography as geog, p.source
    from (
      select array_agg(k.cluster) as clusters, array_agg(k.location_name) as location_names
      from (
        select c.raw ->> 'cluster' as cluster, c.raw ->> 'location_name' as location_name
        from compared as c
        where c.outcome = 'updated'
        union
        select tickets._unless_blank(s.cluster), tickets._unless_blank(s.location_name)
        from looked_up as l
        join tickets.staging as s
          on s.dataset = p_dataset and s.source_key = p_source_key and s.line = l.line
        where not l.is_known
      ) as k
    ) as k
    cross join lateral tickets._places_of(k.clusters, k.location_names) as p
    where p.source is not null
  ),
  news as not materialized (
    -- What is to be written. Of new tickets there is nothing to compare, so they go straight from
    -- staging into the table.
    select false as is_known, null::tickets.file_version as previous, n.*
    from tickets._new_tickets(
      p_dataset, p_source_key, p_extra_columns, c_is_partial, c_is_whole, v_repeated, v_last_lines
    ) as n
    where exists (select from looked_up as l where not l.is_known)
    union all
    select true,
      -- A file that replaces one of the same name replaces its version, too.
      case
        when c.newest < c_version then c.newest
        when cardinality(c.repeats) > 1 then c.repeats[cardinality(c.repeats) - 1]
        when cardinality(c.repeats) = 1 then
          (c.exported_at, c.source_key)::tickets.file_version
        else c.previous
      end,
      c.ticket_id, c.raw, c.text_hash, d.*
    from compared as c
    cross join lateral tickets._derived(c.raw, c_days, c_minutes) as d
    where c.outcome = 'updated'
  ),
  placed as not materialized (
    select n.*, coalesce(n.feed_geom, p.geom) as geom,
      coalesce(n.feed_geom::public.geography, p.geog) as geog,
      public.st_y(coalesce(n.feed_geom, p.geom)) as latitude,
      public.st_x(coalesce(n.feed_geom, p.geom)) as longitude,
      case when n.feed_geom is not null then 'feed' else coalesce(p.source, 'none') end
        as geo_source
    from news as n
    left join places as p
      on p.cluster = n.cluster and p.location_name = coalesce(n.location_name, '')
  ),
  added as (
    insert into tickets.ticket as t (
      dataset, ticket_id, raw, text_hash, source_key, exported_at, previous_source_key,
      previous_exported_at, normalized_status, raw_status, bucket, is_actionable, is_open, cluster,
      region, location_name, assigned_team, owner, sla_status, mttr, created_at_service,
      scheduled_at, closed_at, first_seen_at, last_seen_at, source_created_at, source_updated_at,
      geom, geog, latitude, longitude, geo_source
    )
    select p_dataset, n.ticket_id, n.raw, n.text_hash, p_source_key, p_exported_at,
      (n.previous).source_key, (n.previous).exported_at, n.normalized_status, n.raw_status,
      n.bucket, n.is_actionable, n.is_open, n.cluster, n.region, n.location_name, n.assigned_team,
      n.owner, n.sla_status, n.mttr, n.created_at_service, n.scheduled_at, n.closed_at,
      n.first_seen_at, n.last_seen_at, n.source_created_at, n.source_updated_at, n.geom, n.geog,
      n.latitude, n.longitude, n.geo_source
    from placed as n
    where not n.is_known
    returning t.ticket_id, t.is_open, t.normalized_status, t.raw_status, t.assigned_team, t.owner,
      t.closed_at, t.mttr, t.cluster
  ),
  changed as (
    update tickets.ticket as t set
      raw = n.raw,
      text_hash = n.text_hash,
      source_key = p_source_key,
      exported_at = p_exported_at,
      previous_source_key = (n.previous).source_key,
      previous_exported_at = (n.previous).exported_at,
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
      geo_source = n.geo_source,
      ingested_at = tickets._now()
    from placed as n
    where n.is_known and t.dataset = p_dataset and t.ticket_id = n.ticket_id
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
    select p_dataset, c.ticket_id, c.repeats || c_version
    from compared as c
    where c.outcome = 'unchanged' and c.newest < c_version and not p_is_snapshot
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
      select l.ticket_id from looked_up as l where l.has_repeats and not l.is_known
      union all
      select c.ticket_id from compared as c
      where c.has_repeats
        and (c.outcome = 'updated' or (p_is_snapshot and c.outcome = 'unchanged'))
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
    from (select * from added union all select * from changed) as w
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
  select p_dataset, p_source_key, p_staged + p_dropped_lines, j.alarm,
    j.sentinel + p_dropped_lines, j.judged - j.alarm - j.sentinel - j.duplicates - j.tickets,
    j.duplicates, c.stale, j.tickets - c.known, c.updated,
    -- And those of a snapshot that were not even looked up.
    c.unchanged + p_staged - j.judged,
    (select count(*) from closed)
  into v_result
  from (
    select count(*) as judged,
      count(*) filter (where j.kind = 'alarm') as alarm,
      count(*) filter (where j.kind = 'sentinel') as sentinel,
      count(*) filter (where j.kind = 'duplicate') as duplicates,
      count(*) filter (where j.kind = 'ticket') as tickets
    from judged as j
  ) as j
  cross join (
    select count(*) as known,
      count(*) filter (where c.outcome = 'stale') as stale,
      count(*) filter (where c.outcome = 'updated') as updated,
      count(*) filter (where c.outcome = 'unchanged') as unchanged
    from compared as c
  ) as c;

  if v_is_first then
    perform tickets._index_tickets(p_dataset);
  end if;
  if p_is_snapshot then
    perform tickets._fence_snapshot(
      p_dataset, c_version,
      -- Anything else on its lines was counted with the tickets.
      case
        when v_result.dropped_alarm + v_result.dropped_sentinel + v_result.rejected = 0
        then v_ticket_ids
      end
    );
  end if;
  perform tickets._spare_triggers(false);
  perform tickets._check_rejected(v_result);
  perform tickets._capture_day(p_dataset);
  return v_result;
end;
$$;

comment on function tickets._apply_file(
  text, text, timestamptz, bigint, text[], text[], integer, boolean, bigint
) is
  'Brings the staged rows of one file into tickets.ticket with its history, and counts them.';
--! EndIncluded functions/tickets._apply_file.sql
--! Included functions/tickets.apply_file.sql
create or replace function tickets.apply_file(
  p_dataset text,
  p_source_key text,
  p_etag text,
  p_bytes bigint,
  p_header text[],
  p_rows bigint,
  p_dropped_lines integer default 0,
  p_is_snapshot boolean default false
)
  returns tickets.applied_file
  language plpgsql volatile security definer
  set search_path = ''
  -- A plan for one dataset alone: a general one locks the staging tables of the others, too.
  set plan_cache_mode = force_custom_plan
as $$
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
  v_staged := tickets._empty_staging(p_dataset, array[p_source_key]);
  if v_staged <> p_rows then
    raise exception using
      errcode = 'TK020',
      message = format('%s rows were sent to COPY, %s are staged', p_rows, v_staged),
      detail = 'COPY has split or joined rows of this file; nothing of it was applied.',
      hint = tickets._retry_hint(p_source_key);
  end if;
  perform set_config('tickets.object_key', '', true);
  return v_result;
end;
$$;

comment on function tickets.apply_file(
  text, text, text, bigint, text[], bigint, integer, boolean
) is
  'Applies the file that this transaction opened and copied into staging; returns its counts.';
--! EndIncluded functions/tickets.apply_file.sql
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

comment on function tickets.apply_staged(text) is
  'Applies whatever is staged, of one dataset or all, and returns a row of counts a file.';
--! EndIncluded functions/tickets.apply_staged.sql

-- Reading: features stay rows until the answer is written, and no answer goes through a file ------

drop function reporting._feature(tickets.ticket_sla);
--! Included functions/reporting._feature.sql
create or replace function reporting._feature(p_ticket tickets.ticket_sla)
  returns table (
    type text,
    id text,
    geometry json,
    properties reporting.ticket_properties
  )
  language sql stable parallel safe rows 1
as $$
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

comment on function reporting._feature(tickets.ticket_sla) is
  'A ticket with a point as a GeoJSON feature.';
--! EndIncluded functions/reporting._feature.sql
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
--! Included functions/reporting.fn_inc_dashboard.sql
create or replace function reporting.fn_inc_dashboard(
  p_cluster text default null,
  p_status text default null,
  p_window text default '7d',
  p_from timestamptz default null,
  p_to timestamptz default null
)
  returns json
  language plpgsql stable security definer
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
begin
  -- A function in SQL would put so long an answer through a temporary file.
  return reporting._dashboard('inc', p_cluster, p_status, p_window, p_from, p_to);
end;
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
  language plpgsql stable security definer
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
begin
  -- A function in SQL would put so long an answer through a temporary file.
  return reporting._dashboard('crq', p_cluster, p_status, p_window, p_from, p_to);
end;
$$;

comment on function reporting.fn_crq_dashboard(text, text, text, timestamptz, timestamptz) is
  'The live dashboard of CRQ: open tickets, those closed in a window, and the numbers of both.';
--! EndIncluded functions/reporting.fn_crq_dashboard.sql
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
  v_status := coalesce(lower(btrim(query_params ->> 'status')), 'open');
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
