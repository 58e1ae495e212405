import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
  createServer,
} from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { S3Client } from "@aws-sdk/client-s3";
import type { S3Fixture } from "./s3.ts";
import type { Scope } from "./scope.ts";

const REGION = "us-east-1";
const ACCESS_KEY = "test-access-key";
const SECRET_KEY = "test-secret-key";
const NOTHING = Buffer.alloc(0);

/** What the server can be told to do wrong, by what the client asks for. */
interface Lies {
  list: ListLies;
  head: HeadLies;
  get: Delivery | WithoutEtag;
  put: never;
  copy: CopyLie;
  delete: DeleteLie;
}

export type Operation = keyof Lies;

/** Instead of an answer. Nothing is done; "stall" leaves the client waiting for ever. */
export type Failure = keyof typeof errorCodes | "reset" | "stall";

const errorCodes = {
  400: "InvalidRequest",
  403: "AccessDenied",
  404: "NoSuchKey",
  500: "InternalError",
  503: "SlowDown",
};

export interface ListLies {
  /** Deleted keys count as keys of a page that is then short and called the last: RustFS #3217. */
  countsDeleted?: boolean;
  /** Calls a page of so many keys the last. */
  endsAfter?: number;
  /** Leaves keys out. */
  hides?: RegExp;
  /** Says that there is more, but not where: RustFS #1596. */
  omitsToken?: boolean;
  /** StartAfter names the first key instead of the last one to skip: RustFS #1165. */
  startsWithStartAfter?: boolean;
  /** Begins a page with the last key of the page before. */
  repeatsLastKey?: boolean;
  /** The first page again and again, with always more to come. */
  repeatsFirstPage?: boolean;
  /** The keys of a page in falling order. */
  reversesPage?: boolean;
  etags?: "unquoted" | "missing";
  /** Lists so many pages of exports that do not exist, each with keys greater than all before. */
  inventsPages?: number;
  /** Says this, with status 200. */
  answers?: string;
  /** How the page comes. */
  comes?: Delivery;
}

export interface HeadLies {
  bytes?: number;
  /** Empty: the answer has none. */
  etag?: string;
}

/** An object without its ETag. */
export interface WithoutEtag {
  etag: "missing";
}

/** How the bytes of an object come. */
export type Delivery = SlowDelivery | PartDelivery | RepeatedDelivery;

export interface SlowDelivery {
  bytesAtOnce: number;
  everyMs: number;
}

export interface PartDelivery {
  /** So many bytes of the object, … */
  sends: number;
  /**
   * … and then: "close" and "reset" break the connection, "stall" sends nothing more, "shorten"
   * has promised no more. A hook runs, and the rest comes of what is stored by then.
   */
  then: "close" | "reset" | "stall" | "shorten" | Hook;
}

/** All bytes of the object several times over, with no Content-Length, as long as they are read. */
export interface RepeatedDelivery {
  repeats: number;
  /** Is told how many bytes went out each time. */
  onSent: (bytes: number) => void;
}

/** "error in 200": S3 really says so when it fails late. */
export type CopyLie = "error in 200" | { stores: string };

/** Says that it is done and does nothing. */
export type DeleteLie = "pretend";

/** Gets the key of the request; the request waits for it. */
export type Hook = (key: string) => unknown;

/** What happens to requests of one kind: `before` runs first, then the request gets `does`. */
export type Rule = {
  [O in Operation]: {
    operation: O;
    /** The object; the target of a copy, the prefix of a listing. By default any. */
    key?: RegExp;
    /** How often the rule applies. By default always. */
    times?: number;
    before?: Hook;
    /** By default what a good server does. */
    does?: Failure | Lies[O];
  };
}[Operation];

export interface S3Request {
  /** undefined: one that this server does not know; it answers 501. */
  operation: Operation | undefined;
  method: string;
  /** The prefix of a listing, the target of a copy. */
  key: string;
  /** As Date.now() gives it. */
  at: number;
}

/**
 * A bucket on a server that fails and lies as told. `put`, `get`, `keys` and `remove` do not go
 * over the network: they never fail and are not among the requests. `client` does, and tries once.
 */
