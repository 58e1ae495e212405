import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";

const OLDEST = 15;
const NEWEST = 18;

/** The server programs of one installed PostgreSQL. */
export interface PostgresInstallation {
  binDir: string;
  major: number;
  hasPostgis: boolean;
}

/** Its message says what was found and how to get what is missing. */
export class PostgresMissing extends Error {}

/**
 * The newest installed PostgreSQL that has PostGIS.
 *
 * @throws PostgresMissing
 */
export function findPostgres(): PostgresInstallation {
  const installed = installedPostgres();
  const usable = installed.find(isUsable);
  if (usable === undefined) throw new PostgresMissing(adviceFor(installed));
  return usable;
}

/**
 * The program PgBouncer.
 *
 * @throws PostgresMissing
 */
export function findPgbouncer(): string {
  const folders = ["/usr/sbin", ...(process.env["PATH"] ?? "").split(delimiter)];
  const program = folders.map((folder) => join(folder, "pgbouncer")).find(existsSync);
  if (program === undefined) {
    throw new PostgresMissing("This test needs PgBouncer: sudo apt-get install pgbouncer");
  }
  return program;
}

/** Installs PgBouncer for the tests that need it, where we may: as root on a system with apt. */
export function installPgbouncerIfMissing(): void {
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) return;
  try {
    findPgbouncer();
  } catch {
    console.error("No PgBouncer here. Installing it from the distribution:");
    apt("update");
    withoutServices(() => {
      apt("install", "-y", "--no-install-recommends", "pgbouncer");
    });
  }
}

/**
 * Installs PostgreSQL with PostGIS, and plpgsql_check for the test that asks for it, where we may: as
 * root on a system with apt.
 */
export function installPostgresIfMissing(): void {
  if (installedPostgres().some(isUsable)) return;
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) return;
  console.error("No PostgreSQL with PostGIS here. Installing it from the distribution:");
  apt("update");
  const major = newestPackagedMajor();
  if (major === undefined) {
    console.error(`apt offers no postgresql-NN-postgis-3 for PostgreSQL ${OLDEST} to ${NEWEST}.`);
    return;
  }
  withoutMainCluster(() => {
    // One after the other: without the second, all but one test can be run.
    for (const extension of ["postgis-3", "plpgsql-check"]) {
      apt("install", "-y", "--no-install-recommends", `postgresql-${major}-${extension}`);
    }
  });
}

function isUsable({ major, hasPostgis }: PostgresInstallation): boolean {
  return hasPostgis && isSupported(major);
}

function isSupported(major: number): boolean {
  return major >= OLDEST && major <= NEWEST;
}

/** Every installation in one of the usual places, the newest first. */
function installedPostgres(): PostgresInstallation[] {
  const candidates = [
    ...globSync("/usr/lib/postgresql/*/bin"), // Debian, Ubuntu
    ...globSync("/usr/pgsql-*/bin"), // packages of postgresql.org for Red Hat
    ...globSync("/usr/libexec/postgresql*"), // Alpine
    ...globSync("/opt/homebrew/opt/postgresql@*/bin"),
    ...globSync("/usr/local/opt/postgresql@*/bin"),
    ...globSync("/Applications/Postgres.app/Contents/Versions/*/bin"),
    "/usr/local/pgsql/bin", // built from source
    ...bindirOfPgConfig(),
    ...(process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== ""),
  ];
  const binDirs = candidates
    .filter((folder) => existsSync(join(folder, "initdb")))
    .map((folder) => dirname(realpathSync(join(folder, "initdb"))));
  return [...new Set(binDirs)]
    .flatMap((binDir) => installationIn(binDir))
    .sort((one, other) => other.major - one.major);
}

function bindirOfPgConfig(): string[] {
  const { status, stdout } = spawnSync("pg_config", ["--bindir"], { encoding: "utf8" });
  return status === 0 ? [stdout.trim()] : [];
}

function installationIn(binDir: string): PostgresInstallation[] {
  const program = join(binDir, "postgres");
  const { status, stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  const major = status === 0 ? /\(PostgreSQL\) (\d+)/.exec(stdout)?.[1] : undefined;
  if (major === undefined) return [];
  const control = join(shareDirOf(binDir, major), "extension", "postgis.control");
  return [{ binDir, major: Number(major), hasPostgis: existsSync(control) }];
}

function shareDirOf(binDir: string, major: string): string {
  const pgConfig = join(binDir, "pg_config");
  const { status, stdout } = spawnSync(pgConfig, ["--sharedir"], { encoding: "utf8" });
  // Some distributions leave pg_config to a development package.
  return status === 0 ? stdout.trim() : `/usr/share/postgresql/${major}`;
}

function apt(...args: string[]): void {
  const { status } = spawnSync("apt-get", args, {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    // Progress goes to stderr: stdout belongs to the test report.
    stdio: ["ignore", 2, 2],
  });
  // Not the end: with one broken source, apt still has the others.
  if (status !== 0) console.error(`apt-get ${args.join(" ")} failed, see above.`);
}

function newestPackagedMajor(): number | undefined {
  const pattern = "^postgresql-[0-9]+-postgis-3$";
  const found = execFileSync("apt-cache", ["search", "--names-only", pattern], {
    encoding: "utf8",
  });
  const majors = [...found.matchAll(/^postgresql-(\d+)-postgis-3 /gm)].map(([, major]) =>
    Number(major),
  );
  return majors.filter(isSupported).sort((one, other) => other - one)[0];
}

/** Debian starts a server on port 5432 with the package; a test run must not leave one behind. */
function withoutMainCluster(install: () => void): void {
  const setting = "/etc/postgresql-common/createcluster.d/fleettickets-test.conf";
  mkdirSync(dirname(setting), { recursive: true });
  writeFileSync(setting, "create_main_cluster = false\n");
  try {
    install();
  } finally {
    rmSync(setting);
  }
}

/** Debian starts PgBouncer on port 6432 with the package, unless its policy says no. */
function withoutServices(install: () => void): void {
  const policy = "/usr/sbin/policy-rc.d";
  if (existsSync(policy)) {
    install();
    return;
  }
  writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    install();
  } finally {
    rmSync(policy);
  }
}

function adviceFor(installed: PostgresInstallation[]): string {
  const found = installed
    .map(
      ({ binDir, major, hasPostgis }) =>
        `  found    PostgreSQL ${major} in ${binDir}, ${hasPostgis ? "with" : "without"} PostGIS`,
    )
    .join("\n");
  return `The tests need PostgreSQL ${OLDEST} to ${NEWEST} with PostGIS 3, and found none.
${found || "  found    no PostgreSQL at all"}
Install it:
  Debian, Ubuntu   sudo apt-get install postgresql postgresql-postgis
  Fedora           sudo dnf install postgresql-server postgis
  macOS            brew install postgresql@18 postgis
or name a server on which this user may create databases and the extension postgis:
  TEST_DATABASE_URL=postgres://user:password@host:5432/postgres npm test`;
}
