import { h, svg } from "./dom.ts";
import { count, day } from "./format.ts";

const HEIGHT = 200;
const LEFT = 44;
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 24;

export interface Series {
  name: string;
  /** Of the style sheet: it has the colour. */
  kind: string;
  values: readonly (number | null)[];
}

/** Lines over days, with a legend, and all of it as a table below. */
export function timeChart(
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

/** Where the numbers of a chart stand in its drawing. */
interface Scale {
  /** The greatest number that there is room for, and how far the lines of the grid are apart. */
  top: number;
  step: number;
  x: (day: number) => number;
  y: (value: number) => number;
}

function scaleFor(width: number, days: number, series: readonly Series[]): Scale {
  const most = Math.max(1, ...series.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const step = roundStep(most / 4);
  const top = Math.ceil(most / step) * step;
  return {
    top,
    step,
    x: (i) =>
      days === 1 ? (LEFT + width - RIGHT) / 2 : LEFT + (i * (width - LEFT - RIGHT)) / (days - 1),
    y: (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM),
  };
}

function drawing(
  title: string,
  width: number,
  days: readonly string[],
  series: readonly Series[],
): SVGElement {
  const scale = scaleFor(width, days.length, series);
  return svg(
    "svg",
    {
      role: "img",
      "aria-label": `${title}. ${summaryOf(days, series)}`,
      viewBox: `0 0 ${width} ${HEIGHT}`,
      width,
      height: HEIGHT,
    },
    ...gridLines(scale, width),
    ...dayNames(scale, width, days),
    ...series.flatMap((each) => lineOf(scale, days, each)),
  );
}

function gridLines({ top, step, y }: Scale, width: number): SVGElement[] {
  const lines: SVGElement[] = [];
  for (let value = 0; value <= top; value += step) {
    lines.push(
      svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, count(value)),
    );
  }
  return lines;
}

function dayNames({ x }: Scale, width: number, days: readonly string[]): SVGElement[] {
  const names: SVGElement[] = [];
  const last = days.length - 1;
  const everyDays = Math.ceil(days.length / Math.max(2, Math.floor((width - LEFT) / 80)));
  // From the last day backwards: that is the one that people look for.
  for (let i = last; i >= 0; i -= everyDays) {
    if (x(i) < LEFT + 12 && i !== last) continue;
    const anchor = i === last && days.length > 1 ? "end" : "middle";
    names.push(svg("text", { x: x(i), y: HEIGHT - 6, "text-anchor": anchor }, day(days[i] ?? "")));
  }
  return names;
}

/** A line, and a mark on each day that has a number. */
function lineOf(
  scale: Scale,
  days: readonly string[],
  { name, kind, values }: Series,
): SVGElement[] {
  const { x, y } = scale;
  const radius = days.length > 60 ? 1.5 : 3;
  const marks = values.flatMap((value, i) =>
    value === null
      ? []
      : [
          svg(
            "circle",
            { class: `mark ${kind}`, cx: x(i), cy: y(value), r: radius },
            svg("title", {}, `${day(days[i] ?? "")}: ${count(value)} ${name}`),
          ),
        ],
  );
  return [svg("path", { class: `line ${kind}`, d: pathOf(values, scale) }), ...marks];
}

/** A line through the days that have a number, broken where one has none. */
function pathOf(values: readonly (number | null)[], { x, y }: Scale): string {
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
