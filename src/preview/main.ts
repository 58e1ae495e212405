import { chartsOf } from "./charts.ts";
import { type Dashboard, type Filters, type Report, type TicketMap, urgency } from "./data.ts";
import { h, part } from "./dom.ts";
import { filterForm } from "./filters.ts";
import { byDataset, count, datasetName, stateNames, things, time } from "./format.ts";
import { ticketList } from "./list.ts";
import { type TicketMapView, createMap } from "./map.ts";
import { freshnessLine, freshnessWarnings, metricsOf, windowName } from "./numbers.ts";
import { NoData, type PageData, carriedReport, fetchDashboards, fetchMap } from "./source.ts";

const RETRY_MS = 3_000;
const REFRESH_MS = 60_000;
// A database that needs long for the page is asked less often: a twentieth of the time at most.
const REST = 20;
// Without news, too, tickets grow old.
const REDRAW_MS = 10 * REFRESH_MS;

const report = carriedReport();
const page = createPage();
if (report === undefined) keepUpToDate();
else showReport(report);

interface Page {
  show(data: PageData, fit: boolean): void;
  /** Says what is wrong on top of the page, in the place of what it said before. */
  notice(kind: "data" | "trouble" | "map", texts: readonly string[]): void;
}

function createPage(): Page {
  const notices = { data: h("div"), trouble: h("div", { role: "alert" }), map: h("div") };
  part("notices").append(notices.trouble, notices.data, notices.map);
  const map = mapOrNone();
  const list = ticketList((feature) => map?.locate(feature));
  part("list").append(list.element);
  part("legend").append(
    h(
      "ul",
      { class: "legend", "aria-label": "Colours" },
      ...urgency.map((state) =>
        h("li", {}, h("span", { class: `dot ${state}`, "aria-hidden": "true" }), stateNames[state]),
      ),
      h("li", {}, "a number: so many tickets close together"),
    ),
  );

  function notice(kind: keyof typeof notices, texts: readonly string[]): void {
    const old = Array.from(notices[kind].children, ({ textContent }) => textContent);
    // A screen reader reads out what changes: the same again is none.
    if (old.join("\n") === texts.join("\n")) return;
    notices[kind].replaceChildren(...texts.map((text) => h("p", { class: "notice" }, text)));
  }

  function mapOrNone(): TicketMapView | undefined {
    try {
      const { workerUrl, styleUrl } = document.documentElement.dataset;
      return createMap(part("map"), {
        workerUrl: report === undefined ? (workerUrl ?? "") : workerOf(report),
        styleUrl,
        hasAddress: report === undefined,
        complain: (text) => {
          notice("map", [text]);
        },
      });
    } catch (error) {
      part("map").hidden = true;
      const reason = error instanceof Error ? error.message : String(error);
      notice("map", [`This browser draws no map; the tickets are in the table below. ${reason}`]);
      return undefined;
    }
  }

  return {
    notice,
    show({ map: collection, dashboards }, fit) {
      const { freshness } = collection.summary;
      part("freshness").replaceChildren(freshnessLine(freshness));
      notice("data", [...freshnessWarnings(freshness), ...absences(collection)]);
      part("metrics").replaceChildren(...dashboards.map(metricsOf));
      part("map-summary").textContent = summaryOf(collection);
      map?.show(collection.features, fit);
      list.show(collection.features);
      drawCharts(dashboards);
    },
  };
}

/** Draws them anew; those whose numbers somebody has opened stay open. */
function drawCharts(dashboards: readonly Dashboard[]): void {
  const charts = part("charts");
  const isOpen = [...charts.querySelectorAll("details")].map(({ open }) => open);
  charts.replaceChildren(...dashboards.map(chartsOf));
  for (const [i, details] of charts.querySelectorAll("details").entries()) {
    details.open = isOpen[i] ?? false;
  }
}

/** What a map without tickets has to say for itself. */
function absences({ summary }: TicketMap): string[] {
  const { total, located } = summary;
  if (!total) {
    const isFresh = Object.values(summary.freshness).every(
      ({ exported_at }) => exported_at === null,
    );
    return isFresh
      ? ["There is no ticket in the database yet. fleettickets ingest all --apply loads them."]
      : ["No ticket is like that: other filters may show some."];
  }
  return located
    ? []
    : [
        `None of these ${things(total, "ticket")} has a point, so the map is empty. ` +
          "fleettickets geocode clusters --apply places them.",
      ];
}

