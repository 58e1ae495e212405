import { ObjectStoreError, SilentStore } from "./errors.ts";
import { collectGarbage } from "./garbage.ts";
import type { ListingDepth, Store, StoredObject } from "./store.ts";

// What memory has room for: at three exports an hour, a backlog of almost three years.
const MAX_KEPT = 75_000;
// As many as there are in the keys of so many exports; strange keys can be much longer.
const MAX_CHARACTERS = MAX_KEPT * 100;
// V8 lets the garbage of a long listing lie for too long. See gate.ts.
const PAGES_BETWEEN_COLLECTIONS = 5;

/** What is to be found below a prefix. */
export interface Listing<Kept> {
  /** In byte order of their keys. */
  objects: Kept[];
  /** The objects whose ETag is neither listed nor to be had, by key, and why. */
  faults: Map<string, ObjectStoreError>;
  /** false: the store says that there is more, and does not show it. */
  isComplete: boolean;
}

/**
 * The objects below a prefix.
 *
 * A listing is not taken at its word: stores have been seen to end one too early, to leave out the
 * token of the next page, to return the key they were to skip, and to return keys twice. So each
 * page must bring a greater key than all before, or it is the last; what the store calls the last
 * page is asked for what comes after it once more; every key counts once; and a listing that brings
 * new keys without end is given up.
 *
 * Memory holds what is kept of it and one page, however many objects there are.
 *
 * @param keep says what to keep of the objects of a page; some of them it may get again
 * @param alsoAfter a key behind which to look, too: deleted objects can fill a first page, so that
 *   it seems to be the last, and empty
 * @throws ObjectStoreError also when there is more to keep than memory has room for
 */
export async function listObjects<Kept extends { key: string }>(
  store: Store,
  prefix: string,
  depth: ListingDepth,
  keep: (objects: StoredObject[]) => Kept[] | Promise<Kept[]>,
  alsoAfter?: string,
): Promise<Listing<Kept>> {
  const found = new Map<string, Kept>();
  const faults: Listing<Kept>["faults"] = new Map();
  const walks = alsoAfter?.startsWith(prefix) === true ? ["", alsoAfter] : [""];
  let characters = 0;
  let pages = 0;
  let isComplete = true;
  for (const start of walks) {
    let greatest = start;
    let greatestToName = start;
    let token: string | undefined;
    for (;;) {
      const usesToken = token !== undefined;
      const from =
        token !== undefined
          ? { token }
          : greatestToName === ""
            ? undefined
            : { after: greatestToName };
      const page = await store.listPage(prefix, depth, from);
      if (++pages % PAGES_BETWEEN_COLLECTIONS === 0) collectGarbage();
      const before = greatest;
      const objects = page.objects.filter(({ key }) => key.startsWith(prefix));
      for (const { key } of objects) {
        if (comesAfter(key, greatest)) greatest = key;
        if (canBeNamed(key) && comesAfter(key, greatestToName)) greatestToName = key;
      }
      await findEtags(store, objects, faults);
      for (const object of await keep(objects)) {
        if (!found.has(object.key)) characters += object.key.length;
        found.set(object.key, object);
      }
      if (found.size > MAX_KEPT || characters > MAX_CHARACTERS) throw endless(prefix, found.size);
      const hasAdvanced = greatest !== before;
      token = hasAdvanced ? page.nextToken : undefined;
      if (hasAdvanced || usesToken) continue;
      isComplete &&= !page.isTruncated;
      break;
    }
  }
  const objects = [...found.values()].sort((a, b) => (comesAfter(a.key, b.key) ? 1 : -1));
  return { objects, faults, isComplete };
}

/** Asks for the ETags that the store does not list. */
async function findEtags(
  store: Store,
  objects: readonly StoredObject[],
  faults: Map<string, ObjectStoreError>,
): Promise<void> {
  for (const object of objects) {
    if (object.etag !== "") continue;
    try {
      const there = await store.head(object.key);
      if (there === undefined) throw vanished(object.key);
      Object.assign(object, there);
      faults.delete(object.key);
    } catch (error) {
      if (!(error instanceof ObjectStoreError) || error instanceof SilentStore) throw error;
      faults.set(object.key, error);
    }
  }
}

function vanished(key: string): ObjectStoreError {
  return new ObjectStoreError(`cannot look at ${key}: the store lists it and does not have it`, {
    hint: "Look at the store's log",
  });
}

function endless(prefix: string, keys: number): ObjectStoreError {
  return new ObjectStoreError(
    `cannot list ${prefix}: the store goes on listing new keys, after ${keys} that are not loaded`,
    {
      hint:
        `Look at what is in ${prefix}. If the store lists objects that do not exist, look at its ` +
        "log; if they exist, move the newest of them away until the others are loaded",
    },
  );
}

/** Whether a request can name the key: a lone surrogate cannot be encoded, stores choke on NUL. */
function canBeNamed(key: string): boolean {
  return key.isWellFormed() && !key.includes("\0");
}

function comesAfter(key: string, other: string): boolean {
  // JavaScript compares 16 bits at a time, which is another order where there are surrogates.
  if (!hasSurrogate.test(key) && !hasSurrogate.test(other)) return key > other;
  return Buffer.compare(Buffer.from(key), Buffer.from(other)) > 0;
}

const hasSurrogate = /[\ud800-\udfff]/;
