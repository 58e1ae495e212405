import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type Config, type Part, inspectConfig, readConfig } from "../src/config.ts";
import { UsageError, exitCodes } from "../src/errors.ts";
import { keepSecret, withoutSecrets } from "../src/secrets.ts";
import { type CliOptions, describeRun, runCli, spawnCli } from "./harness/cli.ts";
import { csvOf } from "./harness/csv.ts";
import { startFaultyS3 } from "./harness/faulty-s3.ts";
import { changeKey } from "./harness/loader.ts";
import { createLogin } from "./harness/logins.ts";
import { createDatabase } from "./harness/postgres.ts";
import type { Scope } from "./harness/scope.ts";

const good = {
  DATABASE_URL: "postgres://user:password@127.0.0.1/fleettickets",
  RUSTFS_ENDPOINT: "http://127.0.0.1:9000",
};
const everything: readonly Part[] = ["database", "bucket"];

describe("the configuration", () => {
  test("has defaults for all but the addresses", () => {
    const expected: Config = {
      databaseUrl: good.DATABASE_URL,
      bucket: {
        endpoint: good.RUSTFS_ENDPOINT,
        bucket: "isptickets",
        region: "us-east-1",
        credentials: undefined,
      },
      geocoder: undefined,
      limits: { stallMs: 60_000, statementMs: 900_000 },
      logLevel: "info",
      previewStyleUrl: undefined,
    };
    assert.deepEqual(readConfig(good, {}, everything), expected);
  });

  test("is what the environment says", () => {
    const env = {
      DATABASE_URL: "pglite:data/db",
      RUSTFS_ENDPOINT: "https://store.example",
      RUSTFS_BUCKET: "tickets",
      RUSTFS_REGION: "af-south-1",
      RUSTFS_ACCESS_KEY: "an access key",
      RUSTFS_SECRET_KEY: "a secret key",
      STALL_TIMEOUT: "0.5",
      STATEMENT_TIMEOUT: "3600",
      LOG_LEVEL: "debug",
      PREVIEW_STYLE_URL: "https://tiles.example/style.json",
    };
    const expected: Config = {
      databaseUrl: "pglite:data/db",
      bucket: {
        endpoint: "https://store.example",
        bucket: "tickets",
        region: "af-south-1",
        credentials: { accessKeyId: "an access key", secretAccessKey: "a secret key" },
      },
      geocoder: undefined,
      limits: { stallMs: 500, statementMs: 3_600_000 },
      logLevel: "debug",
      previewStyleUrl: "https://tiles.example/style.json",
    };
    assert.deepEqual(readConfig(env, {}, everything), expected);
  });

  test("is what flags say, whatever the environment says", () => {
    const env = { ...good, RUSTFS_BUCKET: "b", RUSTFS_REGION: "r", LOG_LEVEL: "debug" };
    const flags = { endpoint: "http://flag", bucket: "fb", region: "fr", logLevel: "error" };
    const { bucket, logLevel } = readConfig(env, flags, everything);
    assert.deepEqual(
      [bucket.endpoint, bucket.bucket, bucket.region, logLevel],
      ["http://flag", "fb", "fr", "error"],
    );
  });

  test("takes an empty variable for one that is not set", () => {
    const names = [
      ...["RUSTFS_BUCKET", "RUSTFS_REGION", "RUSTFS_ACCESS_KEY", "RUSTFS_SECRET_KEY"],
      ...["STALL_TIMEOUT", "STATEMENT_TIMEOUT", "LOG_LEVEL", "PREVIEW_STYLE_URL"],
    ];
    const empty = Object.fromEntries(names.map((name) => [name, ""]));
    assert.deepEqual(
      readConfig({ ...good, ...empty }, {}, everything),
      readConfig(good, {}, everything),
    );
  });

  test("quotes no value when it finds fault: it may be a secret in the wrong variable", () => {
    const secret = "s3cr3t";
    const names = [
      ...["DATABASE_URL", "RUSTFS_ENDPOINT", "RUSTFS_SECRET_KEY", "STALL_TIMEOUT"],
      ...["STATEMENT_TIMEOUT", "LOG_LEVEL", "PREVIEW_STYLE_URL", "GEOCODER_PROVIDER"],
      ...["GEOCODER_API_KEY", "GEOCODER_URL", "GEOCODER_RPS", "GEOCODER_TIMEOUT"],
    ];
    for (const value of [
      secret,
      `user:${secret}@host:9000`,
      `http://user:${secret}@host:9000`,
      `http://user:1/${secret}@host:9000`,
      `postgres://user:12#${secret}@host/db`,
      `postgres://user@host/db?sslkey=/no/${secret}`,
    ]) {
      for (const name of names) {
        const env = { GEOCODER_PROVIDER: "opencage", ...good, [name]: value };
        const { problems } = inspectConfig(env, {}, [...everything, "geocoder"]);
        assert.ok(!problems.join("\n").includes(secret), `${name} is quoted: ${problems.join()}`);
      }
    }
  });

  test("makes secrets of what the driver and the AWS SDK read themselves", () => {
    const env = {
      PGPASSWORD: "password of the driver",
      AWS_ACCESS_KEY_ID: "id of the SDK",
      AWS_SECRET_ACCESS_KEY: "key of the SDK",
      AWS_SESSION_TOKEN: "token of the SDK",
      DATABASE_URL: "postgres://user@h/db?password=in+the+query&sslkey=/path/of/the.key",
    };
    inspectConfig(env, {}, []);
    const { DATABASE_URL, ...values } = env;
    for (const secret of [
      ...Object.values(values),
      DATABASE_URL,
      "in the query",
      "/path/of/the.key",
    ]) {
      assert.equal(withoutSecrets(`<${secret}>`), "<***>");
    }
  });

  test("cannot be changed", () => {
    assert.ok(Object.isFrozen(readConfig(good, {}, everything)));
  });

  test("is asked for what the command needs, and for nothing else", () => {
    assert.deepEqual(problems({}, []), []);
    assert.deepEqual(problems({}, ["database"]), ["DATABASE_URL"]);
    assert.deepEqual(problems({}, ["bucket"]), ["RUSTFS_ENDPOINT"]);
  });

  test("names all its problems at once, each with its cure", () => {
    const env = {
      DATABASE_URL: "mysql://127.0.0.1/fleettickets",
      RUSTFS_ENDPOINT: "127.0.0.1:9000",
      RUSTFS_SECRET_KEY: "a secret key",
      STALL_TIMEOUT: "soon",
      STATEMENT_TIMEOUT: "-1",
      LOG_LEVEL: "loud",
      PREVIEW_STYLE_URL: "file:///style.json",
    };
    assert.deepEqual(problems(env, everything), [
      "DATABASE_URL",
      "LOG_LEVEL",
      "PREVIEW_STYLE_URL",
      "RUSTFS_ACCESS_KEY",
      "RUSTFS_ENDPOINT",
      "STALL_TIMEOUT",
      "STATEMENT_TIMEOUT",
    ]);
  });

  for (const [what, env, culprit] of [
    ["an address without a scheme", { DATABASE_URL: "127.0.0.1/db" }, "DATABASE_URL"],
    ["an address with a space", { DATABASE_URL: "postgres://a b/db" }, "DATABASE_URL"],
    ["a password of broken escapes", { DATABASE_URL: "postgres://u:%ZZ@h/db" }, "DATABASE_URL"],
    ["a password with a bare slash", { DATABASE_URL: "postgres://u:12/34@h/db" }, "DATABASE_URL"],
    ["a password with a bare ?", { DATABASE_URL: "postgres://u:12?34@h/db" }, "DATABASE_URL"],
    ["a password with a bare #", { DATABASE_URL: "postgres://u:12#34@h/db" }, "DATABASE_URL"],
    ["a password with a bare @ and /", { DATABASE_URL: "postgres://u:1@2/3@h/db" }, "DATABASE_URL"],
    [
      "a key that is not there",
      { DATABASE_URL: `${good.DATABASE_URL}?sslkey=/no` },
      "DATABASE_URL",
    ],
    [
      "a root certificate that is a folder",
      { DATABASE_URL: `${good.DATABASE_URL}?sslrootcert=/` },
      "DATABASE_URL",
    ],
    ["an embedded database without a folder", { DATABASE_URL: "pglite:" }, "DATABASE_URL"],
    ["an endpoint of another kind", { RUSTFS_ENDPOINT: "ftp://store" }, "RUSTFS_ENDPOINT"],
    ["an endpoint with a user", { RUSTFS_ENDPOINT: "http://u:word@store:9000" }, "RUSTFS_ENDPOINT"],
    [
      "an endpoint with a bare slash in its password",
      { RUSTFS_ENDPOINT: "http://u:1/2@store" },
      "RUSTFS_ENDPOINT",
    ],
    ["an access key alone", { RUSTFS_ACCESS_KEY: "key" }, "RUSTFS_SECRET_KEY"],
    ["no time at all", { STALL_TIMEOUT: "0" }, "STALL_TIMEOUT"],
    ["all the time in the world", { STATEMENT_TIMEOUT: "Infinity" }, "STATEMENT_TIMEOUT"],
  ] as const) {
    test(`does not take ${what}`, () => {
      assert.deepEqual(problems({ ...good, ...env }, everything), [culprit]);
    });
  }

  test("of a geocoder has defaults for all but the provider and its key", () => {
    const { geocoder } = readConfig(
      { GEOCODER_PROVIDER: "locationiq", GEOCODER_API_KEY: "a key of the plan" },
      {},
      ["geocoder"],
    );
    assert.deepEqual(geocoder, {
      provider: "locationiq",
      apiKey: "a key of the plan",
      url: "https://us1.locationiq.com",
      requestsPerSecond: 1,
      timeoutMs: 20_000,
    });
  });

  test("of a geocoder is what the environment says", () => {
    const env = {
      GEOCODER_PROVIDER: "nominatim",
      GEOCODER_URL: "http://127.0.0.1:8080/nominatim",
      GEOCODER_RPS: "0.5",
      GEOCODER_TIMEOUT: "2.5",
    };
    assert.deepEqual(readConfig(env, {}, ["geocoder"]).geocoder, {
      provider: "nominatim",
      apiKey: "",
      url: "http://127.0.0.1:8080/nominatim",
      requestsPerSecond: 0.5,
      timeoutMs: 2500,
    });
  });

  for (const [what, env, culprits] of [
    ["no provider", {}, ["GEOCODER_PROVIDER"]],
    ["a provider that nobody knows", { GEOCODER_PROVIDER: "maps" }, ["GEOCODER_PROVIDER"]],
    ["LocationIQ without a key", { GEOCODER_PROVIDER: "locationiq" }, ["GEOCODER_API_KEY"]],
    ["OpenCage without a key", { GEOCODER_PROVIDER: "opencage" }, ["GEOCODER_API_KEY"]],
    ["Nominatim without a server", { GEOCODER_PROVIDER: "nominatim" }, ["GEOCODER_URL"]],
    [
      "provider and key swapped",
      { GEOCODER_PROVIDER: "pk.0123456789", GEOCODER_API_KEY: "locationiq" },
      ["GEOCODER_API_KEY", "GEOCODER_PROVIDER"],
    ],
    [
      "a provider's name for a key",
      { GEOCODER_PROVIDER: "opencage", GEOCODER_API_KEY: "opencage" },
      ["GEOCODER_API_KEY"],
    ],
    [
      "an address with a user",
      { GEOCODER_PROVIDER: "nominatim", GEOCODER_URL: "http://user:word@host" },
      ["GEOCODER_URL"],
    ],
    [
      "everything wrong at once",
      {
        GEOCODER_PROVIDER: "opencage",
        GEOCODER_URL: "api.example",
        GEOCODER_RPS: "0",
        GEOCODER_TIMEOUT: "never",
      },
      ["GEOCODER_API_KEY", "GEOCODER_RPS", "GEOCODER_TIMEOUT", "GEOCODER_URL"],
    ],
  ] as const) {
    test(`does not geocode with ${what}`, () => {
      assert.deepEqual(problems(env, ["geocoder"]), culprits);
    });
  }

  test("of a geocoder is looked at in a dry run where one is named, in other commands never", () => {
    assert.deepEqual(problems({}, ["geocoder if named"]), []);
    const env = { GEOCODER_PROVIDER: "maps", GEOCODER_RPS: "0" };
    assert.deepEqual(problems(env, ["geocoder if named"]), ["GEOCODER_PROVIDER", "GEOCODER_RPS"]);
    assert.deepEqual(problems({ ...good, ...env }, everything), []);
  });

  function problems(env: Record<string, string>, needs: readonly Part[]): string[] {
    try {
      readConfig(env, {}, needs);
      return [];
    } catch (error) {
      assert.ok(error instanceof UsageError, String(error));
      return error.message
        .split("\n")
        .map((line) => {
          assert.match(line, /^[A-Z_]+ (?:is|has) .*: set /, "a problem comes with its cure");
          return line.slice(0, line.indexOf(" "));
        })
        .sort();
    }
  }
});

