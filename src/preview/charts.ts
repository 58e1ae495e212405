import type { BacklogDay, Dashboard, Group, TeamClosures } from "./data.ts";
import { h, svg } from "./dom.ts";
import { count, datasetName, day, duration } from "./format.ts";
import { windowName } from "./numbers.ts";

const HEIGHT = 200;
const LEFT = 44;
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 24;
const BAR_ROWS = 10;

interface Series {
  name: string;
  /** Of the style sheet: it has the colour. */
  kind: string;
  values: readonly (number | null)[];
}

interface Bar {
  name: string;
  value: number;
  text: string;
}

/** The charts of a dataset. */
export function chartsOf(dashboard: Dashboard): HTMLElement {
  const { filters, metrics, backlog, by_team, team_closures } = dashboard;
  const name = datasetName(filters.dataset);
  const title = `charts-${filters.dataset}`;
  const days = backlog.map((each) => each.day);
  const values = (of: Exclude<keyof BacklogDay, "day">) => backlog.map((each) => each[of]);
  const { aging } = metrics;
  return h(
    "section",
    { class: "dataset", "aria-labelledby": title },
    h("h3", { id: title }, name),
    h(
      "div",
      { class: "charts" },
      timeChart("Backlog: open tickets by day", days, [
        { name: "open", kind: "open", values: values("open") },
        { name: "actionable", kind: "actionable", values: values("actionable") },
        { name: "SLA breached", kind: "breached", values: values("breached") },
      ]),
      timeChart("Inflow and outflow: tickets a day", days, [
        { name: "created", kind: "created", values: values("created") },
        { name: "closed", kind: "closed", values: values("closed") },
      ]),
      barChart("Age of open tickets", "open", [
        bar("under 4 hours", aging.lt_4h),
        bar("4 to 24 hours", aging.h4_24h),
        bar("1 to 3 days", aging.d1_3d),
        bar("3 to 7 days", aging.d3_7d),
        bar("over 7 days", aging.gt_7d),
        bar("unknown", aging.unknown),
      ]),
      barChart(
        `Time to repair by team, median of tickets closed ${windowName(filters.window)}`,
        "minutes",
        repairTimes(by_team),
      ),
      barChart(
        `Closures by team, ${windowName(filters.window)}${filters.cluster === null ? "" : ", in all clusters"}`,
        "closures",
        closuresByTeam(team_closures),
      ),
      barChart(
        "Open tickets by cluster",
        "open",
        dashboard.by_cluster
          .filter(({ open }) => open > 0)
          .map((group) => bar(group.name ?? "no cluster", group.open)),
      ),
    ),
  );
}

function bar(name: string, value: number): Bar {
  return { name, value, text: count(value) };
}

function repairTimes(teams: readonly Group[]): Bar[] {
  return teams
    .flatMap(({ name, mttr_median_minutes: minutes }) =>
      minutes === null
        ? []
        : [{ name: name ?? "no team", value: minutes, text: duration(minutes) }],
    )
    .sort((one, other) => other.value - one.value);
}

function closuresByTeam(rows: readonly TeamClosures[]): Bar[] {
  const sums = new Map<string, number>();
  for (const { team, closures } of rows) {
    const name = team ?? "no team";
    sums.set(name, (sums.get(name) ?? 0) + closures);
  }
  return [...sums]
    .map(([name, value]) => bar(name, value))
    .sort((one, other) => other.value - one.value);
}

/** Bars that are a table: its cells say what the bars show. */
function barChart(title: string, unit: string, bars: readonly Bar[]): HTMLElement {
  const longest = Math.max(1, ...bars.map(({ value }) => value));
  const rest = bars.length - BAR_ROWS;
  return h(
    "figure",
    {},
    h("figcaption", {}, title),
    bars.length === 0
      ? h("p", { class: "none" }, "Nothing to show in this time.")
      : h(
          "table",
          { class: "bars" },
          h(
            "thead",
            { class: "unseen" },
            h("tr", {}, h("th", { scope: "col" }, "name"), h("th", { scope: "col" }, unit)),
          ),
          h(
            "tbody",
            {},
            ...bars
              .slice(0, BAR_ROWS)
              .map(({ name, value, text }) =>
                h(
                  "tr",
                  {},
                  h("th", { scope: "row" }, name),
                  h("td", {}, lineOf(value / longest), h("span", {}, text)),
                ),
              ),
          ),
        ),
    rest > 0 && h("p", { class: "none" }, `and ${count(rest)} more`),
  );
}

function lineOf(length: number): SVGElement {
  return svg(
    "svg",
    { "aria-hidden": "true", viewBox: "0 0 100 10", preserveAspectRatio: "none" },
    svg("rect", { width: 100 * length, height: 10 }),
  );
}

