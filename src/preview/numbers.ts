import type { Dashboard, Freshness } from "./data.ts";
import { h } from "./dom.ts";
import { byDataset, count, datasetName, duration, share, things, time } from "./format.ts";

// The export runs every 20 minutes: this many missed ones are no accident.
const OLD_SECONDS = 2 * 60 * 60;

/** How far each dataset is, in a line. */
export function freshnessLine(of: Readonly<Record<string, Freshness>>): HTMLElement {
  const parts = byDataset(of).map(
    ([dataset, { exported_at }]) =>
      `${datasetName(dataset)} ${exported_at === null ? "no export yet" : `as of ${time(exported_at)}`}`,
  );
  return h("span", {}, parts.join(" · "), parts.length > 0 ? ", Nairobi time" : "");
}

/** What is wrong with how far the datasets are, each in a sentence. */
export function freshnessWarnings(of: Readonly<Record<string, Freshness>>): string[] {
  return byDataset(of).flatMap(([dataset, freshness]) => {
    const { exported_at, age_seconds, files_refused } = freshness;
    const name = datasetName(dataset);
    const isOld = age_seconds !== null && age_seconds > OLD_SECONDS;
    return [
      isOld &&
        `${name} is old: its newest export is of ${time(exported_at)}, ` +
          `${duration(age_seconds / 60)} ago. What happened since is not on this page.`,
      files_refused > 0 &&
        `${name}: ${things(files_refused, "file was", "files were")} refused and not mended yet; ` +
          "their tickets are missing here.",
    ].filter((text) => text !== false);
  });
}

/** The headline numbers of a dataset. */
export function metricsOf({ filters, metrics: m }: Dashboard): HTMLElement {
  const judged = m.sla_met + m.sla_breached;
  const title = `metrics-${filters.dataset}`;
  return h(
    "section",
    { class: "dataset", "aria-labelledby": title },
    h("h3", { id: title }, datasetName(filters.dataset)),
    h(
      "dl",
      { class: "metrics" },
      ...metric("open", m.open_total, `${count(m.open_actionable)} actionable`),
      ...metric(
        "SLA breached",
        m.open_breached,
        `${share(m.open_breached, m.open_total)} of open`,
        "breached",
      ),
      ...metric("SLA at risk", m.open_at_risk, `${count(m.open_within)} within`, "at_risk"),
      ...metric("created", m.created_in_window, windowName(filters.window)),
      ...metric("closed", m.closed_in_window, `${count(m.reopened_in_window)} reopened`),
      ...metric(
        "time to repair",
        duration(m.mttr_median_minutes),
        `median; 90 % within ${duration(m.mttr_p90_minutes)}`,
      ),
      ...metric(
        "closed in SLA",
        share(m.sla_met, judged),
        `${count(m.sla_met)} of ${count(judged)}`,
      ),
      ...metric(
        "on the map",
        m.located_pct === null ? "–" : `${count(m.located_pct)} %`,
        "of open",
      ),
    ),
  );
}

function metric(name: string, value: number | string, more: string, state = ""): HTMLElement[] {
  return [
    h(
      "div",
      { class: `metric ${state}` },
      h("dt", {}, name),
      h("dd", { class: "value" }, typeof value === "number" ? count(value) : value),
      h("dd", { class: "more" }, more),
    ),
  ];
}

export function windowName(window: string | null): string {
  if (window === "all") return "of all time";
  const known: Record<string, string> = { "24h": "24 hours", "7d": "7 days", "30d": "30 days" };
  return `in ${(window && known[window]) ?? window ?? "the window"}`;
}
