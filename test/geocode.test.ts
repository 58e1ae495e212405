// Runs against a stub that speaks each provider's language, on a real database whose clock, and
// with it the run's, stands still but for what the run waits.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { openDatabase } from "../src/database.ts";
import { exitCodes } from "../src/errors.ts";
import {
  type GeocodeResult,
  type GeocodeTools,
  type GeocodingKind,
  geocode,
} from "../src/geocode.ts";
import { openGeocoder } from "../src/geocoder-client.ts";
import { type ProviderName, providerNames, providers } from "../src/geocoders.ts";
import { createLog } from "../src/log.ts";
import { type GeocoderStub, type StubAnswer, dialects, startGeocoder } from "./harness/geocoder.ts";
import { dumpOf, serverDatabase } from "./harness/loader.ts";
import { type TestDatabase, createDatabase } from "./harness/postgres.ts";
import type { Scope } from "./harness/scope.ts";
import { gazetteerRows, insertGazetteerRow, insertTickets, standings } from "./sql/places.ts";

const START = Date.parse("2026-06-15T06:00:00Z");
const KEY = "the-key-of-the-plan";
const limits = { stallMs: 20_000, statementMs: 60_000 };
const log = await createLog("silent");

interface Bench {
  database: TestDatabase;
  stub: GeocoderStub;
  /** What the run waited, in milliseconds, in order. */
  waits: number[];
  clock: { now: number };
  run(kind: GeocodingKind, options?: RunOptions): Promise<GeocodeResult>;
}

interface RunOptions {
  limit?: number;
  perSecond?: number;
  timeoutMs?: number;
  apply?: boolean;
  shouldStop?: () => boolean;
  /** Instead of the one of the bench. */
  waits?: number[];
}

/** A database, a service that answers so, and runs in which nobody waits for real. */
async function bench(
  t: Scope,
  provider: ProviderName,
  answer: (question: string, request: number) => StubAnswer | Promise<StubAnswer>,
): Promise<Bench> {
  const database = await createDatabase(t);
  const stub = await startGeocoder(t, answer);
  const clock = { now: START };
  const waits: number[] = [];
  return {
    database,
    stub,
    waits,
    clock,
    async run(kind, options = {}) {
      const { limit = Infinity, perSecond = 1, timeoutMs = 20_000, apply = true } = options;
      const db = await openDatabase(database.url, limits);
      const setClock = () =>
        db.query("select set_config('tickets.now', $1, false)", [
          new Date(clock.now).toISOString(),
        ]);
      const tools: GeocodeTools = {
        db,
        geocoder: apply
          ? openGeocoder(
              { provider, apiKey: KEY, url: stub.url, requestsPerSecond: perSecond, timeoutMs },
              () => clock.now,
            )
          : undefined,
        log,
        shouldStop: options.shouldStop ?? (() => false),
        async sleep(ms) {
          (options.waits ?? waits).push(ms);
          clock.now += ms;
          await setClock();
        },
        random: () => 1,
      };
      try {
        await setClock();
        return await geocode({ kind, limit }, tools);
      } finally {
        await db.close();
      }
    },
  };
}

/** Clusters of so many tickets as their place from the end, so that they are asked for in order. */
async function insertClusters({ database }: Bench, names: readonly string[]): Promise<void> {
  for (const [index, cluster] of names.entries()) {
    await insertTickets(database.pool, { cluster }, names.length - index);
  }
}

async function statuses({ database }: Bench): Promise<unknown[]> {
  return (await gazetteerRows(database.pool)).map((row) => [
    row["place"] ?? row["cluster"],
    row["status"],
    row["attempts"],
  ]);
}

function named(question: string): string {
  return question.split(",")[0] ?? "";
}

