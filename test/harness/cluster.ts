import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { chown, mkdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { findPostgres } from "./find-postgres.ts";
import { freePorts } from "./free-ports.ts";
import { guardedFolder } from "./guarded-folder.ts";
import { killTree } from "./processes.ts";

const START_TIMEOUT_MS = 60_000;

// What a server may leave out whose data nobody needs after the run.
const NOT_DURABLE = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

/** A PostgreSQL server of our own, in a temporary folder. */
export interface Cluster {
  /** Of its superuser, on the database `postgres`. */
  url: string;
  dataDir: string;
  /** Kills the server and all its backends with SIGKILL. */
  kill9(): Promise<void>;
  /** Starts it again, after `kill9`, on the same port and data; returns after crash recovery. */
  start(): Promise<void>;
  /** Ends the server and removes its data. */
  stop(): Promise<void>;
}

/** Runs a program of PostgreSQL to its end, as whom the server runs as. */
type RunProgram = (program: string, args: string[]) => Promise<void>;

interface ClusterOptions {
  password: string;
  /** What the server may leave out, or what it is to do. */
  settings: readonly string[];
  /** Makes the data; `folder` is for what else it needs. */
  make: (run: RunProgram, place: { dataDir: string; folder: string }) => Promise<void>;
}

/**
 * Makes and starts a server. It ends at the latest with this process.
 *
 * @param durable false for a server that need not survive a crash: it is faster
 * @param settings more of its configuration, each as `name=value`
 * @param files what to put into its data folder, by name
 */
export async function startCluster({
  durable = true,
  settings = [],
  files = {},
}: {
  durable?: boolean;
  settings?: readonly string[];
  files?: Readonly<Record<string, string>>;
} = {}): Promise<Cluster> {
  const password = randomBytes(16).toString("hex");
  return startServer({
    password,
    settings: [...(durable ? [] : NOT_DURABLE), ...settings],
    async make(run, { dataDir, folder }) {
      const passwordFile = join(folder, "password");
      await writeFile(passwordFile, password, { mode: 0o600 });
      await giveAway(passwordFile);
      await run("initdb", [
        `--pgdata=${dataDir}`,
        "--username=postgres",
        `--pwfile=${passwordFile}`,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        `--locale=${clusterLocale()}`,
        "--no-sync",
      ]);
      for (const [name, content] of Object.entries(files)) {
        const file = join(dataDir, name);
        await writeFile(file, content, { mode: 0o600 });
        await giveAway(file);
      }
    },
  });
}

/**
 * Makes and starts a streaming standby of a server, from a base backup of it: read-only, and with
 * the same superuser. The server keeps its log for it, in a slot, so stop both or the server alone.
 */
export async function startStandby(primary: Cluster): Promise<Cluster> {
  return startServer({
    password: new URL(primary.url).password,
    settings: NOT_DURABLE,
    make: (run, { dataDir }) =>
      run("pg_basebackup", [
        `--pgdata=${dataDir}`,
        `--dbname=${primary.url}`,
        "--write-recovery-conf",
        "--wal-method=stream",
        "--create-slot",
        `--slot=standby_${randomBytes(4).toString("hex")}`,
        "--checkpoint=fast",
        "--no-sync",
      ]),
  });
}

async function startServer({ password, settings, make }: ClusterOptions): Promise<Cluster> {
  const { binDir } = findPostgres();
  const account = serverAccount();
  // Root's own temporary folder can be closed to the server's account; /tmp never is.
  const parent = account ? "/tmp" : tmpdir();
  const folder = await guardedFolder("postgres", { parent, signal: "QUIT" });
  const dataDir = join(folder.path, "data");
  const logFile = join(folder.path, "server.log");
  const [port] = (await freePorts(1)) as [number];
  const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
  const allSettings = [
    "listen_addresses=127.0.0.1",
    `port=${port}`,
    // None: in a deep temporary folder its path would be too long for a socket.
    "unix_socket_directories=",
    "max_connections=200",
    "timezone=UTC",
    ...settings,
  ];

  await mkdir(dataDir, { mode: 0o700 });
  for (const path of [folder.path, dataDir]) await giveAway(path);

  let server: ChildProcess | undefined;

  function launch(program: string, args: string[]): ChildProcess {
    const log = openSync(logFile, "a");
    try {
      const child = spawn(join(binDir, program), args, {
        ...account,
        cwd: folder.path,
        // Nothing of ours: PGPORT, PGOPTIONS and the like would change the server.
        env: { PATH: process.env["PATH"], LC_ALL: clusterLocale() },
        // A session of its own, so that Ctrl-C leaves it running for what the tests do last.
        detached: true,
        stdio: ["ignore", log, log],
      });
      folder.holds(child.pid);
      child.once("exit", () => {
        folder.holds(undefined);
      });
      return child;
    } finally {
      closeSync(log);
    }
  }

  async function run(program: string, args: string[]): Promise<void> {
    const [code] = (await once(launch(program, args), "exit")) as [number | null];
    if (code !== 0) throw new Error(`${program} failed:\n${await readFile(logFile, "utf8")}`);
  }

  async function start(): Promise<void> {
    const starting = launch("postgres", [
      "-D",
      dataDir,
      ...allSettings.flatMap((setting) => ["-c", setting]),
    ]);
    server = starting;
    starting.once("exit", () => {
      if (server === starting) server = undefined;
    });
    // A server that nobody stopped must not keep the process from ending.
    starting.unref();
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await accepts(url))) {
      if (server === undefined || Date.now() > deadline) {
        throw new Error(`PostgreSQL did not start:\n${await readFile(logFile, "utf8")}`);
      }
      await sleep(20);
    }
  }

  async function kill9(): Promise<void> {
    if (server?.pid === undefined) throw new Error("there is no running server to kill");
    const ended = once(server, "exit");
    server.ref();
    await killTree(server.pid);
    await ended;
  }

  try {
    await make(run, { dataDir, folder: folder.path });
    await start();
  } catch (error) {
    await folder.remove();
    throw error;
  }
  return { url, dataDir, start, kill9, stop: folder.remove };
}

/** Lets the server's account have what this one has made. */
export async function giveAway(path: string): Promise<void> {
  const account = serverAccount();
  if (account) await chown(path, account.uid, account.gid);
}

/** Whom the server runs as: PostgreSQL refuses to run as root, and so does PgBouncer. */
export function serverAccount(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ["postgres", "nobody"]) {
    try {
      return { uid: idOf("-u", name), gid: idOf("-g", name) };
    } catch {
      // no such user: the next
    }
  }
  throw new Error("PostgreSQL refuses to run as root, and there is no user `postgres`: add one");
}

function idOf(kind: "-u" | "-g", name: string): number {
  return Number(execFileSync("id", [kind, name], { encoding: "utf8", stdio: "pipe" }));
}

function clusterLocale(): string {
  return process.platform === "darwin" ? "en_US.UTF-8" : "C.UTF-8";
}

async function accepts(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 1_000 });
  client.on("error", () => {
    // also reported by connect(), and a server that is not up yet is no error here
  });
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end();
  }
}
