import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { giveAway, serverAccount } from "./cluster.ts";
import { findPgbouncer } from "./find-postgres.ts";
import { freePorts } from "./free-ports.ts";
import { guardedFolder } from "./guarded-folder.ts";
import type { Scope } from "./scope.ts";

const START_TIMEOUT_MS = 30_000;

/**
 * PgBouncer on 127.0.0.1, in front of the server of an address, ended at the end of `scope`.
 *
 * @param settings of its section `[pgbouncer]`, for example `pool_mode = session`
 * @returns the address of the same database, by way of PgBouncer
 */
export async function startPgbouncer(
  scope: Scope,
  databaseUrl: string,
  settings: readonly string[],
): Promise<string> {
  const account = serverAccount();
  const folder = await guardedFolder("pgbouncer", account ? { parent: "/tmp" } : {});
  scope.after(folder.remove);
  const [port] = (await freePorts(1)) as [number];
  const target = new URL(databaseUrl);
  const [config, users, logFile] = ["config.ini", "users.txt", "log"].map((name) =>
    join(folder.path, name),
  ) as [string, string, string];
  await writeFile(users, `"${target.username}" "${decodeURIComponent(target.password)}"\n`);
  await writeFile(
    config,
    `[databases]
* = host=${target.hostname} port=${target.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
${settings.join("\n")}
`,
  );
  for (const path of [folder.path, config, users]) await giveAway(path);
  await chmod(folder.path, 0o700);

  const log = openSync(logFile, "a");
  const child = spawn(findPgbouncer(), [config], {
    ...account,
    cwd: folder.path,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  folder.holds(child.pid);
  child.unref();
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await listens(port))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      throw new Error(`PgBouncer did not start:\n${await readFile(logFile, "utf8")}`);
    }
    await sleep(20);
  }
  target.port = String(port);
  return target.href;
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
