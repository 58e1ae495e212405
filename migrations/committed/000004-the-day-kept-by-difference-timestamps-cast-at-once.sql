--! Previous: sha1:533a96192aa6e14ed628803b979fa8ac90a8505e
--! Hash: sha1:2ebe78a38103c1a72042c964fd0329c00a565c5b
--! Message: the day kept by difference, timestamps cast at once

-- Today's snapshot is counted in full once a day, and kept from then on: by what files change, as they
-- change it, and by what comes to be over its SLA target.

create table tickets.counted_days (
  dataset text primary key references tickets.datasets,
  day date not null,
  breached_before timestamptz not null
);
comment on table tickets.counted_days is
  'What today''s rows of tickets.daily_snapshot were last counted by, a row a dataset.';
comment on column tickets.counted_days.dataset is 'Dataset, tickets.datasets.dataset.';
comment on column tickets.counted_days.day is 'The day in Nairobi that is counted.';
comment on column tickets.counted_days.breached_before is
  'Open tickets opened before this were over their SLA target.';

alter table tickets.unrecorded_closures rename to unrecorded_changes;
comment on table tickets.unrecorded_changes is
  'Tickets written or deleted by other means than a file since tickets.capture_history() looked.';

drop function tickets._apply_file(
  text, text, timestamptz, bigint, text[], text[], integer, boolean, bigint
);
drop function tickets._judge_staged(
  text, text, timestamptz, boolean, boolean, text[], bigint[]
);
drop function tickets._new_tickets(text, text, text[], boolean, boolean, text[], bigint[]);
drop function tickets._derived(jsonb, text[], text[]);
drop function tickets._instant(text, text[], text[]);
drop function tickets._days();
drop function tickets._minutes_of_day();
drop function tickets._staged_raw(tickets.staging, text[], boolean, jsonb);
drop function tickets._clean_row(tickets.staging);
drop function tickets._is_open(jsonb);
drop function tickets._count_lines(text, text);
drop function tickets._capture_day(text);
drop function tickets._count_day(text);

--! Included functions/tickets._is_open.sql
create or replace function tickets._is_open(p_bucket text, p_closed_at text)
  returns boolean
  language sql immutable parallel safe
as $$
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

comment on function tickets._is_open(text, text) is
  'Whether a ticket is open: by its bucket, else while it has no closing time.';
--! EndIncluded functions/tickets._is_open.sql
--! Included functions/tickets._instant.sql
create or replace function tickets._instant(p_text text, p_is_careful boolean)
  returns timestamptz
  language sql stable parallel safe
as $$
  /*
    What tickets.eat_ts says of a text, for many of them in one statement.

    Takes      the text; whether to leave it to tickets.eat_ts. Otherwise a text in the shape of
               most is cast right away, and counts if it comes out as it went in: `24:00:00` does
               not.
    Returns    the instant, NULL where the text is no timestamp.
    Raises     22007, 22008 and others of their class unless p_is_careful: the text has the shape of
               a timestamp and is none. Then ask for all once more with care.

    The caller has `set timezone = 'Africa/Nairobi'` and `set datestyle = 'ISO, YMD'`. One
    expression, so that the planner copies it into the statement. It names p_text five times: give
    it a column, not an expression.
  */
  select case
    when not p_is_careful and p_text like '20__-__-__ __:__:__' and p_text::timestamp::text = p_text
    then p_text::timestamptz
    else tickets.eat_ts(p_text)
  end;
$$;

comment on function tickets._instant(text, boolean) is
  'What tickets.eat_ts says of a text, for many of them in one statement.';
--! EndIncluded functions/tickets._instant.sql
--! Included functions/tickets._derived.sql
create or replace function tickets._derived(p_raw jsonb, p_is_careful boolean)
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

    Takes      its raw; whether to cast with care, as tickets._instant.
    Raises     nothing with care: what does not cast is NULL.

    No `set search_path`, so that the planner takes it apart.
  */
  select t.normalized_status, t.raw_status, t.bucket, tickets._boolean(t.is_actionable),
    tickets._is_open(t.bucket, t.closed_at),
    t.cluster, t.region, t.location_name, t.assigned_team, t.owner, t.sla_status,
    tickets._minutes(t.mttr),
    tickets._instant(t.created_at_service, p_is_careful),
    tickets._instant(t.scheduled_at, p_is_careful),
    tickets._instant(t.closed_at, p_is_careful),
    tickets._instant(t.first_seen_at, p_is_careful),
    tickets._instant(t.last_seen_at, p_is_careful),
    tickets._instant(t.source_created_at, p_is_careful),
    tickets._instant(t.source_updated_at, p_is_careful),
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

