import {
  type Dashboard,
  type Failure,
  type Filters,
  type Report,
  type TicketMap,
  defaultFilters,
} from "./data.ts";

export interface PageData {
  map: TicketMap;
  dashboards: Dashboard[];
}

/** Why there is no data, and whether asking again may help. */
export class NoData extends Error {
  override name = "NoData";
  readonly hint: string;
  readonly isPassing: boolean;

  constructor(message: string, hint: string, isPassing: boolean) {
    super(message);
    this.hint = hint;
    this.isPassing = isPassing;
  }
}

/** What the page carries, if it is a report. */
export function carriedReport(): Report | undefined {
  const element = document.getElementById("report");
  return element === null ? undefined : (JSON.parse(element.textContent) as Report);
}

/**
 * Asks the server of the page for the numbers.
 *
 * @throws NoData, or what an aborted fetch throws
 */
export function fetchDashboards(filters: Filters, signal: AbortSignal): Promise<Dashboard[]> {
  return get(`/api/dashboards${queryOf(filters)}`, signal);
}

/** Asks for the map, as `fetchDashboards` does for the numbers; it may be much. */
export function fetchMap(filters: Filters, signal: AbortSignal): Promise<TicketMap> {
  return get(`/api/map${queryOf(filters)}`, signal);
}

/** The filters as they stand in an address: what is as usual is left out. */
export function queryOf(filters: Filters): string {
  const query = new URLSearchParams();
  for (const name of ["dataset", "cluster", "status", "window"] as const) {
    const value = filters[name];
    if (value !== null && value !== defaultFilters[name]) query.set(name, value);
  }
  return query.size === 0 ? "" : `?${query.toString()}`;
}

async function get<T>(address: string, signal: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(address, { signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new NoData(
      "the program that serves this page does not answer",
      "Look whether fleettickets preview is still running",
      true,
    );
  }
  const answer = (await response.json()) as T | Failure;
  if (response.ok) return answer as T;
  const { message, hint = "" } = (answer as Failure).error;
  throw new NoData(message, hint, response.status === 503);
}
