import { type TicketFeature, byUrgency, stateOf } from "./data.ts";
import { h } from "./dom.ts";
import { count, datasetName, stateNames, things, time } from "./format.ts";
import { pager } from "./pager.ts";

const PAGE_ROWS = 25;

/** The tickets of the map as a table: for whoever does not see it, and to look one up. */
export interface TicketList {
  element: HTMLElement;
  show(features: readonly TicketFeature[]): void;
}

/** @param locate shows a ticket on the map */
export function ticketList(locate: (feature: TicketFeature) => void): TicketList {
  let sorted: readonly TicketFeature[] = [];
  let first = 0;
  const summary = h("summary");
  const body = h("tbody");
  const pages = pager(h("span", { role: "status" }), (by) => {
    first += by * PAGE_ROWS;
    draw();
  });
  const titles = ["Ticket", "SLA", "Status", "Cluster", "Place", "Team", "Opened"];
  const table = h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Tickets on the map" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...titles.map((title) => h("th", { scope: "col" }, title)))),
      body,
    ),
  );
  const element = h("details", {}, summary, table, pages.element);

  function draw(): void {
    const last = Math.min(first + PAGE_ROWS, sorted.length);
    body.replaceChildren(...sorted.slice(first, last).map(row));
    pages.show(
      sorted.length === 0
        ? "none"
        : `${count(first + 1)} to ${count(last)} of ${count(sorted.length)}`,
      { before: first > 0, after: last < sorted.length },
    );
  }

  function row(feature: TicketFeature): HTMLElement {
    const t = feature.properties;
    const state = stateOf(t);
    const button = h("button", { type: "button", title: "Show it on the map" }, t.ticket_id);
    button.addEventListener("click", () => {
      locate(feature);
    });
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, button, ` ${datasetName(t.dataset)}`),
      h("td", {}, h("span", { class: `dot ${state}`, "aria-hidden": "true" }), stateNames[state]),
      ...[t.raw_status, t.cluster, t.location_name, t.assigned_team].map((text) =>
        h("td", {}, text ?? "–"),
      ),
      h("td", {}, time(t.opened_at)),
    );
  }

  return {
    element,
    show(features) {
      sorted = features.toSorted(
        (one, other) => byUrgency(one, other) || openedAt(one).localeCompare(openedAt(other)),
      );
      first = first < sorted.length ? first : 0;
      summary.textContent = `The map as a table: ${things(sorted.length, "ticket")}`;
      draw();
    },
  };
}

function openedAt({ properties }: TicketFeature): string {
  return properties.opened_at ?? "";
}
