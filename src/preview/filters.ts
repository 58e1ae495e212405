import { type Filters, readFilters } from "./data.ts";
import { h } from "./dom.ts";
import { queryOf } from "./source.ts";

const datasets = [
  ["", "INC and CRQ"],
  ["inc", "INC, faults"],
  ["crq", "CRQ, installations"],
] as const;
const statuses = [
  ["open", "open"],
  ["closed", "closed"],
  ["all", "open and closed"],
] as const;
const windows = [
  ["24h", "24 hours"],
  ["7d", "7 days"],
  ["30d", "30 days"],
  ["all", "all time"],
] as const;

type Choices = readonly (readonly [value: string, label: string])[];

/** The form that says what is looked at. What it says stands in the page's address, too. */
export interface FilterForm {
  element: HTMLElement;
  /** Shows the filters of the address. */
  show(): Filters;
  /** Offers these clusters, besides the one that is chosen. */
  offerClusters(clusters: readonly string[]): void;
}

/** @param changed is called after the address says something else */
export function filterForm(changed: () => void): FilterForm {
  const dataset = choice("dataset", "Tickets");
  const cluster = choice("cluster", "Cluster");
  const status = choice("status", "On the map");
  const window = choice("window", "Closed and created in");
  const form = h(
    "form",
    { method: "get", action: "/", class: "filters" },
    ...[dataset, cluster, status, window].map(({ element }) => element),
  );
  let known: readonly string[] = [];

  function current(): Filters {
    return readFilters(new URLSearchParams(location.search));
  }

  function offerClusters(clusters: readonly string[]): void {
    known = clusters;
    cluster.offer(
      [["", "all clusters"], ...clusters.map((name) => [name, name] as const)],
      current().cluster ?? "",
    );
  }

  function show(): Filters {
    const filters = current();
    dataset.offer(datasets, filters.dataset ?? "");
    offerClusters(known);
    status.offer(statuses, filters.status);
    window.offer(windows, filters.window);
    return filters;
  }

  form.addEventListener("change", () => {
    const filters = readFilters(new URLSearchParams(textsOf(form)));
    history.pushState(null, "", location.pathname + queryOf(filters) + location.hash);
    changed();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
  });
  addEventListener("popstate", changed);
  return { element: form, show, offerClusters };
}

function textsOf(form: HTMLFormElement): [string, string][] {
  return [...new FormData(form)].map(([name, value]) => [
    name,
    typeof value === "string" ? value : "",
  ]);
}

function choice(
  name: string,
  title: string,
): { element: HTMLElement; offer: (choices: Choices, chosen: string) => void } {
  const id = `filter-${name}`;
  const select = h("select", { name, id });
  return {
    element: h("div", {}, h("label", { for: id }, title), select),
    offer(choices, chosen) {
      // What an address says and nobody has thought of is a choice, too.
      const all = choices.some(([value]) => value === chosen)
        ? choices
        : [...choices, [chosen, chosen] as const];
      select.replaceChildren(
        ...all.map(([value, label]) => h("option", { value, selected: value === chosen }, label)),
      );
      select.value = chosen;
    },
  };
}
