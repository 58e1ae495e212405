import { Readable } from "node:stream";
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  S3Client,
  S3ServiceException,
} from "@aws-sdk/client-s3";
import type { BucketConfig } from "./config.ts";
import { ObjectStoreError, UnreliableRead } from "./errors.ts";

/** An object as the store tells of it. */
export interface StoredObject {
  key: string;
  /** Without quotes. */
  etag: string;
  bytes: number;
}

/** A page of a listing, as the store gives it: see listing.ts for what to make of it. */
export interface ListingPage {
  objects: StoredObject[];
  /** Whether the store says that there is more. */
  isTruncated: boolean;
  /** Where the store says that the next page is, if it says so. */
  nextToken: string | undefined;
}

export type ListingDepth = "direct" | "all";

/** One bucket. Every failure is an ObjectStoreError. */
export interface Store {
  /** One request: objects below `prefix`; with `depth` direct, those without a further slash. */
  listPage(
    prefix: string,
    depth: ListingDepth,
    from: { token: string } | { after: string } | undefined,
  ): Promise<ListingPage>;
  /** undefined: there is no such object. */
  head(key: string): Promise<StoredObject | undefined>;
  /**
   * The bytes of an object, as long as it is the one that was listed. Whether all have come is for
   * the reader to say.
   *
   * @throws UnreliableRead when it is another one by now, or the connection breaks
   */
  read(object: StoredObject): AsyncGenerator<Buffer, void, undefined>;
  /** @throws UnreliableRead when the source is another object by now */
  copy(from: StoredObject, toKey: string): Promise<void>;
  remove(key: string): Promise<void>;
  /** What the store's clock says; undefined when it does not say. */
  clock(): Promise<Date | undefined>;
  close(): void;
}

const ATTEMPTS = 3;

