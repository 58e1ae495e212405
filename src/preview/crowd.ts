import { type State, urgency } from "./data.ts";
import { h, svg } from "./dom.ts";
import { count, stateNames, things } from "./format.ts";
import type { Bounds } from "./graticule.ts";

/** What the worker makes of several tickets that are near each other. */
export interface Crowd extends Record<State, number>, Bounds {
  cluster_id: number;
  point_count: number;
}

/** A crowd as a button of the page, so that it can be reached and read without seeing the map. */
export function crowdButton(crowd: Crowd, enter: () => void): HTMLElement {
  const states = urgency.filter((state) => crowd[state] > 0);
  const parts = states.map((state) => `${count(crowd[state])} ${stateNames[state]}`);
  const label = `${things(crowd.point_count, "ticket")}: ${parts.join(", ")}`;
  const button = h(
    "button",
    { type: "button", class: "crowd", "aria-label": label, title: label },
    donut(crowd),
  );
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    enter();
  });
  return button;
}

/** A ring that shows how the states of a crowd's tickets share it, and their number in it. */
function donut(crowd: Crowd): SVGElement {
  const total = crowd.point_count;
  const size = total < 10 ? 34 : total < 100 ? 40 : total < 1000 ? 48 : 56;
  const radius = size / 2 - 4;
  const round = 2 * Math.PI * radius;
  let done = 0;
  const arcs = urgency.flatMap((state) => {
    const length = (round * crowd[state]) / total;
    if (length === 0) return [];
    const arc = svg("circle", {
      class: `arc ${state}`,
      cx: size / 2,
      cy: size / 2,
      r: radius,
      "stroke-dasharray": `${length} ${round - length}`,
      "stroke-dashoffset": -done,
      transform: `rotate(-90 ${size / 2} ${size / 2})`,
    });
    done += length;
    return [arc];
  });
  const short = total < 10_000 ? count(total) : `${Math.round(total / 1000)}k`;
  return svg(
    "svg",
    { width: size, height: size, "aria-hidden": "true" },
    svg("circle", { class: "hole", cx: size / 2, cy: size / 2, r: size / 2 - 1 }),
    ...arcs,
    svg("text", { x: size / 2, y: size / 2 + 4, "text-anchor": "middle" }, short),
  );
}
