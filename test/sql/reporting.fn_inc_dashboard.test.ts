import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { ClientBase } from "pg";
import { type SampleFile, sampleExports } from "../../src/samples.ts";
import { type Question, expectedDashboard } from "../harness/dashboard.ts";
import { createDatabase } from "../harness/postgres.ts";
import { dashboard, ids, insertTicket } from "./reading.ts";
import { applyFile, changeKey, freezeTime, ownError } from "./staging.ts";

const database = await createDatabase({ after });

/** 09:00 in Nairobi. */
const now = "2026-06-15T06:00:00Z";
const here = { latitude: "-1.292066", longitude: "36.821945" };

/** Numbers of a dashboard without tickets. */
const nothing = {
  open_total: 0,
  open_actionable: 0,
  open_within: 0,
  open_at_risk: 0,
  open_breached: 0,
  open_unknown: 0,
  created_in_window: 0,
  closed_in_window: 0,
  reopened_in_window: 0,
  mttr_median_minutes: null,
  mttr_p90_minutes: null,
  mttr_mean_minutes: null,
  sla_met: 0,
  sla_breached: 0,
  aging: { lt_4h: 0, h4_24h: 0, d1_3d: 0, d3_7d: 0, gt_7d: 0, unknown: 0 },
  located_pct: null,
};

/** With time standing still at `now`. */
function atNine(work: (client: ClientBase) => Promise<void>): Promise<void> {
  return database.rolledBack(async (client) => {
    await freezeTime(client, now);
    await work(client);
  });
}

function closeTicket(
  client: ClientBase,
  ticketId: string,
  closedAt: string,
  values: Readonly<Record<string, string>> = {},
): Promise<void> {
  return insertTicket(client, ticketId, { bucket: "closed", closed_at: closedAt, ...values });
}

test("a window from before 1900 has no beginning, and what ends before has none of it", () =>
  atNine(async (client) => {
    await closeTicket(client, "T1", "1900-01-01 00:00:00");
    const windows: [Record<string, string>, from: string | null, to: string, closed: number][] = [
      [{ p_window: "3000 years" }, null, "2026-06-15T09:00:00+03:00", 1],
      [{ p_from: "0044-03-15 BC" }, null, "2026-06-15T09:00:00+03:00", 1],
      [{ p_from: "-infinity", p_to: "0044-03-15 BC" }, null, "1900-01-01T00:00:00+03:00", 0],
      [
        { p_from: "1900-01-01 00:00+03", p_to: "1930-01-01 00:00+03" },
        "1900-01-01T00:00:00+03:00",
        "1930-01-01T00:00:00+03:00",
        1,
      ],
    ];
    for (const [args, from, to, closed] of windows) {
      const { filters, metrics } = await dashboard(client, args);
      assert.deepEqual([filters["from"], filters["to"]], [from, to]);
      assert.equal(metrics["closed_in_window"], closed);
    }
  }));

test("an empty database has a dashboard of zeros, nulls and empty lists", () =>
  atNine(async (client) => {
    const { freshness, ...rest } = await dashboard(client);
    assert.deepEqual(rest, {
      filters: {
        dataset: "inc",
        cluster: null,
        status: null,
        window: "7d",
        from: "2026-06-08T09:00:00+03:00",
        to: "2026-06-15T09:00:00+03:00",
      },
      open: { type: "FeatureCollection", features: [] },
      closed: { type: "FeatureCollection", features: [] },
      metrics: nothing,
      by_cluster: [],
      by_team: [],
      by_owner: [],
    });
    assert.equal(freshness["source_max_key"], null);
  }));

test("one open ticket, of which next to nothing is known", () =>
  atNine(async (client) => {
    await insertTicket(client, "T1");
    const { metrics, open, closed, by_cluster, by_team, by_owner } = await dashboard(client);
    assert.deepEqual(metrics, {
      ...nothing,
      open_total: 1,
      open_unknown: 1,
      aging: { ...nothing.aging, unknown: 1 },
      located_pct: 0,
    });
    assert.deepEqual([ids(open), ids(closed)], [[], []]);
    const group = { name: null, open: 1, closed: 0, mttr_median_minutes: null, sla_breached: 0 };
    assert.deepEqual([by_cluster, by_team, by_owner], [[group], [group], [group]]);
  }));