/** Opens a bucket; `stallMs` is how long the store may stay silent. */
export function openStore(config: BucketConfig, stallMs: number): Store {
  const client = new S3Client({
    endpoint: config.endpoint,
    ...(config.credentials === undefined ? {} : { credentials: config.credentials }),
    region: config.region,
    forcePathStyle: true,
    maxAttempts: ATTEMPTS,
    // Other stores than AWS do not know the newer checksum headers.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  const Bucket = config.bucket;

  /** A request with an end: the SDK's own time-outs do not cover a store that stops half-way. */
  async function within<T>(
    what: string,
    request: (abortSignal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const abort = new AbortController();
    const timer = setTimeout(() => {
      abort.abort();
    }, stallMs);
    try {
      return await request(abort.signal);
    } catch (error) {
      throw storeError(error, what, abort.signal.aborted ? stallMs : undefined);
    } finally {
      // A body that is still to come must not be cut off by it.
      clearTimeout(timer);
    }
  }

  return {
    async listPage(prefix, depth, from) {
      const page = await within(`list ${prefix}`, (abortSignal) =>
        client.send(
          new ListObjectsV2Command({
            Bucket,
            Prefix: prefix,
            ...(depth === "direct" ? { Delimiter: "/" } : {}),
            ...(from && "token" in from ? { ContinuationToken: from.token } : {}),
            ...(from && "after" in from ? { StartAfter: from.after } : {}),
          }),
          { abortSignal },
        ),
      );
      return {
        objects: (page.Contents ?? []).flatMap(({ Key, ETag, Size }) =>
          Key === undefined ? [] : [{ key: Key, etag: unquoted(ETag), bytes: Size ?? 0 }],
        ),
        isTruncated: page.IsTruncated === true,
        nextToken: page.NextContinuationToken,
      };
    },

    async head(key) {
      try {
        const { ETag, ContentLength } = await within(`look at ${key}`, (abortSignal) =>
          client.send(new HeadObjectCommand({ Bucket, Key: key }), { abortSignal }),
        );
        return { key, etag: unquoted(ETag), bytes: ContentLength ?? 0 };
      } catch (error) {
        if (error instanceof ObjectMissing) return undefined;
        throw error;
      }
    },

    async *read(object) {
      const what = `read ${object.key}`;
      const { Body, ETag } = await within(what, (abortSignal) =>
        client.send(
          new GetObjectCommand({ Bucket, Key: object.key, IfMatch: `"${object.etag}"` }),
          { abortSignal },
        ),
      );
      if (!(Body instanceof Readable)) throw new ObjectStoreError(`cannot ${what}: no body came`);
      if (unquoted(ETag) !== object.etag) {
        Body.destroy();
        throw changed(what);
      }
      yield* watched(Body, what, stallMs);
    },

    async copy(from, toKey) {
      await within(`copy ${from.key} to ${toKey}`, (abortSignal) =>
        client.send(
          new CopyObjectCommand({
            Bucket,
            Key: toKey,
            CopySource: `${Bucket}/${from.key.split("/").map(encodeURIComponent).join("/")}`,
            CopySourceIfMatch: `"${from.etag}"`,
          }),
          { abortSignal },
        ),
      );
    },

    async remove(key) {
      // One by one: the checksum header of DeleteObjects is unknown to some stores.
      await within(`delete ${key}`, (abortSignal) =>
        client.send(new DeleteObjectCommand({ Bucket, Key: key }), { abortSignal }),
      );
    },

    async clock() {
      // Any answer has the header, that to a stranger, too.
      const { headers } = await within("ask for the time", (signal) =>
        fetch(config.endpoint, { method: "HEAD", signal }),
      );
      const date = headers.get("date");
      return date === null ? undefined : new Date(date);
    },

    close() {
      client.destroy();
    },
  };
}

/** Chunks of a body, with an end to the patience for each. */
async function* watched(body: Readable, what: string, stallMs: number) {
  const chunks = body[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  try {
    for (;;) {
      const timer = setTimeout(() => {
        body.destroy(silent(what, stallMs));
      }, stallMs);
      const { done, value }: IteratorResult<Buffer, undefined> = await chunks.next().finally(() => {
        clearTimeout(timer);
      });
      if (done === true) return;
      yield value;
    }
  } catch (error) {
    if (error instanceof ObjectStoreError || !(error instanceof Error)) throw error;
    throw new UnreliableRead(`cannot ${what} to its end: ${reasonOf(error)}`, {
      hint: hintFor(undefined),
      cause: error,
    });
  } finally {
    body.destroy();
  }
}

class ObjectMissing extends ObjectStoreError {
  override name = "ObjectMissing";
}

function storeError(error: unknown, what: string, silentForMs: number | undefined): unknown {
  if (silentForMs !== undefined) return silent(what, silentForMs, error);
  if (error instanceof ObjectStoreError || !(error instanceof Error)) return error;
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
  if (status === 404 && error.name !== "NoSuchBucket") {
    return new ObjectMissing(`cannot ${what}: there is no such object`, { cause: error });
  }
  if (status === 412) return changed(what, error);
  const reason =
    status === undefined
      ? reasonOf(error)
      : `${error.name === "UnknownError" ? "the store answered" : error.name} (HTTP ${status})`;
  return new ObjectStoreError(`cannot ${what}: ${reason}`, { hint: hintFor(status), cause: error });
}

function changed(what: string, cause?: unknown): UnreliableRead {
  return new UnreliableRead(`cannot ${what} as listed: its ETag is another one now`, {
    hint: "The export may still be writing it: run again",
    cause,
  });
}

function silent(what: string, ms: number, cause?: unknown): ObjectStoreError {
  return new ObjectStoreError(`cannot ${what}: the object store was silent for ${ms / 1000} s`, {
    hint: "Look at the store and the network, then run again. The limit is STALL_TIMEOUT",
    cause,
  });
}

function hintFor(status: number | undefined): string {
  if (status === 401 || status === 403) {
    return "Check RUSTFS_ACCESS_KEY, RUSTFS_SECRET_KEY and the rights of that user on RUSTFS_BUCKET";
  }
  if (status === 404) return "Check RUSTFS_BUCKET";
  if (status === undefined) return "Is the store up, and RUSTFS_ENDPOINT right? Then run again";
  return "Look at the store's log, then run again";
}

/** Node leaves the message empty where several addresses were tried. */
function reasonOf(error: Error): string {
  if (error instanceof AggregateError) {
    return error.errors.map((e) => (e instanceof Error ? e.message : String(e))).join("; ");
  }
  return error.message;
}

function unquoted(etag: string | undefined): string {
  return (etag ?? "").replace(/^(?:W\/)?"(.*)"$/, "$1");
}
