import type { Database } from "./database.ts";

// The one module with SQL text in it, COPY and the ends of transactions aside: calls of the public
// functions of schema `tickets`, whose own comments say what they do (`\sf tickets.apply_file`).

/** Where a file that is to be copied goes. */
export interface OpenedFile {
  staging_table: string;
  /** The staging column of each column of the file, in the file's order. */
  copy_columns: string[];
  extra_columns: string[];
  missing_columns: string[];
}

/** What came of a file; `staged` is the sum of the counts from `dropped_alarm` to `unchanged`. */
export interface FileCounts {
  dataset: string;
  source_key: string;
  staged: number;
  dropped_alarm: number;
  dropped_sentinel: number;
  rejected: number;
  duplicates: number;
  stale: number;
  inserted: number;
  updated: number;
  unchanged: number;
  closures: number;
}

/** A listed object as the ledger sees it. */
export interface SortedFile {
  source_key: string;
  etag: string;
  status: "new" | "applied" | "rejected" | "skipped";
  is_archived: boolean;
}

/** An object as the ledger names it. */
export interface FileId {
  dataset: string;
  key: string;
  etag: string;
  bytes: number;
}

/** Takes the dataset's lock for this session. Returns the prefix of the dataset's keys. */
export async function startRun(db: Database, dataset: string): Promise<string> {
  const [row] = await db.query<{ key_prefix: string }>(
    "select tickets.start_run(p_dataset => $1::text) as key_prefix",
    [dataset],
  );
  return only(row).key_prefix;
}

export async function finishRun(db: Database, dataset: string): Promise<void> {
  await db.query("select tickets.finish_run(p_dataset => $1::text)", [dataset]);
}

/** The datasets that are configured, INC before CRQ. */
export async function listDatasets(db: Database): Promise<string[]> {
  const rows = await db.query<{ dataset: string }>(
    "select d.dataset from tickets.datasets as d order by d.dataset desc",
  );
  return rows.map((row) => row.dataset);
}

/** @throws DatabaseError TK003 when the key belongs to no dataset */
export async function datasetOfKey(db: Database, key: string): Promise<string> {
  const [row] = await db.query<{ dataset: string }>(
    "select tickets.dataset_of_key(p_source_key => $1::text) as dataset",
    [key],
  );
  return only(row).dataset;
}

/** What the ledger says of listed objects, oldest first. */
export async function sortFiles(
  db: Database,
  dataset: string,
  objects: readonly { key: string; etag: string }[],
): Promise<SortedFile[]> {
  return db.query<SortedFile>(
    `select f.source_key, f.etag, f.status, f.is_archived
     from tickets.sort_files(
       p_dataset => $1::text, p_source_keys => $2::text[], p_etags => $3::text[]
     ) as f`,
    [dataset, objects.map((o) => o.key), objects.map((o) => o.etag)],
  );
}

/** Makes ready to copy a file into staging within this transaction. */
export async function openFile(
  db: Database,
  dataset: string,
  key: string,
  header: readonly string[],
): Promise<OpenedFile> {
  const [row] = await db.query<OpenedFile>(
    `select f.staging_table, f.copy_columns, f.extra_columns, f.missing_columns
     from tickets.open_file(
       p_dataset => $1::text, p_source_key => $2::text, p_header => $3::text[]
     ) as f`,
    [dataset, key, header],
  );
  return only(row);
}

/** Applies the file that this transaction has copied into staging. */
export async function applyFile(
  db: Database,
  file: FileId,
  staged: { header: readonly string[]; rows: number; droppedLines: number; isSnapshot: boolean },
): Promise<FileCounts> {
  const [row] = await db.query<FileCounts>(
    `select f.*
     from tickets.apply_file(
       p_dataset => $1::text, p_source_key => $2::text, p_etag => $3::text, p_bytes => $4::bigint,
       p_header => $5::text[], p_rows => $6::bigint, p_dropped_lines => $7::integer,
       p_is_snapshot => $8::boolean
     ) as f`,
    [
      file.dataset,
      file.key,
      file.etag,
      file.bytes,
      staged.header,
      staged.rows,
      staged.droppedLines,
      staged.isSnapshot,
    ],
    "slow",
  );
  return only(row);
}