for (const provider of providerNames) {
  const speak = dialects[provider];

  describe(provider, () => {
    test("is asked as its interface wants it, for places in Kenya", async (t) => {
      const b = await bench(t, provider, () => speak.found(-1.3, 36.8));
      await insertTickets(b.database.pool, { cluster: "Kilimani" });
      await b.run("clusters");
      const [request] = b.stub.requests;
      assert.equal(request?.method, "GET");
      const expected = {
        locationiq: {
          path: "/v1/search",
          query: {
            key: KEY,
            q: "Kilimani, Kenya",
            format: "json",
            countrycodes: "ke",
            limit: "1",
            addressdetails: "1",
          },
        },
        opencage: {
          path: "/geocode/v1/json",
          query: {
            key: KEY,
            q: "Kilimani, Kenya",
            countrycode: "ke",
            limit: "1",
            no_annotations: "1",
            no_record: "1",
          },
        },
        nominatim: {
          path: "/search",
          query: {
            q: "Kilimani, Kenya",
            format: "json",
            countrycodes: "ke",
            limit: "1",
            addressdetails: "1",
          },
        },
      };
      assert.deepEqual({ path: request?.path, query: request?.query }, expected[provider]);
      assert.match(request?.headers["user-agent"] ?? "", /fleettickets/);
    });

    test("is told where a place probably is, without limiting the search", async (t) => {
      const b = await bench(t, provider, () => speak.found(-1.3, 36.8));
      await insertGazetteerRow(b.database.pool, { cluster: "Kilimani", at: [-1.29, 36.79] });
      await insertTickets(b.database.pool, { cluster: "Kilimani", location: "Ngong Road" });
      await b.run("locations");
      const { viewbox, bounded, bounds, proximity } = b.stub.requests[0]?.query ?? {};
      assert.equal(bounds, undefined);
      if (provider === "opencage") {
        assert.equal(proximity, "-1.29,36.79");
        return;
      }
      assert.equal(bounded, "0");
      const [west = 0, south = 0, east = 0, north = 0] = (viewbox ?? "").split(",").map(Number);
      assert.ok(west < 36.79 && 36.79 < east && south < -1.29 && -1.29 < north, viewbox);
    });

    test("places the tickets by what it finds", async (t) => {
      const b = await bench(t, provider, () => speak.found(-1.3, 36.8));
      await insertTickets(b.database.pool, { cluster: "Kilimani" });
      const result = await b.run("clusters");
      assert.deepEqual(
        [result.exit_code, result.ok, result.requests, result.provider],
        [exitCodes.done, 1, 1, provider],
      );
      assert.deepEqual(await gazetteerRows(b.database.pool), [
        {
          cluster: "Kilimani",
          place: null,
          status: "ok",
          verified: false,
          attempts: 1,
          provider,
          query: "Kilimani, Kenya",
          at: [-1.3, 36.8],
          fetched_at: new Date(START),
        },
      ]);
      assert.deepEqual(await standings(b.database.pool), [
        {
          cluster: "Kilimani",
          location: null,
          latitude: -1.3,
          longitude: 36.8,
          geo_source: "cluster",
        },
      ]);
    });

    test("has no match: an answer, believed for 30 days", async (t) => {
      const b = await bench(t, provider, () => speak.noMatch());
      await insertTickets(b.database.pool, { cluster: "Kilimani" });
      const result = await b.run("clusters");
      assert.deepEqual([result.exit_code, result.no_match], [exitCodes.done, 1]);
      assert.deepEqual(await statuses(b), [["Kilimani", "no_match", 1]]);
      b.clock.now += 30 * 86_400_000 - 1;
      assert.equal((await b.run("clusters")).requests, 0);
      b.clock.now += 1;
      assert.equal((await b.run("clusters")).requests, 1);
    });

    test("has understood nothing but the country: no match", async (t) => {
      const b = await bench(t, provider, () => speak.country());
      await insertTickets(b.database.pool, { cluster: "Kilimani" });
      await b.run("clusters");
      assert.deepEqual(await statuses(b), [["Kilimani", "no_match", 1]]);
    });

    for (const refusal of ["badKey", "forbidden"] as const) {
      test(`refuses the key (${refusal}): exit code 7 at once, nothing written`, async (t) => {
        const b = await bench(t, provider, () => speak[refusal]());
        await insertClusters(b, ["one", "two"]);
        const { exit_code, requests, error } = await b.run("clusters");
        assert.deepEqual([exit_code, requests], [exitCodes.geocoderRefused, 1]);
        assert.match(error?.hint ?? "", /GEOCODER_API_KEY/);
        assert.deepEqual(await statuses(b), []);
        assert.ok(!JSON.stringify(error).includes(KEY));
      });
    }

    test("has no quota left: exit code 7, the answers so far are kept, and when it goes on", async (t) => {
      const reset = Date.parse("2026-06-16T00:00:00Z");
      let isSpent = true;
      const b = await bench(t, provider, (_, request) =>
        isSpent && request > 0 ? speak.quota(reset / 1000) : speak.found(-1.3, 36.8),
      );
      await insertClusters(b, ["one", "two", "three"]);
      const { exit_code, requests, retry_at, ok, due } = await b.run("clusters");
      assert.deepEqual([exit_code, requests, ok, due], [exitCodes.geocoderRefused, 2, 1, 3]);
      assert.equal(retry_at, "2026-06-16T00:00:00.000Z");
      assert.deepEqual(await statuses(b), [["one", "ok", 1]]);
      isSpent = false;
      assert.equal((await b.run("clusters")).exit_code, exitCodes.done);
      assert.deepEqual(b.stub.questions().map(named), ["one", "two", "two", "three"]);
    });

    test("has a day limit that is reached: exit code 7, and nothing is asked again", async (t) => {
      const b = await bench(t, provider, () => speak.tooFast("Day"));
      await insertClusters(b, ["one", "two"]);
      const { exit_code, requests } = await b.run("clusters");
      assert.deepEqual([exit_code, requests], [exitCodes.geocoderRefused, 1]);
    });

    test("is asked too fast: it is asked again as late as it says", async (t) => {
      const b = await bench(t, provider, (_, request) =>
        request === 0 ? speak.tooFast("Second", { "retry-after": "7" }) : speak.found(-1.3, 36.8),
      );
      await insertTickets(b.database.pool, { cluster: "Kilimani" });
      const result = await b.run("clusters");
      assert.deepEqual([result.exit_code, result.ok, result.requests], [exitCodes.done, 1, 2]);
      assert.deepEqual(b.waits, [7000]);
    });

    test("is asked too fast and says no time: longer from time to time, and in the end exit code 7", async (t) => {
      const b = await bench(t, provider, () => speak.tooFast("Second"));
      await insertTickets(b.database.pool, { cluster: "Kilimani" });
      const result = await b.run("clusters");
      assert.deepEqual([result.exit_code, result.requests], [exitCodes.geocoderRefused, 6]);
      assert.deepEqual(b.waits, [1000, 2000, 4000, 8000, 16_000]);
      assert.deepEqual(await statuses(b), []);
    });

    test("is in trouble: it is asked again, and an answer then is as good as any", async (t) => {
      const b = await bench(t, provider, (_, request) =>
        request < 3 ? speak.serverError() : speak.found(-1.3, 36.8),
      );
      await insertTickets(b.database.pool, { cluster: "Kilimani" });
      const result = await b.run("clusters");
      assert.deepEqual([result.exit_code, result.ok, result.requests], [exitCodes.done, 1, 4]);
      assert.deepEqual(b.waits, [1000, 2000, 4000]);
      assert.deepEqual(await statuses(b), [["Kilimani", "ok", 1]]);
    });

    test("is in trouble and says until when: a date is kept to", async (t) => {
      const b = await bench(t, provider, (_, request) =>
        request === 0
          ? speak.serverError({ "retry-after": new Date(START + 90_000).toUTCString() })
          : speak.found(-1.3, 36.8),
      );
      await insertTickets(b.database.pool, { cluster: "Kilimani" });
      assert.equal((await b.run("clusters")).ok, 1);
      assert.deepEqual(b.waits, [90_000]);
    });
  });
}

