--! Previous: sha1:d882a72d17476d16c31f7f22a2a99c0e6491ea2d
--! Hash: sha1:39362870d122ab741cb6baa53531add36bb04fe4
--! Message: never take rows out of staging that were not applied

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