/** Writes into the ledger that a file is refused. Returns what a person can do about it. */
export async function refuseFile(
  db: Database,
  file: FileId,
  reason: { code: string; message: string; line: number | null },
): Promise<string> {
  const [row] = await db.query<{ hint: string }>(
    `select tickets.refuse_file(
       p_dataset => $1::text, p_source_key => $2::text, p_etag => $3::text, p_bytes => $4::bigint,
       p_error_code => $5::text, p_error => $6::text, p_error_line => $7::bigint
     ) as hint`,
    [file.dataset, file.key, file.etag, file.bytes, reason.code, reason.message, reason.line],
  );
  return only(row).hint;
}

/** Writes into the ledger that a snapshot needs no loading. */
export async function skipFile(db: Database, file: FileId): Promise<void> {
  await db.query(
    `select tickets.skip_file(
       p_dataset => $1::text, p_source_key => $2::text, p_etag => $3::text, p_bytes => $4::bigint
     )`,
    [file.dataset, file.key, file.etag, file.bytes],
  );
}

/** The objects that are done with and not known to be in the archive yet. */
export async function unarchivedFiles(
  db: Database,
  dataset: string,
): Promise<{ source_key: string; etag: string }[]> {
  return db.query(
    "select f.source_key, f.etag from tickets.unarchived_files(p_dataset => $1::text) as f",
    [dataset],
  );
}

/** Writes into the ledger that a file is safe in the archive. */
export async function markArchived(
  db: Database,
  dataset: string,
  file: { key: string; etag: string },
): Promise<void> {
  await db.query(
    `select tickets.mark_archived(
       p_dataset => $1::text, p_source_key => $2::text, p_etag => $3::text
     )`,
    [dataset, file.key, file.etag],
  );
}

/** Watermark and last snapshot ETag of a dataset; absent until something was loaded. */
export async function importState(
  db: Database,
  dataset: string,
): Promise<{ source_max_key?: string; source_etag?: string }> {
  const [row] = await db.query<{ state: { source_max_key?: string; source_etag?: string } }>(
    "select tickets.import_state(p_dataset => $1::text) as state",
    [dataset],
  );
  return only(row).state;
}

/** What recording the history by itself has found. */
export interface CapturedHistory {
  dataset: string;
  closures: number;
  clusters: number;
}

/** Records closures not recorded yet and today's snapshot; of all datasets where none is named. */
export async function captureHistory(
  db: Database,
  dataset: string | null,
): Promise<CapturedHistory[]> {
  return db.query<CapturedHistory>(
    `select h.dataset, h.closures, h.clusters
     from tickets.capture_history(p_dataset => $1::text) as h`,
    [dataset],
    "slow",
  );
}

/** Takes the lock of a kind of geocoding. Returns the code of the country to look in. */
export async function startGeocoding(db: Database, kind: string): Promise<string> {
  const [row] = await db.query<{ country_code: string }>(
    "select tickets.start_geocoding(p_kind => $1::text) as country_code",
    [kind],
  );
  return only(row).country_code;
}

export async function finishGeocoding(db: Database, kind: string): Promise<void> {
  await db.query("select tickets.finish_geocoding(p_kind => $1::text)", [kind]);
}

/** The clusters that a geocoder is to be asked for, those with most tickets first. */
export async function clustersToGeocode(
  db: Database,
): Promise<{ cluster: string; query: string; tickets: number }[]> {
  return db.query(
    "select c.cluster, c.query, c.tickets from tickets.clusters_to_geocode() as c",
    [],
    "slow",
  );
}

/** A place that a geocoder is to be asked for. */
export interface LocationToGeocode {
  place: string;
  cluster: string | null;
  query: string;
  tickets: number;
  /** Why it cannot be asked for; then there is no point of its cluster. */
  skipped: string | null;
  /** The point of its cluster and what is around, in degrees: west, south, east, north. */
  latitude: number;
  longitude: number;
  box: [number, number, number, number];
}

