import { Readable } from "node:stream";
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  S3Client,
} from "./s3-client.ts";
import type { BucketConfig } from "./config.ts";
import { ObjectStoreError } from "./errors.ts";
import { type ListingPage, readListing, withoutQuotes } from "./listing-answer.ts";
import { ObjectMissing, broken, changed, silent, storeError, withoutEtag } from "./store-errors.ts";

/** An object as the store tells of it. */
export interface StoredObject {
  key: string;
  /** Without quotes. Empty where a listing does not tell it. */
  etag: string;
  bytes: number;
}

export type ListingDepth = "direct" | "all";

/** One bucket. Every failure is an ObjectStoreError; a SilentStore, when no answer comes in time. */
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
      const what = `list ${prefix}`;
      return within(what, async (abortSignal) => {
        const command = new ListObjectsV2Command({
          Bucket,
          Prefix: prefix,
          ...(depth === "direct" ? { Delimiter: "/" } : {}),
          ...(from && "token" in from ? { ContinuationToken: from.token } : {}),
          ...(from && "after" in from ? { StartAfter: from.after } : {}),
        });
        let page: ListingPage | undefined;
        command.middlewareStack.add(
          (next) => async (args) => {
            const result = await next(args);
            const response = result.response as { statusCode: number; body: Readable | Buffer };
            if (response.statusCode === 200) {
              page = await readListing(response.body as Readable, what, abortSignal);
              response.body = Buffer.from(page ? "<ListBucketResult/>" : "<Error></Error>");
            }
            return result;
          },
          // Nearest to the network, so that it sees what came.
          { step: "deserialize", priority: "low", name: "readListing" },
        );
        await client.send(command, { abortSignal });
        if (page === undefined) throw new ObjectStoreError(`cannot ${what}: no page came`);
        return page;
      });
    },

    async head(key) {
      const what = `look at ${key}`;
      try {
        const { ETag, ContentLength } = await within(what, (abortSignal) =>
          client.send(new HeadObjectCommand({ Bucket, Key: key }), { abortSignal }),
        );
        if (withoutQuotes(ETag ?? "") === "") throw withoutEtag(what);
        return { key, etag: withoutQuotes(ETag ?? ""), bytes: ContentLength ?? 0 };
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
      if (withoutQuotes(ETag ?? "") !== object.etag) {
        Body.destroy();
        throw withoutQuotes(ETag ?? "") === "" ? withoutEtag(what) : changed(what);
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
    throw broken(what, error);
  } finally {
    body.destroy();
  }
}
