import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { Client } from "pg";
import type { Check } from "../src/check.ts";
import { type ExitCode, exitCodes } from "../src/errors.ts";
import { type Authority, type Certificate, createAuthority } from "./harness/certificates.ts";
import { describeRun, runCli } from "./harness/cli.ts";
import { type Cluster, startCluster } from "./harness/postgres.ts";
import { startS3 } from "./harness/s3.ts";
import type { Scope } from "./harness/scope.ts";

// Who may come in how, by database.
const HBA = `
host      postgres  all  127.0.0.1/32  scram-sha-256
hostssl   encrypted all  127.0.0.1/32  scram-sha-256
hostnossl plain     all  127.0.0.1/32  scram-sha-256
hostssl   known     all  127.0.0.1/32  scram-sha-256  clientcert=verify-ca
`;

const endings: (() => Promise<void>)[] = [];
const scope: Scope = { after: (end) => endings.push(end) };
let authority: Authority;
let stranger: Authority;
let client: Certificate;
let cluster: Cluster;

before(async () => {
  authority = createAuthority(scope);
  stranger = createAuthority(scope);
  client = authority.sign("postgres");
  const own = authority.sign("server", "IP:127.0.0.1");
  const misnamed = authority.sign("server", "DNS:db.example");
  cluster = await startCluster({
    durable: false,
    settings: ["ssl=on", "ssl_ca_file=authority.crt"],
    files: {
      "pg_hba.conf": HBA,
      "authority.crt": authority.cert,
      "own.key": own.key,
      "own.crt": own.cert,
      "misnamed.key": misnamed.key,
      "misnamed.crt": misnamed.cert,
      "postgresql.auto.conf": "ssl_cert_file = 'own.crt'\nssl_key_file = 'own.key'\n",
    },
  });
  endings.push(cluster.stop);
  await onServer(...["encrypted", "plain", "known"].map((name) => `create database ${name}`));
});

after(async () => {
  for (const end of endings.reverse()) await end();
});

async function onServer(...statements: string[]): Promise<void> {
  const session = new Client({ connectionString: cluster.url });
  await session.connect();
  try {
    for (const statement of statements) await session.query(statement);
  } finally {
    await session.end();
  }
}

function address(database: string, parameters: Record<string, string>): string {
  const url = new URL(cluster.url);
  url.pathname = database;
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
}

/** How `status` ends, and the code of what ended it: a session that begins finds no schema. */
async function connects(
  database: string,
  parameters: Record<string, string>,
  env: Record<string, string> = {},
): Promise<{ exit: ExitCode; code: string | undefined; hint: string | undefined }> {
  const url = address(database, parameters);
  const result = await runCli(["status", "--json"], { env: { ...env, DATABASE_URL: url } });
  // Nothing is there but JSON: no stack, no warning of a library.
  for (const line of result.stderr.trimEnd().split("\n")) JSON.parse(line);
  const { error, exit_code } = result.json as {
    error?: { code?: string; hint?: string };
    exit_code: ExitCode;
  };
  assert.equal(result.code, exit_code, describeRun(["status"], result));
  return { exit: exit_code, code: error?.code, hint: error?.hint };
}

/** A session began: what is missing is the schema. */
const BEGAN = { exit: exitCodes.database, code: "42P01" };

async function began(...args: Parameters<typeof connects>): Promise<void> {
  const { exit, code } = await connects(...args);
  assert.deepEqual({ exit, code }, BEGAN);
}

async function failed(code: string, cure: RegExp, ...args: Parameters<typeof connects>) {
  const found = await connects(...args);
  assert.deepEqual([found.exit, found.code], [exitCodes.database, code]);
  assert.match(found.hint ?? "", cure);
}

async function misconfigured(...args: Parameters<typeof connects>): Promise<void> {
  const { exit, code } = await connects(...args);
  assert.deepEqual([exit, code], [exitCodes.usage, undefined]);
}

