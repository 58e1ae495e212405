// `fleettickets geocode` as it is called: output, exit codes, secrets, signals and kills.

import assert from "node:assert/strict";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { describe, test } from "node:test";
import { exitCodes } from "../src/errors.ts";
import type { GeocodeResult } from "../src/geocode.ts";
import { type CliResult, describeRun, runCli, spawnCli } from "./harness/cli.ts";
import { createEmbeddedDatabase } from "./harness/embedded.ts";
import { type StubAnswer, dialects, startGeocoder } from "./harness/geocoder.ts";
import { type LoaderDatabase, createServerDatabase, embeddedDatabase } from "./harness/loader.ts";
import { createLogin } from "./harness/logins.ts";
import { killTree } from "./harness/processes.ts";
import type { Scope } from "./harness/scope.ts";
import { type Queryable, gazetteerRows, insertGazetteerRow, insertTickets } from "./sql/places.ts";

const KEY = "pk.0123456789/of+the=plan";
const speak = dialects.locationiq;

interface Scene {
  db: LoaderDatabase;
  env: Record<string, string>;
  questions: () => string[];
  run(args: string[], code?: number, env?: Record<string, string>): Promise<CliResult>;
}

/** Clusters named after how early they are asked for, and a service that answers so. */
async function scene(
  t: Scope,
  answer: (question: string, request: number) => StubAnswer | Promise<StubAnswer>,
  {
    db: given,
    clusters = ["one", "two", "three"],
  }: { db?: LoaderDatabase; clusters?: string[] } = {},
): Promise<Scene> {
  const db = given ?? (await createServerDatabase(t));
  await on(db, async (client) => {
    for (const [index, cluster] of clusters.entries()) {
      await insertTickets(client, { cluster }, clusters.length - index);
    }
  });
  const stub = await startGeocoder(t, answer);
  const env = {
    DATABASE_URL: db.url,
    GEOCODER_PROVIDER: "locationiq",
    GEOCODER_API_KEY: KEY,
    GEOCODER_URL: stub.url,
    GEOCODER_RPS: "1000",
  };
  return {
    db,
    env,
    questions: () => stub.questions().map((question) => question.split(",")[0] ?? ""),
    async run(args, code = exitCodes.done, more = {}) {
      const result = await runCli(["geocode", ...args], { env: { ...env, ...more } });
      assert.equal(result.code, code, describeRun(args, result));
      return result;
    },
  };
}

function on<T>(db: LoaderDatabase, work: (client: Queryable) => Promise<T>): Promise<T> {
  return db.look((query) =>
    work({ query: async (text, values) => ({ rows: await query(text, values) }) }),
  );
}

async function rowsOf(db: LoaderDatabase): Promise<unknown[]> {
  const rows = await on(db, gazetteerRows);
  return rows.map((row) => [row["cluster"], row["status"], row["attempts"]]);
}

const found = () => speak.found(-1.3, 36.8);