/** Lines over days, with a legend, and all of it as a table below. */
function timeChart(
  title: string,
  allDays: readonly string[],
  allSeries: readonly Series[],
): HTMLElement {
  // Before the first snapshot there is nothing to see.
  const first = allDays.findIndex((_, i) => allSeries.some(({ values }) => values[i] != null));
  const days = allDays.slice(first);
  const series = allSeries.map((each) => ({ ...each, values: each.values.slice(first) }));
  if (first < 0) {
    return h(
      "figure",
      {},
      h("figcaption", {}, title),
      h("p", { class: "none" }, "No snapshot of these days. Each run takes one of its day."),
    );
  }
  const plot = h("div", { class: "plot" });
  // Drawn for the width that there is: scaled, its text would be too small to read on a phone.
  new ResizeObserver(() => {
    if (plot.clientWidth > 0) plot.replaceChildren(drawing(title, plot.clientWidth, days, series));
  }).observe(plot);
  return h(
    "figure",
    {},
    h("figcaption", {}, title),
    plot,
    h(
      "p",
      { class: "key", "aria-hidden": "true" },
      ...series.map(({ name, kind }) => h("span", { class: kind }, name)),
    ),
    asTable(days, series),
  );
}

function asTable(days: readonly string[], series: readonly Series[]): HTMLElement {
  const titles = ["day", ...series.map(({ name }) => name)];
  return h(
    "details",
    {},
    h("summary", {}, "As a table"),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "The chart as a table" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...titles.map((text) => h("th", { scope: "col" }, text)))),
        h(
          "tbody",
          {},
          ...days.map((date, i) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, day(date)),
              ...series.map(({ values }) => h("td", {}, numberOrNone(values[i]))),
            ),
          ),
        ),
      ),
    ),
  );
}

function numberOrNone(value: number | null | undefined): string {
  return value == null ? "–" : count(value);
}

function drawing(
  title: string,
  width: number,
  days: readonly string[],
  series: readonly Series[],
): SVGElement {
  const most = Math.max(1, ...series.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const step = roundStep(most / 4);
  const top = Math.ceil(most / step) * step;
  const x = (i: number) =>
    days.length === 1
      ? (LEFT + width - RIGHT) / 2
      : LEFT + (i * (width - LEFT - RIGHT)) / (days.length - 1);
  const y = (value: number) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);

  const lines: SVGElement[] = [];
  for (let value = 0; value <= top; value += step) {
    lines.push(
      svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, count(value)),
    );
  }
  const everyDays = Math.ceil(days.length / Math.max(2, Math.floor((width - LEFT) / 80)));
  // From the last day backwards: that is the one that people look for.
  for (let i = days.length - 1; i >= 0; i -= everyDays) {
    const anchor = i === days.length - 1 && days.length > 1 ? "end" : "middle";
    if (x(i) < LEFT + 12 && i !== days.length - 1) continue;
    lines.push(svg("text", { x: x(i), y: HEIGHT - 6, "text-anchor": anchor }, day(days[i] ?? "")));
  }
  const marks = series.flatMap(({ name, kind, values }) => [
    svg("path", { class: `line ${kind}`, d: pathOf(values, x, y) }),
    ...values.flatMap((value, i) =>
      value === null
        ? []
        : [
            svg(
              "circle",
              { class: `mark ${kind}`, cx: x(i), cy: y(value), r: days.length > 60 ? 1.5 : 3 },
              svg("title", {}, `${day(days[i] ?? "")}: ${count(value)} ${name}`),
            ),
          ],
    ),
  ]);
  return svg(
    "svg",
    {
      role: "img",
      "aria-label": `${title}. ${summaryOf(days, series)}`,
      viewBox: `0 0 ${width} ${HEIGHT}`,
      width,
      height: HEIGHT,
    },
    ...lines,
    ...marks,
  );
}

/** A line through the days that have a number, broken where one has none. */
function pathOf(
  values: readonly (number | null)[],
  x: (i: number) => number,
  y: (value: number) => number,
): string {
  return values
    .map((value, i) => {
      if (value === null) return "";
      const begins = (values[i - 1] ?? null) === null;
      return `${begins ? "M" : "L"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    })
    .join("");
}

function summaryOf(days: readonly string[], series: readonly Series[]): string {
  const last = days.findLastIndex((_, i) => series.some(({ values }) => values[i] != null));
  const numbers = series.map(({ name, values }) => `${numberOrNone(values[last])} ${name}`);
  return `Last, on ${day(days[last] ?? "")}: ${numbers.join(", ")}.`;
}

/** 1, 2 or 5 times a power of ten, and never less than 1: tickets come whole. */
function roundStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10;
  return step * power;
}