test("one closed ticket is its own median, 90th percentile and mean", () =>
  atNine(async (client) => {
    const values = { ...here, mttr: "90.4", sla_status: "Breached ", cluster: "Karen" };
    await closeTicket(client, "T1", "2026-06-15 08:59:59", values);
    const { metrics, open, closed, by_cluster } = await dashboard(client);
    assert.deepEqual(metrics, {
      ...nothing,
      closed_in_window: 1,
      mttr_median_minutes: 90,
      mttr_p90_minutes: 90,
      mttr_mean_minutes: 90,
      sla_breached: 1,
    });
    assert.deepEqual([ids(open), ids(closed)], [[], ["T1"]]);
    assert.deepEqual(by_cluster, [
      { name: "Karen", open: 0, closed: 1, mttr_median_minutes: 90, sla_breached: 1 },
    ]);
  }));

test("open tickets are counted by state, and by age from the lower end of each step", () =>
  atNine(async (client) => {
    const opened = {
      T1: "2026-06-15 05:00:01", // younger than 4 hours
      T2: "2026-06-15 05:00:00", // 4 hours
      T3: "2026-06-14 09:00:00", // a day
      T4: "2026-06-13 10:00:00", // 47 hours, at risk
      T5: "2026-06-12 09:00:00", // 3 days
      T6: "2026-06-08 09:00:00", // 7 days
      T7: "2026-06-15 10:00:00", // in an hour: the source's clock is ahead
    };
    for (const [id, created_at_service] of Object.entries(opened)) {
      await insertTicket(client, id, {
        created_at_service,
        is_actionable: id === "T1" ? "t" : "f",
      });
    }
    await insertTicket(client, "T8", here);
    const { metrics } = await dashboard(client, { p_window: "24h" });
    assert.deepEqual(metrics, {
      ...nothing,
      open_total: 8,
      open_actionable: 1,
      open_within: 4,
      open_at_risk: 1,
      open_breached: 2,
      open_unknown: 1,
      created_in_window: 3,
      aging: { lt_4h: 2, h4_24h: 1, d1_3d: 2, d3_7d: 1, gt_7d: 1, unknown: 1 },
      located_pct: 12.5,
    });
  }));

test("percentiles lie between the tickets, those without minutes have no say", () =>
  atNine(async (client) => {
    // Sorted 10, 20, 40, 100: the median is 30, nine tenths of the way is 40 + 0.7 × 60.
    for (const [index, mttr] of ["100", "10", "n/a", "40", "", "20"].entries()) {
      const sla_status = ["met", "met", "breached", "", "no idea", "met"][index] ?? "";
      await closeTicket(client, `T${index}`, "2026-06-15 06:00:00", { mttr, sla_status });
    }
    const { metrics } = await dashboard(client);
    assert.deepEqual(metrics, {
      ...nothing,
      closed_in_window: 6,
      mttr_median_minutes: 30,
      mttr_p90_minutes: 82,
      mttr_mean_minutes: 42.5,
      sla_met: 3,
      sla_breached: 1,
    });
  }));

test("the source's verdict on an open ticket does not count, nor its minutes", () =>
  atNine(async (client) => {
    const values = { bucket: "pending", sla_status: "breached", mttr: "5" };
    await insertTicket(client, "T1", { ...values, closed_at: "2026-06-15 06:00:00" });
    const { metrics, by_team } = await dashboard(client);
    assert.deepEqual(metrics, {
      ...nothing,
      open_total: 1,
      open_unknown: 1,
      aging: { ...nothing.aging, unknown: 1 },
      located_pct: 0,
    });
    assert.equal(by_team[0]?.sla_breached, 0);
  }));

test("a closed ticket without a closing time is in no window", () =>
  atNine(async (client) => {
    await insertTicket(client, "T1", { bucket: "closed", first_seen_at: "2026-06-15", ...here });
    const { metrics, closed, by_cluster } = await dashboard(client, { p_window: "all" });
    assert.deepEqual(metrics, { ...nothing, created_in_window: 1 });
    assert.deepEqual([ids(closed), by_cluster], [[], []]);
  }));