describe("the modes of TLS are those of libpq", () => {
  test("disable, and none at all: not encrypted", async () => {
    await began("plain", { sslmode: "disable" });
    await began("plain", {});
    await failed("28000", /sslmode/, "encrypted", { sslmode: "disable" });
  });

  test("allow and prefer: encrypted or not, whatever the server takes", async () => {
    for (const sslmode of ["allow", "prefer"]) {
      for (const database of ["encrypted", "plain"]) await began(database, { sslmode });
    }
  });

  test("require: encrypted, whoever the server is", async () => {
    await began("encrypted", { sslmode: "require" });
    await began("encrypted", { ssl: "true" });
    await failed("28000", /sslmode/, "plain", { sslmode: "require" });
  });

  test("require with a root certificate: as verify-ca", async () => {
    const sslmode = "require";
    await began("encrypted", { sslmode, sslrootcert: authority.certFile });
    await failed("tls", /sslrootcert/, "encrypted", { sslmode, sslrootcert: stranger.certFile });
  });

  test("verify-ca and verify-full: signed by the authority", async () => {
    for (const sslmode of ["verify-ca", "verify-full"]) {
      await began("encrypted", { sslmode, sslrootcert: authority.certFile });
      await failed("tls", /sslrootcert/, "encrypted", { sslmode, sslrootcert: stranger.certFile });
    }
    await failed("tls", /sslrootcert/, "encrypted", { sslmode: "verify-full" });
  });

  test("the environment says what the address does not, with the names of libpq", async () => {
    const env = { PGSSLMODE: "verify-full", PGSSLROOTCERT: authority.certFile };
    await began("encrypted", {}, env);
    await failed("28000", /sslmode/, "plain", {}, env);
    await began("plain", { sslmode: "disable" }, env);
  });

  test("a wrong password is told as such, with and without TLS", async () => {
    for (const sslmode of ["prefer", "allow", "require"]) {
      const url = new URL(address("postgres", { sslmode }));
      url.password = "not-the-password";
      const { code, json } = await runCli(["status", "--json"], {
        env: { DATABASE_URL: url.href },
      });
      assert.equal(code, exitCodes.database);
      assert.equal((json as { error: { code: string } }).error.code, "28P01");
    }
  });

  test("migrate, too", async () => {
    for (const sslmode of ["prefer", "require"]) {
      const url = address("encrypted", { sslmode });
      const result = await runCli(["migrate", "--json"], { env: { DATABASE_URL: url } });
      assert.equal(result.code, exitCodes.done, describeRun(["migrate"], result));
      for (const line of result.stderr.trimEnd().split("\n")) JSON.parse(line);
    }
    await onServer("drop database encrypted with (force)", "create database encrypted");
  });
});

describe("a client certificate", () => {
  test("lets in where the server asks for one", async () => {
    const { certFile: sslcert, keyFile: sslkey } = client;
    await began("known", { sslmode: "require", sslcert, sslkey });
  });

  test("that is missing, or that the server does not know: exit code 3", async () => {
    await failed("28000", /sslcert/, "known", { sslmode: "require" });
    const { certFile: sslcert, keyFile: sslkey } = stranger.sign("postgres");
    await failed("tls", /sslcert/, "known", { sslmode: "require", sslcert, sslkey });
  });
});

describe("what is wrong with the configuration: exit code 2", () => {
  const missing = join(import.meta.dirname, "there-is-no-such-file.crt");
  const cases: Record<string, () => Record<string, string>> = {
    "an unknown mode": () => ({ sslmode: "always" }),
    "a root certificate that is not there": () => ({ sslmode: "require", sslrootcert: missing }),
    "a root certificate that is none": () => ({
      sslmode: "verify-full",
      sslrootcert: authority.keyFile,
    }),
    "verify-ca without an authority": () => ({ sslmode: "verify-ca" }),
    "public authorities without a name": () => ({ sslmode: "require", sslrootcert: "system" }),
    "a certificate without its key": () => ({ sslmode: "require", sslcert: client.certFile }),
    "a key of another certificate": () => ({
      sslmode: "require",
      sslcert: client.certFile,
      sslkey: stranger.keyFile,
    }),
  };
  for (const [what, parameters] of Object.entries(cases)) {
    test(what, () => misconfigured("encrypted", parameters()));
  }
});

test("a server without TLS: exit code 3", async () => {
  const url = new URL(process.env["TEST_SERVER_URL"] ?? "");
  url.searchParams.set("sslmode", "require");
  const result = await runCli(["status", "--json"], { env: { DATABASE_URL: url.href } });
  assert.equal(result.code, exitCodes.database, describeRun(["status"], result));
  const { error } = result.json as { error: { code: string; hint: string } };
  assert.equal(error.code, "tls");
  assert.match(error.hint, /sslmode=disable/);
});

test("the doctor tells what is wrong with TLS, and looks at the rest", async (t) => {
  const s3 = await startS3(t);
  const cases = [
    [{ sslmode: "verify-full" }, exitCodes.database, "database"],
    [{ sslmode: "verify-ca" }, exitCodes.usage, "configuration"],
  ] as const;
  for (const [parameters, exit, at] of cases) {
    const env = { ...s3.env, DATABASE_URL: address("encrypted", parameters) };
    const result = await runCli(["doctor", "--json"], { env });
    assert.equal(result.code, exit, describeRun(["doctor"], result));
    const { checks } = result.json as { checks: Check[] };
    const found = checks.filter(({ status }) => status === "failed").map(({ check }) => check);
    assert.deepEqual(found, [at]);
    assert.equal(checks.find(({ check }) => check === "bucket")?.status, "ok");
  }
});

// The last: from here on the server has another name.
test("a name that is not the certificate's fails verify-full alone", async () => {
  await onServer(
    "alter system set ssl_cert_file = 'misnamed.crt'",
    "alter system set ssl_key_file = 'misnamed.key'",
    "select pg_reload_conf()",
  );
  const parameters = { sslmode: "verify-full", sslrootcert: authority.certFile };
  const deadline = Date.now() + 10_000;
  while ((await connects("encrypted", parameters)).code !== "tls" && Date.now() < deadline) {
    await sleep(50);
  }
  await failed("tls", /Name the server/, "encrypted", parameters);
  await began("encrypted", { ...parameters, sslmode: "verify-ca" });
});
