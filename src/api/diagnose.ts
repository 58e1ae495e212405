import { type Database, queryRow } from "../database.ts";

// What `status`, `doctor` and `migrate` ask of a database: how far it is, and what it lacks.

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
  revoke: (right: string, target: string) => `revoke ${right} on ${target} from public`,
  resetClock: (database: string) => `alter database "${database}" reset tickets.now`,
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
  is_reader: boolean;
  has_schema: boolean;
  /** Whether it only follows another server, and takes no writes. */
  is_standby: boolean;
  now: Date;
}

export async function serverFacts(db: Database): Promise<ServerFacts> {
  return queryRow<ServerFacts>(
    db,
    `select current_setting('server_version') as version,
       current_setting('server_version_num')::integer as version_number,
       e.extversion as postgis_version, n.nspname::text as postgis_schema,
       current_user::text as login,
       exists (
         select from pg_roles as r
         where r.rolname = 'fleettickets_loader' and pg_has_role(r.oid, 'usage')
       ) as is_loader,
       exists (
         select from pg_roles as r
         where r.rolname = 'fleettickets_reader' and pg_has_role(r.oid, 'usage')
       ) as is_reader,
       exists (select from pg_namespace as s where s.nspname = 'tickets') as has_schema,
       pg_is_in_recovery() as is_standby, clock_timestamp() as now
     from (values ('postgis')) as x (name)
     left join pg_extension as e on e.extname = x.name
     left join pg_namespace as n on n.oid = e.extnamespace`,
  );
}

/** Who may do more in this database than the program needs. */
export interface AccessFacts {
  database: string;
  /** Of the schema, as whom its functions run. */
  owner: string;
  owner_is_superuser: boolean;
  /** What every role of the server may do here, and with what. */
  public_rights: { right: string; target: string }[];
  /** What the setting tickets.now says, in this session or for others; null where it is not set. */
  clock: string | null;
}

export async function accessFacts(db: Database): Promise<AccessFacts> {
  return queryRow<AccessFacts>(
    db,
    `select current_database()::text as database, r.rolname::text as owner,
       r.rolsuper as owner_is_superuser,
       (
         select coalesce(json_agg(json_build_object('right', p.name, 'target', p.target)), '[]')
         from (
           select r.name, format('database %I', current_database()) as target
           from unnest(array['connect', 'temporary']) as r (name)
           where has_database_privilege('public', current_database(), r.name)
           union all
           select 'create', format('schema %I', s.nspname)
           from pg_namespace as s
           where s.nspname = 'public' and has_schema_privilege('public', s.oid, 'create')
         ) as p
       ) as public_rights,
       coalesce(
         nullif(current_setting('tickets.now', true), ''),
         (
           select min(substr(c.setting, 13))
           from pg_db_role_setting as s
           cross join unnest(s.setconfig) as c (setting)
           join pg_database as b on b.datname = current_database()
           where s.setdatabase in (0, b.oid) and starts_with(c.setting, 'tickets.now=')
         )
       ) as clock
     from pg_namespace as n
     join pg_roles as r on r.oid = n.nspowner
     where n.nspname = 'tickets'`,
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
       and right(c.relname, 8) = '_staging'
       and not has_table_privilege(c.oid, 'insert')
     order by name`,
  );
  return rows.map(({ name }) => name);
}

/** The sessions that have the lock of a dataset, this one aside. */
export async function heldLocks(
  db: Database,
): Promise<{ dataset: string; pid: number; program: string; seconds: number | null }[]> {
  return db.query(
    `select d.dataset, h.pid, coalesce(h.program, '') as program,
       floor(extract(epoch from clock_timestamp() - h.backend_start))::float8 as seconds
     from tickets.datasets as d
     join tickets.held_locks as h on h.name = 'load ' || d.dataset
     where h.pid <> pg_backend_pid()
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