describe("geocode", () => {
  test("is a dry run without --apply, and needs no geocoder for it", async (t) => {
    const { run, questions, db } = await scene(t, found);
    const { stdout } = await run(["clusters"], exitCodes.done, {
      GEOCODER_PROVIDER: "",
      GEOCODER_API_KEY: "",
    });
    assert.match(stdout, /3 to ask for/);
    assert.match(stdout, /one, Kenya/);
    assert.match(stdout, /--apply/);
    assert.deepEqual(questions(), []);
    assert.deepEqual(await rowsOf(db), []);
  });

  test("asks with --apply, says what came of it, and has then nothing to do", async (t) => {
    const { run } = await scene(t, (question) =>
      question.startsWith("two") ? speak.noMatch() : found(),
    );
    const { stdout } = await run(["clusters", "--apply"]);
    assert.match(stdout, /Clusters: 2 found, 1 without a match, 3 requests/);
    assert.match(stdout, /one +3 +found +-1\.300000 +36\.800000/);
    assert.match((await run(["clusters", "--apply"])).stdout, /nothing to ask for/);
  });

  test("prints one object with --json", async (t) => {
    const { run } = await scene(t, found);
    const { stdout, json } = await run(["clusters", "--apply", "--json", "--limit", "2"]);
    assert.equal(stdout.trim().split("\n").length, 1);
    const { kind, applied, due, ok, requests, exit_code } = json as GeocodeResult;
    assert.deepEqual(
      { kind, applied, due, ok, requests, exit_code },
      { kind: "clusters", applied: true, due: 3, ok: 2, requests: 2, exit_code: exitCodes.done },
    );
  });

  test("finds the places of a cluster once it has a point, and says what it skips", async (t) => {
    const { run, db } = await scene(t, found, { clusters: [] });
    await on(db, async (client) => {
      await insertGazetteerRow(client, { cluster: "Kilimani", at: [-1.29, 36.79] });
      await insertTickets(client, { cluster: "Kilimani", location: "NW_KILIMANI Ngong Road" });
      await insertTickets(client, { cluster: "Thika", location: "Limuru Rd" }, 2);
    });
    const { stdout } = await run(["locations", "--apply"]);
    assert.match(stdout, /KILIMANI Ngong Road +Kilimani +1 +found .* 1\.6$/m);
    assert.match(stdout, /Thika +1 +2 +its cluster has no point/);
  });

  for (const [what, answer, args] of [
    ["a wrong key", speak.badKey, []],
    ["a spent quota", () => speak.quota(1_781_568_000), ["--json"]],
    ["a geocoder in trouble", () => ({ ...found(), does: "reset" as const }), []],
  ] as const) {
    test(`ends with exit code 7 for ${what}, the key being nowhere in what it says`, async (t) => {
      const { run, env } = await scene(t, answer, { clusters: ["one"] });
      const { stdout, stderr } = await run(
        ["clusters", "--apply", "--log-level", "trace", ...args],
        exitCodes.geocoderRefused,
      );
      for (const form of [env["GEOCODER_API_KEY"] ?? "", encodeURIComponent(KEY)]) {
        assert.ok(!`${stdout}${stderr}`.includes(form));
      }
    });
  }

  test("shows no part of the key where the service quotes it, encoded or at the end of a long text", async (t) => {
    const key = "the key's (32) signs! ~ #of+the/plan";
    const search = new URLSearchParams({ key }).toString();
    const texts = [160, 180, 199].map((length) => `${"x".repeat(length)}${key}`);
    for (const error of [key, search, encodeURIComponent(key), ...texts]) {
      const answer = (): StubAnswer => ({
        status: 401,
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ error }),
      });
      const { run } = await scene(t, answer, { clusters: ["one"] });
      for (const more of [[], ["--json"]]) {
        const { stdout, stderr } = await run(
          ["clusters", "--apply", ...more],
          exitCodes.geocoderRefused,
          { GEOCODER_API_KEY: key },
        );
        assert.doesNotMatch(`${stdout}${stderr}`, /the.?key|key%27|signs|of\+the|of%2Bthe/);
      }
    }
  });

  test("says all that is missing, with exit code 2", async (t) => {
    const { run, questions } = await scene(t, found);
    const { stderr } = await run(["clusters", "--apply"], exitCodes.usage, {
      DATABASE_URL: "",
      GEOCODER_API_KEY: "",
      GEOCODER_RPS: "fast",
    });
    for (const name of ["DATABASE_URL", "GEOCODER_API_KEY", "GEOCODER_RPS"]) {
      assert.match(stderr, new RegExp(`${name} is `));
    }
    assert.deepEqual(questions(), []);
  });

  test("keeps to one request a second by itself", async (t) => {
    const { run } = await scene(t, found);
    const before = performance.now();
    await run(["clusters", "--apply"], exitCodes.done, { GEOCODER_RPS: "" });
    assert.ok(performance.now() - before > 2000);
  });

  test("does with the rights of the loader's role", async (t) => {
    const { run, db } = await scene(t, found);
    const url = await createLogin(t, db.url, { attributes: "in role fleettickets_loader" });
    await run(["clusters"], exitCodes.done, { DATABASE_URL: url });
    await run(["clusters", "--apply"], exitCodes.done, { DATABASE_URL: url });
    assert.equal((await rowsOf(db)).length, 3);
  });

  test("does on the embedded database, too", async (t) => {
    const db = embeddedDatabase(await createEmbeddedDatabase(t));
    const { run, questions } = await scene(t, found, { db, clusters: ["Kilimani", "QOA"] });
    await on(db, (client) =>
      insertTickets(client, { cluster: "Kilimani", location: "NW_KILIMANI Ngong Road" }),
    );
    await run(["clusters"]);
    await run(["clusters", "--apply"]);
    const { json } = await run(["locations", "--apply", "--json"]);
    assert.equal((json as GeocodeResult).ok, 1);
    assert.deepEqual(questions(), ["Kilimani", "Quarry Road", "KILIMANI Ngong Road"]);
    assert.deepEqual(await rowsOf(db), [
      ["Kilimani", "ok", 1],
      ["Kilimani", "ok", 1],
      ["QOA", "ok", 1],
    ]);
  });
});