export interface FaultyS3 extends S3Fixture {
  /** Every request until now. */
  requests: readonly S3Request[];
  /** @param parts the object has the ETag of one stored in so many parts; copying changes it */
  put(key: string, body: string | Uint8Array, options?: { parts?: number }): Promise<string>;
  /** Adds a rule. To a request applies the first one that fits and is not used up, alone. */
  fail(rule: Rule): void;
  /** Forgets all rules. What stalls, stays stalled. */
  heal(): void;
}

interface StoredObject {
  body: Buffer;
  etag: string;
  modified: Date;
}

interface Bucket {
  name: string;
  pageSize: number;
  objects: Map<string, StoredObject>;
  /** All keys that were ever deleted. */
  deleted: Set<string>;
  /** ETags are 32 hexadecimal digits that tell nothing of the content, as with SSE-KMS. */
  hasOpaqueEtags: boolean;
}

interface Call {
  bucket: Bucket;
  method: string;
  /** undefined: none that this server knows. */
  operation: Operation | undefined;
  bucketName: string;
  key: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

interface Answer {
  status: number;
  headers?: Record<string, string | number>;
  body: Buffer;
  delivery?: Delivery | undefined;
}

/**
 * A server with one empty bucket on 127.0.0.1, gone at the end of `scope`. It knows what a loader
 * needs, checks no signature, and obeys the rules that `fail` adds.
 *
 * @param pageSize how many keys a page of a listing has at most
 * @param hasOpaqueEtags ETags are not the MD5 of the content: each copy has another one
 */
export async function startFaultyS3(
  scope: Scope,
  { pageSize = 1000, hasOpaqueEtags = false }: { pageSize?: number; hasOpaqueEtags?: boolean } = {},
): Promise<FaultyS3> {
  const name = `fleettickets-test-${randomBytes(6).toString("hex")}`;
  const bucket: Bucket = {
    name,
    pageSize,
    objects: new Map(),
    deleted: new Set(),
    hasOpaqueEtags,
  };
  const requests: S3Request[] = [];
  let rules: Rule[] = [];

  /** The rule for a request, to be applied once less from now on. */
  function takeRule(operation: Operation, key: string): Rule | undefined {
    const rule = rules.find(
      (each) => each.operation === operation && each.times !== 0 && (each.key?.test(key) ?? true),
    );
    if (rule?.times !== undefined) rule.times -= 1;
    return rule;
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call = await readCall(request, bucket);
    const { operation, method, key } = call;
    requests.push({ operation, method, key, at: Date.now() });
    if (operation === undefined) {
      send(response, refusal(501, "NotImplemented"));
      return;
    }
    const { before, does } = takeRule(operation, key) ?? {};
    await before?.(key);
    if (isFailure(does)) fail(response, does);
    else if (call.bucketName !== name) send(response, refusal(404, "NoSuchBucket"));
    // That the rule is one for this operation, TypeScript cannot follow.
    else await deliver(response, answers[operation](call, does as never), call);
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      response.destroy();
      throw error; // a broken hook fails the test
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = new S3Client({
    endpoint,
    region: REGION,
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
    forcePathStyle: true,
    maxAttempts: 1,
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  scope.after(async () => {
    client.destroy();
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  });

  return {
    endpoint,
    bucket: name,
    env: {
      RUSTFS_ENDPOINT: endpoint,
      RUSTFS_BUCKET: name,
      RUSTFS_REGION: REGION,
      RUSTFS_ACCESS_KEY: ACCESS_KEY,
      RUSTFS_SECRET_KEY: SECRET_KEY,
    },
    client,
    requests,
    put(key, body, { parts } = {}) {
      return Promise.resolve(store(bucket, key, Buffer.from(body), parts).etag);
    },
    get(key) {
      const object = bucket.objects.get(key);
      return object ? Promise.resolve(object.body) : Promise.reject(new Error(`no object ${key}`));
    },
    keys(prefix = "") {
      const found = [...bucket.objects.keys()].filter((key) => key.startsWith(prefix));
      return Promise.resolve(found.sort());
    },
    remove(key) {
      remove(bucket, key);
      return Promise.resolve();
    },
    fail(rule) {
      rules.push({ ...rule });
    },
    heal() {
      rules = [];
    },
  };
}

async function readCall(request: IncomingMessage, bucket: Bucket): Promise<Call> {
  const { method = "", headers } = request;
  const { pathname, searchParams: query } = new URL(request.url ?? "", "http://127.0.0.1");
  const [, bucketName = "", objectKey = ""] =
    /^\/([^/]*)\/?(.*)$/s.exec(decodeURIComponent(pathname)) ?? [];
  const operation = operationOf(method, objectKey, headers);
  const key = operation === "list" ? (query.get("prefix") ?? "") : objectKey;
  const body = await buffer(request);
  return { bucket, method, operation, bucketName, key, query, headers, body };
}

function operationOf(
  method: string,
  objectKey: string,
  headers: IncomingHttpHeaders,
): Operation | undefined {
  if (objectKey === "") return method === "GET" ? "list" : undefined;
  switch (method) {
    case "GET":
      return "get";
    case "HEAD":
      return "head";
    case "PUT":
      return headers["x-amz-copy-source"] === undefined ? "put" : "copy";
    case "DELETE":
      return "delete";
    default:
      return undefined;
  }
}

const answers: { [O in Operation]: (call: Call, lies?: Lies[O]) => Answer } = {
  list: answerList,
  head: answerHead,
  get: answerGet,
  put: answerPut,
  copy: answerCopy,
  delete: answerDelete,
};

function answerList(call: Call, lies: ListLies = {}): Answer {
  if (lies.answers !== undefined) {
    return { status: 200, body: Buffer.from(lies.answers), delivery: lies.comes };
  }
  const answer =
    lies.inventsPages === undefined
      ? answerWithPage(call, lies)
      : answerWithNewKeys(call, lies.inventsPages);
  return { ...answer, delivery: lies.comes };
}

function answerWithNewKeys({ bucket, key: prefix, query }: Call, pages: number): Answer {
  const isBehind = query.has("start-after");
  const page = isBehind ? pages : Number(query.get("continuation-token") ?? "0");
  const keys = Array.from({ length: page < pages ? bucket.pageSize : 0 }, (_, n) => {
    const seconds = page * bucket.pageSize + n;
    const time = new Date(Date.UTC(2026, 0, 1) + seconds * 1000).toISOString().slice(0, 19);
    return `${prefix}${time.replaceAll(":", "-")}.csv`;
  });
  const etag = `"${"0".repeat(32)}"`;
  const modified = new Date();
  return xml(
    200,
    "ListBucketResult",
    element("Name", bucket.name),
    element("IsTruncated", String(page < pages)),
    page < pages ? element("NextContinuationToken", String(page + 1)) : "",
    ...keys.map((key) => listed(key, { body: NOTHING, etag, modified }, {})),
  );
}

function answerWithPage({ bucket, key: prefix, query }: Call, lies: ListLies): Answer {
  const delimiter = query.get("delimiter") ?? "";
  const keys = [...bucket.objects.keys()].filter((key) => !lies.hides?.test(key));
  const living = namesBelow(prefix, delimiter, keys);
  const dead = lies.countsDeleted ? namesBelow(prefix, delimiter, [...bucket.deleted]) : [];
  const size = Math.min(bucket.pageSize, Number(query.get("max-keys") ?? bucket.pageSize));
  // One more than the page takes tells whether there is a next page.
  const visible = [...new Set([...living, ...dead])]
    .filter(isBehindStart(query, lies))
    .sort()
    .slice(0, size + 1)
    .filter((name) => living.has(name));
  const page = visible.slice(0, Math.min(size, lies.endsAfter ?? size));
  const isTruncated =
    lies.repeatsFirstPage ?? (lies.endsAfter === undefined && visible.length > size);
  const nextToken = Buffer.from(page.at(-1) ?? "").toString("base64url");
  if (lies.reversesPage) page.reverse();
  return xml(
    200,
    "ListBucketResult",
    element("Name", bucket.name),
    element("Prefix", prefix),
    element("KeyCount", String(page.length)),
    element("MaxKeys", String(size)),
    element("IsTruncated", String(isTruncated)),
    isTruncated && !lies.omitsToken ? element("NextContinuationToken", nextToken) : "",
    ...page.map((name) => listed(name, bucket.objects.get(name), lies)),
  );
}

/** What a listing names: keys, and for those with the delimiter behind the prefix, the folder. */
function namesBelow(prefix: string, delimiter: string, keys: string[]): Set<string> {
  const names = keys
    .filter((key) => key.startsWith(prefix))
    .map((key) => {
      const end = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
      return end === -1 ? key : key.slice(0, end + delimiter.length);
    });
  return new Set(names);
}

function isBehindStart(query: URLSearchParams, lies: ListLies): (name: string) => boolean {
  if (lies.repeatsFirstPage) return () => true;
  const token = query.get("continuation-token");
  const start =
    token === null ? (query.get("start-after") ?? "") : Buffer.from(token, "base64url").toString();
  const isIncluded = token === null ? lies.startsWithStartAfter : lies.repeatsLastKey;
  return (name) => name > start || (isIncluded === true && name === start);
}

function listed(name: string, object: StoredObject | undefined, { etags }: ListLies): string {
  if (!object) return `<CommonPrefixes>${element("Prefix", name)}</CommonPrefixes>`;
  const etag = etags === "unquoted" ? object.etag.replaceAll('"', "") : object.etag;
  return [
    "<Contents>",
    element("Key", name),
    element("LastModified", object.modified.toISOString()),
    etags === "missing" ? "" : element("ETag", etag),
    element("Size", String(object.body.length)),
    "</Contents>",
  ].join("");
}

function answerHead({ bucket, key }: Call, lies: HeadLies = {}): Answer {
  const object = bucket.objects.get(key);
  if (!object) return refusal(404, "NoSuchKey");
  const length = { "Content-Length": lies.bytes ?? object.body.length };
  const headers = headersOf({ ...object, etag: lies.etag ?? object.etag });
  return { status: 200, headers: { ...headers, ...length }, body: NOTHING };
}

function answerGet({ bucket, key, headers }: Call, lie?: Delivery | WithoutEtag): Answer {
  const object = bucket.objects.get(key);
  if (!object) return refusal(404, "NoSuchKey");
  if (!matches(object, headers["if-match"])) return refusal(412, "PreconditionFailed");
  const { body } = object;
  if (lie && "etag" in lie) {
    return { status: 200, headers: headersOf({ ...object, etag: "" }), body };
  }
  return { status: 200, headers: headersOf(object), body, delivery: lie };
}

function answerPut({ bucket, key, body }: Call): Answer {
  return { status: 200, headers: { ETag: store(bucket, key, body).etag }, body: NOTHING };
}

function answerCopy({ bucket, key, headers }: Call, lie?: CopyLie): Answer {
  const source = bucket.objects.get(sourceKey(bucket, headers));
  if (!source) return refusal(404, "NoSuchKey");
  if (!matches(source, headers["x-amz-copy-source-if-match"])) {
    return refusal(412, "PreconditionFailed");
  }
  if (lie === "error in 200") return refusal(200, "InternalError");
  const { etag, modified } = store(bucket, key, lie ? Buffer.from(lie.stores) : source.body);
  return xml(
    200,
    "CopyObjectResult",
    element("LastModified", modified.toISOString()),
    element("ETag", etag),
  );
}

function answerDelete({ bucket, key }: Call, lie?: DeleteLie): Answer {
  if (lie !== "pretend") remove(bucket, key);
  return { status: 204, body: NOTHING };
}

function sourceKey(bucket: Bucket, headers: IncomingHttpHeaders): string {
  const path = decodeURIComponent(String(headers["x-amz-copy-source"])).replace(/^\//, "");
  return path.startsWith(`${bucket.name}/`) ? path.slice(bucket.name.length + 1) : "";
}

function matches(object: StoredObject, condition: string | string[] | undefined): boolean {
  return condition === undefined || `"${String(condition).replaceAll('"', "")}"` === object.etag;
}

function headersOf({ etag, modified }: StoredObject): Record<string, string> {
  return { ...(etag === "" ? {} : { ETag: etag }), "Last-Modified": modified.toUTCString() };
}

function store(bucket: Bucket, key: string, body: Buffer, parts?: number): StoredObject {
  const hash = bucket.hasOpaqueEtags
    ? randomBytes(16).toString("hex")
    : createHash("md5").update(body).digest("hex");
  const etag = parts === undefined ? `"${hash}"` : `"${hash}-${parts}"`;
  const object = { body, etag, modified: new Date() };
  bucket.objects.set(key, object);
  return object;
}

function remove(bucket: Bucket, key: string): void {
  if (bucket.objects.delete(key)) bucket.deleted.add(key);
}

function refusal(status: number, code: string): Answer {
  return xml(status, "Error", element("Code", code), element("Message", code));
}

function xml(status: number, root: string, ...children: string[]): Answer {
  const text = `<?xml version="1.0" encoding="UTF-8"?>\n<${root}>${children.join("")}</${root}>`;
  return { status, headers: { "Content-Type": "application/xml" }, body: Buffer.from(text) };
}

function element(name: string, text: string): string {
  const escaped = text.replaceAll(
    /[&<>\p{Cs}]/gu,
    (character) => `&#${character.codePointAt(0) ?? 0};`,
  );
  return `<${name}>${escaped}</${name}>`;
}

function isFailure(does: Rule["does"]): does is Failure {
  return typeof does === "number" || does === "reset" || does === "stall";
}

function fail(response: ServerResponse, failure: Failure): void {
  if (failure === "reset") response.socket?.resetAndDestroy();
  else if (failure !== "stall") send(response, refusal(failure, errorCodes[failure]));
}

async function deliver(response: ServerResponse, answer: Answer, call: Call): Promise<void> {
  const { delivery } = answer;
  if (delivery === undefined) send(response, answer);
  else if ("everyMs" in delivery) await sendSlowly(response, answer, delivery);
  else if ("repeats" in delivery) await sendRepeatedly(response, answer, delivery);
  else await sendPart(response, answer, delivery, call);
}

function send(response: ServerResponse, { status, headers, body }: Answer): void {
  response.writeHead(status, { "Content-Length": body.length, ...headers });
  response.end(body);
}

async function sendSlowly(
  response: ServerResponse,
  { status, headers, body }: Answer,
  { bytesAtOnce, everyMs }: SlowDelivery,
): Promise<void> {
  response.writeHead(status, { "Content-Length": body.length, ...headers });
  for (let sent = 0; sent < body.length && !response.destroyed; sent += bytesAtOnce) {
    response.write(body.subarray(sent, sent + bytesAtOnce));
    await sleep(everyMs);
  }
  response.end();
}

async function sendRepeatedly(
  response: ServerResponse,
  { status, headers, body }: Answer,
  { repeats, onSent }: RepeatedDelivery,
): Promise<void> {
  response.writeHead(status, headers);
  const closed = once(response, "close");
  for (let n = 0; n < repeats && !response.destroyed; n++) {
    onSent(body.length);
    if (!response.write(body)) await Promise.race([once(response, "drain"), closed]);
  }
  response.end();
}

async function sendPart(
  response: ServerResponse,
  answer: Answer,
  { sends, then }: PartDelivery,
  { bucket, key }: Call,
): Promise<void> {
  const { status, headers, body } = answer;
  const part = body.subarray(0, sends);
  if (then === "shorten") {
    send(response, { ...answer, body: part });
    return;
  }
  // Where the rest is missing, the end of the connection says so.
  response.shouldKeepAlive = false;
  response.writeHead(status, { "Content-Length": body.length, ...headers });
  response.flushHeaders();
  await new Promise((written) => response.write(part, written));
  if (then === "close") response.destroy();
  else if (then === "reset") response.socket?.resetAndDestroy();
  else if (then !== "stall") {
    await then(key);
    response.end(bucket.objects.get(key)?.body.subarray(sends, body.length));
  }
}
