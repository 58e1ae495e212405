import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";

// TLS to the database as psql understands it. node-postgres gives the modes of libpq another
// meaning, unless its address says uselibpqcompat, and never falls back.

/** How node-postgres is to connect, one try after the other; its `prefer` verifies nothing. */
const tries: Readonly<Record<string, readonly string[]>> = {
  disable: ["disable"],
  allow: ["disable", "prefer"],
  prefer: ["prefer", "disable"],
  "no-verify": ["prefer"],
  require: ["require"],
  "verify-ca": ["verify-ca"],
  "verify-full": ["verify-full"],
};

const fileParameters = ["sslrootcert", "sslcert", "sslkey"] as const;
type FileParameter = (typeof fileParameters)[number];

/** The value of `sslrootcert` for the authorities that this program brings along. */
const PUBLIC_AUTHORITIES = "system";

/** What libpq's environment says of TLS, put into an address that does not say it. */
export function withTlsOf(
  env: Readonly<Record<string, string | undefined>>,
  address: string,
): string {
  const url = new URL(address);
  const says = (name: string) => url.searchParams.has(name);
  const missing = ["sslmode", ...fileParameters].filter(
    (name) => !says(name) && !(name === "sslmode" && says("ssl")),
  );
  for (const name of missing) {
    const value = env[`PG${name.toUpperCase()}`];
    if (value) url.searchParams.set(name, value);
  }
  // As it was, where nothing is added: parsing can change how it is written.
  return missing.some(says) ? url.href : address;
}

/** What is wrong with the TLS parameters of an address, each with its cure. */
export function tlsProblems(address: string): string[] {
  const url = new URL(address);
  const mode = modeOf(url);
  if (tries[mode] === undefined) {
    const known = Object.keys(tries).join(", ");
    return [`DATABASE_URL has an unknown sslmode: set it to one of ${known}`];
  }
  if (mode === "disable") return [];
  const problems: string[] = [];
  const rootcert = url.searchParams.get("sslrootcert");
  if (mode === "verify-ca" && rootcert === null) {
    problems.push(
      "DATABASE_URL has sslmode=verify-ca and no sslrootcert: set sslrootcert to the file of the " +
        "authority's certificate",
    );
  }
  if (rootcert === PUBLIC_AUTHORITIES && mode !== "verify-full") {
    problems.push(
      `DATABASE_URL has sslrootcert=system, which needs another sslmode: set sslmode=verify-full`,
    );
  }
  const contents = readFiles(url, problems);
  if (problems.length > 0) return problems;
  if (url.searchParams.has("sslcert") !== url.searchParams.has("sslkey")) {
    return ["DATABASE_URL has only one of sslcert and sslkey: set both or neither"];
  }
  if (contents.sslrootcert !== undefined && !isCertificate(contents.sslrootcert)) {
    problems.push(
      "DATABASE_URL has an sslrootcert that is not a certificate: set it to a file in PEM format",
    );
  }
  try {
    createSecureContext({ cert: contents.sslcert, key: contents.sslkey });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    problems.push(
      `DATABASE_URL has an unusable sslcert or sslkey (${reason}): set them to a certificate ` +
        "and its key, in PEM format and without a passphrase",
    );
  }
  return problems;
}

/** The addresses that node-postgres is to try, in this order. */
export function addressesToTry(address: string): string[] {
  return (tries[modeOf(new URL(address))] ?? []).map((mode) => {
    const url = new URL(address);
    url.searchParams.delete("ssl");
    if (mode === "disable") for (const name of fileParameters) url.searchParams.delete(name);
    // Without a file, node-postgres asks the public authorities.
    if (url.searchParams.get("sslrootcert") === PUBLIC_AUTHORITIES) {
      url.searchParams.delete("sslrootcert");
    }
    url.searchParams.set("sslmode", mode);
    url.searchParams.set("uselibpqcompat", "true");
    return url.href;
  });
}

/** Which server and database an address names, without the password and all the rest. */
export function placeOf(address: string): string {
  const url = new URL(address);
  const host = url.searchParams.get("host") ?? decodeURIComponent(url.hostname);
  const port = url.searchParams.get("port") ?? url.port;
  return `${host}:${port || "5432"}${decodeURIComponent(url.pathname)}`;
}

/** What to do about a failure to agree on TLS; undefined for a failure of another kind. */
export function tlsCure(error: Error): string | undefined {
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if (/does not support SSL|establishing an SSL connection/.test(error.message)) {
    return (
      "Switch TLS on at the server (ssl = on), or, where the network between is trusted, set " +
      "sslmode=disable in DATABASE_URL"
    );
  }
  if (/SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|CERT_(UNTRUSTED|REJECTED)|INVALID_CA/.test(code)) {
    return (
      "Set sslrootcert in DATABASE_URL to the certificate of the authority that signed the " +
      "server's, or to the server's own if it is self-signed"
    );
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return (
      "Name the server in DATABASE_URL as its certificate does; sslmode=verify-ca with " +
      "sslrootcert accepts any name"
    );
  }
  if (/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/.test(code)) {
    return "Renew the server's certificate; if it is valid, set this machine's clock";
  }
  if (/ALERT/.test(code)) {
    return (
      "The server's log says why. If it wants a client certificate, set sslcert and sslkey in " +
      "DATABASE_URL to one that the server's ssl_ca_file has signed"
    );
  }
  return /^(ERR_SSL|ERR_TLS|ERR_OSSL|CERT_|CRL_|EPROTO)/.test(code)
    ? "Look at the server's log and at its TLS settings, and at sslmode in DATABASE_URL"
    : undefined;
}

function modeOf(url: URL): string {
  const { searchParams: says } = url;
  const host = says.get("host") ?? decodeURIComponent(url.hostname);
  // As libpq: there is no TLS over a Unix socket.
  if (host.startsWith("/")) return "disable";
  const mode = says.get("sslmode");
  if (mode) return mode;
  const ssl = says.get("ssl");
  if (ssl === "no-verify") return ssl;
  if (ssl !== null) return ssl === "true" || ssl === "1" ? "require" : "disable";
  return fileParameters.some((name) => says.has(name)) ? "verify-full" : "disable";
}

function readFiles(url: URL, problems: string[]): Partial<Record<FileParameter, Buffer>> {
  const contents: Partial<Record<FileParameter, Buffer>> = {};
  for (const name of fileParameters) {
    const path = url.searchParams.get(name);
    if (path === null || (name === "sslrootcert" && path === PUBLIC_AUTHORITIES)) continue;
    try {
      contents[name] = readFileSync(path);
    } catch (error) {
      // The message would quote the path.
      const reason = error instanceof Error && "code" in error ? String(error.code) : "unreadable";
      problems.push(
        `DATABASE_URL has an ${name} that cannot be read (${reason}): set it to the path of a ` +
          "file that this user may read",
      );
    }
  }
  return contents;
}

function isCertificate(content: Buffer): boolean {
  try {
    new X509Certificate(content);
    return true;
  } catch {
    return false;
  }
}
