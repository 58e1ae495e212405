--! Previous: sha1:937c6d9a58a8c1ba35f9ba68e3c0219aa7c4a44e
--! Hash: sha1:9b6a9ce863f63a12647663c48f7f2adaa19c63c2
--! Message: nobody borrows the owner's rights

-- Nobody borrows the owner's rights: pg_temp stands last in every search path, the locks of loaders
-- cannot be taken by outsiders, and the settings of this schema have no say for whoever sets them.

-- An empty search_path looks into pg_temp first for types and tables: whoever may create a temporary
-- type had code of his own run as the owner of a function.
do $do$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure
    from pg_proc as p
    where p.pronamespace in ('tickets'::regnamespace, 'reporting'::regnamespace)
      and 'search_path=""' = any (p.proconfig)
  loop
    execute format('alter function %s set search_path = pg_catalog, pg_temp', v_function);
  end loop;
end;
$do$;

drop view if exists tickets.held_locks;
drop table if exists tickets.locks;
create table tickets.locks (
  name text primary key,
  key bigint not null default hashtextextended(gen_random_uuid()::text, 0)
);
comment on table tickets.locks is
  'Locks by name. Waiting ones are locks of the row; those of runs are advisory locks with its key.';
comment on column tickets.locks.name is
  'load <dataset> and geocode <kind> for runs; tickets <dataset> and gazetteers between writers.';
comment on column tickets.locks.key is
  'Key of the advisory lock. It is replaced when somebody holds it who may not load.';
insert into tickets.locks (name)
select k.name
from tickets.datasets as d
cross join lateral (values ('load ' || d.dataset), ('tickets ' || d.dataset)) as k (name)
union all
values ('gazetteers'), ('geocode clusters'), ('geocode locations');

-- Rows that somebody staged by hand under another key; such keys are refused from now on.
update tickets.staging as s set source_key = 'manual:' || s.source_key
where not starts_with(s.source_key, 'manual:');

alter table tickets.ingest_files add column if not exists is_replaced boolean not null default false;
comment on column tickets.ingest_files.is_replaced is
  'Whether another content of the object was applied since: this one is new if it is put back.';
update tickets.ingest_files as f set is_replaced = true
where exists (
  select 1 from tickets.ingest_files as later
  where later.dataset = f.dataset and later.source_key = f.source_key and later.etag <> f.etag
    and later.status = 'applied'
    and later.applied_at > coalesce(f.applied_at, f.seen_at)
);

--! Included functions/tickets._now.sql
create or replace function tickets._now()
  returns timestamptz
  language sql stable parallel safe
as $$
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

comment on function tickets._now() is
  'The clock of this schema: now(), or the setting tickets.now in a test of the owner.';
--! EndIncluded functions/tickets._now.sql
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
             Without an offset it is wall time in Nairobi (EAT, UTC+3, no daylight saving).
  Returns    the instant, or NULL where the text is no timestamp (`2026-02-30`, `yesterday`, ``).
  Raises     nothing.

  Its answer depends on its argument alone. The casts below are marked stable in the catalogue
  because of DateStyle and TimeZone; on the year-first text that comes so far, with its zone stated,
  neither setting has a say. For many texts in one statement there is tickets._instant.
*/
declare
  v_text text;
  v_day integer;
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
    return v_text::timestamptz;
  end if;
  return v_text::timestamp at time zone 'Africa/Nairobi';
end;
$$;

comment on function tickets.eat_ts(text) is
  'The instant that a timestamp of the export means: EAT unless it says else; NULL if it is none.';
--! EndIncluded functions/tickets.eat_ts.sql
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
    when btrim(p_text, E' \t\r\n') ~ '^[0-9]{1,40}([.][0-9]{1,40})?$' then
      case
        when round(btrim(p_text, E' \t\r\n')::numeric) <= 2147483647
        then round(btrim(p_text, E' \t\r\n')::numeric)::integer
      end
  end;
$$;

comment on function tickets._minutes(text) is
  'A duration of the export in whole minutes, half rounded up; NULL if it is no number.';
--! EndIncluded functions/tickets._minutes.sql
--! Included functions/tickets._feed_point.sql
create or replace function tickets._feed_point(p_latitude text, p_longitude text)
  returns public.geometry
  language plpgsql immutable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function tickets._feed_point(text, text) is
  'The point that a ticket''s coordinates name; NULL if missing, out of range or 0,0.';
--! EndIncluded functions/tickets._feed_point.sql
--! Included functions/tickets._is_sentinel.sql
create or replace function tickets._is_sentinel(p_row tickets.staging)
  returns boolean
  language sql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  /*
    Whether a row without a ticket_id is the export's EXPORT STOPPED line: its only value says so,
    in whichever column, since a file may have its columns in any order.
  */
  select count(*) = 1 and bool_and(v.value ~* '^[[:space:]]*export stopped')
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