describe("LocationIQ", () => {
  test("limits the minute without saying how long: a minute is waited", async (t) => {
    const speak = dialects.locationiq;
    const b = await bench(t, "locationiq", (_, request) =>
      request === 0 ? speak.tooFast("Minute") : speak.found(-1.3, 36.8),
    );
    await insertTickets(b.database.pool, { cluster: "Kilimani" });
    assert.equal((await b.run("clusters")).ok, 1);
    assert.deepEqual(b.waits, [60_000]);
  });

  test("is not at this address, which says 404: no match is not what that means", async (t) => {
    const b = await bench(t, "locationiq", () => ({
      status: 404,
      body: JSON.stringify({ message: "no Route matched with those values" }),
    }));
    await insertTickets(b.database.pool, { cluster: "Kilimani" });
    assert.equal((await b.run("clusters")).exit_code, exitCodes.geocoderRefused);
    assert.deepEqual(await statuses(b), [["Kilimani", "error", 1]]);
  });
});

test("OpenCage's day limit says when it goes on", async (t) => {
  const b = await bench(t, "opencage", () => dialects.opencage.tooFast("Day"));
  await insertTickets(b.database.pool, { cluster: "Kilimani" });
  assert.equal((await b.run("clusters")).retry_at, "2026-06-18T00:00:00.000Z");
});