describe("a command that is not configured", () => {
  test("says all that is missing, with exit code 2 and nothing on stdout", async () => {
    const result = await runCli(["ingest", "inc"]);
    assert.equal(result.code, exitCodes.usage, describeRun(["ingest", "inc"], result));
    assert.equal(result.stdout, "");
    const messages = result.stderr
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { msg: string }).msg);
    assert.deepEqual(
      messages.map((message) => message.slice(0, message.indexOf(" "))),
      ["DATABASE_URL", "RUSTFS_ENDPOINT"],
    );
  });

  test("says so as JSON, too", async () => {
    const { json } = await runCli(["ingest", "inc", "--json"]);
    const { error, exit_code } = json as { error: { message: string }; exit_code: number };
    assert.equal(exit_code, exitCodes.usage);
    assert.match(error.message, /DATABASE_URL[^]*RUSTFS_ENDPOINT/);
  });
});

describe("what a command is told", () => {
  test("in .env counts, the environment beats it, and a flag beats both", async (t) => {
    const { env, folder } = await configured(t);
    const { RUSTFS_BUCKET: bucket = "" } = env;
    await writeFile(
      join(folder, ".env"),
      Object.entries(env)
        .map(([name, value]) => `${name}='${value}'\n`)
        .join(""),
    );
    const wrong = { RUSTFS_BUCKET: "no-such-bucket" };
    const code = async (args: string[], options: CliOptions) =>
      (await runCli(["ingest", "inc", ...args], { cwd: folder, ...options })).code;
    assert.equal(await code([], {}), exitCodes.done);
    assert.equal(await code([], { env: wrong }), exitCodes.objectStore);
    assert.equal(await code(["--bucket", bucket], { env: wrong }), exitCodes.done);
  });

  test("by --log-level beats LOG_LEVEL", async (t) => {
    const { env } = await configured(t);
    const log = async (level: string, args: string[]) => {
      const { stderr } = await runCli(["ingest", "inc", "--apply", ...args], {
        env: { ...env, LOG_LEVEL: level },
      });
      return stderr;
    };
    assert.match(await log("silent", ["--log-level", "info"]), /applied/);
    assert.equal(await log("info", ["--log-level", "silent"]), "");
  });

  async function configured(t: Scope): Promise<{ env: Record<string, string>; folder: string }> {
    const s3 = await startFaultyS3(t);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    const { url } = await createDatabase(t);
    const folder = await mkdtemp(join(tmpdir(), "fleettickets-config-"));
    t.after(() => rm(folder, { recursive: true }));
    return { env: { ...s3.env, DATABASE_URL: url }, folder };
  }
});