describe("the window", () => {
  test("has its beginning in it, and not its end", () =>
    atNine(async (client) => {
      const times = ["23:59:59.999", "00:00:00", "12:00:00", "23:59:59.999", "00:00:00"];
      for (const [index, time] of times.entries()) {
        const day = ["2026-06-13", "2026-06-14", "2026-06-14", "2026-06-14", "2026-06-15"][index];
        const at = `${day ?? ""} ${time}`;
        await closeTicket(client, `T${index}`, at, { ...here, created_at_service: at });
      }
      // The day of 14 June in Nairobi.
      const day = { p_from: "2026-06-13T21:00:00Z", p_to: "2026-06-14T21:00:00Z" };
      const { metrics, closed, filters } = await dashboard(client, day);
      assert.deepEqual(ids(closed), ["T1", "T2", "T3"]);
      assert.deepEqual([metrics["closed_in_window"], metrics["created_in_window"]], [3, 3]);
      assert.deepEqual(
        [filters["from"], filters["to"]],
        ["2026-06-14T00:00:00+03:00", "2026-06-15T00:00:00+03:00"],
      );
    }));

  const to = "2026-06-15T09:00:00+03:00";
  for (const [text, window, from] of [
    ["24h", "24h", "2026-06-14T09:00:00+03:00"],
    ["7d", "7d", "2026-06-08T09:00:00+03:00"],
    ["30d", "30d", "2026-05-16T09:00:00+03:00"],
    [" 7D ", "7D", "2026-06-08T09:00:00+03:00"],
    ["90 minutes", "90 minutes", "2026-06-15T07:30:00+03:00"],
    ["P1DT12H", "P1DT12H", "2026-06-13T21:00:00+03:00"],
    ["36:00", "36:00", "2026-06-13T21:00:00+03:00"],
    ["1 month", "1 month", "2026-05-15T09:00:00+03:00"],
    [null, "7d", "2026-06-08T09:00:00+03:00"],
  ] as const) {
    test(`${text ?? "null"} ends now`, () =>
      atNine(async (client) => {
        const { filters } = await dashboard(client, { p_window: text });
        const { dataset } = filters;
        assert.deepEqual(filters, { dataset, cluster: null, status: null, window, from, to });
      }));
  }

  test("all has no ends", () =>
    atNine(async (client) => {
      await closeTicket(client, "T1", "1999-12-31");
      await closeTicket(client, "T2", "2200-12-31");
      const { filters, metrics } = await dashboard(client, { p_window: "ALL" });
      const { window, from, to } = filters;
      assert.deepEqual({ window, from, to }, { window: "all", from: null, to: null });
      assert.equal(metrics["closed_in_window"], 2);
    }));

  for (const [name, args, window, from, end] of [
    [
      "p_from alone reaches until now",
      { p_from: "2026-06-01 00:00+03" },
      null,
      "2026-06-01T00",
      to,
    ],
    [
      "p_to alone ends the window",
      { p_to: "2026-06-10 00:00+03", p_window: "24h" },
      "24h",
      "2026-06-09T00",
      "2026-06-10T00:00:00+03:00",
    ],
    [
      "p_to alone ends all",
      { p_to: "2026-06-10 00:00+03", p_window: "all" },
      "all",
      null,
      "2026-06-10T00:00:00+03:00",
    ],
    [
      "p_from and p_to win, whatever the window says",
      { p_from: "2026-06-01 00:00+03", p_to: "2026-06-02 00:00+03", p_window: "custom" },
      null,
      "2026-06-01T00",
      "2026-06-02T00:00:00+03:00",
    ],
    [
      "p_from and p_to without end are all",
      { p_from: "-infinity", p_to: "infinity" },
      null,
      null,
      null,
    ],
  ] as const) {
    test(name, () =>
      atNine(async (client) => {
        const { filters } = await dashboard(client, args);
        assert.deepEqual([filters["window"], filters["to"]], [window, end]);
        assert.equal(filters["from"], from === null ? null : `${from}:00:00+03:00`);
      }),
    );
  }

  for (const window of [
    "",
    "7",
    "7x",
    "a week",
    "-7d",
    "0h",
    "99999999999d",
    "300000 years",
    "7d; --",
    "é".repeat(10_000),
  ]) {
    test(`TK031: ${window.slice(0, 12)}`, () =>
      atNine(async (client) => {
        await assert.rejects(dashboard(client, { p_window: window }), ownError("TK031"));
      }));
  }

  for (const args of [
    { p_from: "2026-06-15 09:00:01+03" },
    { p_from: "2026-06-02 00:00+03", p_to: "2026-06-01 00:00+03" },
    { p_from: "infinity", p_to: "-infinity" },
  ]) {
    test(`TK032: ${JSON.stringify(args)}`, () =>
      atNine(async (client) => {
        await assert.rejects(dashboard(client, args), ownError("TK032"));
      }));
  }
});

