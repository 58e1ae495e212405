import { existsSync } from "node:fs";
import { join } from "node:path";
import { examineAccess } from "./access.ts";
import * as api from "./api/diagnose.ts";
import { type Check, failed, failure, ok, skipped, warning } from "./check.ts";
import type { Config } from "./config.ts";
import { type Database, embeddedFolder, withDatabase } from "./database.ts";
import { examineClock, examineStore } from "./doctor-store.ts";
import { installCommand } from "./embedded-packages.ts";
import { formatDuration } from "./duration.ts";
import { type ExitCode, exitCodes } from "./errors.ts";
import { committedMigrations } from "./migrate.ts";
import type { Diagnosis } from "./session.ts";
import { placeOf } from "./tls.ts";

const OLDEST_VERSION = 15;
const NEWEST_VERSION = 18;
const OLDEST_POSTGIS = [3, 3] as const;

/** Looks at everything that a run depends on. Changes nothing, and nothing that it finds ends it. */
export async function examine(diagnosis: Diagnosis): Promise<Check[]> {
  const { config, problems } = diagnosis;
  const found = await examineDatabase(config, problems.database);
  return [
    examineConfiguration([...problems.general, ...problems.database, ...problems.bucket]),
    ...found.checks,
    ...(await examineStore(config, problems.bucket, found.prefixes)),
    examineGeocoder(config.geocoder, problems.geocoder),
  ].flat();
}

function examineConfiguration(problems: readonly string[]): Check[] {
  if (problems.length === 0) return [ok("configuration", "complete")];
  return problems.map((problem) => misconfigured("configuration", exitCodes.usage, problem));
}

/** A problem of the configuration brings its cure along: `… is not set: set it to …`. */
function misconfigured(check: string, exit: ExitCode, problem: string): Check {
  const [, finding = problem, cure = "see .env.example"] = /^(.*?): (set .*)$/.exec(problem) ?? [];
  return failed(check, exit, finding, cure);
}

interface DatabaseFindings {
  checks: Check[];
  /** Where the datasets are in the bucket. */
  prefixes: string[];
}

async function examineDatabase(
  config: Config,
  problems: readonly string[],
): Promise<DatabaseFindings> {
  if (problems.length > 0) {
    return { checks: [skipped("database", "DATABASE_URL is not usable")], prefixes: [] };
  }
  const folder = embeddedFolder(config.databaseUrl);
  const install = folder === undefined ? undefined : installCommand(["database"]);
  if (install !== undefined) {
    const finding = "the embedded database is not installed";
    const cure = `Install it: ${install}`;
    return { checks: [failed("database", exitCodes.usage, finding, cure)], prefixes: [] };
  }
  // Opening it would make it.
  if (folder !== undefined && !existsSync(join(folder, "PG_VERSION"))) {
    const finding = `there is no embedded database in ${folder}`;
    const cure = "Make it: fleettickets migrate";
    return { checks: [failed("database", exitCodes.database, finding, cure)], prefixes: [] };
  }
  const place = folder ?? placeOf(config.databaseUrl);
  const checks: Check[] = [];
  try {
    const isEmbedded = folder !== undefined;
    const prefixes = await withDatabase(config, (db) =>
      examineSession(db, { place, isEmbedded }, checks),
    );
    return { checks, prefixes };
  } catch (error) {
    // What was found before it stays.
    return { checks: [...checks, failure("database", error, `${place}: `)], prefixes: [] };
  }
}

/**
 * Adds what it finds to `checks`.
 *
 * @returns where the datasets are in the bucket
 */