describe("a run that is ended from outside", () => {
  test("by SIGTERM brings the answer in hand home, and ends with exit code 0", async (t) => {
    const asked = Promise.withResolvers<undefined>();
    const answered = Promise.withResolvers<undefined>();
    const { env, db, questions } = await scene(t, async (_, request) => {
      if (request === 1) {
        asked.resolve(undefined);
        await answered.promise;
      }
      return found();
    });
    const child = spawnCli(["geocode", "clusters", "--apply"], { env });
    const ended = once(child, "close") as Promise<[number | null]>;
    await asked.promise;
    child.kill("SIGTERM");
    await untilItSays(child.stderr, "ending after the answer in hand");
    answered.resolve(undefined);
    assert.equal((await ended)[0], exitCodes.done);
    assert.deepEqual(questions(), ["one", "two"]);
    assert.deepEqual(await rowsOf(db), [
      ["one", "ok", 1],
      ["two", "ok", 1],
    ]);
  });

  test("by SIGTERM while it waits for its turn does not wait any longer", async (t) => {
    const { env, db } = await scene(t, (question) =>
      question.startsWith("two") ? speak.tooFast("Minute") : found(),
    );
    const child = spawnCli(["geocode", "clusters", "--apply", "--log-level", "info"], { env });
    const ended = once(child, "close") as Promise<[number | null]>;
    const before = performance.now();
    await untilPaused(db);
    child.kill("SIGTERM");
    assert.equal((await ended)[0], exitCodes.done);
    assert.ok(performance.now() - before < 30_000);
    assert.deepEqual(await rowsOf(db), [["one", "ok", 1]]);
  });

  test("by kill -9 loses no answer that came before, and the next one asks for the rest", async (t) => {
    const clusters = ["one", "two", "three", "four"];
    for (const killedAt of [1, 3]) {
      const asked = Promise.withResolvers<undefined>();
      const { env, db, run, questions } = await scene(
        t,
        (_, request): StubAnswer => {
          if (request !== killedAt) return found();
          asked.resolve(undefined);
          return { ...found(), does: "stall" };
        },
        { clusters },
      );
      const child = spawnCli(["geocode", "clusters", "--apply"], { env });
      const ended = once(child, "close");
      await asked.promise;
      await killTree(child.pid ?? assert.fail("not started"));
      await ended;
      const kept = clusters.slice(0, killedAt);
      assert.deepEqual(
        new Set((await rowsOf(db)).map((row) => (row as string[])[0])),
        new Set(kept),
      );
      await run(["clusters", "--apply"]);
      // The one in hand is asked for twice.
      assert.deepEqual(questions(), [
        ...clusters.slice(0, killedAt + 1),
        ...clusters.slice(killedAt),
      ]);
      assert.equal((await rowsOf(db)).length, clusters.length);
    }
  });

  async function untilItSays(output: Readable, words: string): Promise<void> {
    let said = "";
    for await (const chunk of output.iterator({ destroyOnReturn: false })) {
      said += String(chunk);
      if (said.includes(words)) return;
    }
    assert.fail(`it never says "${words}", but: ${said}`);
  }

  async function untilPaused(db: LoaderDatabase): Promise<void> {
    for (;;) {
      const [row] = await db.look((query) =>
        query<{ paused: boolean }>(
          `select exists (
             select from tickets.geocoder_services as s where s.paused_until is not null
           ) as paused`,
        ),
      );
      if (row?.paused === true) return;
    }
  }
});
