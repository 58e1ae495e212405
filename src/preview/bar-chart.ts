import { h, svg } from "./dom.ts";
import { count } from "./format.ts";

const BAR_ROWS = 10;

export interface Bar {
  name: string;
  value: number;
  text: string;
}

export function bar(name: string, value: number): Bar {
  return { name, value, text: count(value) };
}

/** Bars that are a table: its cells say what the bars show. */
export function barChart(title: string, unit: string, bars: readonly Bar[]): HTMLElement {
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
                  h("td", {}, barOf(value / longest), h("span", {}, text)),
                ),
              ),
          ),
        ),
    rest > 0 && h("p", { class: "none" }, `and ${count(rest)} more`),
  );
}

function barOf(length: number): SVGElement {
  return svg(
    "svg",
    { "aria-hidden": "true", viewBox: "0 0 100 10", preserveAspectRatio: "none" },
    svg("rect", { width: 100 * length, height: 10 }),
  );
}
