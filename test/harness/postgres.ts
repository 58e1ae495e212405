import { randomBytes } from "node:crypto";
import { Client, Pool, escapeIdentifier } from "pg";
import type { Scope } from "./scope.ts";

export { type Cluster, startCluster, startStandby } from "./cluster.ts";

/** A test's own copy of the migrated database. */
export interface TestDatabase {
  /** Of the server's superuser. */
  url: string;
  pool: Pool;
  /** A connection of its own, closed with the database. */
  connect(): Promise<Client>;
  /** Hands out a connection inside a transaction that is rolled back when `work` is done. */
  rolledBack<T>(work: (client: Client) => Promise<T>): Promise<T>;
}

/** A fresh copy of the template, dropped at the end of `scope`. */
export async function createDatabase(scope: Scope): Promise<TestDatabase> {
  const { serverUrl, template } = testServer();
  const name = uniqueName(template);
  await onServer(
    serverUrl,
    `create database ${escapeIdentifier(name)} template ${escapeIdentifier(template)}`,
  );
  const url = databaseUrl(serverUrl, name);
  const pool = new Pool({ connectionString: url, max: 4 });
  pool.on("error", () => {
    // A test may end the server or a backend; the next query says so.
  });
  const clients: Client[] = [];
  scope.after(async () => {
    await Promise.allSettled([pool.end(), ...clients.map((client) => client.end())]);
    await onServer(serverUrl, `drop database if exists ${escapeIdentifier(name)} with (force)`);
  });

  async function connect(): Promise<Client> {
    const client = await connectTo(url);
    clients.push(client);
    return client;
  }

  return {
    url,
    pool,
    connect,
    async rolledBack(work) {
      const client = await connectTo(url);
      try {
        await client.query("begin");
        return await work(client);
      } finally {
        // The server rolls back what a connection leaves open.
        await client.end();
      }
    },
  };
}

/** A database without our schema or PostGIS, dropped at the end of `scope`. Returns its address. */
export async function createEmptyDatabase(scope: Scope): Promise<string> {
  const { serverUrl } = testServer();
  const name = uniqueName("fleettickets_empty");
  await onServer(serverUrl, `create database ${escapeIdentifier(name)}`);
  scope.after(async () => {
    await onServer(serverUrl, `drop database ${escapeIdentifier(name)} with (force)`);
  });
  return databaseUrl(serverUrl, name);
}

/**
 * Makes the database that `createDatabase` copies, and returns its name.
 *
 * @param migrate brings an empty database up to date
 */
export async function createTemplate(
  serverUrl: string,
  migrate: (databaseUrl: string) => Promise<void>,
): Promise<string> {
  // The server may serve another run, too.
  const name = uniqueName("fleettickets_template");
  await onServer(serverUrl, `create database ${escapeIdentifier(name)}`);
  try {
    await migrate(databaseUrl(serverUrl, name));
    // A database that somebody is connected to cannot be copied.
    await onServer(serverUrl, `alter database ${escapeIdentifier(name)} allow_connections false`);
  } catch (error) {
    await dropTemplate(serverUrl, name);
    throw error;
  }
  return name;
}

/** Drops the template and the copies that a killed test left behind. */
export async function dropTemplate(serverUrl: string, template: string): Promise<void> {
  const { rows } = await onServer(
    serverUrl,
    `select datname as name from pg_database where starts_with(datname, $1)`,
    [template],
  );
  for (const { name } of rows as { name: string }[]) {
    await onServer(serverUrl, `drop database ${escapeIdentifier(name)} with (force)`);
  }
}

/** The address of another database on the same server. */
export function databaseUrl(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}

function testServer(): { serverUrl: string; template: string } {
  const serverUrl = process.env["TEST_SERVER_URL"];
  const template = process.env["TEST_TEMPLATE"];
  if (serverUrl && template) return { serverUrl, template };
  const file = process.argv[1] ?? "test/x.test.ts";
  throw new Error(`this test needs the database that the runner makes: npm test -- ${file}`);
}

function uniqueName(prefix: string): string {
  return `${prefix}_${randomBytes(4).toString("hex")}`;
}

async function connectTo(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on("error", () => {
    // A test may end the server or the backend; the next query says so.
  });
  await client.connect();
  return client;
}

async function onServer(serverUrl: string, statement: string, values: string[] = []) {
  const client = await connectTo(serverUrl);
  try {
    return await client.query(statement, values);
  } finally {
    await client.end();
  }
}
