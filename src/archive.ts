import { createHash } from "node:crypto";
import { posix } from "node:path";
import { ObjectStoreError } from "./errors.ts";
import type { Store, StoredObject } from "./store.ts";

/**
 * archived: it is in the archive and gone from its place. changed: its place holds another object
 * by now, which is left there. gone: it is neither here nor there; someone else took it away.
 */
export type ArchiveOutcome =
  { outcome: "archived"; key: string } | { outcome: "changed" } | { outcome: "gone" };

/**
 * Moves an object that is done with into the archive: copy, verify, delete. Each step looks first
 * at what is there, so that a run that broke off anywhere is carried on by the next one. Nothing in
 * the archive is ever overwritten: where its name is taken by other content, the object gets its
 * ETag as a suffix.
 *
 * @param object key and ETag of what was loaded
 * @param folder the archive, ending with a slash
 * @throws ObjectStoreError
 */
export async function archiveObject(
  store: Store,
  object: { key: string; etag: string },
  folder: string,
): Promise<ArchiveOutcome> {
  const source = await store.head(object.key);
  const names = archiveNames(object, folder);
  if (source === undefined) {
    for (const name of names) {
      if ((await store.head(name))?.etag === object.etag) return { outcome: "archived", key: name };
    }
    return { outcome: "gone" };
  }
  if (source.etag !== object.etag) return { outcome: "changed" };

  for (const name of names) {
    const there = await store.head(name);
    if (there === undefined) await copyVerified(store, source, name);
    else if (!(await isSameContent(store, source, there))) continue;

    if ((await store.head(object.key))?.etag !== object.etag) return { outcome: "changed" };
    await store.remove(object.key);
    if ((await store.head(object.key))?.etag === object.etag) {
      throw new ObjectStoreError(`cannot delete ${object.key}: it is still there afterwards`, {
        hint: "It is in the archive, too; look at the store's versioning and locks",
      });
    }
    return { outcome: "archived", key: name };
  }
  throw new ObjectStoreError(`cannot archive ${object.key}: all its names there are taken`, {
    hint: `Look at ${names.join(", ")}`,
  });
}

function archiveNames(object: { key: string; etag: string }, folder: string): string[] {
  const name = posix.basename(object.key);
  const stem = folder + name.replace(/\.csv$/, "");
  const mark = object.etag.replaceAll(/[^0-9A-Za-z-]/g, "");
  return [folder + name, `${stem}.${mark.slice(0, 8)}.csv`, `${stem}.${mark}.csv`];
}

async function copyVerified(store: Store, source: StoredObject, name: string): Promise<void> {
  await store.copy(source, name);
  const copy = await store.head(name);
  if (copy === undefined) {
    throw new ObjectStoreError(`cannot archive ${source.key}: its copy ${name} is not there`, {
      hint: "The object stays where it is, the next run tries again; look at the store's log",
    });
  }
  if (await isSameContent(store, source, copy)) return;
  // It was not there before and is nobody's: a wrong copy must not pass for the object.
  await store.remove(name);
  throw new ObjectStoreError(`cannot archive ${source.key}: its copy ${name} differs from it`, {
    hint: "The object stays where it is, the next run tries again; look at the store's log",
  });
}

/**
 * Same size, and same ETag or same content. Where an object was uploaded in parts, or the store
 * encrypts it, the ETag tells nothing of the content, and a copy has another one.
 */
async function isSameContent(store: Store, a: StoredObject, b: StoredObject): Promise<boolean> {
  if (a.bytes !== b.bytes) return false;
  return a.etag === b.etag || (await digest(store, a)) === (await digest(store, b));
}

async function digest(store: Store, object: StoredObject): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of store.read(object)) hash.update(chunk);
  return hash.digest("hex");
}