const speak = dialects.nominatim;

describe("a coordinate is any number on Earth, however it is written", () => {
  const cases: [lat: string, latitude: number][] = [
    ['"5e-05"', 0.00005],
    ['"-4.2E-6"', -0.0000042],
    ["1e-7", 0.0000001],
    ['"+0.5"', 0.5],
    ['"-.5"', -0.5],
  ];
  for (const [written, latitude] of cases) {
    test(written, () => {
      const body: unknown = JSON.parse(`[{"lat": ${written}, "lon": "36.8"}]`);
      const reply = providers.nominatim.interpret({ status: 200, body, retryAfter: undefined });
      assert.deepEqual(reply, {
        kind: "found",
        latitude,
        longitude: 36.8,
        countryCode: undefined,
      });
    });
  }
});

describe("what is no answer", () => {
  const good = speak.found(-1.3, 36.8);
  const cases: [what: string, answer: StubAnswer][] = [
    ["a server error", speak.serverError()],
    ["a cut body", { ...good, does: "cut" }],
    ["a broken connection", { ...good, does: "reset" }],
    ["no end of waiting", { ...good, does: "stall" }],
    ["no JSON", { status: 200, body: "[{" }],
    ["HTML", { status: 200, body: "<!DOCTYPE html><html><body>Maintenance</body></html>" }],
    ["nothing", { status: 200, body: "" }],
    ["JSON of another kind", { status: 200, body: '{"error": "Unknown"}' }],
    ["a place without coordinates", { status: 200, body: '[{"lat": "", "lon": null}]' }],
    ["a place that is not on Earth", { status: 200, body: '[{"lat": "91", "lon": "36"}]' }],
    ["a place beyond all numbers", { status: 200, body: '[{"lat": 1e999, "lon": "36"}]' }],
    ["a place in hexadecimal", { status: 200, body: '[{"lat": "0x1", "lon": "36"}]' }],
    ["endless", { status: 200, body: " ".repeat(1_000_001) }],
  ];
  for (const [what, answer] of cases) {
    test(`is asked for again, then remembered as an error, and others have their turn: ${what}`, async (t) => {
      const b = await bench(t, "nominatim", (question) =>
        named(question) === "one" ? answer : good,
      );
      await insertClusters(b, ["one", "two"]);
      const result = await b.run("clusters", { perSecond: 1000, timeoutMs: 100 });
      assert.deepEqual([result.exit_code, result.ok, result.errors], [exitCodes.done, 1, 1]);
      assert.deepEqual(await statuses(b), [
        ["one", "error", 1],
        ["two", "ok", 1],
      ]);
      assert.deepEqual(b.stub.questions().map(named), ["one", "one", "one", "one", "two"]);
      assert.deepEqual(b.waits.slice(0, 3), [1000, 2000, 4000]);
    });
  }

  test("is not asked for again where that cannot help", async (t) => {
    const b = await bench(t, "nominatim", (question) =>
      named(question) === "one" ? { status: 400, body: '{"error": {"code": 400}}' } : good,
    );
    await insertClusters(b, ["one", "two"]);
    await b.run("clusters");
    assert.deepEqual(b.stub.questions().map(named), ["one", "two"]);
    assert.deepEqual(await statuses(b), [
      ["one", "error", 1],
      ["two", "ok", 1],
    ]);
  });

  test("three times in a row ends the run with exit code 7; the next one asks again", async (t) => {
    let isDown = true;
    const b = await bench(t, "nominatim", (_, request) =>
      isDown && request > 0 ? speak.serverError() : good,
    );
    await insertClusters(b, ["one", "two", "three", "four", "five"]);
    const result = await b.run("clusters");
    assert.deepEqual(
      [result.exit_code, result.ok, result.errors],
      [exitCodes.geocoderRefused, 1, 3],
    );
    isDown = false;
    assert.equal((await b.run("clusters")).ok, 4);
    assert.deepEqual(await statuses(b), [
      ["five", "ok", 1],
      ["four", "ok", 2],
      ["one", "ok", 1],
      ["three", "ok", 2],
      ["two", "ok", 2],
    ]);
  });

  test("to any question ends the run with exit code 7, however few there were", async (t) => {
    const b = await bench(t, "nominatim", () => speak.serverError());
    await insertTickets(b.database.pool, { cluster: "Kilimani" });
    assert.equal((await b.run("clusters")).exit_code, exitCodes.geocoderRefused);
  });

  test("for longer than anybody would wait ends the run, which says until when", async (t) => {
    const b = await bench(t, "nominatim", () => speak.serverError({ "retry-after": "3600" }));
    await insertTickets(b.database.pool, { cluster: "Kilimani" });
    const { exit_code, requests, retry_at } = await b.run("clusters");
    assert.deepEqual([exit_code, requests], [exitCodes.geocoderRefused, 1]);
    assert.equal(retry_at, new Date(START + 3_600_000).toISOString());
    assert.deepEqual(b.waits, []);
  });
});