describe("no secret is printed", () => {
  const password = 'Pa55-"word\\/with:all@kinds#of%20signs';
  const secrets = {
    RUSTFS_ACCESS_KEY: "AKIA+the/ACCESS=key",
    RUSTFS_SECRET_KEY: "the+SECRET/key=of%the\"store'",
  };
  const hidden = [password, ...Object.values(secrets)];

  const cases: readonly [
    what: string,
    args: string[],
    change: (env: Record<string, string>) => Record<string, string>,
    code: number,
  ][] = [
    ["by a good run", ["--apply"], () => ({}), exitCodes.done],
    [
      "where the password is wrong",
      [],
      ({ DATABASE_URL = "" }) => ({ DATABASE_URL: withPassword(DATABASE_URL, `${password}!`) }),
      exitCodes.database,
    ],
    [
      "where there is no such database",
      [],
      ({ DATABASE_URL = "" }) => ({ DATABASE_URL: `${DATABASE_URL}_not` }),
      exitCodes.database,
    ],
    [
      "where no server listens",
      [],
      ({ DATABASE_URL = "" }) => ({ DATABASE_URL: withPort(DATABASE_URL, "1") }),
      exitCodes.database,
    ],
    [
      "where there is no such host",
      [],
      ({ DATABASE_URL = "" }) => ({
        DATABASE_URL: DATABASE_URL.replace("127.0.0.1", "no-such-host.invalid"),
      }),
      exitCodes.database,
    ],
    [
      "where the address is none",
      [],
      ({ DATABASE_URL = "" }) => ({ DATABASE_URL: DATABASE_URL.replace("postgres:", "postgres ") }),
      exitCodes.usage,
    ],
    [
      "where the store cannot be reached",
      [],
      () => ({ RUSTFS_ENDPOINT: "http://127.0.0.1:1" }),
      exitCodes.objectStore,
    ],
    ["where there is no such bucket", ["--bucket", "not"], () => ({}), exitCodes.objectStore],
    ["where a key is missing", [], () => ({ RUSTFS_ACCESS_KEY: "" }), exitCodes.usage],
    [
      "where the store's address has a password",
      [],
      () => ({ RUSTFS_ENDPOINT: `http://user:${encodeURIComponent(password)}@127.0.0.1:1` }),
      exitCodes.usage,
    ],
    [
      "where the store's address has a password and no scheme",
      [],
      () => ({ RUSTFS_ENDPOINT: `user:${password}@127.0.0.1:1` }),
      exitCodes.usage,
    ],
    [
      "where the key of the database's TLS is not there",
      [],
      ({ DATABASE_URL = "" }) => ({
        DATABASE_URL: `${DATABASE_URL}?sslkey=/${encodeURIComponent(password)}`,
      }),
      exitCodes.usage,
    ],
  ];
  for (const [what, args, change, code] of cases) {
    test(what, async (t) => {
      const s3 = await startFaultyS3(t);
      await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
      const env = { ...s3.env, ...secrets, DATABASE_URL: await urlWithPassword(t) };
      for (const more of [[], ["--json"]]) {
        const command = ["ingest", "inc", ...args, "--log-level", "trace", ...more];
        const result = await runCli(command, { env: { ...env, ...change(env) } });
        assert.equal(result.code, code, describeRun(command, result));
        assertHidden(result.stdout + result.stderr);
      }
    });
  }

  test("where the store forbids what is asked", async (t) => {
    const s3 = await startFaultyS3(t);
    s3.fail({ operation: "list", does: 403 });
    const env = { ...s3.env, ...secrets, DATABASE_URL: await urlWithPassword(t) };
    const command = ["ingest", "inc", "--log-level", "trace"];
    const result = await runCli(command, { env });
    assert.equal(result.code, exitCodes.objectStore, describeRun(command, result));
    assertHidden(result.stdout + result.stderr);
  });

  test("by migrate, which fails for want of a server", async (t) => {
    const url = withPort(await urlWithPassword(t), "1");
    const result = await runCli(["migrate", "--log-level", "trace"], {
      env: { DATABASE_URL: url },
    });
    assert.equal(result.code, exitCodes.database, describeRun(["migrate"], result));
    assertHidden(result.stdout + result.stderr);
  });

  test("in the list of processes and of the server's sessions", async (t) => {
    const s3 = await startFaultyS3(t);
    const url = await urlWithPassword(t);
    const { pool } = await createDatabase(t);
    const { promise: asked, resolve } = Promise.withResolvers<undefined>();
    s3.fail({
      operation: "list",
      before: () => {
        resolve(undefined);
      },
      does: "stall",
    });
    const child = spawnCli(["ingest", "inc"], {
      env: { ...s3.env, ...secrets, DATABASE_URL: url },
    });
    const ended = once(child, "close");
    try {
      await asked;
      assertHidden(commandLines());
      const { rows } = await pool.query(
        "select to_jsonb(a) as session from pg_stat_activity as a where a.application_name = $1",
        ["fleettickets"],
      );
      assert.notEqual(rows.length, 0);
      assertHidden(JSON.stringify(rows));
    } finally {
      child.kill("SIGKILL");
      await ended;
    }
  });

  test("not even as JSON or in an address writes it", () => {
    keepSecret(password);
    const texts = [password, encodeURIComponent(password), JSON.stringify({ password })];
    for (const text of texts) assertHidden(withoutSecrets(text));
    assert.equal(withoutSecrets("nothing to hide"), "nothing to hide");
  });

  function assertHidden(text: string): void {
    for (const secret of hidden) {
      for (const form of [
        secret,
        encodeURIComponent(secret),
        encodeURI(secret),
        JSON.stringify(secret).slice(1, -1),
      ]) {
        assert.ok(!text.includes(form), `${form} is in:\n${text}`);
      }
    }
  }

  /** The address of a database, with a user whose password is the one to hide. */
  async function urlWithPassword(t: Scope): Promise<string> {
    const { url } = await createDatabase(t);
    return createLogin(t, url, { attributes: "superuser", password });
  }

  function withPassword(url: string, text: string): string {
    const address = new URL(url);
    address.password = encodeURIComponent(text);
    return address.href;
  }

  function withPort(url: string, port: string): string {
    const address = new URL(url);
    address.port = port;
    return address.href;
  }

  function commandLines(): string {
    if (!existsSync("/proc/self/cmdline")) {
      return execFileSync("ps", ["-A", "-o", "args="], { encoding: "utf8" });
    }
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => {
        try {
          return readFileSync(join("/proc", pid, "cmdline"), "utf8");
        } catch {
          return ""; // ended since we read the folder
        }
      })
      .join("\n");
  }
});
