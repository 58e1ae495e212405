import type { Readable } from "node:stream";
import { ObjectStoreError } from "./errors.ts";
import { withoutSecrets } from "./secrets.ts";
import type { StoredObject } from "./store.ts";

// A page has a thousand keys of at most 1,024 bytes, and some tags around each.
const MAX_PAGE_BYTES = 16 * 1024 * 1024;
const QUOTED_CHARACTERS = 80;

/** A page of a listing, as the store gives it: see listing.ts for what to make of it. */
export interface ListingPage {
  objects: StoredObject[];
  /** Whether the store says that there is more. */
  isTruncated: boolean;
  /** Where the store says that the next page is, if it says so. */
  nextToken: string | undefined;
}

/**
 * The page of a listing that an answer has.
 *
 * The SDK reads anything as an empty page: HTML of a console or a login page, an empty body, the
 * answer to another question. A bucket would then seem to be empty. And the tree that it makes of a
 * page takes many times the memory of the page.
 *
 * @param what the request, as in `list <prefix>`
 * @returns undefined when it is an error of S3, which the SDK knows what to make of
 * @throws ObjectStoreError when it is something else, and quotes how it begins
 */
export async function readListing(
  body: Readable,
  what: string,
  abortSignal: AbortSignal,
): Promise<ListingPage | undefined> {
  const text = (await collect(body, what, abortSignal)).toString();
  if (text.trimEnd().endsWith("</Error>")) return undefined;
  if (!isListing(text)) {
    throw new ObjectStoreError(`cannot ${what}: the answer is no listing. ${quoted(text)}`, {
      hint:
        "Check that RUSTFS_ENDPOINT is the S3 port of the store and not that of its console, " +
        "and that nothing in between asks for a login",
    });
  }
  return {
    objects: Array.from(text.matchAll(/<(?:\w+:)?Contents>([^]*?)<\/(?:\w+:)?Contents>/g))
      .map(([, object = ""]) => ({
        key: textOf(object, elements.key),
        etag: withoutQuotes(textOf(object, elements.etag)),
        bytes: Number(textOf(object, elements.size)),
      }))
      .filter(({ key }) => key !== ""),
    isTruncated: textOf(text, elements.isTruncated).trim() === "true",
    nextToken: textOf(text, elements.nextToken) || undefined,
  };
}

/** Its root, whole, with at least one of the elements that every page has. */
function isListing(text: string): boolean {
  const [, name] =
    /^\ufeff?\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--[^]*?-->\s*)*<((?:\w+:)?ListBucketResult)[\s>]/.exec(
      text,
    ) ?? [];
  return (
    name !== undefined &&
    text.trimEnd().endsWith(`</${name}>`) &&
    /<(?:\w+:)?(?:Name|KeyCount|MaxKeys|IsTruncated)\b/.test(text)
  );
}

const elements = {
  key: elementOf("Key"),
  etag: elementOf("ETag"),
  size: elementOf("Size"),
  isTruncated: elementOf("IsTruncated"),
  nextToken: elementOf("NextContinuationToken"),
};

function elementOf(name: string): RegExp {
  return new RegExp(`<(?:\\w+:)?${name}>([^<]*)<`);
}

/** What an element says, or nothing. Within a listing, no element has a namesake further in. */
function textOf(xml: string, element: RegExp): string {
  const [, text = ""] = element.exec(xml) ?? [];
  const plain = text.replaceAll(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, decoded);
  // A copy: what is cut from the page would keep all of it alive.
  return plain.isWellFormed() ? Buffer.from(plain).toString() : plain;
}

const entities: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
};

function decoded(reference: string, decimal?: string, hexadecimal?: string, name = ""): string {
  if (name !== "") return entities[name] ?? reference;
  const codePoint = decimal === undefined ? parseInt(hexadecimal ?? "", 16) : Number(decimal);
  return codePoint <= 0x10ffff ? String.fromCodePoint(codePoint) : reference;
}

/** An ETag without its quotes and without the mark of a weak one. */
export function withoutQuotes(etag: string): string {
  return etag.replace(/^(?:W\/)?"(.*)"$/, "$1");
}

async function collect(body: Readable, what: string, abortSignal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const giveUp = () => body.destroy(new Error("aborted"));
  abortSignal.addEventListener("abort", giveUp);
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > MAX_PAGE_BYTES) {
        throw new ObjectStoreError(
          `cannot ${what}: one page has more than ${MAX_PAGE_BYTES} bytes`,
          {
            hint: "A page has 1,000 keys at most: look at the store's log",
          },
        );
      }
    }
  } finally {
    abortSignal.removeEventListener("abort", giveUp);
  }
  return Buffer.concat(chunks, bytes);
}

function quoted(text: string): string {
  if (text.trim() === "") return "It is empty";
  const beginning = withoutSecrets(text).trimStart().slice(0, QUOTED_CHARACTERS);
  return `It begins: ${JSON.stringify(beginning).replaceAll(/\p{C}/gu, "?")}`;
}
