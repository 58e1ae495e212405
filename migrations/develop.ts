// graphile-migrate for development: `npm run watch`, `npm run migration -- commit`. Starts a
// throw-away PostgreSQL with PostGIS, unless DATABASE_URL, SHADOW_DATABASE_URL and ROOT_DATABASE_URL
// name one.
//
//   node migrations/develop.ts <command of graphile-migrate> [its options]

import { spawn } from "node:child_process";
import { once } from "node:events";
import { Client } from "pg";
import { installPostgresIfMissing } from "../test/harness/find-postgres.ts";
import { databaseUrl, startCluster } from "../test/harness/postgres.ts";

const names = ["DATABASE_URL", "SHADOW_DATABASE_URL", "ROOT_DATABASE_URL"] as const;

process.exitCode = names.every((name) => process.env[name])
  ? await graphileMigrate(process.argv.slice(2), {})
  : await onThrowAwayServer();

async function onThrowAwayServer(): Promise<number> {
  installPostgresIfMissing();
  const cluster = await startCluster({ durable: false });
  try {
    const client = new Client({ connectionString: cluster.url });
    await client.connect();
    await client.query("create database fleettickets");
    await client.query("create database fleettickets_shadow");
    await client.end();

    const url = databaseUrl(cluster.url, "fleettickets");
    const databases = {
      DATABASE_URL: url,
      SHADOW_DATABASE_URL: databaseUrl(cluster.url, "fleettickets_shadow"),
      ROOT_DATABASE_URL: cluster.url,
    };
    process.stderr.write(`A database to look at, as long as this runs:\n  psql '${url}'\n`);
    return (
      (await graphileMigrate(["migrate"], databases)) ||
      (await graphileMigrate(process.argv.slice(2), databases))
    );
  } finally {
    await cluster.stop();
  }
}

async function graphileMigrate(
  args: readonly string[],
  databases: Record<string, string>,
): Promise<number> {
  const child = spawn("graphile-migrate", args, {
    stdio: "inherit",
    env: { ...process.env, ...databases },
  });
  // The terminal sends its signals to the child, too; this process waits for it and cleans up.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
  const [code] = (await once(child, "close")) as [number | null];
  return code ?? 1;
}
