import { type Bar, bar, barChart } from "./bar-chart.ts";
import type { BacklogDay, Dashboard, Group, TeamClosures } from "./data.ts";
import { h } from "./dom.ts";
import { datasetName, duration } from "./format.ts";
import { windowName } from "./numbers.ts";
import { timeChart } from "./time-chart.ts";

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
