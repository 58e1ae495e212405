import { type TicketFeature, type TicketProperties, stateOf } from "./data.ts";
import { h } from "./dom.ts";
import { count, datasetName, duration, stateNames, time } from "./format.ts";
import { pager } from "./pager.ts";

const pointSources: Readonly<Record<string, string>> = {
  feed: "the ticket itself",
  location: "its place",
  cluster: "its cluster",
};

/** What there is to know of a ticket; of several at the same point, one after the other. */
export function ticketCard(tickets: readonly TicketFeature[]): HTMLElement {
  let current = 0;
  const facts = h("div", { role: "status" });
  const pages = pager(h("span"), (by) => {
    current += by;
    show();
  });

  function show(): void {
    const ticket = tickets[current];
    if (ticket === undefined) return;
    facts.replaceChildren(...factsOf(ticket.properties));
    pages.show(`${count(current + 1)} of ${count(tickets.length)} here`, {
      before: current > 0,
      after: current < tickets.length - 1,
    });
  }

  show();
  return h(
    "div",
    { class: "card", tabindex: 0, role: "region", "aria-label": "Ticket" },
    facts,
    tickets.length > 1 && pages.element,
  );
}

function factsOf(t: TicketProperties): HTMLElement[] {
  const state = stateOf(t);
  const rows: (readonly [string, string | null])[] = [
    ["Status", t.raw_status ?? t.normalized_status],
    ["Actionable", t.is_actionable === null ? null : t.is_actionable ? "yes" : "no"],
    ["Cluster", t.cluster],
    ["Region", t.region],
    ["Place", t.location_name],
    ["Team", t.assigned_team],
    ["Owner", t.owner],
    ["Opened", t.opened_at && time(t.opened_at)],
    ["Scheduled", t.scheduled_at && time(t.scheduled_at)],
    ["Closed", t.closed_at && time(t.closed_at)],
    ["Time to repair", t.mttr === null ? null : duration(t.mttr)],
    ["SLA, says the source", t.sla_state === null ? t.sla_status : null],
    ["Point of", pointSources[t.geo_source] ?? t.geo_source],
  ];
  return [
    h("h3", {}, `${datasetName(t.dataset)} ${t.ticket_id}`),
    h("p", {}, h("span", { class: `dot ${state}`, "aria-hidden": "true" }), stateNames[state]),
    h(
      "dl",
      {},
      ...rows.flatMap(([name, value]) =>
        value === null || value === "" ? [] : [h("dt", {}, name), h("dd", {}, value)],
      ),
    ),
  ];
}
