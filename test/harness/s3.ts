import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import {
  CompleteMultipartUploadCommand,
  type CompletedPart,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { buildApp } from "fauxqs";
import type { Scope } from "./scope.ts";

const REGION = "us-east-1";

// The in-process server refuses bodies over 11 MiB.
const PART_BYTES = 8 * 1024 * 1024;

/** A bucket of its own on an S3 server, and what a test does with it. */
export interface S3Fixture {
  endpoint: string;
  bucket: string;
  /** What the program needs in its environment to find the bucket. */
  env: Record<string, string>;
  client: S3Client;
  /** Stores an object and returns its ETag; in parts, as real exporters do, when it is large. */
  put(key: string, body: string | Uint8Array): Promise<string>;
  get(key: string): Promise<Buffer>;
  keys(prefix?: string): Promise<string[]>;
  remove(key: string): Promise<void>;
}

/** One on a server that takes objects in parts: these need never be in memory as a whole. */
export interface S3Bucket extends S3Fixture {
  putStream(key: string, chunks: Iterable<Uint8Array>): Promise<string>;
}

interface S3Server {
  endpoint: string;
  accessKey: string;
  secretKey: string;
  /** Only for a server of our own, whose buckets end with it. */
  stop?: () => Promise<void>;
}

/**
 * An empty bucket, gone at the end of `scope`: on the server named by TEST_S3_ENDPOINT, or else
 * on one inside this process.
 */
export async function startS3(scope: Scope): Promise<S3Bucket> {
  const { endpoint, accessKey, secretKey, stop } = namedServer() ?? (await startInProcess());
  const bucket = `fleettickets-test-${randomBytes(6).toString("hex")}`;
  const client = new S3Client({
    endpoint,
    region: REGION,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    forcePathStyle: true,
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));

  async function put(key: string, body: string | Uint8Array): Promise<string> {
    const bytes = Buffer.from(body);
    if (bytes.length > PART_BYTES) return putStream(key, [bytes]);
    const { ETag } = await client.send(
      new PutObjectCommand({ Bucket: bucket, Key: key, Body: bytes }),
    );
    return etagOf(key, ETag);
  }

  async function putStream(key: string, chunks: Iterable<Uint8Array>): Promise<string> {
    const target = { Bucket: bucket, Key: key };
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(target));
    const Parts: CompletedPart[] = [];
    for (const Body of partsOf(chunks)) {
      const PartNumber = Parts.length + 1;
      const part = new UploadPartCommand({ ...target, UploadId, PartNumber, Body });
      const { ETag } = await client.send(part);
      Parts.push({ PartNumber, ETag });
    }
    const { ETag } = await client.send(
      new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } }),
    );
    return etagOf(key, ETag);
  }

  async function get(key: string): Promise<Buffer> {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
    if (!Body) throw new Error(`the server sent no body for ${key}`);
    return Buffer.from(await Body.transformToByteArray());
  }

  async function keys(prefix = ""): Promise<string[]> {
    const found: string[] = [];
    for await (const page of paginateListObjectsV2(
      { client },
      { Bucket: bucket, Prefix: prefix },
    )) {
      for (const { Key } of page.Contents ?? []) if (Key !== undefined) found.push(Key);
    }
    return found;
  }

  async function remove(key: string): Promise<void> {
    await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }));
  }

  async function removeBucket(): Promise<void> {
    for (const key of await keys()) await remove(key);
    await client.send(new DeleteBucketCommand({ Bucket: bucket }));
  }

  scope.after(async () => {
    await (stop ?? removeBucket)();
    client.destroy();
  });

  const env = {
    RUSTFS_ENDPOINT: endpoint,
    RUSTFS_BUCKET: bucket,
    RUSTFS_REGION: REGION,
    RUSTFS_ACCESS_KEY: accessKey,
    RUSTFS_SECRET_KEY: secretKey,
  };
  return { endpoint, bucket, env, client, put, putStream, get, keys, remove };
}

/** The same bytes in parts of one size, but for the last. */
function* partsOf(chunks: Iterable<Uint8Array>): Generator<Buffer> {
  let part: Uint8Array[] = [];
  let bytes = 0;
  for (const chunk of chunks) {
    for (let start = 0; start < chunk.length;) {
      const piece = chunk.subarray(start, start + PART_BYTES - bytes);
      part.push(piece);
      bytes += piece.length;
      start += piece.length;
      if (bytes < PART_BYTES) continue;
      yield Buffer.concat(part);
      part = [];
      bytes = 0;
    }
  }
  if (bytes > 0) yield Buffer.concat(part);
}

function namedServer(): S3Server | undefined {
  const endpoint = process.env["TEST_S3_ENDPOINT"];
  if (!endpoint) return undefined;
  const accessKey = process.env["TEST_S3_ACCESS_KEY"];
  const secretKey = process.env["TEST_S3_SECRET_KEY"];
  if (!accessKey || !secretKey) {
    throw new Error("TEST_S3_ENDPOINT wants TEST_S3_ACCESS_KEY and TEST_S3_SECRET_KEY, too");
  }
  return { endpoint, accessKey, secretKey };
}

async function startInProcess(): Promise<S3Server> {
  // Not startFauxqs: that one listens on all interfaces.
  const app = buildApp({ logger: false });
  await app.listen({ port: 0, host: "127.0.0.1" });
  const { port } = app.server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    accessKey: "test-access-key",
    secretKey: "test-secret-key",
    async stop() {
      app.server.closeAllConnections();
      await app.close();
    },
  };
}

function etagOf(key: string, etag: string | undefined): string {
  if (etag === undefined) throw new Error(`the server gave no ETag for ${key}`);
  return etag;
}