function summaryOf({ features, summary }: TicketMap): string {
  const { total, located, by_dataset } = summary;
  const each = byDataset(by_dataset).map(([name, n]) => `${count(n)} ${datasetName(name)}`);
  const left = report?.left_out ?? 0;
  return (
    `${things(total ?? 0, "ticket")} (${each.join(", ")}), ${count(located ?? 0)} with a point` +
    (left > 0
      ? `. To stay small, this file has the ${count(features.length)} most urgent of these, ` +
        `${count(left)} less.`
      : ".")
  );
}

function keepUpToDate(): void {
  const form = filterForm(() => {
    void load(form.show(), true);
  });
  part("filters").append(form.element);
  let timer: number | undefined;
  let asking: AbortController | undefined;
  let shown: { news: string; at: number } | undefined;

  /** @param fit whether the map may move to where the tickets are */
  async function load(filters: Filters, fit: boolean): Promise<void> {
    clearTimeout(timer);
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    const began = performance.now();
    part("main").ariaBusy = "true";
    try {
      const dashboards = await fetchDashboards(filters, signal);
      const news = newsOf(dashboards);
      if (fit || news !== shown?.news || Date.now() - shown.at > REDRAW_MS) {
        const map = await fetchMap(filters, signal);
        form.offerClusters(clustersOf(dashboards));
        page.show({ map, dashboards }, fit);
        shown = { news, at: Date.now() };
      }
      page.notice("trouble", []);
      again(Math.max(REFRESH_MS, REST * (performance.now() - began)), filters, false);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof NoData)) throw error;
      tell(error);
      if (error.isPassing) again(RETRY_MS, filters, fit);
    } finally {
      if (!signal.aborted) part("main").ariaBusy = "false";
    }
  }

  function again(afterMs: number, filters: Filters, fit: boolean): void {
    timer = setTimeout(() => {
      // Nobody looks: wait until somebody does.
      if (document.hidden) {
        document.addEventListener("visibilitychange", () => void load(filters, fit), {
          once: true,
        });
      } else void load(filters, fit);
    }, afterMs);
  }

  function tell({ message, hint, isPassing }: NoData): void {
    const age = shown && `what it shows is of ${time(new Date(shown.at).toISOString())}`;
    const sentences = [
      isPassing ? `No new data: ${message}` : `The database says: ${message}`,
      hint,
      isPassing && ["This page tries again by itself", age].filter(Boolean).join("; "),
    ];
    const text = sentences.filter(Boolean).map((sentence) => `${sentence}.`);
    page.notice("trouble", [text.join(" ")]);
  }

  void load(form.show(), true);
}

/** What is another text as soon as something was loaded or refused. */
function newsOf(dashboards: readonly Dashboard[]): string {
  return JSON.stringify(
    dashboards.map(({ freshness: f }) => [f.applied_at, f.files_applied, f.files_refused]),
  );
}

function clustersOf(dashboards: readonly Dashboard[]): string[] {
  const names = new Set(dashboards.flatMap(({ clusters }) => clusters));
  return [...names].sort((one, other) => one.localeCompare(other, "en"));
}

function showReport(carried: Report): void {
  const { filters, made_at } = carried;
  const what = [
    filters.dataset === null ? "INC and CRQ" : datasetName(filters.dataset),
    filters.cluster === null ? "all clusters" : `cluster ${filters.cluster}`,
    `map of ${filters.status === "all" ? "all" : filters.status} tickets`,
    `closed and created ${windowName(filters.window)}`,
  ];
  part("filters").append(
    h("p", {}, `Report of ${time(made_at)}, Nairobi time: ${what.join(", ")}. It does not change.`),
  );
  page.show(carried, true);
  part("main").ariaBusy = "false";
}

/** An address of the program that the report carries. */
function workerOf({ worker }: Report): string {
  const address = URL.createObjectURL(new Blob([worker], { type: "text/javascript" }));
  // By this end the library knows that it is no module.
  return `${address}#worker.cjs`;
}