test("a ticket counts as reopened once, in the window of the file that reopened it", () =>
  atNine(async (client) => {
    const change = (time: string, bucket: string, status: string) =>
      applyFile(client, {
        key: changeKey(`2026-06-15T${time}`),
        rows: ["T1", "T2"].map((ticket_id) => ({
          ticket_id,
          cluster: "Karen",
          // T2 stays open all the time.
          bucket: ticket_id === "T1" ? bucket : "pending",
          raw_status: status,
        })),
      });
    await change("06-00-00", "closed", "CLOSED");
    await change("06-20-00", "pending", "REOPENED");
    await change("06-40-00", "closed", "CLOSED");
    await change("07-00-00", "pending", "REOPENED");
    const reopened = async (from: string, to: string, args = {}) => {
      const window = { p_from: `2026-06-15 ${from}+03`, p_to: `2026-06-15 ${to}+03` };
      const { metrics } = await dashboard(client, { ...window, ...args });
      return metrics["reopened_in_window"];
    };
    assert.equal(await reopened("00:00", "09:00"), 1);
    assert.equal(await reopened("06:20", "06:40"), 1);
    assert.equal(await reopened("06:40", "07:00"), 0);
    assert.equal(await reopened("07:00", "07:00:01"), 1);
    assert.equal(await reopened("00:00", "09:00", { p_cluster: "Karen" }), 1);
    assert.equal(await reopened("00:00", "09:00", { p_cluster: "Kilimani" }), 0);
    assert.equal(await reopened("00:00", "09:00", { p_status: "closed" }), 0);
  }));

test("clusters, teams and owners are listed, the most open ones first, then by name", () =>
  atNine(async (client) => {
    const insert = (id: string, cluster: string, owner: string) =>
      insertTicket(client, id, { cluster, owner });
    await insertTicket(client, "T1", { assigned_team: "Team 2" });
    await insert("T2", "Ruaka", "b");
    await insert("T3", "Ruaka", "a");
    await insert("T4", "Karen", "B");
    await closeTicket(client, "T5", "2026-06-15", {
      cluster: "Karen",
      mttr: "7",
      sla_status: "breached",
    });
    await closeTicket(client, "T6", "2026-06-15", { cluster: "Karen", mttr: "8" });
    await closeTicket(client, "T7", "2026-06-15", { cluster: "Thika" });
    // Created in the window, closed outside of it: in no list.
    await closeTicket(client, "T8", "2026-05-01", { cluster: "Lost", first_seen_at: "2026-06-14" });
    const { by_cluster, by_team, by_owner } = await dashboard(client);
    const group = (name: string | null, open: number, closed: number, some = {}) => ({
      name,
      open,
      closed,
      mttr_median_minutes: null,
      sla_breached: 0,
      ...some,
    });
    assert.deepEqual(by_cluster, [
      group("Ruaka", 2, 0),
      group("Karen", 1, 2, { mttr_median_minutes: 7.5, sla_breached: 1 }),
      group(null, 1, 0),
      group("Thika", 0, 1),
    ]);
    assert.deepEqual(by_team, [
      group(null, 3, 3, { mttr_median_minutes: 7.5, sla_breached: 1 }),
      group("Team 2", 1, 0),
    ]);
    assert.deepEqual(by_owner, [
      group(null, 1, 3, { mttr_median_minutes: 7.5, sla_breached: 1 }),
      group("B", 1, 0),
      group("a", 1, 0),
      group("b", 1, 0),
    ]);
  }));