comment on function tickets._derived(jsonb, boolean) is
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
  from tickets._derived(new.raw, p_is_careful => true) as d;

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
--! Included functions/tickets._await_files.sql
create or replace function tickets._await_files()
  returns trigger
  language plpgsql volatile security definer
  set search_path = ''
as $$
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

comment on function tickets._await_files() is
  'Trigger: waits for a file that is being applied before a ticket is deleted.';
--! EndIncluded functions/tickets._await_files.sql
--! Included functions/tickets._day_now.sql
create or replace function tickets._day_now(p_dataset text)
  returns tickets.counted_days
  language sql stable
  set search_path = ''
as $$
  /*
    What a count of the day goes by now: the day in Nairobi, and when an open ticket of the dataset
    must have been opened to be within its SLA target.
  */
  select d.dataset, (tickets._now() at time zone 'Africa/Nairobi')::date,
    tickets._now() - make_interval(secs => extract(epoch from d.sla_target)::float8)
  from tickets.datasets as d
  where d.dataset = p_dataset;
$$;

comment on function tickets._day_now(text) is
  'What a count of the day goes by now: the day in Nairobi, and what has breached its SLA target.';
--! EndIncluded functions/tickets._day_now.sql
--! Included functions/tickets._set_counted_day.sql
create or replace function tickets._set_counted_day(p_dataset text)
  returns void
  language sql volatile
  set search_path = ''
as $$
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

comment on function tickets._set_counted_day(text) is
  'Remembers that today''s snapshot of a dataset is right as of now.';
--! EndIncluded functions/tickets._set_counted_day.sql
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
  set search_path = ''
  -- The day is that of Nairobi, wherever the session may be.
  set timezone = 'Africa/Nairobi'
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
  c_begins_at constant timestamptz := p_now.day;
  c_ends_at constant timestamptz := p_now.day + 1;