test("a redirect is not followed: the key goes nowhere else", async (t) => {
  const elsewhere = await startGeocoder(t, () => speak.found(-1.3, 36.8));
  const b = await bench(t, "locationiq", () => ({
    status: 302,
    headers: { location: `${elsewhere.url}/v1/search?key=${KEY}` },
    body: "",
  }));
  await insertTickets(b.database.pool, { cluster: "Kilimani" });
  const { exit_code, error } = await b.run("clusters");
  assert.equal(exit_code, exitCodes.geocoderRefused);
  assert.match(error?.hint ?? "", /GEOCODER_URL/);
  assert.deepEqual(elsewhere.requests, []);
});

describe("a run", () => {
  const found = () => speak.found(-1.3, 36.8);

  test("asks one question for all that mean the same", async (t) => {
    const b = await bench(t, "nominatim", found);
    for (const cluster of ["QOA", "Quarry Road", "quarry road"]) {
      await insertTickets(b.database.pool, { cluster });
    }
    const result = await b.run("clusters");
    assert.deepEqual([result.ok, result.requests], [3, 1]);
    assert.deepEqual(await statuses(b), [
      ["QOA", "ok", 1],
      ["Quarry Road", "ok", 1],
      ["quarry road", "ok", 1],
    ]);
  });

  test("asks for nothing twice: the next one has nothing to do", async (t) => {
    const b = await bench(t, "nominatim", (question) =>
      named(question) === "near" ? found() : speak.found(-4.04, 39.67),
    );
    await insertGazetteerRow(b.database.pool, { cluster: "Kilimani", at: [-1.29, 36.79] });
    for (const location of ["near", "far"]) {
      await insertTickets(b.database.pool, { cluster: "Kilimani", location });
    }
    const first = await b.run("locations");
    assert.deepEqual([first.ok, first.rejected_far], [1, 1]);
    const { look } = serverDatabase(b.database);
    const before = await look(dumpOf);
    const second = await b.run("locations");
    assert.deepEqual([second.exit_code, second.due, second.requests], [exitCodes.done, 0, 0]);
    assert.deepEqual(await look(dumpOf), before);
  });

  test("says of each place what came of it, and of those it skipped why", async (t) => {
    const b = await bench(t, "nominatim", found);
    await insertGazetteerRow(b.database.pool, { cluster: "Kilimani", at: [-1.29, 36.79] });
    await insertTickets(b.database.pool, { cluster: "Kilimani", location: "Ngong Road" }, 2);
    await insertTickets(b.database.pool, { cluster: "Thika", location: "Ngong Road" });
    assert.deepEqual(await b.run("locations"), {
      kind: "locations",
      applied: true,
      provider: "nominatim",
      due: 1,
      requests: 1,
      ok: 1,
      no_match: 0,
      rejected_far: 0,
      errors: 0,
      places: [
        {
          place: "Ngong Road",
          cluster: "Kilimani",
          tickets: 2,
          query: "Ngong Road, Kilimani, Kenya",
          status: "ok",
          latitude: -1.3,
          longitude: 36.8,
          distance_m: 1569,
          error: null,
        },
      ],
      skipped: [
        { place: "Ngong Road", cluster: "Thika", tickets: 1, reason: "its cluster has no point" },
      ],
      stopped: false,
      error: null,
      retry_at: null,
      exit_code: exitCodes.done,
    });
  });

  test("leaves alone what a person verifies while it asks", async (t) => {
    const b = await bench(t, "nominatim", async () => {
      await insertGazetteerRow(b.database.pool, {
        cluster: "Kilimani",
        at: [-1.28, 36.77],
        verified: true,
      });
      return found();
    });
    await insertTickets(b.database.pool, { cluster: "Kilimani" });
    const { places, ok } = await b.run("clusters");
    assert.deepEqual([ok, places[0]?.status], [0, "kept"]);
    const [row] = await gazetteerRows(b.database.pool);
    assert.deepEqual(row?.["at"], [-1.28, 36.77]);
  });

  test("asks so many questions at most as it is told", async (t) => {
    const b = await bench(t, "nominatim", found);
    await insertClusters(b, ["one", "two", "three"]);
    const { due, places, requests } = await b.run("clusters", { limit: 2 });
    assert.deepEqual([due, places.length, requests], [3, 2, 2]);
    assert.deepEqual(b.stub.questions().map(named), ["one", "two"]);
  });

  test("ends after the answer in hand when it is asked to stop", async (t) => {
    const b = await bench(t, "nominatim", found);
    await insertClusters(b, ["one", "two"]);
    const shouldStop = () => b.stub.requests.length > 0;
    const { stopped, exit_code, ok } = await b.run("clusters", { shouldStop });
    assert.deepEqual([stopped, exit_code, ok], [true, exitCodes.done, 1]);
    assert.equal(b.stub.requests.length, 1);
    assert.deepEqual(await statuses(b), [["one", "ok", 1]]);
  });

  test("leaves at once with exit code 5 while another one of its kind is at it", async (t) => {
    const b = await bench(t, "nominatim", found);
    await insertTickets(b.database.pool, { cluster: "Kilimani" });
    const other = await b.database.connect();
    await other.query("select tickets.start_geocoding('clusters')");
    const { exit_code, error } = await b.run("clusters");
    assert.deepEqual([exit_code, error?.code], [exitCodes.locked, "TK051"]);
    assert.equal((await b.run("locations")).exit_code, exitCodes.done);
    await other.query("select tickets.finish_geocoding('clusters')");
    assert.equal((await b.run("clusters")).ok, 1);
  });
});