comment on function tickets._staged_kind(tickets.staging) is
  'What a staged row is: ticket, alarm, sentinel, or the reason for which it is rejected.';
--! EndIncluded functions/tickets._staged_kind.sql
--! Included functions/tickets._lock_row.sql
create or replace function tickets._lock_row(p_name text, p_is_shared boolean)
  returns void
  language plpgsql volatile
  set search_path = pg_catalog, pg_temp
as $$
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

comment on function tickets._lock_row(text, boolean) is
  'Takes a named lock until the end of the transaction, shared or alone, and waits for it.';
--! EndIncluded functions/tickets._lock_row.sql
--! Included functions/tickets._try_key.sql
create or replace function tickets._try_key(p_key bigint, p_for_session boolean)
  returns boolean
  language sql volatile
  set search_path = pg_catalog, pg_temp
as $$
  /*
    Takes the advisory lock with a key without waiting, until the end of the session or of the
    transaction. Returns whether it was taken.
  */
  select case
    when p_for_session then pg_try_advisory_lock(p_key)
    else pg_try_advisory_xact_lock(p_key)
  end;
$$;

comment on function tickets._try_key(bigint, boolean) is
  'Takes the advisory lock with a key for the session or the transaction, without waiting.';
--! EndIncluded functions/tickets._try_key.sql
--! Included functions/tickets._lock_tickets.sql
create or replace function tickets._lock_tickets(p_dataset text, p_to_apply boolean)
  returns void
  language sql volatile
  set search_path = pg_catalog, pg_temp
as $$
  /*
    Keeps what applying a file has looked up true until it has written: whoever writes tickets of a
    dataset by other means shares this lock, whoever applies a file has it alone, both until the
    end of the transaction. Waits for the others.

    No lock on the table, because that would wait for VACUUM, too.
  */
  select tickets._lock_row('tickets ' || p_dataset, p_is_shared => not p_to_apply);
$$;

comment on function tickets._lock_tickets(text, boolean) is
  'Lets those who apply a file and those who write tickets by other means take turns.';
--! EndIncluded functions/tickets._lock_tickets.sql
--! Included functions/tickets._lock_gazetteers.sql
create or replace function tickets._lock_gazetteers(p_to_change boolean)
  returns void
  language sql volatile
  set search_path = pg_catalog, pg_temp
as $$
  /*
    Keeps what tickets get from the gazetteers true while both change: whoever places tickets shares
    this lock, whoever changes a gazetteer has it alone, both until the end of the transaction.
    Waits for the others.
  */
  select tickets._lock_row('gazetteers', p_is_shared => not p_to_change);
$$;

comment on function tickets._lock_gazetteers(boolean) is
  'Lets those who place tickets and those who change a gazetteer take turns.';
--! EndIncluded functions/tickets._lock_gazetteers.sql
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
--! Included functions/tickets._check_manual_keys.sql
create or replace function tickets._check_manual_keys(p_dataset text)
  returns void
  language plpgsql stable
  set search_path = pg_catalog, pg_temp
  -- A plan for one dataset alone: a general one locks the staging tables of the others, too.
  set plan_cache_mode = force_custom_plan
as $$
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

comment on function tickets._check_manual_keys(text) is
  'TK024 where staged rows carry a key that does not begin with manual:.';
--! EndIncluded functions/tickets._check_manual_keys.sql
--! Included functions/tickets._check_staged.sql
create or replace function tickets._check_staged()
  returns trigger
  language plpgsql volatile security definer
  set search_path = pg_catalog, pg_temp
as $$
/*
  Trigger after rows were staged by hand.

  Raises     TK024 they carry a key that does not begin with manual:.
*/
begin
  perform tickets._check_manual_keys(left(tg_table_name, -length('_staging')));
  return null;
end;
$$;

comment on function tickets._check_staged() is
  'Trigger: rows that are staged by hand carry a key that begins with manual:.';
--! EndIncluded functions/tickets._check_staged.sql
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
  set search_path = pg_catalog, pg_temp
  -- A plan for one dataset alone: a general one locks the staging tables of the others, too.
  set plan_cache_mode = force_custom_plan
as $$
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

comment on function tickets._staged_files(text) is
  'The files that are staged by hand, as their rows tell of them.';
--! EndIncluded functions/tickets._staged_files.sql
--! Included functions/tickets._replace_file.sql
create or replace function tickets._replace_file(
  p_dataset text,
  p_source_key text,
  p_etag text
)
  returns void
  language sql volatile
  set search_path = pg_catalog, pg_temp