test("a status is a normalized or a raw one, in any case; a cluster is taken to the letter", () =>
  atNine(async (client) => {
    await insertTicket(client, "T1", { normalized_status: "open", raw_status: "ASSIGNED" });
    await insertTicket(client, "T2", { normalized_status: "open", raw_status: "ON SITE" });
    await insertTicket(client, "T3", { normalized_status: "Reopened", cluster: "Karen" });
    await insertTicket(client, "T4", { raw_status: "OPEN" });
    const open = async (args: Record<string, string | null>) => {
      const { metrics, filters } = await dashboard(client, args);
      return [metrics["open_total"], filters["status"], filters["cluster"]];
    };
    assert.deepEqual(await open({ p_status: "Open" }), [3, "open", null]);
    assert.deepEqual(await open({ p_status: " on site " }), [1, "on site", null]);
    assert.deepEqual(await open({ p_status: "reopened" }), [1, "reopened", null]);
    assert.deepEqual(await open({ p_status: "closed" }), [0, "closed", null]);
    assert.deepEqual(await open({ p_status: "all" }), [4, null, null]);
    assert.deepEqual(await open({ p_status: null }), [4, null, null]);
    assert.deepEqual(await open({ p_cluster: "Karen" }), [1, null, "Karen"]);
    assert.deepEqual(await open({ p_cluster: "karen" }), [0, null, "karen"]);
    assert.deepEqual(await open({ p_cluster: "Karen", p_status: "open" }), [0, "open", "Karen"]);
  }));

test("tickets of other datasets are not in it", () =>
  atNine(async (client) => {
    await insertTicket(client, "T1", { ...here, cluster: "Karen" }, "crq");
    const { metrics, open, by_cluster } = await dashboard(client);
    assert.deepEqual([metrics, ids(open), by_cluster], [nothing, [], []]);
  }));

describe("worked out in another way from a large export, it is the same", () => {
  for (const dataset of ["inc", "crq"] as const) {
    const files = sampleExports({
      dataset,
      seed: 7,
      files: 12,
      ticketsPerFile: 400,
      everyMinutes: 6 * 60,
      repeatShare: 0.2,
    });
    const last = files.at(-1)?.exportedAt ?? new Date(0);
    const at = (days: number) => new Date(last.getTime() - days * 86_400_000);
    const midnight = (days: number) =>
      new Date(`${at(days).toISOString().slice(0, 10)}T00:00+03:00`);
    const questions: Record<string, Question> = {
      "of everything": { from: null, to: null },
      "of seven days": { from: at(7), to: at(0) },
      "of a day in Nairobi": { from: midnight(2), to: midnight(1) },
      "of a cluster": { from: at(7), to: at(0), cluster: "Karen" },
      "of a status": { from: at(7), to: at(0), status: "closed" },
    };

    test(dataset, (t) =>
      database.rolledBack(async (client) => {
        for (const file of files) await applySample(client, file);
        await freezeTime(client, at(0).toISOString());
        for (const [name, question] of Object.entries(questions)) {
          await t.test(name, async () => {
            const { from, to, cluster = null, status = null } = question;
            const { metrics, open, closed, by_cluster, by_team, by_owner } = await dashboard(
              client,
              {
                p_cluster: cluster,
                p_status: status,
                p_window: "all",
                p_from: from?.toISOString() ?? null,
                p_to: to?.toISOString() ?? null,
              },
              dataset,
            );
            assert.deepEqual(
              { metrics, open: ids(open), closed: ids(closed), by_cluster, by_team, by_owner },
              expectedDashboard(dataset, files, at(0), question),
            );
          });
        }
      }),
    );
  }
});

/** Applies an export as the loader does; its bare sentinels never get into staging. */
async function applySample(client: ClientBase, { key, header, rows }: SampleFile): Promise<void> {
  const whole = rows.filter((row) => row.length === header.length);
  await applyFile(client, {
    dataset: key.includes("/crq/") ? "crq" : "inc",
    key,
    header,
    rows: whole.map((row) => Object.fromEntries(header.map((name, n) => [name, row[n] ?? ""]))),
    droppedLines: rows.length - whole.length,
  });
}