/** The places that a geocoder is to be asked for, those with most tickets first. */
export async function locationsToGeocode(db: Database): Promise<LocationToGeocode[]> {
  return db.query<LocationToGeocode>(
    `select l.place, l.cluster, l.query, l.tickets, l.skipped, l.latitude, l.longitude, l.box
     from tickets.locations_to_geocode() as l`,
    [],
    "slow",
  );
}

/**
 * Reserves the next request to a geocoding service. Returns how long to wait for it; null where
 * the day's requests are used up, until `quota_until`.
 */
export async function reserveRequest(
  db: Database,
  service: string,
  perSecond: number,
): Promise<{ wait_ms: number | null; quota_until: Date | null }> {
  const [row] = await db.query<{ wait_ms: number | null; quota_until: Date | null }>(
    `select r.wait_ms, r.quota_until
     from tickets.reserve_request(
       p_service => $1::text, p_per_second => $2::double precision
     ) as r`,
    [service, perSecond],
  );
  return only(row);
}

/** Lets no run ask a geocoding service for a while. */
export async function pauseRequests(db: Database, service: string, waitMs: number): Promise<void> {
  await db.query("select tickets.pause_requests(p_service => $1::text, p_wait_ms => $2::integer)", [
    service,
    waitMs,
  ]);
}

/** What a geocoder said, or that it said nothing. */
export type GeocoderAnswer = { provider: string; query: string } & (
  | { kind: "found"; latitude: number; longitude: number; countryCode: string | undefined }
  | { kind: "no_match" | "error" }
);

/**
 * Writes an answer into the gazetteers, for all that waited for it. Returns what was written: not
 * what a person has verified.
 */
export async function recordAnswer(
  db: Database,
  waiting: readonly { place: string | null; cluster: string }[],
  answer: GeocoderAnswer,
): Promise<
  {
    place: string | null;
    cluster: string;
    status: "ok" | "no_match" | "rejected_far" | "error";
    distance: number | null;
  }[]
> {
  const found = answer.kind === "found" ? answer : undefined;
  return db.query(
    `select a.place, a.cluster, a.status, a.distance
     from tickets.record_answer(
       p_places => $1::text[], p_clusters => $2::text[], p_provider => $3::text,
       p_query => $4::text, p_outcome => $5::text, p_latitude => $6::double precision,
       p_longitude => $7::double precision, p_country_code => $8::text
     ) as a`,
    [
      waiting.map(({ place }) => place),
      waiting.map(({ cluster }) => cluster),
      answer.provider,
      answer.query,
      answer.kind,
      found?.latitude,
      found?.longitude,
      found?.countryCode,
    ],
    // It waits for files that are being applied, and an answer was paid for.
    "slow",
  );
}

/** The roles of this project that the server does not have. */
export async function missingRoles(db: Database): Promise<string[]> {
  const rows = await db.query<{ role: string }>(
    `select r.role
     from unnest(array['fleettickets_loader', 'fleettickets_reader']) as r (role)
     where not exists (select from pg_roles as p where p.rolname = r.role)`,
  );
  return rows.map(({ role }) => role);
}

/** How much there is of a dataset. */
export interface DatasetOverview {
  dataset: string;
  tickets: number;
  open: number;
  closed: number;
  located: number;
  closures: number;
  status_changes: number;
  rejected_rows: number;
  bad_values: number;
}

/** How much there is of each dataset. Reads all tickets. */
export async function overview(db: Database): Promise<DatasetOverview[]> {
  return db.query<DatasetOverview>(
    `select o.dataset, o.tickets, o.open, o.closed, o.located, o.closures, o.status_changes,
       o.rejected_rows, o.bad_values
     from tickets.overview as o`,
  );
}