as $$
  /*
    Marks what the ledger says of other contents of an object as replaced by this one: if one of
    them is put back, it is a new file.
  */
  update tickets.ingest_files as f set is_replaced = true
  where f.dataset = p_dataset and f.source_key = p_source_key and f.etag <> p_etag
    and not f.is_replaced;
$$;

comment on function tickets._replace_file(text, text, text) is
  'Marks what the ledger says of other contents of an object as replaced.';
--! EndIncluded functions/tickets._replace_file.sql
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
as $$
/*
  Writes an applied file into the ledger.

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
--! Included functions/tickets.apply_staged.sql
create or replace function tickets.apply_staged(p_dataset text default null)
  returns setof tickets.applied_file
  language plpgsql volatile security definer
  set search_path = pg_catalog, pg_temp
as $$
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

comment on function tickets.apply_staged(text) is
  'Applies whatever is staged, of one dataset or all, and returns a row of counts a file.';
--! EndIncluded functions/tickets.apply_staged.sql
--! Included functions/tickets.open_file.sql
create or replace function tickets.open_file(p_dataset text, p_source_key text, p_header text[])
  returns table (
    staging_table text,
    copy_columns text[],
    extra_columns text[],
    missing_columns text[]
  )
  language plpgsql volatile security definer
  set search_path = pg_catalog, pg_temp
as $$
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

comment on function tickets.open_file(text, text, text[]) is
  'Makes ready to COPY a file into staging: maps its header and marks its rows with its key.';
--! EndIncluded functions/tickets.open_file.sql
--! Included functions/tickets.refuse_file.sql
create or replace function tickets.refuse_file(
  p_dataset text,
  p_source_key text,
  p_etag text,
  p_bytes bigint,
  p_error_code text,
  p_error text,
  p_error_line bigint default null
)
  returns text
  language plpgsql volatile security definer
  set search_path = pg_catalog, pg_temp
as $$
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

comment on function tickets.refuse_file(text, text, text, bigint, text, text, bigint) is
  'Writes into the ledger that a file is refused and why.';
--! EndIncluded functions/tickets.refuse_file.sql
--! Included functions/tickets.skip_file.sql
create or replace function tickets.skip_file(
  p_dataset text,
  p_source_key text,
  p_etag text,
  p_bytes bigint
)
  returns void
  language plpgsql volatile security definer
  set search_path = pg_catalog, pg_temp
as $$
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

comment on function tickets.skip_file(text, text, text, bigint) is
  'Writes into the ledger that a snapshot needs no loading.';
--! EndIncluded functions/tickets.skip_file.sql
--! Included functions/tickets.sort_files.sql
create or replace function tickets.sort_files(
  p_dataset text,
  p_source_keys text[],
  p_etags text[]
)
  returns table (
    source_key text,
    etag text,
    exported_at timestamptz,
    status text,
    is_archived boolean
  )
  language sql stable security definer
  set search_path = pg_catalog, pg_temp
as $$
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
$$;

comment on function tickets.sort_files(text, text[], text[]) is
  'What the ledger says of listed objects (new, applied, rejected, skipped), oldest first.';
--! EndIncluded functions/tickets.sort_files.sql
--! Included views/tickets.freshness.sql
create or replace view tickets.freshness as
select d.dataset,
  m.metadata ->> 'source_max_key' as source_max_key,
  w.exported_at,
  -- tickets._now() written out: a view calls functions with the rights of whoever reads it.
  case
    when coalesce(current_setting('tickets.now', true), '') <> ''
      and has_schema_privilege(session_user, 'tickets', 'create')
    then current_setting('tickets.now')::timestamptz
    else now()
  end - w.exported_at as age,
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
    select case
        when coalesce(current_setting('tickets.now', true), '') <> ''
          and has_schema_privilege(session_user, 'tickets', 'create')
        then current_setting('tickets.now')::timestamptz
        else now()
      end as now
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
--! Included views/tickets.held_locks.sql
create or replace view tickets.held_locks as
select l.name, k.pid, a.usename as login, a.application_name as program, a.backend_start
from tickets.locks as l
join pg_locks as k
  on k.locktype = 'advisory' and k.granted and k.objsubid = 1
  -- Its key stands there in two halves, as numbers without a sign.
  and k.classid::bigint = (l.key >> 32) & 4294967295
  and k.objid::bigint = l.key & 4294967295
join pg_database as d on d.oid = k.database and d.datname = current_database()
left join pg_stat_activity as a on a.pid = k.pid
order by l.name;

comment on view tickets.held_locks is 'The runs at work: a row a lock that a session holds.';
comment on column tickets.held_locks.name is
  'load <dataset> for a run that loads it, geocode <kind> for a geocoding run.';
comment on column tickets.held_locks.pid is 'Process of the server that serves the session.';
comment on column tickets.held_locks.login is 'Who it is.';
comment on column tickets.held_locks.program is 'What its application_name says.';
comment on column tickets.held_locks.backend_start is
  'When it connected; NULL for sessions of others.';
--! EndIncluded views/tickets.held_locks.sql
--! Included functions/tickets._try_lock.sql
create or replace function tickets._try_lock(p_name text, p_for_session boolean)
  returns boolean
  language plpgsql volatile
  set search_path = pg_catalog, pg_temp
as $$
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

comment on function tickets._try_lock(text, boolean) is
  'Takes a named lock of loaders for the transaction or the session, without waiting.';
--! EndIncluded functions/tickets._try_lock.sql
--! Included functions/tickets._release_lock.sql
create or replace function tickets._release_lock(p_name text)
  returns boolean
  language sql volatile
  set search_path = pg_catalog, pg_temp
as $$
  /*
    Gives back a named lock that this session has taken for itself. Returns whether it had it.
  */
  select coalesce(
    (select pg_advisory_unlock(l.key) from tickets.locks as l where l.name = p_name), false
  );