async function examineSession(
  db: Database,
  { place, isEmbedded }: { place: string; isEmbedded: boolean },
  checks: Check[],
): Promise<string[]> {
  const facts = await api.serverFacts(db);
  checks.push(
    examineVersion(facts, place),
    examinePostgis(facts),
    examineClock("database's clock", exitCodes.database, facts.now),
    await examineRoles(db, facts),
  );
  if (facts.is_standby) checks.push(examineStandby());
  if (!facts.has_schema) {
    const cure = "Make it: fleettickets migrate";
    checks.push(failed("schema", exitCodes.database, "there is no schema tickets", cure));
    return [];
  }
  // The embedded database has one user.
  if (!isEmbedded) checks.push(...examineAccess(await api.accessFacts(db)));
  const missing = await api.missingRights(db);
  checks.push(examineRights(facts, missing));
  if (missing.includes("tickets.applied_migrations")) {
    checks.push(skipped("schema", "this user may not ask for it"));
    return [];
  }
  const schema = await examineSchema(db);
  checks.push(...schema);
  if (schema.some(({ status }) => status === "failed")) return [];

  const datasets = await api.freshness(db);
  checks.push(
    ...(facts.is_standby
      ? [skipped("locks, staging", "only the primary has them")]
      : await examineStaging(db, datasets)),
  );
  return datasets.map(({ key_prefix }) => key_prefix);
}

export function examineVersion(
  { version, version_number, login }: api.ServerFacts,
  place: string,
): Check {
  const major = Math.floor(version_number / 10_000);
  const range = `${OLDEST_VERSION} to ${NEWEST_VERSION}`;
  if (major < OLDEST_VERSION) {
    const cure = `Update the server to PostgreSQL ${range}`;
    return failed(
      "database",
      exitCodes.database,
      `PostgreSQL ${version} at ${place} is too old`,
      cure,
    );
  }
  if (major > NEWEST_VERSION) {
    const cure = `This program is tested with PostgreSQL ${range}: look for a newer one`;
    return warning(
      "database",
      `PostgreSQL ${version} at ${place} is newer than this program`,
      cure,
    );
  }
  return ok("database", `PostgreSQL ${version} at ${place}, as ${login}`);
}

function examineStandby(): Check {
  return failed(
    "writes",
    exitCodes.database,
    "this server is a standby, nothing can be loaded",
    "Name the primary in DATABASE_URL; a standby is for status, preview and report",
  );
}

export function examinePostgis({ postgis_version, postgis_schema }: api.ServerFacts): Check {
  const [oldestMajor, oldestMinor] = OLDEST_POSTGIS;
  const fail = (finding: string, cure: string) =>
    failed("PostGIS", exitCodes.database, finding, cure);
  if (postgis_version === null) {
    return fail(
      "PostGIS is not installed in this database",
      `As a superuser: ${api.byHand.createPostgis}`,
    );
  }
  if (postgis_schema !== "public") {
    return fail(
      `PostGIS is in the schema ${postgis_schema ?? "?"}`,
      "As a superuser, in a database that uses it for nothing else: drop extension postgis; " +
        api.byHand.createPostgis,
    );
  }
  const [major = 0, minor = 0] = postgis_version.split(".").map(Number);
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    return fail(
      `PostGIS ${postgis_version} is too old`,
      `Install ${OLDEST_POSTGIS.join(".")} or newer, then as a superuser: ` +
        api.byHand.upgradePostgis,
    );
  }
  return ok("PostGIS", postgis_version);
}

async function examineRoles(db: Database, facts: api.ServerFacts): Promise<Check> {
  const missing = await api.missingRoles(db);
  if (missing.length > 0) {
    return warning(
      "roles",
      `missing: ${missing.join(", ")}`,
      `As an administrator: ${missing.map(api.byHand.createRole).join("; ")}. ` +
        "Then: fleettickets migrate",
    );
  }
  const memberships = [
    ...(facts.is_loader ? ["fleettickets_loader"] : []),
    ...(facts.is_reader ? ["fleettickets_reader"] : []),
  ];
  return ok(
    "roles",
    `there; ${facts.login} is a member of ${memberships.join(" and ") || "neither"}`,
  );
}