describe("a dry run", () => {
  test("asks nobody, writes nothing, and says what would be asked", async (t) => {
    const b = await bench(t, "nominatim", () => speak.noMatch());
    await insertClusters(b, ["one", "two"]);
    const { look } = serverDatabase(b.database);
    const before = await look(dumpOf);
    const { applied, due, places, exit_code } = await b.run("clusters", { apply: false });
    assert.deepEqual([applied, due, exit_code], [false, 2, exitCodes.done]);
    assert.deepEqual(
      places.map(({ cluster, query, tickets, status }) => [cluster, query, tickets, status]),
      [
        ["one", "one, Kenya", 2, "due"],
        ["two", "two, Kenya", 1, "due"],
      ],
    );
    assert.deepEqual(b.stub.requests, []);
    assert.deepEqual(await look(dumpOf), before);
  });

  test("does not need the lock", async (t) => {
    const b = await bench(t, "nominatim", () => speak.noMatch());
    const other = await b.database.connect();
    await other.query("select tickets.start_geocoding('clusters')");
    assert.equal((await b.run("clusters", { apply: false })).exit_code, exitCodes.done);
  });
});

describe("the limits of a service", () => {
  const found = () => speak.found(-1.3, 36.8);
  const names = ["one", "two", "three", "four"];

  test("keep requests as far apart as GEOCODER_RPS says", async (t) => {
    const b = await bench(t, "nominatim", found);
    await insertClusters(b, names);
    await b.run("clusters", { perSecond: 4 });
    assert.deepEqual(b.waits, [250, 250, 250]);
  });

  test("count for minutes", async (t) => {
    const b = await bench(t, "nominatim", found);
    await limitTo(b, { per_minute: 2 });
    await insertClusters(b, names);
    await b.run("clusters");
    assert.deepEqual(b.waits, [1000, 59_000, 1000]);
  });

  test("count for days, over runs: exit code 7, and when it goes on", async (t) => {
    const b = await bench(t, "nominatim", found);
    await limitTo(b, { per_day: 3 });
    await insertClusters(b, names);
    assert.equal((await b.run("clusters", { limit: 2 })).exit_code, exitCodes.done);
    const { exit_code, ok, retry_at } = await b.run("clusters");
    assert.deepEqual([exit_code, ok], [exitCodes.geocoderRefused, 1]);
    assert.equal(retry_at, "2026-06-16T00:00:00.000Z");
    assert.equal(b.stub.requests.length, 3);
    b.clock.now = Date.parse("2026-06-16T00:00:00Z");
    assert.equal((await b.run("clusters")).ok, 1);
  });

  test("count for a run that begins right after another one", async (t) => {
    const b = await bench(t, "nominatim", found);
    await insertClusters(b, names);
    await b.run("clusters", { limit: 1 });
    b.clock.now += 300;
    await b.run("clusters", { limit: 1 });
    assert.deepEqual(b.waits, [700]);
  });

  test("are shared by two runs at once", async (t) => {
    const b = await bench(t, "nominatim", found);
    await insertGazetteerRow(b.database.pool, { cluster: "Kilimani", at: [-1.29, 36.79] });
    for (const name of names) {
      await insertTickets(b.database.pool, { cluster: "Kilimani", location: name });
      await insertTickets(b.database.pool, { cluster: name });
    }
    // Each has a clock of its own here, so that all they have in common is the database.
    const turns: number[] = [];
    await Promise.all(
      (["clusters", "locations"] as const).map((kind) => runWithClock(b, kind, turns)),
    );
    assert.equal(turns.length, 8);
    turns.sort((one, another) => one - another);
    for (const [index, turn] of turns.entries()) {
      assert.ok(index === 0 || turn - (turns[index - 1] ?? 0) >= 1000, turns.join());
    }
  });

  async function limitTo({ database, stub }: Bench, limits: Record<string, number>): Promise<void> {
    await database.pool.query(
      `insert into tickets.geocoder_services (service, per_minute, per_day) values ($1, $2, $3)`,
      [stub.host, limits["per_minute"], limits["per_day"]],
    );
  }

  /** A run that notes at which instant of its own clock it asked. */
  async function runWithClock(b: Bench, kind: GeocodingKind, turns: number[]): Promise<void> {
    const db = await openDatabase(b.database.url, limits);
    let now = START;
    const setClock = () =>
      db.query("select set_config('tickets.now', $1, false)", [new Date(now).toISOString()]);
    await setClock();
    const geocoder = openGeocoder({
      provider: "nominatim",
      apiKey: "",
      url: b.stub.url,
      requestsPerSecond: 1,
      timeoutMs: 10_000,
    });
    try {
      const result = await geocode(
        { kind, limit: Infinity },
        {
          db,
          geocoder: {
            ...geocoder,
            ask: (question) => {
              turns.push(now);
              return geocoder.ask(question);
            },
          },
          log,
          shouldStop: () => false,
          async sleep(ms) {
            now += ms;
            await setClock();
          },
          random: () => 1,
        },
      );
      assert.equal(result.ok, 4);
    } finally {
      await db.close();
    }
  }
});

test("the plan of a public service counts for its hosts, a server of one's own for itself", () => {
  const serviceAt = (provider: ProviderName, url: string) =>
    openGeocoder({ provider, apiKey: "", url, requestsPerSecond: 1, timeoutMs: 1000 }).service;
  assert.equal(serviceAt("locationiq", "https://eu1.locationiq.com"), "locationiq");
  assert.equal(serviceAt("opencage", "https://api.opencagedata.com/"), "opencage");
  assert.equal(serviceAt("nominatim", "https://nominatim.openstreetmap.org"), "nominatim");
  assert.equal(serviceAt("nominatim", "http://maps.example:8080/nominatim"), "maps.example:8080");
  assert.equal(serviceAt("locationiq", "https://notlocationiq.com"), "notlocationiq.com");
});