/** How far a dataset is. */
export interface DatasetFreshness {
  dataset: string;
  key_prefix: string;
  /** Key of the newest file applied, and its export time. */
  watermark: string | null;
  exported_at: Date | null;
  age_seconds: number | null;
  last_run_at: Date | null;
  files_refused: number;
  files_unarchived: number;
}

/** How far each dataset is, INC before CRQ. */
export async function freshness(db: Database): Promise<DatasetFreshness[]> {
  return db.query<DatasetFreshness>(
    `select f.dataset, d.key_prefix, f.source_max_key as watermark, f.exported_at,
       floor(extract(epoch from f.age))::float8 as age_seconds, f.last_run_at,
       f.files_refused::integer as files_refused, f.files_unarchived::integer as files_unarchived
     from tickets.freshness as f
     join tickets.datasets as d on d.dataset = f.dataset
     order by f.dataset desc`,
  );
}

/** Statements for a person to type, as hints of the program name them. */
export const byHand = {
  refusedFiles: "select source_key, error from tickets.load_history where status = 'rejected'",
  createPostgis: "create extension postgis schema public",
  upgradePostgis: "select postgis_extensions_upgrade()",
  createRole: (role: string) => `create role ${role} nologin`,
  grantLoader: (login: string) => `grant fleettickets_loader to "${login}"`,
  applyStaged: (dataset: string) => `select * from tickets.apply_staged('${dataset}')`,
  emptyStaging: (dataset: string) => `truncate tickets.${dataset}_staging`,
  endSession: (pid: number) => `select pg_terminate_backend(${pid})`,
} as const;

/** What a server says of itself, whether it has our schema or not. */
export interface ServerFacts {
  version: string;
  version_number: number;
  postgis_version: string | null;
  postgis_schema: string | null;
  login: string;
  is_loader: boolean;
  has_schema: boolean;
  now: Date;
}

export async function serverFacts(db: Database): Promise<ServerFacts> {
  const [row] = await db.query<ServerFacts>(
    `select current_setting('server_version') as version,
       current_setting('server_version_num')::integer as version_number,
       e.extversion as postgis_version, n.nspname::text as postgis_schema,
       current_user::text as login,
       exists (
         select from pg_roles as r
         where r.rolname = 'fleettickets_loader' and pg_has_role(r.oid, 'usage')
       ) as is_loader,
       exists (select from pg_namespace as s where s.nspname = 'tickets') as has_schema,
       clock_timestamp() as now
     from (values ('postgis')) as x (name)
     left join pg_extension as e on e.extname = x.name
     left join pg_namespace as n on n.oid = e.extnamespace`,
  );
  return only(row);
}

/** The hashes of the migrations that the database has seen. */
export async function appliedMigrations(db: Database): Promise<string[]> {
  const rows = await db.query<{ hash: string }>(
    "select m.hash from tickets.applied_migrations() as m",
  );
  return rows.map(({ hash }) => hash);
}

/** What a loader must be able to call or fill, and the user of this session may not. */
export async function missingRights(db: Database): Promise<string[]> {
  const rows = await db.query<{ name: string }>(
    `select format('tickets.%s', p.proname) as name
     from pg_proc as p
     where p.pronamespace = 'tickets'::regnamespace and p.proname !~ '^_'
       -- For people, not for a loader.
       and p.proname not in ('clean_place', 'correct_place', 'reject_place', 'verify_place')
       and not (
         has_schema_privilege('tickets', 'usage') and has_function_privilege(p.oid, 'execute')
       )
     union all
     select format('tickets.%s', c.relname)
     from pg_class as c
     where c.relnamespace = 'tickets'::regnamespace and c.relkind = 'r'
       and c.relname like '%\\_staging'
       and not has_table_privilege(c.oid, 'insert')
     order by name`,
  );
  return rows.map(({ name }) => name);
}