export function examineRights(facts: api.ServerFacts, missing: readonly string[]): Check {
  if (missing.length === 0) return ok("rights", `${facts.login} may do all that a loader does`);
  if (facts.is_reader && !facts.is_loader) {
    return warning(
      "rights",
      `${facts.login} is a reader, who previews and reports and loads nothing`,
      "Nothing, if that is what this user is for. To look at what a load depends on, name the " +
        "loader's user in DATABASE_URL",
    );
  }
  const shown = missing.slice(0, 3).join(", ");
  const more = missing.length > 3 ? ` and ${missing.length - 3} more` : "";
  return failed(
    "rights",
    exitCodes.database,
    `${facts.login} may not use ${shown}${more}`,
    facts.is_loader
      ? "As the schema's owner, to grant the role what it lacks: fleettickets migrate"
      : `As an administrator: ${api.byHand.grantLoader(facts.login)}`,
  );
}

async function examineSchema(db: Database): Promise<Check[]> {
  let applied: string[];
  try {
    applied = await api.appliedMigrations(db);
  } catch (error) {
    return [failure("schema", error)];
  }
  const committed = committedMigrations();
  const isUnknown = (hash: string) => !committed.some((migration) => migration.hash === hash);
  const missing = committed.filter(({ hash }) => !applied.includes(hash));
  const checks: Check[] = [];
  if (applied.some(isUnknown)) {
    checks.push(
      failed(
        "schema",
        exitCodes.database,
        `the database has ${count(applied.filter(isUnknown), "migration")} that this program has not`,
        "The database was migrated by a newer program: update this one",
      ),
    );
  }
  if (missing.length > 0) {
    const names = missing.map(({ filename }) => filename.replace("committed/", "")).join(", ");
    checks.push(
      failed(
        "schema",
        exitCodes.database,
        `not applied: ${names}`,
        "As the schema's owner: fleettickets migrate",
      ),
    );
  }
  return checks.length > 0 ? checks : [ok("schema", count(committed, "migration"))];
}

/** While a run has a dataset, its staging is the run's. */
async function examineStaging(
  db: Database,
  datasets: readonly { dataset: string }[],
): Promise<Check[]> {
  const locks = await api.heldLocks(db);
  const checks = locks.map(({ dataset, pid, program, seconds }) =>
    warning(
      `lock of ${dataset}`,
      `process ${pid} of the server has it${program === "" ? "" : `, for ${program}`}` +
        (seconds === null ? "" : `, connected for ${formatDuration(seconds)}`),
      `If this run does not end: ${api.byHand.endSession(pid)}`,
    ),
  );
  if (locks.length === 0) checks.push(ok("locks", "no run is loading"));
  for (const { dataset } of datasets) {
    const name = `staging of ${dataset}`;
    if (locks.some((lock) => lock.dataset === dataset)) {
      checks.push(skipped(name, "a run is using it"));
      continue;
    }
    const staged = await api.stagedRows(db, dataset);
    const rows = staged.reduce((sum, file) => sum + file.rows, 0);
    checks.push(
      rows === 0
        ? ok(name, "empty")
        : warning(
            name,
            `${rows} rows wait in it: ${staged.map(({ source_key }) => source_key).join(", ")}`,
            `Apply them: ${api.byHand.applyStaged(dataset)}. ` +
              `Or drop them: ${api.byHand.emptyStaging(dataset)}`,
          ),
    );
  }
  return checks;
}

/** Its configuration only: a question to a provider costs one of the day's requests. */
export function examineGeocoder(
  geocoder: Config["geocoder"],
  problems: readonly string[],
): Check[] {
  if (problems.length > 0) {
    return problems.map((problem) => misconfigured("geocoder", exitCodes.geocoderRefused, problem));
  }
  return [
    geocoder === undefined
      ? skipped("geocoder", "GEOCODER_PROVIDER is not set")
      : ok("geocoder", `${geocoder.provider} is configured`),
  ];
}

/** The exit code of the worst failure: the nearer to the beginning of a run, the worse. */
export function exitCodeOfChecks(checks: readonly Check[]): ExitCode {
  const codes = checks.filter(({ status }) => status === "failed").map((c) => c.exit_code);
  return codes.sort((a, b) => a - b)[0] ?? exitCodes.done;
}

function count(things: readonly unknown[], what: string): string {
  return `${things.length} ${what}${things.length === 1 ? "" : "s"}`;
}
