import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { UsageError } from "./errors.ts";

/** A file of this machine, loaded by hand: for the database an object whose key begins manual:. */
export interface LocalFile {
  key: string;
  etag: "";
  bytes: number;
  read(): AsyncIterable<Buffer>;
}

const EAT_OFFSET_MS = 3 * 60 * 60 * 1000;

/**
 * A local file, ready to be read. A name with an export time in it has that place in time, any
 * other one comes after all that was exported until now.
 *
 * @throws UsageError when there is no such file
 */
export async function openLocalFile(path: string): Promise<LocalFile> {
  const bytes = await sizeOf(path);
  return { key: keyOf(path), etag: "", bytes, read: () => createReadStream(path) };
}

/** @throws UsageError naming every one of them that is no file */
export async function checkLocalFiles(paths: readonly string[]): Promise<void> {
  const sizes = await Promise.allSettled(paths.map(sizeOf));
  const problems = sizes.flatMap((size) =>
    size.status === "rejected" && size.reason instanceof Error ? [size.reason.message] : [],
  );
  if (problems.length > 0) throw new UsageError(problems.join("\n"));
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new UsageError(`--csv ${path}: there is no such file, or it cannot be read`, { cause });
  });
  if (!found.isFile()) throw new UsageError(`--csv ${path}: this is no file; name its files`);
  return found.size;
}

function keyOf(path: string): string {
  const name = basename(path);
  if (/\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}/.test(name)) return `manual:${name}`;
  // To the microsecond, as for rows staged by hand: the next one is to be newer.
  const now = new Date(Date.now() + EAT_OFFSET_MS).toISOString().slice(0, 23);
  return `manual:${now.replaceAll(/[:.]/g, "-")}000/${name}`;
}