/** The sessions that have the lock of a dataset. */
export async function heldLocks(
  db: Database,
): Promise<{ dataset: string; pid: number; program: string; seconds: number | null }[]> {
  return db.query(
    `select d.dataset, l.pid, coalesce(a.application_name, '') as program,
       floor(extract(epoch from clock_timestamp() - a.backend_start))::float8 as seconds
     from tickets.datasets as d
     join pg_locks as l
       on l.locktype = 'advisory' and l.granted
       -- The two keys of an advisory lock stand there as numbers without a sign.
       and l.classid::bigint = hashtext('fleettickets')::bigint & 4294967295
       and l.objid::bigint = hashtext(d.dataset)::bigint & 4294967295
     join pg_database as b on b.oid = l.database and b.datname = current_database()
     left join pg_stat_activity as a on a.pid = l.pid
     where l.pid <> pg_backend_pid()
     order by d.dataset desc`,
  );
}

/** What lies in staging of a dataset and is not applied, a row a file. */
export async function stagedRows(
  db: Database,
  dataset: string,
): Promise<{ source_key: string; rows: number }[]> {
  return db.query(
    `select s.source_key, s.rows::integer as rows
     from tickets.staged_rows(p_dataset => $1::text) as s`,
    [dataset],
  );
}

/** Runs a file of SQL that comes with this program, such as the points of clusters. */
export async function runScript(db: Database, script: string): Promise<void> {
  await db.query(script);
}

/** Puts the places that most tickets name a kilometre from their cluster, for a demonstration. */
export async function inventPlaces(db: Database, count: number): Promise<void> {
  await db.query(
    `select tickets.correct_place(
       p_cluster => l.cluster,
       p_lat => l.latitude + 0.01 * sin(l.nth),
       p_lng => l.longitude + 0.01 * cos(l.nth),
       p_place => l.place
     )
     from (
       select p.*, row_number() over () as nth
       from tickets.locations_to_geocode() as p
       where p.skipped is null
       limit $1::integer
     ) as l`,
    [count],
  );
}

/** Lets the clock of this session stand still, at an instant with its offset. */
export async function stopClock(db: Database, instant: string): Promise<void> {
  await db.query("select set_config('tickets.now', $1::text, false)", [instant]);
}

/** The numbers that a dashboard shows first. */
export interface Headlines {
  dataset: string;
  open_total: number;
  open_actionable: number;
  open_within: number;
  open_at_risk: number;
  open_breached: number;
  closed_in_window: number;
  mttr_median_minutes: number | null;
  located_pct: number | null;
}

/** The headlines of both dashboards, of all time. */
export async function headlines(db: Database): Promise<Headlines[]> {
  return db.query<Headlines>(
    `select d.dataset, m.*
     from (
       values
         ('inc', reporting.fn_inc_dashboard(p_window => 'all')),
         ('crq', reporting.fn_crq_dashboard(p_window => 'all'))
     ) as d (dataset, answer)
     cross join json_to_record(d.answer -> 'metrics') as m (
       open_total integer, open_actionable integer, open_within integer, open_at_risk integer,
       open_breached integer, closed_in_window integer, mttr_median_minutes float8,
       located_pct float8
     )`,
  );
}

/** How many tickets of any status the map shows, and where their points come from. */
export async function mapSummary(
  db: Database,
): Promise<{ total: number; located: number; by_geo_source: Record<string, number> }> {
  const [row] = await db.query<{
    total: number;
    located: number;
    by_geo_source: Record<string, number>;
  }>(
    `select s.*
     from json_to_record(reporting.fn_tickets_for_map(p_status => 'all') -> 'summary') as s (
       total integer, located integer, by_geo_source json
     )`,
  );
  return only(row);
}

// Reading: the functions of schema `reporting`. What they return is passed on as the text that it is;
// made into objects, two hundred thousand tickets would be a second's work for nothing.

/**
 * Takes the reader's role until the transaction ends, where the server has it and this user may.
 * Elsewhere the user reads with the rights of its own.
 */
export async function becomeReader(db: Database): Promise<void> {
  await db.query(
    `select set_config('role', r.rolname, true)
     from pg_roles as r
     where r.rolname = 'fleettickets_reader'
       -- From PostgreSQL 16 on, a member may be one that may not take the role.
       and pg_has_role(
         r.oid,
         case when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end
       )`,
  );
}

