import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { lstat, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { BrowserContextOptions, Page } from "playwright-core";
import { exitCodes } from "../src/errors.ts";
import { loadBundle } from "../src/preview-bundle.ts";
import { jsonInHtml, reportPage } from "../src/preview-page.ts";
import type { Dashboard, TicketMap } from "../src/preview/data.ts";
import { readReport } from "../src/report.ts";
import { type WatchedPage, openPage, startBrowser } from "./harness/browser.ts";
import { describeRun, runCli, spawnCli } from "./harness/cli.ts";
import type { Row } from "./harness/csv.ts";
import { browserAdvice, findBrowser } from "./harness/find-browser.ts";
import { createLogin } from "./harness/logins.ts";
import { type TestDatabase, createDatabase } from "./harness/postgres.ts";
import type { Scope } from "./harness/scope.ts";

// Whoever has a browser must see these tests pass, and so must CI.
const skip = findBrowser() === undefined && !process.env["CI"] && browserAdvice;

/** At the same place, so that the map shows them as one. */
const embakasi = { cluster: "Embakasi", latitude: "-1.3231", longitude: "36.8941" };
const alone = {
  INC1: { opened: "1 hour", cluster: "Karen", latitude: "-1.3194", longitude: "36.7073" },
  INC2: { opened: "40 hours", cluster: "Westlands", latitude: "-1.2676", longitude: "36.8108" },
  INC3: { opened: "5 days", cluster: "Kasarani", latitude: "-1.2195", longitude: "36.8960" },
};
const hostile = {
  id: `<script>pwned()</script>`,
  cluster: `"><img src=x onerror=pwned()>`,
  place: `</script><script>pwned()</script><!--`,
  team: `<svg onload=pwned()>`,
  owner: `\u2028'); pwned() //`,
};

const password = "a-Secret/of:the@database";
const browser = skip ? undefined : await startBrowser({ after });
const database = await createDatabase({ after });
await loadTickets(database);
const login = await createLogin({ after }, database.url, {
  attributes: "in role fleettickets_reader",
  password,
});
const url = await servedUrl({ after }, login);

describe("the page", { skip }, () => {
  test("shows tickets where they are: a click there tells of the ticket", async (t) => {
    const watched = await open(t, "#view=11/-1.29/36.81");
    const { page } = watched;
    await page.locator(".crowd").waitFor();
    await page.waitForLoadState("networkidle");
    for (const [id, { latitude, longitude }] of Object.entries(alone)) {
      await page.mouse.click(...(await pointOf(page, Number(latitude), Number(longitude))));
      await page.getByRole("heading", { name: `INC ${id}` }).waitFor();
    }
    assertQuiet(watched);
  });

  test("shows tickets at the same place as one, which tells of each", async (t) => {
    const watched = await open(t);
    const { page } = watched;
    await page.getByRole("button", { name: /^3 tickets: / }).click();
    const card = page.locator(".card");
    await card.getByText("1 of 3 here").waitFor();
    const seen = [await card.getByRole("heading").innerText()];
    for (const nth of [2, 3]) {
      await card.getByRole("button", { name: "Next" }).click();
      await card.getByText(`${nth} of 3 here`).waitFor();
      seen.push(await card.getByRole("heading").innerText());
    }
    assert.deepEqual(seen.sort(), ["INC INC5", "INC INC6", "INC INC7"]);
    assertQuiet(watched);
  });

  for (const query of [
    "",
    "?dataset=crq",
    "?dataset=inc&cluster=Embakasi",
    "?status=all&window=30d",
    "?dataset=inc&status=closed&window=24h",
    "?cluster=nowhere",
  ]) {
    test(`says what SQL says: /${query}`, async (t) => {
      const watched = await open(t, query);
      assert.deepEqual(await shownNumbers(watched.page), await numbersOf(database, query));
      assertQuiet(watched);
    });
  }

  test("takes filters from its form, keeps them in its address, and goes back", async (t) => {
    const watched = await open(t);
    const { page } = watched;
    const queries = [""];
    for (const [label, option, query] of [
      ["Tickets", "INC, faults", "?dataset=inc"],
      ["Cluster", "Embakasi", "?dataset=inc&cluster=Embakasi"],
      ["On the map", "open and closed", "?dataset=inc&cluster=Embakasi&status=all"],
      ["Closed and created in", "30 days", "?dataset=inc&cluster=Embakasi&status=all&window=30d"],
    ] as const) {
      await page.getByLabel(label, { exact: true }).selectOption({ label: option });
      await page.waitForURL(({ search }) => search === query, { waitUntil: "commit" });
      await shows(page, await numbersOf(database, query));
      queries.push(query);
    }
    for (const query of queries.reverse().slice(1)) {
      await page.goBack();
      await page.waitForURL(({ search }) => search === query, { waitUntil: "commit" });
      await shows(page, await numbersOf(database, query));
    }
    assertQuiet(watched);
  });

  test("says so when the database does not understand its address", async (t) => {
    const { page } = await blankPage(t);
    await page.goto(`${url}?window=soon`);
    await page.getByRole("alert").getByText("soon").waitFor();
  });

  test("draws the backlog, age, repair times and closures that SQL tells", async (t) => {
    const watched = await open(t, "?dataset=inc");
    const { page } = watched;
    const [inc] = await dashboardsOf(database, "?dataset=inc");
    assert.ok(inc);
    const chart = (title: string) => page.locator("figure").filter({ hasText: title });
    const cells = async (title: string) => {
      const rows = await chart(title).locator("tbody tr").all();
      return Promise.all(rows.map((row) => row.locator("th, td").allTextContents()));
    };
    const today = inc.backlog.at(-1);
    assert.deepEqual(
      (await cells("Backlog")).at(-1)?.slice(1),
      [today?.open, today?.actionable, today?.breached].map(String),
    );
    assert.deepEqual(
      (await cells("Inflow")).at(-1)?.slice(1),
      [today?.created, today?.closed].map(String),
    );
    assert.deepEqual(
      (await cells("Age of open tickets")).map(([, n]) => Number(n)),
      Object.values(inc.metrics.aging),
    );
    assert.deepEqual(await cells("Time to repair"), [["Team 1", "75 min"]]);
    assert.deepEqual(
      Object.fromEntries(await cells("Closures by team")),
      Object.fromEntries(inc.team_closures.map(({ team, closures }) => [team, String(closures)])),
    );
    for (const title of ["Backlog", "Inflow"]) {
      assert.ok((await chart(title).getByRole("img").locator("circle").count()) > 0, title);
    }
    assertQuiet(watched);
  });

  test("takes text of tickets for text, whatever is in it", async (t) => {
    const watched = await blankPage(t);
    await watched.page.exposeFunction("pwned", () => assert.fail("a ticket ran a script"));
    await watched.page.goto(`${url}?dataset=crq`);
    await assertHarmless(watched.page);
    assertQuiet(watched);
  });

  test("can be used with the keyboard alone", async (t) => {
    const watched = await open(t, "?dataset=inc");
    const { page } = watched;
    const focused = () => page.locator(":focus");
    await page.keyboard.press("Tab");
    assert.equal(await focused().getAttribute("class"), "skip");
    await page.keyboard.press("Enter");
    assert.equal(await focused().getAttribute("id"), "numbers");

    await page.getByRole("button", { name: /^3 tickets: / }).waitFor();
    await page.waitForLoadState("networkidle");
    const view = page.url();
    await page.locator("#map canvas").focus();
    await page.keyboard.press("ArrowRight");
    await page.waitForURL((address) => address.href !== view);

    for (let i = 0; i < 20; i++) {
      await page.keyboard.press("Tab");
      if ((await focused().getAttribute("aria-label"))?.startsWith("3 tickets: ")) break;
    }
    await page.keyboard.press("Enter");
    await page.getByText("1 of 3 here").waitFor();
    await page.keyboard.press("Escape");
    await page.locator(".card").waitFor({ state: "detached" });
    assert.match((await focused().getAttribute("class")) ?? "", /crowd/);

    await page.getByText("The map as a table").focus();
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    const id = (await focused().textContent()) ?? "";
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: `INC ${id}` }).waitFor();
    assertQuiet(watched);
  });

  test("has names, headings and labels for a screen reader", async (t) => {
    const { page } = await open(t);
    await page.locator(".crowd").first().waitFor();
    await page.waitForLoadState("networkidle");
    assert.equal(await page.locator("html").getAttribute("lang"), "en");
    // Playwright computes names as a screen reader does.
    for (const role of ["button", "combobox", "region", "img", "table"] as const) {
      const all = await page.getByRole(role).count();
      assert.ok(all > 0, role);
      if (role !== "table")
        assert.equal(await page.getByRole(role, { name: /\S/ }).count(), all, role);
    }
    assert.deepEqual(await page.getByRole("heading", { level: 1 }).allInnerTexts(), ["Tickets"]);
    assert.deepEqual(await page.getByRole("heading", { level: 2 }).allInnerTexts(), [
      "Numbers",
      "Map",
      "Charts",
    ]);
  });

  for (const colorScheme of ["light", "dark"] as const) {
    test(`has enough contrast in the ${colorScheme} theme`, async (t) => {
      const { page } = await open(t, "", { colorScheme });
      const colour = (name: string) =>
        page.evaluate<string>(
          `getComputedStyle(document.documentElement).getPropertyValue("--${name}")`,
        );
      for (const [text, ground] of [
        ["text", "ground"],
        ["text", "card"],
        ["text", "notice"],
        ["faint", "ground"],
        ["faint", "card"],
        ["link", "ground"],
        ["link", "card"],
      ] as const) {
        const ratio = contrast(await colour(text), await colour(ground));
        assert.ok(ratio >= 4.5, `${text} on ${ground}: ${ratio}`);
      }
      assert.equal(contrast(await colour("ground"), "#000000") > 10, colorScheme === "light");
    });
  }

  test("fits a phone", async (t) => {
    const phone = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
    const watched = await open(t, "", phone);
    const width = await watched.page.evaluate("document.documentElement.scrollWidth");
    assert.equal(width, phone.viewport.width);
    await watched.page.waitForLoadState("networkidle");
    assertQuiet(watched);
  });

  test("says when the database is gone, and goes on when it is back", async (t) => {
    const copy = await createDatabase(t);
    await loadTickets(copy);
    const { page } = await blankPage(t);
    await page.goto(await servedUrl(t, copy.url));
    await loaded(page);
    const name = new URL(copy.url).pathname.slice(1);
    await database.pool.query(`alter database ${name} allow_connections false`);
    await database.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = $1 and application_name = 'fleettickets'`,
      [name],
    );
    await page.getByLabel("Tickets", { exact: true }).selectOption("crq");
    await page.getByRole("alert").getByText("No new data").waitFor();
    await database.pool.query(`alter database ${name} allow_connections true`);
    await shows(page, await numbersOf(copy, "?dataset=crq"));
    await page.getByRole("alert").getByText("No new data").waitFor({ state: "detached" });
  });

  test("says that a database is empty, and that its map has no ticket", async (t) => {
    const copy = await createDatabase(t);
    const { page } = await blankPage(t);
    await page.goto(await servedUrl(t, copy.url));
    await page.getByText("There is no ticket in the database yet").waitFor();
    await stage(copy, "inc", [{ ticket_id: "INC1", bucket: "pending" }]);
    await page.reload();
    await page.getByText("None of these 1 ticket has a point").waitFor();
  });

  test("warns when its data is old", async (t) => {
    const copy = await createDatabase(t);
    await stage(copy, "inc", [{ ticket_id: "INC1" }]);
    const { page } = await blankPage(t);
    const served = await servedUrl(t, copy.url);
    await page.goto(served);
    await loaded(page);
    assert.equal(await page.getByText("INC is old").count(), 0);
    await copy.pool.query(
      `insert into tickets.ingest_files
         (dataset, source_key, etag, bytes, exported_at, status, applied_at)
       values ('inc', 'automations/inc/changes/2026-01-01T06-00-00.csv', 'a', 1,
         '2026-01-01 06:00+03', 'applied', now())`,
    );
    await copy.pool.query(
      `insert into tickets.import_meta (dataset, metadata)
       values ('inc', '{"source_max_key": "automations/inc/changes/2026-01-01T06-00-00.csv"}')
       on conflict (dataset) do update set metadata = excluded.metadata`,
    );
    await page.goto(served);
    await page.getByText("INC is old: its newest export is of 1 Jan 2026, 06:00").waitFor();
  });

  test("shows any time that its JSON can hold", async (t) => {
    const copy = await createDatabase(t);
    const row = { ticket_id: "INC1", bucket: "pending", latitude: "-1.3", longitude: "36.8" };
    await stage(copy, "inc", [{ ...row, created_at_service: "1900-01-01" }]);
    await copy.pool.query(
      `with f as (
         insert into tickets.ingest_files
           (dataset, source_key, etag, bytes, exported_at, status, applied_at)
         values ('crq', 'far', 'a', 1, '12026-01-01 06:00+03', 'applied', now())
       )
       update tickets.import_meta set metadata = '{"source_max_key": "far"}' where dataset = 'crq'`,
    );
    const { page } = await blankPage(t);
    await page.goto(await servedUrl(t, copy.url));
    await loaded(page);
    await page.getByText("The map as a table").click();
    await page.getByRole("cell", { name: "1 Jan 1900, 00:00" }).waitFor();
    await page.getByText("CRQ as of 12026-01-01T06:00:00+03:00").waitFor();
  });

  test("is a report that needs nobody: one file with its data inside", async (t) => {
    const folder = await temporaryFolder(t);
    const out = join(folder, "tickets.html");
    const args = ["report", "--out", out, "--dataset", "crq", "--status", "all", "--json"];
    const result = await runCli(args, { env: { DATABASE_URL: database.url } });
    assert.equal(result.code, exitCodes.done, describeRun(args, result));
    const watched = await blankPage(t, { offline: true });
    const { page } = watched;
    await page.exposeFunction("pwned", () => assert.fail("a ticket ran a script"));
    await page.goto(pathToFileURL(out).href);
    await shows(page, await numbersOf(database, "?dataset=crq&status=all"));
    await assertHarmless(page);
    await page.locator("#map canvas").waitFor();
    await page.getByRole("button", { name: /^2 tickets: / }).click();
    await page.getByText("1 of 2 here").waitFor();
    assert.deepEqual(watched.complaints, []);
    assert.deepEqual(watched.requests, [pathToFileURL(out).href]);
  });

  test("is a report that says on the page what it leaves out", async (t) => {
    const config = { databaseUrl: login, limits: { stallMs: 60_000, statementMs: 60_000 } };
    const filters = { dataset: "inc", cluster: null, status: "open", window: "7d" };
    const report = await readReport(config, filters, 1000);
    const out = join(await temporaryFolder(t), "tickets.html");
    await writeFile(out, reportPage(report, await loadBundle()));
    const { page } = await blankPage(t);
    await page.goto(pathToFileURL(out).href);
    const { features } = report.map;
    await page.getByText(`has the ${features.length} most urgent of these`).waitFor();
    await page.getByText(`The map as a table: ${features.length} ticket`).waitFor();
  });

  test("has its numbers and its table where the browser draws no map", async (t) => {
    const { page } = await blankPage(t);
    await page.addInitScript("HTMLCanvasElement.prototype.getContext = () => null");
    await page.goto(url);
    await page.getByText("This browser draws no map").waitFor();
    await shows(page, await numbersOf(database, ""));
    await page.getByText("The map as a table").click();
    await page.getByRole("button", { name: "INC1", exact: true }).waitFor();
  });

  test("draws its map in the style that is configured, asking that host and no other", async (t) => {
    const style = { version: 8, sources: {}, layers: [{ id: "sea", type: "background" }] };
    const host = await startHost(t, JSON.stringify(style));
    const served = await servedUrl(t, login, [], { PREVIEW_STYLE_URL: `${host}/style.json` });
    const { page, complaints, requests } = await blankPage(t);
    await page.goto(served);
    await page.locator(".crowd").first().waitFor();
    assert.deepEqual(complaints, []);
    const others = requests.filter((address) => !address.startsWith(served));
    assert.deepEqual(others, [`${host}/style.json`]);
  });

  test("draws a plain map where the style cannot be had, and says so", async (t) => {
    const host = await startHost(t, "no style");
    const served = await servedUrl(t, login, [], { PREVIEW_STYLE_URL: `${host}/style.json` });
    const { page } = await blankPage(t);
    await page.goto(served);
    await page.getByText("The map's background cannot be loaded").waitFor();
    await page.locator(".crowd").first().waitFor();
  });

  async function open(
    t: Scope,
    address = "",
    options: BrowserContextOptions = {},
  ): Promise<WatchedPage> {
    const watched = await blankPage(t, options);
    await watched.page.goto(url + address);
    await loaded(watched.page);
    return watched;
  }

  function assertQuiet({ complaints, requests }: WatchedPage): void {
    assert.deepEqual(complaints, []);
    assert.deepEqual(
      requests.filter((address) => !address.startsWith(url)),
      [],
    );
  }
});

describe("the server of the page", () => {
  test("answers to addresses of this machine only, whatever name leads to it", async () => {
    for (const [host, status] of [
      ["127.0.0.1", 200],
      ["localhost:80", 200],
      ["[::1]:4700", 200],
      ["evil.example", 421],
      ["localhost.evil.example", 421],
      ["127.0.0.1.evil.example", 421],
      ["evil.example@localhost@evil.example", 421],
    ] as const) {
      assert.equal((await ask("/", { headers: { host } })).status, status, host);
      assert.equal((await ask("/api/map", { headers: { host } })).status, status, host);
    }
  });

  test("listens on the loopback address only, unless it is told another", async (t) => {
    const { port } = new URL(url);
    const others = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .filter(({ internal, family }) => !internal && family === "IPv4");
    for (const { address } of others) {
      await assert.rejects(fetch(`http://${address}:${port}/`), address);
    }
    const wide = await servedUrl(t, database.url, ["--host", "0.0.0.0"]);
    const { status } = await fetch(wide.replace("0.0.0.0", "127.0.0.1"));
    assert.equal(status, 200);
  });

  test("answers to GET and HEAD, and to nothing else", async () => {
    for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
      const { status, headers } = await ask("/api/map", { method });
      assert.deepEqual([status, headers["allow"]], [405, "GET, HEAD"], method);
    }
    const { status, headers, body } = await ask("/", { method: "HEAD" });
    assert.deepEqual([status, body], [200, ""]);
    assert.ok(Number(headers["content-length"]) > 0);
  });

  test("has nothing but the page, and says so plainly", async () => {
    for (const path of [
      "/nothing",
      "/../package.json",
      "/%2e%2e/package.json",
      "//a/b",
      "/page.js/",
    ]) {
      const { status, headers } = await ask(path);
      assert.deepEqual([status, headers["content-type"]], [404, "text/plain; charset=utf-8"], path);
    }
    assert.equal((await ask("http://evil.example/")).status, 400);
  });

  test("lets the page run and reach nothing but itself", async () => {
    const policy = policyOf(await ask("/"));
    assert.deepEqual(policy, {
      "default-src": "'none'",
      "script-src": "'self'",
      "worker-src": "'self'",
      "style-src": "'self'",
      "img-src": "'self' data: blob:",
      "connect-src": "'self'",
      "form-action": "'self'",
      "base-uri": "'none'",
      "frame-ancestors": "'none'",
    });
    const { body } = await ask("/");
    assert.doesNotMatch(body, /<script(?! src="\/)|<style| style=| on\w+=/);
  });

  test("lets the page reach the host of its map's style, where one is configured", async (t) => {
    const styled = await servedUrl(t, database.url, [], {
      PREVIEW_STYLE_URL: 'https://tiles.example/style.json?a="<b>',
    });
    const answer = await ask("/", {}, styled);
    const policy = policyOf(answer);
    assert.equal(policy["connect-src"], "'self' https://tiles.example");
    assert.equal(policy["img-src"], "'self' data: blob: https://tiles.example");
    assert.equal(policy["script-src"], "'self'");
    assert.match(answer.body, /data-style-url="https:[^"<>]*"/);
  });

  test("passes on what is wrong with a question, as 400", async () => {
    for (const [query, code] of [
      ["/api/map?status=nonsense", "TK030"],
      ["/api/map?dataset=xyz", "TK001"],
      ["/api/dashboards?dataset=xyz", "TK001"],
      ["/api/dashboards?window=soon", "TK031"],
    ] as const) {
      const { status, body } = await ask(query);
      assert.deepEqual(
        [status, (JSON.parse(body) as { error: { code: string } }).error.code],
        [400, code],
      );
    }
  });

  test("says that no text can hold a NUL, as 400, and goes on", async () => {
    for (const query of [
      "/api/map?cluster=%00",
      "/api/map?status=o%00pen",
      "/api/dashboards?dataset=inc%00",
      "/api/dashboards?window=%007d",
      "/api/dashboards?cluster=Karen&c%00=1",
    ]) {
      const { status, body } = await ask(query);
      assert.equal(status, 400, query);
      assert.match((JSON.parse(body) as { error: { message: string } }).error.message, /NUL/);
    }
    assert.equal((await ask("/api/map?cluster=%2500")).status, 200);
  });

  test("tells no secret", async () => {
    for (const path of [
      "/",
      "/page.js",
      "/api/map",
      "/api/dashboards",
      "/api/map?status=x",
      "/x",
    ]) {
      const { headers, body } = await ask(path);
      assert.ok(!(JSON.stringify(headers) + body).includes(password), path);
    }
  });

  test("reads as a reader where it may, and can write nothing", async (t) => {
    const copy = await createDatabase(t);
    const served = await servedUrl(t, copy.url);
    assert.equal((await ask("/api/dashboards", {}, served)).status, 200);
    // Of the superuser that it connects as, this takes nothing.
    await copy.pool.query(
      "revoke execute on function reporting.fn_backlog from fleettickets_reader",
    );
    const { status, body } = await ask("/api/dashboards", {}, served);
    assert.deepEqual(
      [status, (JSON.parse(body) as { error: { code: string } }).error.code],
      [503, "42501"],
    );

    await copy.pool.query(
      `create or replace function reporting.fn_tickets_for_map(
         p_dataset text default null, p_cluster text default null, p_status text default 'open'
       ) returns json language sql volatile security definer set search_path = '' as $$
         update tickets.datasets set sla_target = sla_target;
         select '{}'::json
       $$`,
    );
    const writing = await ask("/api/map", {}, served);
    assert.equal((JSON.parse(writing.body) as { error: { code: string } }).error.code, "25006");
  });

  test("goes on when its session was ended behind its back", async (t) => {
    const copy = await createDatabase(t);
    const served = await servedUrl(t, copy.url);
    assert.equal((await ask("/api/map", {}, served)).status, 200);
    const { rows } = await copy.pool.query(
      `select pg_terminate_backend(a.pid) as is_ended from pg_stat_activity as a
       where a.datname = current_database() and a.application_name = 'fleettickets'`,
    );
    assert.deepEqual(rows, [{ is_ended: true }]);
    assert.equal((await ask("/api/map", {}, served)).status, 200);
  });

  test("does not start without the functions that it reads", async (t) => {
    const copy = await createDatabase(t);
    await copy.pool.query("drop function reporting.fn_backlog");
    const args = ["preview", "--port", "0", "--json"];
    const result = await runCli(args, { env: { DATABASE_URL: copy.url } });
    assert.equal(result.code, exitCodes.database, describeRun(args, result));
    const { error } = result.json as { error: { code: string; hint: string } };
    assert.equal(error.code, "42883");
    assert.match(error.hint, /fleettickets migrate/);
  });

  test("does not start on a port that is taken", async () => {
    const args = ["preview", "--port", new URL(url).port];
    const result = await runCli(args, { env: { DATABASE_URL: database.url } });
    assert.equal(result.code, exitCodes.usage, describeRun(args, result));
  });

  function ask(
    path: string,
    options: { method?: string; headers?: Record<string, string> } = {},
    base = url,
  ): Promise<Answer> {
    const { hostname, port } = new URL(base);
    return new Promise((resolve, reject) => {
      request({ hostname, port, path, ...options }, (response) => {
        let body = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => (body += part));
        response.on("end", () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
        });
      })
        .on("error", reject)
        .end();
    });
  }
});