$$;

comment on function tickets._release_lock(text) is
  'Gives back a named lock of this session; returns whether it had it.';
--! EndIncluded functions/tickets._release_lock.sql
--! Included functions/tickets._lock_dataset.sql
create or replace function tickets._lock_dataset(
  p_dataset text,
  p_for_session boolean default false
)
  returns void
  language plpgsql volatile
  set search_path = pg_catalog, pg_temp
as $$
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

comment on function tickets._lock_dataset(text, boolean) is
  'Takes a dataset''s loading lock for the transaction or the session; TK002 where another has it.';
--! EndIncluded functions/tickets._lock_dataset.sql
--! Included functions/tickets.finish_run.sql
create or replace function tickets.finish_run(p_dataset text)
  returns boolean
  language sql volatile security definer
  set search_path = pg_catalog, pg_temp
as $$
  /*
    Ends a loader's run: gives the dataset's lock back. The end of the session does so, too.

    Returns    whether this session had it.
  */
  select tickets._release_lock('load ' || p_dataset);
$$;

comment on function tickets.finish_run(text) is
  'Ends a loader''s run: gives the dataset''s lock back.';
--! EndIncluded functions/tickets.finish_run.sql
--! Included functions/tickets.start_geocoding.sql
create or replace function tickets.start_geocoding(p_kind text)
  returns text
  language plpgsql volatile security definer
  set search_path = pg_catalog, pg_temp
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

comment on function tickets.start_geocoding(text) is
  'Begins a geocoding run: takes the lock of its kind and returns the country to look in.';
--! EndIncluded functions/tickets.start_geocoding.sql
--! Included functions/tickets.finish_geocoding.sql
create or replace function tickets.finish_geocoding(p_kind text)
  returns boolean
  language sql volatile security definer
  set search_path = pg_catalog, pg_temp
as $$
  /*
    Ends a geocoding run: gives the lock of its kind back. The end of the session does so, too.

    Returns    whether this session had it.
  */
  select tickets._release_lock('geocode ' || p_kind);
$$;

comment on function tickets.finish_geocoding(text) is
  'Ends a geocoding run: gives the lock of its kind back.';
--! EndIncluded functions/tickets.finish_geocoding.sql

-- The setting that spares the triggers has no say for whoever may write tickets and nothing more.
drop trigger if exists derive_ticket on tickets.ticket;
create trigger derive_ticket before insert or update on tickets.ticket
  for each row
  when (
    current_setting('tickets.triggers_are_spared_in', true) is distinct from
      pg_current_xact_id()::text
    or not has_schema_privilege('tickets', 'create')
  )
  execute function tickets._derive_ticket();

-- Not while a run copies an object: it is asked for each statement, not for each row.
do $do$
declare
  v_staging regclass;
begin
  for v_staging in
    select i.inhrelid::regclass from pg_inherits as i where i.inhparent = 'tickets.staging'::regclass
  loop
    execute format(
      'create or replace trigger check_staged after insert on %s for each statement
       when (coalesce(current_setting(''tickets.object_key'', true), '''') = '''')
       execute function tickets._check_staged()',
      v_staging
    );
  end loop;
end;
$do$;

-- Between this and the grants, nobody may call a new function.
revoke all on all functions in schema tickets, reporting from public;