/** @throws DatabaseError 42883 where a function is missing that the page reads */
export async function checkReading(db: Database): Promise<void> {
  await db.query(
    `select f.signature::regprocedure
     from unnest(array[
       'reporting.fn_tickets_for_map(text, text, text)',
       'reporting.fn_inc_dashboard(text, text, text, timestamptz, timestamptz)',
       'reporting.fn_crq_dashboard(text, text, text, timestamptz, timestamptz)',
       'reporting.fn_backlog(text, date, date, text)',
       'reporting.fn_team_closures(text, timestamptz, timestamptz)'
     ]) as f (signature)`,
  );
}

/** The FeatureCollection of the Tickets map, as JSON. */
export async function ticketsForMap(
  db: Database,
  { dataset, cluster, status }: { dataset: string | null; cluster: string | null; status: string },
): Promise<string> {
  const [row] = await db.query<{ map: string }>(
    `select reporting.fn_tickets_for_map(
       p_dataset => $1::text, p_cluster => $2::text, p_status => $3::text
     )::text as map`,
    [dataset, cluster, status],
    "slow",
  );
  return only(row).map;
}

const dashboardFunctions = {
  inc: "reporting.fn_inc_dashboard",
  crq: "reporting.fn_crq_dashboard",
} as const;

/** The datasets that have a dashboard. */
export const dashboardDatasets = ["inc", "crq"] as const;
export type DashboardDataset = (typeof dashboardDatasets)[number];

/**
 * A dataset's dashboard without its features, all clusters that it can be asked for, the backlog of
 * the same days (of at least 30, and of a year where the window has no beginning), and the closures
 * of the same time: a Dashboard, as JSON.
 */
export async function dashboard(
  db: Database,
  dataset: DashboardDataset,
  { cluster, window }: { cluster: string | null; window: string },
): Promise<string> {
  const call = dashboardFunctions[dataset];
  const [row] = await db.query<{ dashboard: string }>(
    `with d as materialized (
       select j.*,
         coalesce((j.filters ->> 'from')::timestamptz, '-infinity') as window_from,
         coalesce((j.filters ->> 'to')::timestamptz, 'infinity') as window_to,
         -- tickets._now() written out: it is not for readers.
         coalesce(nullif(current_setting('tickets.now', true), '')::timestamptz, now())
           at time zone 'Africa/Nairobi' as now
       from json_to_record(${call}(p_cluster => $1::text, p_window => $2::text)) as j (
         filters json, metrics json, by_cluster json, by_team json, freshness json
       )
     )
     select json_build_object(
       'filters', d.filters, 'metrics', d.metrics, 'by_cluster', d.by_cluster,
       'by_team', d.by_team, 'freshness', d.freshness,
       'clusters', (
         select coalesce(json_agg(c.entry -> 'name' order by c.place), '[]')
         from json_array_elements(
           case
             when $1::text is null then d.by_cluster
             else ${call}(p_window => $2::text) -> 'by_cluster'
           end
         ) with ordinality as c (entry, place)
         where c.entry ->> 'name' is not null
       ),
       'backlog', (
         select coalesce(json_agg(b order by b.day), '[]')
         from reporting.fn_backlog(
           $3::text,
           case
             when isfinite(d.window_from)
             then least(
               (d.window_from at time zone 'Africa/Nairobi')::date, d.now::date - 29
             )
             else d.now::date - 364
           end,
           d.now::date,
           $1::text
         ) as b
       ),
       'team_closures', (
         select coalesce(json_agg(c), '[]')
         from reporting.fn_team_closures($3::text, d.window_from, d.window_to) as c
       )
     )::text as dashboard
     from d`,
    [cluster, window, dataset],
    "slow",
  );
  return only(row).dashboard;
}

function only<Row>(row: Row | undefined): Row {
  if (row === undefined) throw new Error("a function that returns one row returned none");
  return row;
}
