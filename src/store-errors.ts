import { S3ServiceException } from "./s3-client.ts";
import { ObjectStoreError, SilentStore, UnreliableRead } from "./errors.ts";

/** There is no such object. */
export class ObjectMissing extends ObjectStoreError {
  override name = "ObjectMissing";
}

/**
 * What the SDK or the network reports, as an ObjectStoreError; what is none of both stays as it is.
 *
 * @param what the request, as in `read <key>`
 * @param silentForMs set where the request was given up after so long a silence
 */
export function storeError(error: unknown, what: string, silentForMs?: number): unknown {
  if (silentForMs !== undefined) return silent(what, silentForMs, error);
  if (error instanceof ObjectStoreError || !(error instanceof Error)) return error;
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
  if (status === 404 && error.name !== "NoSuchBucket") {
    return new ObjectMissing(`cannot ${what}: there is no such object`, {
      hint: "If the store lists it all the same, look at the store's log",
      cause: error,
    });
  }
  if (status === 412) return changed(what, error);
  const { reason, hint } = status === undefined ? withoutAnswer(error) : refusal(error, status);
  return new ObjectStoreError(`cannot ${what}: ${reason}`, { hint, cause: error });
}

/** The object is another one than was listed. */
export function changed(what: string, cause?: unknown): UnreliableRead {
  return new UnreliableRead(`cannot ${what} as listed: its ETag is another one now`, {
    hint: "The export may still be writing it: run again",
    cause,
  });
}

/** Without an ETag, nobody can tell whether the object is the one that was listed. */
export function withoutEtag(what: string): ObjectStoreError {
  return new ObjectStoreError(`cannot ${what}: the store's answer has no ETag`, {
    hint: "Check that RUSTFS_ENDPOINT is the S3 port of the store, then look at the store's log",
  });
}

/** A body that broke off. */
export function broken(what: string, error: Error): UnreliableRead {
  const { reason, hint } = withoutAnswer(error);
  return new UnreliableRead(`cannot ${what} to its end: ${reason}`, { hint, cause: error });
}

export function silent(what: string, ms: number, cause?: unknown): SilentStore {
  return new SilentStore(`cannot ${what}: the object store was silent for ${ms / 1000} s`, {
    hint: "Look at the store and the network, then run again. The limit is STALL_TIMEOUT",
    cause,
  });
}

interface Explanation {
  reason: string;
  hint: string;
}

const credentialsHint =
  "Check RUSTFS_ACCESS_KEY, RUSTFS_SECRET_KEY and the rights of that user on RUSTFS_BUCKET";

function refusal(error: Error, status: number): Explanation {
  const reason = `${error.name === "UnknownError" ? "the store answered" : error.name} (HTTP ${status})`;
  const isAboutKeys = /AccessKey|Signature|Credential|Token|AuthorizationHeader/i.test(error.name);
  if (status === 401 || status === 403 || isAboutKeys) return { reason, hint: credentialsHint };
  if (status === 404) return { reason, hint: "Check RUSTFS_BUCKET" };
  return { reason, hint: "Look at the store's log, then run again" };
}

/** No answer came, or none that is S3's. */
function withoutAnswer(error: Error): Explanation {
  const reason = reasonOf(error);
  const code = "code" in error ? String(error.code) : "";
  if (error.name === "CredentialsProviderError") {
    return {
      reason: "there are no credentials",
      hint: "Set RUSTFS_ACCESS_KEY and RUSTFS_SECRET_KEY",
    };
  }
  // OpenSSL's words for an answer that is plain text.
  if (/wrong version number|packet length too long|http request/i.test(reason)) {
    return {
      reason: "the store speaks http, not https",
      hint: "Change https:// to http:// in RUSTFS_ENDPOINT",
    };
  }
  // An HTTP parser's word for a TLS alert.
  if (code.startsWith("HPE_")) {
    return {
      reason: `what answers does not speak http (${code})`,
      hint: "Check RUSTFS_ENDPOINT: its port, and whether it is https://",
    };
  }
  if (/CERT|_SIGNATURE$/.test(code)) {
    return {
      reason: `the store's certificate is not trusted: ${reason}`,
      hint: "Name the file of its authority in NODE_EXTRA_CA_CERTS, or correct RUSTFS_ENDPOINT",
    };
  }
  return { reason, hint: "Is the store up, and RUSTFS_ENDPOINT right? Then run again" };
}

/** Node leaves the message empty where several addresses were tried. */
function reasonOf(error: Error): string {
  if (error instanceof AggregateError) {
    return error.errors.map((e) => (e instanceof Error ? e.message : String(e))).join("; ");
  }
  return error.message;
}