describe("a report", () => {
  test("is JSON that cannot end its element, and stays what it was", () => {
    const value = {
      a: `</script><!--<script>&\u2028\u2029`,
      [hostile.place]: Object.values(hostile),
    };
    const text = jsonInHtml(value);
    assert.doesNotMatch(text, /[<>&\u2028\u2029]/);
    assert.deepEqual(JSON.parse(text), value);
  });

  test("that would be too large leaves out the least urgent tickets, and counts them", async () => {
    const config = { databaseUrl: database.url, limits: { stallMs: 60_000, statementMs: 60_000 } };
    const filters = { dataset: "inc", cluster: null, status: "all", window: "7d" };
    const whole = await readReport(config, filters);
    assert.equal(whole.left_out, 0);
    const limit = JSON.stringify(whole.map.features).length / 2;
    const { map, left_out } = await readReport(config, filters, limit);
    assert.ok(left_out > 0 && JSON.stringify(map.features).length <= limit + 2);
    assert.equal(map.features.length + left_out, whole.map.features.length);
    assert.ok(
      map.features.some(({ id }) => id === "INC3"),
      "the breached one is there",
    );
    assert.ok(!map.features.some(({ id }) => id === "INC8"), "the closed one is not");
    assert.equal(map.summary.located, whole.map.summary.located);
  });

  test("carries no secret, runs no script but its own, and asks nobody", async (t) => {
    const out = join(await temporaryFolder(t), "r.html");
    const args = ["report", "--out", out, "--json"];
    const result = await runCli(args, { env: { DATABASE_URL: login } });
    assert.equal(result.code, exitCodes.done, describeRun(args, result));
    const html = await readFile(out, "utf8");
    assert.ok(!html.includes(password));
    const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html)?.[1] ?? "";
    assert.match(policy, /default-src &#39;none&#39;/);
    assert.match(policy, /script-src &#39;sha256-/);
    assert.match(policy, /connect-src blob:(;|$)/);
    assert.doesNotMatch(policy, /unsafe|http|\*/);
    assert.doesNotMatch(html, /<(script|link|img)[^>]*(src|href)="(?!data:)/);
  });

  test("replaces an older file, and nothing that is no file", async (t) => {
    const folder = await temporaryFolder(t);
    const file = join(folder, "r.html");
    const link = join(folder, "link.html");
    const dangling = join(folder, "dangling.html");
    const fifo = join(folder, "fifo");
    await writeFile(file, "older");
    await symlink(file, link);
    await symlink(join(folder, "nowhere.html"), dangling);
    execFileSync("mkfifo", [fifo]);
    const report = async (out: string, code: number) => {
      const args = ["report", "--out", out];
      const result = await runCli(args, { env: { DATABASE_URL: database.url } });
      assert.equal(result.code, code, describeRun(args, result));
    };
    for (const out of [link, dangling, fifo, folder, "/dev/null"]) {
      await report(out, exitCodes.usage);
    }
    assert.equal(await readFile(file, "utf8"), "older");
    const names = ["dangling.html", "fifo", "link.html", "r.html"];
    assert.deepEqual((await readdir(folder)).sort(), names);
    assert.ok((await lstat("/dev/null")).isCharacterDevice());
    await report(file, exitCodes.done);
    assert.match(await readFile(file, "utf8"), /^<!doctype html>/i);
  });

  test("that cannot be written, or not be asked for, ends with exit code 2", async (t) => {
    const folder = await temporaryFolder(t);
    for (const more of [
      ["--out", join(folder, "no", "such", "folder.html")],
      ["--out", join(folder, "a.html"), "--status", "nonsense"],
      ["--out", join(folder, "a.html"), "--dataset", "xyz"],
    ]) {
      const args = ["report", ...more];
      const result = await runCli(args, { env: { DATABASE_URL: database.url } });
      assert.equal(result.code, exitCodes.usage, describeRun(args, result));
    }
  });
});

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

function policyOf({ headers }: Answer): Record<string, string> {
  const policy = headers["content-security-policy"];
  assert.ok(typeof policy === "string");
  return Object.fromEntries(
    policy.split("; ").map((directive) => {
      const [name = "", ...sources] = directive.split(" ");
      return [name, sources.join(" ")];
    }),
  );
}

function blankPage(t: Scope, options: BrowserContextOptions = {}): Promise<WatchedPage> {
  assert.ok(browser);
  return openPage(t, browser, options);
}

/** Starts `fleettickets preview` on a free port, ended at the end of `scope`. */
async function servedUrl(
  scope: Scope,
  databaseUrl: string,
  more: string[] = [],
  env: Record<string, string> = {},
): Promise<string> {
  const child = spawnCli(["preview", "--port", "0", "--json", ...more], {
    env: { DATABASE_URL: databaseUrl, ...env },
  });
  const ended = once(child, "close");
  let stderr = "";
  child.stderr.on("data", (part: Buffer) => (stderr += part.toString()));
  scope.after(async () => {
    child.kill("SIGTERM");
    const [code] = (await ended) as [number | null];
    assert.equal(code, exitCodes.done, stderr);
  });
  const [line] = (await Promise.race([once(child.stdout, "data"), ended])) as [Buffer | number];
  assert.ok(Buffer.isBuffer(line), `it did not start: ${stderr}`);
  return (JSON.parse(line.toString()) as { url: string }).url;
}

/** What the tests look at: seven open INC and one closed, three CRQ. */
async function loadTickets(database: TestDatabase): Promise<void> {
  const open = { bucket: "pending", is_actionable: "true", raw_status: "ASSIGNED" };
  const ago = (interval: string) => timeAgo(database, interval);
  const inc: Row[] = [];
  for (const [ticket_id, { opened, ...place }] of Object.entries(alone)) {
    inc.push({ ticket_id, ...open, ...place, created_at_service: await ago(opened) });
  }
  const justNow = await ago("10 minutes");
  await stage(database, "inc", [
    ...inc,
    { ticket_id: "INC4", ...open, cluster: "Karen", created_at_service: justNow },
    { ticket_id: "INC5", ...open, ...embakasi, created_at_service: justNow },
    { ticket_id: "INC6", ...open, ...embakasi, created_at_service: await ago("3 days") },
    { ticket_id: "INC7", ...open, ...embakasi },
    {
      ticket_id: "INC8",
      ...{ bucket: "closed", cluster: "Karen", latitude: "-1.33", longitude: "36.75" },
      ...{ assigned_team: "Team 1", mttr: "75", sla_status: "met" },
      ...{ created_at_service: await ago("4 hours"), closed_at: await ago("2 hours") },
    },
  ]);
  const thika = { latitude: "-1.0388", longitude: "37.0834" };
  await stage(database, "crq", [
    {
      ticket_id: hostile.id,
      ...{ ...open, ...thika, raw_status: "<b>open</b>", cluster: hostile.cluster },
      ...{ location_name: hostile.place, assigned_team: hostile.team, owner: hostile.owner },
      created_at_service: justNow,
    },
    { ticket_id: "CRQ2", ...open, cluster: "Thika", created_at_service: await ago("9 days") },
    {
      ticket_id: "CRQ3",
      ...{ ...thika, bucket: "closed", cluster: hostile.cluster, assigned_team: hostile.team },
      ...{ mttr: "60", created_at_service: await ago("11 days"), closed_at: await ago("10 days") },
    },
  ]);
}

/** Stages rows by hand and applies them. */
async function stage(
  { pool }: TestDatabase,
  dataset: "inc" | "crq",
  rows: readonly Row[],
): Promise<void> {
  for (const row of rows) {
    const names = Object.keys(row);
    await pool.query(
      `insert into tickets.${dataset}_staging (${names.join()})
       values (${names.map((_, i) => `$${i + 1}`).join()})`,
      Object.values(row),
    );
  }
  const { rows: applied } = await pool.query(
    "select sum(f.inserted)::integer as inserted from tickets.apply_staged() as f",
  );
  assert.deepEqual(applied, [{ inserted: rows.length }]);
}

/** As the export writes it. */
async function timeAgo({ pool }: TestDatabase, interval: string): Promise<string> {
  const { rows } = await pool.query<{ at: string }>(
    `select to_char(now() at time zone 'Africa/Nairobi' - $1::interval, 'YYYY-MM-DD HH24:MI:SS')
       as at`,
    [interval],
  );
  return rows[0]?.at ?? "";
}

async function loaded(page: Page): Promise<void> {
  await page.locator("main[aria-busy=false] #map-summary:not(:empty)").waitFor();
}

/** What the page says in numbers, as `numbersOf` has them. */
interface Numbers {
  map: string;
  datasets: Record<string, Record<string, string>>;
}

async function shownNumbers(page: Page): Promise<Numbers> {
  const datasets: Numbers["datasets"] = {};
  for (const section of await page.locator("#metrics section").all()) {
    const titles = await section.locator("dt").allTextContents();
    const values = await section.locator(".value").allTextContents();
    const name = (await section.locator("h3").textContent()) ?? "";
    datasets[name] = Object.fromEntries(titles.map((title, i) => [title, values[i] ?? ""]));
  }
  return { map: (await page.locator("#map-summary").textContent()) ?? "", datasets };
}

async function shows(page: Page, numbers: Numbers): Promise<void> {
  await page.locator("main[aria-busy=false] #map-summary", { hasText: numbers.map }).waitFor();
  assert.deepEqual(await shownNumbers(page), numbers);
}

/** What the functions say to the same question. */
async function numbersOf(database: TestDatabase, query: string): Promise<Numbers> {
  const asked = new URLSearchParams(query);
  const [dataset, cluster] = [asked.get("dataset"), asked.get("cluster")];
  const { rows } = await database.pool.query<{ map: TicketMap }>(
    "select reporting.fn_tickets_for_map($1, $2, $3) as map",
    [dataset, cluster, asked.get("status") ?? "open"],
  );
  const summary = rows[0]?.map.summary;
  const names = dataset === null ? ["inc", "crq"] : [dataset];
  const parts = names.map((name) => `${summary?.by_dataset[name]} ${name.toUpperCase()}`);
  const total = summary?.total;
  const datasets = (await dashboardsOf(database, query)).map(({ filters, metrics: m }) => {
    const judged = m.sla_met + m.sla_breached;
    return [
      filters.dataset.toUpperCase(),
      {
        open: String(m.open_total),
        "SLA breached": String(m.open_breached),
        "SLA at risk": String(m.open_at_risk),
        created: String(m.created_in_window),
        closed: String(m.closed_in_window),
        "time to repair": m.mttr_median_minutes === null ? "–" : `${m.mttr_median_minutes} min`,
        "closed in SLA": judged === 0 ? "–" : `${(100 * m.sla_met) / judged} %`,
        "on the map": m.located_pct === null ? "–" : `${Math.round(m.located_pct * 10) / 10} %`,
      },
    ];
  });
  return {
    map: `${total} ticket${total === 1 ? "" : "s"} (${parts.join(", ")}), ${summary?.located} with a point.`,
    datasets: Object.fromEntries(datasets),
  };
}

async function dashboardsOf({ pool }: TestDatabase, query: string): Promise<Dashboard[]> {
  const asked = new URLSearchParams(query);
  const dataset = asked.get("dataset");
  const dashboards: Dashboard[] = [];
  for (const name of dataset === null ? ["inc", "crq"] : [dataset]) {
    const { rows } = await pool.query<{ dashboard: Dashboard }>(
      `select reporting.fn_${name}_dashboard(p_cluster => $1, p_window => $2) as dashboard`,
      [asked.get("cluster"), asked.get("window") ?? "7d"],
    );
    const backlog = await pool.query(
      `select b.* from reporting.fn_backlog(
         $1, (now() at time zone 'Africa/Nairobi')::date, (now() at time zone 'Africa/Nairobi')::date
       ) as b`,
      [name],
    );
    const closures = await pool.query(
      "select c.team, c.closures from reporting.fn_team_closures($1, now() - interval '7 days', now()) as c",
      [name],
    );
    const [row] = rows;
    assert.ok(row);
    dashboards.push({ ...row.dashboard, backlog: backlog.rows, team_closures: closures.rows });
  }
  return dashboards;
}

/** Looks at all that the page makes of the hostile ticket: its list, its card, filters, charts. */
async function assertHarmless(page: Page): Promise<void> {
  await page.getByText("The map as a table").click();
  await page.getByRole("button", { name: hostile.id, exact: true }).click();
  const card = page.locator(".card");
  await card.getByRole("heading", { name: `CRQ ${hostile.id}` }).waitFor();
  for (const text of [hostile.place, hostile.team, hostile.cluster]) {
    assert.ok((await card.innerText()).includes(text), text);
  }
  assert.ok((await card.textContent())?.includes(hostile.owner));
  assert.ok((await page.locator("figure").allInnerTexts()).join("\n").includes(hostile.cluster));
  assert.equal(await page.locator("img, [onload], [onerror], main script, b").count(), 0);
}

/** Where on the screen the map shows a point: its address says where it looks. */
async function pointOf(page: Page, lat: number, lng: number): Promise<[x: number, y: number]> {
  const [, zoom, middleLat, middleLng] =
    /view=([\d.]+)\/(-?[\d.]+)\/(-?[\d.]+)/.exec(page.url()) ?? [];
  const size = 512 * 2 ** Number(zoom);
  const x = (degrees: number) => (size * (180 + degrees)) / 360;
  const y = (degrees: number) => {
    const sine = Math.sin((degrees * Math.PI) / 180);
    return size * (0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI));
  };
  await page.locator("#map").scrollIntoViewIfNeeded();
  const box = await page.locator("#map canvas").boundingBox();
  assert.ok(box);
  return [
    box.x + box.width / 2 + x(lng) - x(Number(middleLng)),
    box.y + box.height / 2 + y(lat) - y(Number(middleLat)),
  ];
}

/** By the formula of WCAG 2. */
function contrast(one: string, other: string): number {
  const luminance = (colour: string) => {
    const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
      const share = parseInt(colour.trim().slice(at, at + 2), 16) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [darker = 0, lighter = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

/** A server of another origin that answers everything with this text. Returns its origin. */
async function startHost(scope: Scope, text: string): Promise<string> {
  const server = createServer((_, response) => {
    response.setHeader("Access-Control-Allow-Origin", "*").end(text);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  scope.after(async () => {
    server.closeAllConnections();
    await once(server.close(), "close");
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function temporaryFolder(scope: Scope): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "fleettickets-report-"));
  scope.after(() => rm(folder, { recursive: true }));
  return folder;
}
