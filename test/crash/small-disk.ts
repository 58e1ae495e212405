import { execFileSync } from "node:child_process";
import { chown, mkdtemp, rm, rmdir, stat, statfs, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Scope } from "../harness/scope.ts";
import { withClient } from "./tables.ts";

/** Its message says why there can be none here. */
export class SmallDiskUnavailable extends Error {}

/** A disk of the server's own, with a tablespace on it. */
export interface SmallDisk {
  tablespace: string;
  /** Leaves no room on it. */
  fill(): Promise<void>;
  empty(): Promise<void>;
}

/**
 * Mounts a small disk for the server of a URL, unmounted at the end of `scope`, when nothing of the
 * server may be on it any more.
 *
 * @throws SmallDiskUnavailable where we may not mount, or the server is not on this machine
 */
export async function mountSmallDisk(scope: Scope, serverUrl: string): Promise<SmallDisk> {
  const { rows } = await onServer(serverUrl, "show data_directory");
  const [{ data_directory }] = rows as [{ data_directory: string }];
  const server = await stat(data_directory).catch(() => undefined);
  if (server === undefined) throw new SmallDiskUnavailable("the server is on another machine");
  if (process.getuid?.() !== 0) throw new SmallDiskUnavailable("only root may mount a small disk");

  const folder = await mkdtemp("/tmp/fleettickets-small-disk-");
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], { stdio: "pipe" });
  } catch (error) {
    await rmdir(folder);
    throw new SmallDiskUnavailable(`a small disk cannot be mounted: ${String(error)}`);
  }
  const tablespace = basename(folder).toLowerCase();
  scope.after(async () => {
    await onServer(serverUrl, `drop tablespace if exists "${tablespace}"`);
    execFileSync("umount", [folder]);
    await rmdir(folder);
  });
  await chown(folder, server.uid, server.gid);
  await onServer(serverUrl, `create tablespace "${tablespace}" location '${folder}'`);

  const filler = join(folder, "filler");
  return {
    tablespace: `"${tablespace}"`,
    async fill() {
      const { bavail, bsize } = await statfs(folder);
      await writeFile(filler, Buffer.alloc(bavail * bsize));
    },
    empty: () => rm(filler),
  };
}

function onServer(serverUrl: string, statement: string) {
  return withClient(serverUrl, (client) => client.query(statement));
}
