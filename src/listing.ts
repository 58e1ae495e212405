import type { ListingDepth, Store, StoredObject } from "./store.ts";

/** What is to be found below a prefix. */
export interface Listing {
  /** In byte order of their keys. */
  objects: StoredObject[];
  /** false: the store says that there is more, and does not show it. */
  isComplete: boolean;
}

/**
 * The objects below a prefix.
 *
 * A listing is not taken at its word: stores have been seen to end one too early, to leave out the
 * token of the next page, to return the key they were to skip, and to return keys twice. So each
 * page must bring a greater key than all before, or it is the last; what the store calls the last
 * page is asked for what comes after it once more; and every key counts once.
 *
 * @param alsoAfter a key behind which to look, too: deleted objects can fill a first page, so that
 *   it seems to be the last, and empty
 */
export async function listObjects(
  store: Store,
  prefix: string,
  depth: ListingDepth,
  alsoAfter?: string,
): Promise<Listing> {
  const found = new Map<string, StoredObject>();
  const walks = alsoAfter?.startsWith(prefix) === true ? ["", alsoAfter] : [""];
  let isComplete = true;
  for (const start of walks) {
    let greatest = start;
    let token: string | undefined;
    for (;;) {
      const usesToken = token !== undefined;
      const from =
        token !== undefined ? { token } : greatest === "" ? undefined : { after: greatest };
      const page = await store.listPage(prefix, depth, from);
      const before = greatest;
      for (const object of page.objects) {
        if (!object.key.startsWith(prefix)) continue;
        found.set(object.key, object);
        if (comesAfter(object.key, greatest)) greatest = object.key;
      }
      const hasAdvanced = greatest !== before;
      token = hasAdvanced ? page.nextToken : undefined;
      if (hasAdvanced || usesToken) continue;
      isComplete &&= !page.isTruncated;
      break;
    }
  }
  const objects = [...found.values()].sort((a, b) => (comesAfter(a.key, b.key) ? 1 : -1));
  for (const object of objects) {
    if (object.etag === "") Object.assign(object, await store.head(object.key));
  }
  return { objects, isComplete };
}

function comesAfter(key: string, other: string): boolean {
  return Buffer.compare(Buffer.from(key), Buffer.from(other)) > 0;
}