begin
  return query
  with recursive clusters as (
    -- Each one once, from one to the next in the index. NULL ends it.
    select (
      select min(left(t.cluster, 255))
      from tickets.ticket as t
      where t.dataset = p_now.dataset
    ) as cluster
    union all
    select (
      select min(left(t.cluster, 255))
      from tickets.ticket as t
      where t.dataset = p_now.dataset and left(t.cluster, 255) > c.cluster
    )
    from clusters as c
    where c.cluster is not null
  )
  select k.cluster, sum(k.open)::bigint, sum(k.actionable)::bigint,
    sum(k.breached)::bigint, sum(k.created)::bigint, sum(k.closed)::bigint
  from (
    select left(t.cluster, 255) as cluster, count(*) as open,
      count(*) filter (where t.is_actionable) as actionable,
      count(*) filter (
        where coalesce(t.created_at_service, t.first_seen_at) < p_now.breached_before
      ) as breached,
      0 as created, 0 as closed
    from tickets.ticket as t
    where t.dataset = p_now.dataset and t.is_open
    group by left(t.cluster, 255)
    union all
    select left(t.cluster, 255), 0, 0, 0, count(*), 0
    from tickets.ticket as t
    where t.dataset = p_now.dataset
      and coalesce(t.created_at_service, t.first_seen_at) >= c_begins_at
      and coalesce(t.created_at_service, t.first_seen_at) < c_ends_at
    group by left(t.cluster, 255)
    union all
    select left(t.cluster, 255), 0, 0, 0, 0, count(*)
    from tickets.ticket as t
    where t.dataset = p_now.dataset and t.closed_at >= c_begins_at and t.closed_at < c_ends_at
    group by left(t.cluster, 255)
    union all
    -- A cluster of which there is nothing to count today has a row, too.
    select c.cluster, 0, 0, 0, 0, 0
    from clusters as c
    where c.cluster is not null
      or exists (
        select from tickets.ticket as t
        where t.dataset = p_now.dataset and left(t.cluster, 255) is null
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
  set search_path = ''
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
        select left(t.cluster, 255) as cluster, count(*) as breached
        from tickets.ticket as t
        where t.dataset = p_dataset and t.is_open
          and coalesce(t.created_at_service, t.first_seen_at) >= v_counted_before
          and coalesce(t.created_at_service, t.first_seen_at) < c_now.breached_before
        group by left(t.cluster, 255)
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
            where t.dataset = p_dataset and left(t.cluster, 255) is null
          )
          else not exists (
            select from tickets.ticket as t
            where t.dataset = p_dataset and left(t.cluster, 255) = s.cluster
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
--! Included functions/tickets._catch_up.sql
create or replace function tickets._catch_up(p_dataset text)
  returns table (closures integer, clusters integer)
  language plpgsql volatile
  set search_path = ''
  -- A plan for one dataset alone: a general one waits for a first file of another, too.
  set plan_cache_mode = force_custom_plan
as $$
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

comment on function tickets._catch_up(text) is
  'Brings the history of a dataset up to date with changes that came by no file, and with time.';
--! EndIncluded functions/tickets._catch_up.sql
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
    dataset := v_dataset;
    select c.closures, c.clusters into closures, clusters from tickets._catch_up(v_dataset) as c;
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
--! Included functions/tickets._count_lines.sql
create or replace function tickets._count_lines(
  p_dataset text,
  p_source_key text,
  out ticket_ids text[],
  out repeated text[]
)
  language sql stable
  set search_path = ''
  set work_mem = '64MB'
  -- To bring the groups of several workers together costs more than they save.
  set max_parallel_workers_per_gather = 0
as $$
  /*
    The tickets of a staged file, and those that stand on more than one of its lines, whatever is on
    them; NULL where there are none.
  */
  select array_agg(k.ticket_id), array_agg(k.ticket_id) filter (where k.lines > 1)
  from (
    select btrim(s.ticket_id, E' \t\r\n') collate "C" as ticket_id, count(*) as lines
    from tickets.staging as s
    where s.dataset = p_dataset and s.source_key = p_source_key
    group by 1
  ) as k;
$$;

comment on function tickets._count_lines(text, text) is
  'The tickets of a staged file, and those that stand on more than one of its lines.';
--! EndIncluded functions/tickets._count_lines.sql
--! Included functions/tickets._staged_value.sql
create or replace function tickets._staged_value(p_text text, p_is_partial boolean)
  returns text
  language sql immutable parallel safe
as $$
  /*
    A value of a staged row to the letter, or NULL where it is nothing but blanks, or where its
    column is not in the file.

    Takes      the text; whether columns of the contract are missing.
  */
  select tickets._unless_blank(
    case when not p_is_partial or p_text <> tickets._not_in_file() then p_text end
  );
$$;

comment on function tickets._staged_value(text, boolean) is
  'A value of a staged row to the letter; NULL where it is blank or not in the file.';
--! EndIncluded functions/tickets._staged_value.sql
--! Included functions/tickets._clean_row.sql
create or replace function tickets._clean_row(p_row tickets.staging, p_is_partial boolean)
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

    Takes      the row; whether columns of the contract are missing: those are NULL, too.

    No `set search_path`, so that the planner takes it apart.
  */
  select
    nullif(btrim(tickets._staged_value(p_row.ticket_id, p_is_partial), E' \t\r\n') collate "C", ''),
    tickets._staged_value(p_row.normalized_status, p_is_partial),
    nullif(upper(btrim(tickets._staged_value(p_row.raw_status, p_is_partial), E' \t\r\n')), ''),
    tickets._staged_value(p_row.bucket, p_is_partial),
    tickets._staged_value(p_row.is_actionable, p_is_partial),
    tickets._staged_value(p_row.cluster, p_is_partial),
    nullif(lower(btrim(tickets._staged_value(p_row.region, p_is_partial), E' \t\r\n')), ''),
    tickets._staged_value(p_row.location_name, p_is_partial),
    tickets._staged_value(p_row.assigned_team, p_is_partial),
    tickets._staged_value(p_row.owner, p_is_partial),
    tickets._staged_value(p_row.sla_status, p_is_partial),
    tickets._staged_value(p_row.mttr, p_is_partial),
    tickets._staged_value(p_row.created_at_service, p_is_partial),
    tickets._staged_value(p_row.scheduled_at, p_is_partial),
    tickets._staged_value(p_row.closed_at, p_is_partial),
    tickets._staged_value(p_row.first_seen_at, p_is_partial),
    tickets._staged_value(p_row.last_seen_at, p_is_partial),
    tickets._staged_value(p_row.source_created_at, p_is_partial),
    tickets._staged_value(p_row.source_updated_at, p_is_partial),
    tickets._staged_value(p_row.latitude, p_is_partial),
    tickets._staged_value(p_row.longitude, p_is_partial),
    tickets._staged_value(p_row.service_type, p_is_partial),
    tickets._staged_value(p_row.is_alarm, p_is_partial),
    tickets._staged_value(p_row.is_auto_created, p_is_partial),
    tickets._staged_value(p_row.is_auto_closed, p_is_partial);
$$;

comment on function tickets._clean_row(tickets.staging, boolean) is
  'What a staged row says of its ticket, cleaned, value by value.';
--! EndIncluded functions/tickets._clean_row.sql
--! Included functions/tickets._raw.sql
create or replace function tickets._raw(
  p_ticket_id text,
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
  p_service_type text,
  p_is_alarm text,
  p_is_auto_created text,
  p_is_auto_closed text
)
  returns jsonb
  language sql immutable parallel safe
as $$
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

comment on function tickets._raw(
  text, text, text, text, text, text, text, text, text, text, text, text, text, text, text,
  text, text, text, text, text, text, text, text, text, text
) is
  'The raw of a ticket from its cleaned values, without columns unknown to the contract.';
--! EndIncluded functions/tickets._raw.sql
--! Included functions/tickets._other_keys.sql
create or replace function tickets._other_keys(
  p_row tickets.staging,
  p_extra_columns text[],
  p_is_partial boolean,
  p_known_raw jsonb
)
  returns jsonb
  language sql immutable parallel safe
as $$
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

comment on function tickets._other_keys(tickets.staging, text[], boolean, jsonb) is
  'What raw of a ticket has beside the values of the contract''s columns in a staged row.';
--! EndIncluded functions/tickets._other_keys.sql
--! Included functions/tickets._located_clusters.sql
create or replace function tickets._located_clusters()
  returns text[]
  language sql stable
  set search_path = ''
as $$
  /*
    The clusters that have places with a point. In all others a ticket's point depends on its
    cluster alone, and there is no need to look at its location.
  */
  select array(
    select distinct l.cluster from tickets.geo_locations as l where l.used_geom is not null
  );
$$;

comment on function tickets._located_clusters() is
  'The clusters that have places with a point.';
--! EndIncluded functions/tickets._located_clusters.sql
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
    place tid,
    ticket_id text,
    kind text,
    text_hash bigint,
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
  Returns    a row for each staged one: its line; where it is in staging; its ticket; its kind as
             tickets._staged_kind, or duplicate where a later line has the same ticket; a hash of
             what it says; whether its ticket is here, whether raw of that was made from the same
             text, and whether files have repeated it.
             Of a snapshot only those of which there is something to write: without the tickets
             that are unchanged, and that no newer file brought. Of a first file only those that are
             not simply a new ticket.

  Reads only, in a function of its own and by return query: so the planner may share it out among
  parallel workers, and of an unchanged snapshot no row goes further than this.
*/
begin
  return query
  select s.line, s.place, s.ticket_id,
    case when s.kind = 'ticket' and d.last_line <> s.line then 'duplicate' else s.kind end,
    s.text_hash, t.ticket_id is not null, coalesce(t.text_hash = s.text_hash, false),
    r.ticket_id is not null
  from (
    select s.line, s.ctid as place, btrim(s.ticket_id, E' \t\r\n') collate "C" as ticket_id,
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
--! Included functions/tickets._new_tickets.sql
create or replace function tickets._new_tickets(
  p_dataset text,
  p_source_key text,
  p_extra_columns text[],
  p_is_partial boolean,
  p_is_first boolean,
  p_repeated text[],
  p_last_lines bigint[],
  p_is_careful boolean
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
  The tickets that a staged file brings and that are not here yet, as they are to be.

  Takes      as tickets._write_tickets.
  Raises     as tickets._instant.

  Reads only, in a function of its own and by return query: so the planner may share it out among
  parallel workers. Next to the writing, this is what takes time in a first load. What it derives is
  what tickets._derived does, written out: a lateral sub-select cannot be shared out unless the
  planner merges it, as it does tickets._clean_row. Nor can one with `offset 0`, until its 0 is a
  constant of the right type.
*/
declare
  c_is_whole constant boolean := not p_is_partial and p_extra_columns = '{}';
  c_located constant text[] := tickets._located_clusters();
  v_clusters text[];
  v_location_names text[];
  v_geoms public.geometry[];
  v_sources text[];
begin
  select array_agg(p.cluster), array_agg(coalesce(p.location_name, '')), array_agg(p.geom),
    array_agg(p.source)
  into v_clusters, v_location_names, v_geoms, v_sources
  from (
    select array_agg(k.cluster) as clusters, array_agg(k.location_name) as location_names
    from (
      select distinct tickets._unless_blank(s.cluster) as cluster,
        case when s.cluster = any (c_located) then tickets._unless_blank(s.location_name) end
          as location_name
      from tickets.staging as s
      where s.dataset = p_dataset and s.source_key = p_source_key
    ) as k
  ) as k
  cross join lateral tickets._places_of(k.clusters, k.location_names) as p
  where p.source is not null;

  return query
  select t.ticket_id, t.raw, t.text_hash, t.normalized_status, t.raw_status, t.bucket,
    tickets._boolean(t.is_actionable),
    tickets._is_open(t.bucket, t.closed_at),
    t.cluster, t.region, t.location_name, t.assigned_team, t.owner, t.sla_status,
    tickets._minutes(t.mttr),
    tickets._instant(t.created_at_service, p_is_careful),
    tickets._instant(t.scheduled_at, p_is_careful),
    tickets._instant(t.closed_at, p_is_careful),
    tickets._instant(t.first_seen_at, p_is_careful),
    tickets._instant(t.last_seen_at, p_is_careful),
    tickets._instant(t.source_created_at, p_is_careful),
    tickets._instant(t.source_updated_at, p_is_careful),
    coalesce(t.feed_geom, p.geom), coalesce(t.feed_geom::public.geography, p.geog),
    public.st_y(coalesce(t.feed_geom, p.geom)), public.st_x(coalesce(t.feed_geom, p.geom)),
    case when t.feed_geom is not null then 'feed' else coalesce(p.source, 'none') end
  from (
    select c.*,
      c.others
      || tickets._raw(
        c.ticket_id, c.normalized_status, c.raw_status, c.bucket, c.is_actionable, c.cluster,
        c.region, c.location_name, c.assigned_team, c.owner, c.sla_status, c.mttr,
        c.created_at_service, c.scheduled_at, c.closed_at, c.first_seen_at, c.last_seen_at,
        c.source_created_at, c.source_updated_at, c.latitude, c.longitude, c.service_type,
        c.is_alarm, c.is_auto_created, c.is_auto_closed
      ) as raw,
      case
        when c.latitude is not null then tickets._feed_point(c.latitude, c.longitude)
      end as feed_geom
    from (
      select c.*, tickets._other_keys(s, p_extra_columns, p_is_partial, null) as others,
        case when c_is_whole then tickets._text_hash(s) end as text_hash
      from tickets.staging as s
      cross join lateral tickets._clean_row(s, p_is_partial) as c
      -- A join with what is known to be empty is left out of the plan; as in tickets._judge_staged.
      left join (select k.* from tickets.ticket as k where k.dataset = p_dataset) as t
        on not p_is_first and t.ticket_id = btrim(s.ticket_id, E' \t\r\n') collate "C"
      left join unnest(p_repeated, p_last_lines) as d (ticket_id, last_line)
        on p_repeated is not null
        and d.ticket_id = btrim(s.ticket_id, E' \t\r\n') collate "C"
      where s.dataset = p_dataset and s.source_key = p_source_key
        and t.ticket_id is null
        and coalesce(d.last_line = s.line, true)
        -- Not a comparison: the planner would take a handful of rows to pass it.
        and case tickets._staged_kind(s) when 'ticket' then true end
      offset bigint '0' -- keeps a value from being cleaned once for each place that names it
    ) as c
    offset bigint '0' -- keeps a point from being made once for each place that names it
  ) as t
  left join (
    select u.cluster, u.location_name, u.geom, u.geom::public.geography as geog, u.source
    from unnest(v_clusters, v_location_names, v_geoms, v_sources)
      as u (cluster, location_name, geom, source)
  ) as p
    on p.cluster = t.cluster
    and p.location_name
      = case when t.cluster = any (c_located) then coalesce(t.location_name, '') else '' end;
end;
$$;

comment on function tickets._new_tickets(
  text, text, text[], boolean, boolean, text[], bigint[], boolean
) is
  'The tickets that a staged file brings and that are not here yet, as they are to be.';
--! EndIncluded functions/tickets._new_tickets.sql
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
  -- It would sort all of staging before it sees that there is nothing to build.
  set enable_mergejoin = off
  -- What it looks up is in memory: staging, a moment ago, and tickets, which are to be written.
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
  c_located constant text[] := tickets._located_clusters();
  c_today constant tickets.counted_days := (
    select c from tickets.counted_days as c where c.dataset = p_dataset
  );
  c_begins_at constant timestamptz := c_today.day;
  c_ends_at constant timestamptz := c_today.day + 1;
  -- All else is a row that is rejected.
  c_kinds constant text[] := array['ticket', 'duplicate', 'alarm', 'sentinel'];
  v_judged bigint;
  v_alarms bigint;
  v_sentinels bigint;
  v_duplicates bigint;
  v_has_new boolean;
  v_rejected_lines bigint[];
  v_reasons text[];
  -- Tickets that files have repeated, and that were deleted since.
  v_gone text[];
  -- Rows of tickets that are here.
  v_places tid[];
  v_ticket_ids text[];
  v_text_hashes bigint[];
  v_fit boolean[];
  v_have_repeats boolean[];
  v_fence tickets.snapshot_fence;
  v_fence_version tickets.file_version;
  v_result tickets.applied_file;
begin
  -- In arrays, of which the planner knows how long they are.
  select count(*),
    count(*) filter (where j.kind = 'alarm'),
    count(*) filter (where j.kind = 'sentinel'),
    count(*) filter (where j.kind = 'duplicate'),
    p_is_first or coalesce(bool_or(j.kind = 'ticket' and not j.is_known), false),
    array_agg(j.ticket_id) filter (where j.has_repeats and not j.is_known),
    array_agg(j.place) filter (where j.kind = 'ticket' and j.is_known),
    array_agg(j.ticket_id) filter (where j.kind = 'ticket' and j.is_known),
    array_agg(j.text_hash) filter (where j.kind = 'ticket' and j.is_known),
    array_agg(j.fits) filter (where j.kind = 'ticket' and j.is_known),
    array_agg(j.has_repeats) filter (where j.kind = 'ticket' and j.is_known),
    array_agg(j.line) filter (where j.kind <> all (c_kinds)),
    array_agg(j.kind) filter (where j.kind <> all (c_kinds))
  into v_judged, v_alarms, v_sentinels, v_duplicates, v_has_new, v_gone, v_places, v_ticket_ids,
    v_text_hashes, v_fit, v_have_repeats, v_rejected_lines, v_reasons
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
  looked_up as (
    -- What is known of the tickets that are here. What a snapshot repeated counts with the other
    -- repeats, or, where the ticket has changed since, as what came before.
    select l.ticket_id, l.text_hash, l.exported_at, l.source_key, l.previous, l.repeats,
      l.has_repeats, l.is_open, l.is_actionable, l.normalized_status, l.raw_status, l.cluster,
      l.assigned_team, l.owner, l.opened_at, l.closed_at, l.raw,
      l.fits or (l.raw = l.known_raw and l.source_key is not null) as is_same,
      -- NULL for a ticket that no file has brought: any file is newer.
      case
        when cardinality(l.repeats) > 0 then l.repeats[cardinality(l.repeats)]
        when l.source_key is not null then (l.exported_at, l.source_key)::tickets.file_version
      end as newest
    from (
      select j.ticket_id, j.text_hash, j.fits, j.has_repeats, t.exported_at, t.source_key,
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
        t.raw as known_raw,
        -- Where the text does not fit, raw must be built and compared.
        case
          when not j.fits then
            tickets._other_keys(s, p_extra_columns, p_is_partial, t.raw)
            || tickets._raw(
              c.ticket_id, c.normalized_status, c.raw_status, c.bucket, c.is_actionable,
              c.cluster, c.region, c.location_name, c.assigned_team, c.owner, c.sla_status,
              c.mttr, c.created_at_service, c.scheduled_at, c.closed_at, c.first_seen_at,
              c.last_seen_at, c.source_created_at, c.source_updated_at, c.latitude, c.longitude,
              c.service_type, c.is_alarm, c.is_auto_created, c.is_auto_closed
            )
        end as raw
      from (
        select j.*,
          case when j.ticket_id = any (v_fence.ticket_ids) then v_fence_version end as fence
        from unnest(v_places, v_ticket_ids, v_text_hashes, v_fit, v_have_repeats)
          as j (place, ticket_id, text_hash, fits, has_repeats)
        offset 0
      ) as j
      join tickets.ticket as t on t.dataset = p_dataset and t.ticket_id = j.ticket_id
      left join tickets.ticket_repeats as r
        on j.has_repeats and r.dataset = p_dataset and r.ticket_id = j.ticket_id
      left join tickets.staging as s
        on not j.fits and s.dataset = p_dataset and s.ctid = j.place
      cross join lateral tickets._clean_row(s, p_is_partial) as c
      offset 0 -- keeps repeats and raw from being put together once for each place that names them
    ) as l
  ),
  compared as materialized (
    select l.*, not l.is_late and not l.is_same as is_updated
    from (
      select l.*, coalesce(l.newest > c_version, false) as is_late from looked_up as l
    ) as l
  ),
  places as materialized (
    -- Of changed tickets, once for each distinct pair of cluster and location.
    select p.cluster, coalesce(p.location_name, '') as location_name, p.geom,
      p.geom::public.geography as geog, p.source
    from (
      select array_agg(k.cluster) as clusters, array_agg(k.location_name) as location_names
      from (
        select distinct c.raw ->> 'cluster' as cluster,
          case when c.raw ->> 'cluster' = any (c_located) then c.raw ->> 'location_name' end
            as location_name
        from compared as c
        where c.is_updated
      ) as k
    ) as k
    cross join lateral tickets._places_of(k.clusters, k.location_names) as p
    where p.source is not null
  ),
  added as (
    insert into tickets.ticket as t (
      dataset, ticket_id, raw, text_hash, source_key, exported_at, normalized_status, raw_status,
      bucket, is_actionable, is_open, cluster, region, location_name, assigned_team, owner,
      sla_status, mttr, created_at_service, scheduled_at, closed_at, first_seen_at, last_seen_at,
      source_created_at, source_updated_at, geom, geog, latitude, longitude, geo_source
    )
    select p_dataset, n.ticket_id, n.raw, n.text_hash, p_source_key, p_exported_at,
      n.normalized_status, n.raw_status, n.bucket, n.is_actionable, n.is_open, n.cluster, n.region,
      n.location_name, n.assigned_team, n.owner, n.sla_status, n.mttr, n.created_at_service,
      n.scheduled_at, n.closed_at, n.first_seen_at, n.last_seen_at, n.source_created_at,
      n.source_updated_at, n.geom, n.geog, n.latitude, n.longitude, n.geo_source
    from tickets._new_tickets(
      p_dataset, p_source_key, p_extra_columns, p_is_partial, p_is_first, p_repeated,
      p_last_lines, p_is_careful
    ) as n
    where v_has_new
    returning t.ticket_id, t.is_open, t.is_actionable, t.normalized_status, t.raw_status,
      t.cluster, t.assigned_team, t.owner, t.mttr,
      coalesce(t.created_at_service, t.first_seen_at) as opened_at, t.closed_at
  ),
  changed as (
    update tickets.ticket as t set
      raw = c.raw,
      text_hash = c.text_hash,
      source_key = p_source_key,
      exported_at = p_exported_at,
      previous_source_key = (c.replaced).source_key,
      previous_exported_at = (c.replaced).exported_at,
      normalized_status = d.normalized_status,
      raw_status = d.raw_status,
      bucket = d.bucket,
      is_actionable = d.is_actionable,
      is_open = d.is_open,
      cluster = d.cluster,
      region = d.region,
      location_name = d.location_name,
      assigned_team = d.assigned_team,
      owner = d.owner,
      sla_status = d.sla_status,
      mttr = d.mttr,
      created_at_service = d.created_at_service,
      scheduled_at = d.scheduled_at,
      closed_at = d.closed_at,
      first_seen_at = d.first_seen_at,
      last_seen_at = d.last_seen_at,
      source_created_at = d.source_created_at,
      source_updated_at = d.source_updated_at,
      geom = g.geom,
      geog = coalesce(d.feed_geom::public.geography, p.geog),
      latitude = public.st_y(g.geom),
      longitude = public.st_x(g.geom),
      geo_source = case
        when d.feed_geom is not null then 'feed'
        else coalesce(p.source, 'none')
      end,
      ingested_at = tickets._now()
    from (
      select c.ticket_id, c.raw, c.text_hash,
        -- A file that replaces one of the same name replaces its version, too.
        case
          when c.newest < c_version then c.newest
          when cardinality(c.repeats) > 1 then c.repeats[cardinality(c.repeats) - 1]
          when cardinality(c.repeats) = 1 then
            (c.exported_at, c.source_key)::tickets.file_version
          else c.previous
        end as replaced
      from compared as c
      where c.is_updated
    ) as c
    cross join lateral tickets._derived(c.raw, p_is_careful) as d
    left join places as p
      on p.cluster = d.cluster
      and p.location_name
        = case when d.cluster = any (c_located) then coalesce(d.location_name, '') else '' end
    cross join lateral (select coalesce(d.feed_geom, p.geom) as geom) as g
    where t.dataset = p_dataset and t.ticket_id = c.ticket_id
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
    select p_dataset, c.ticket_id, tickets.eat_ts(c.raw ->> 'closed_at'),
      tickets._minutes(c.raw ->> 'mttr'), c.raw ->> 'cluster', c.raw ->> 'assigned_team',
      c.raw ->> 'owner', p_source_key
    from compared as c
    where c.is_late and not c.is_same
      and not tickets._is_open(c.raw ->> 'bucket', c.raw ->> 'closed_at')
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
  -- Tickets that were in the last snapshot and are not in this one.
  v_left text[];
  v_is_same boolean;
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

  v_is_same := v_fence.ticket_ids = v_ticket_ids;
  if not v_is_same then
    v_left := array(
      select k.ticket_id from unnest(v_fence.ticket_ids) as k (ticket_id)
      where k.ticket_id <> all (v_ticket_ids)
    );
    -- In another order.
    v_is_same := v_left = '{}' and cardinality(v_fence.ticket_ids) = cardinality(v_ticket_ids);
  end if;
  if v_fence_version < p_version and v_left <> '{}' then
    insert into tickets.ticket_repeats as r (dataset, ticket_id, repeats)
    select p_dataset, t.ticket_id, array[v_fence_version]
    from unnest(v_left) as k (ticket_id)
    join tickets.ticket as t on t.dataset = p_dataset and t.ticket_id = k.ticket_id
    where (t.exported_at, t.source_key) < (v_fence.exported_at, v_fence.source_key)
    on conflict (dataset, ticket_id) do update set repeats = r.repeats || excluded.repeats
      where r.repeats[cardinality(r.repeats)] < v_fence_version;
  end if;

  insert into tickets.snapshot_fence as f (dataset, exported_at, source_key, ticket_ids)
  values (p_dataset, p_version.exported_at, p_version.source_key, v_ticket_ids)
  on conflict (dataset) do update set
    exported_at = excluded.exported_at,
    source_key = excluded.source_key,
    -- The same tickets are not written again.
    ticket_ids = case when v_is_same then f.ticket_ids else excluded.ticket_ids end;
end;
$$;

comment on function tickets._fence_snapshot(text, tickets.file_version, text[]) is
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
  v_ticket_ids text[];
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

  select k.ticket_ids, k.repeated into v_ticket_ids, v_repeated
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
        then v_ticket_ids
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

comment on function tickets.apply_file(
  text, text, text, bigint, text[], bigint, integer, boolean
) is
  'Applies the file that this transaction opened and copied into staging; returns its counts.';
--! EndIncluded functions/tickets.apply_file.sql
