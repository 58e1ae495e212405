import {
  type GeoJSONSource,
  Map as MapView,
  Marker,
  NavigationControl,
  Popup,
  ScaleControl,
  setWorkerUrl,
} from "maplibre-gl";
import type { Feature, FeatureCollection, Point } from "geojson";
import { type Crowd, crowdButton } from "./crowd.ts";
import { type State, type TicketFeature, byUrgency, stateOf, urgency } from "./data.ts";
import { type Grid, graticule } from "./graticule.ts";
import { colour, fontOf, layers, plainStyle } from "./map-style.ts";
import { ticketCard } from "./ticket.ts";

// Kenya, for a map without a ticket on it.
const HOME: [number, number, number, number] = [33.9, -4.8, 41.9, 5.1];
// As near as it makes sense to look: tickets this close together are at the same address.
const CLOSEST = 17;
const TOUCH_PX = 6;

/** The map of tickets. */
export interface TicketMapView {
  /** @param fit moves the map to where they are */
  show(features: readonly TicketFeature[], fit: boolean): void;
  locate(feature: TicketFeature): void;
}

export interface MapOptions {
  /** What the program of the worker can be loaded from. */
  workerUrl: string;
  /** A style from elsewhere; undefined for one that needs nothing from anywhere. */
  styleUrl: string | undefined;
  /** Whether the address of the page says where the map looks. */
  hasAddress: boolean;
  /** Tells of what the map cannot do. */
  complain: (text: string) => void;
}

/** What the worker of the map gets of a ticket: the rest is looked up here by its number. */
interface Spot {
  i: number;
  s: State;
  x: number;
  y: number;
}

/**
 * Makes the map inside of an element.
 *
 * Tickets come as GeoJSON, not as tiles: only so can crowds of them be told apart by SLA, and the
 * worker of the map clusters a few hundred thousand in a second or two. It gets a point, a state and
 * a number of each, nothing else.
 *
 * @throws where the browser can draw none
 */
export function createMap(container: HTMLElement, options: MapOptions): TicketMapView {
  const { styleUrl, complain } = options;
  setWorkerUrl(options.workerUrl);
  // The map writes its view there as soon as it is made.
  let isSetByAddress = options.hasAddress && location.hash.includes("view=");
  const map = new MapView({
    container,
    style: styleUrl ?? plainStyle(),
    bounds: HOME,
    hash: options.hasAddress && "view",
    maxZoom: CLOSEST,
    attributionControl: styleUrl === undefined ? false : { compact: true },
    // The page is longer than the map: its wheel and a finger belong to the page.
    cooperativeGestures: true,
    dragRotate: false,
    pitchWithRotate: false,
    touchPitch: false,
    locale: { "Map.Title": "Map of tickets: arrow keys move it, plus and minus zoom" },
  });
  map.touchZoomRotate.disableRotation();
  map.addControl(new NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new ScaleControl(), "bottom-left");

  let shown: readonly TicketFeature[] = [];
  let isPlain = styleUrl === undefined;
  let isReady = false;
  let popup: Popup | undefined;
  const markers = new Map<number, { marker: Marker; key: string }>();

  map.on("style.load", () => {
    addTickets();
    isReady = true;
    draw();
  });
  map.on("error", ({ error }) => {
    if (isReady || isPlain) {
      complain(`The map says: ${error.message}`);
      return;
    }
    complain(
      "The map's background cannot be loaded; this one is plain. PREVIEW_STYLE_URL names it.",
    );
    isPlain = true;
    map.setStyle(plainStyle());
  });
  map.on("render", updateMarkers);
  map.on("moveend", drawGrid);
  map.on("click", ({ point }) => {
    const box: [[number, number], [number, number]] = [
      [point.x - TOUCH_PX, point.y - TOUCH_PX],
      [point.x + TOUCH_PX, point.y + TOUCH_PX],
    ];
    const touched = map.queryRenderedFeatures(box, { layers: ["ticket"] });
    if (touched.length > 0) openCard(touched.map(({ properties }) => (properties as Spot).i));
  });
  map.on("mousemove", ({ point }) => {
    const isOver = map.queryRenderedFeatures(point, { layers: ["ticket"] }).length > 0;
    map.getCanvas().style.cursor = isOver ? "pointer" : "";
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);

  function addTickets(): void {
    const nothing: FeatureCollection = { type: "FeatureCollection", features: [] };
    map.addSource("grid", { type: "geojson", data: nothing });
    map.addSource("area", { type: "geojson", data: nothing });
    map.addSource("ticket", {
      type: "geojson",
      data: nothing,
      cluster: true,
      clusterRadius: 44,
      clusterMaxZoom: CLOSEST,
      maxzoom: CLOSEST + 1,
      clusterProperties: {
        west: ["min", ["get", "x"]],
        east: ["max", ["get", "x"]],
        south: ["min", ["get", "y"]],
        north: ["max", ["get", "y"]],
        ...Object.fromEntries(
          urgency.map((state) => [state, ["+", ["case", ["==", ["get", "s"], state], 1, 0]]]),
        ),
      },
    });
    for (const layer of layers(fontOf(map.getStyle()))) {
      if (isPlain || layer.source !== "grid") map.addLayer(layer);
    }
  }

  function recolour(): void {
    if (!isReady) return;
    if (isPlain) map.setPaintProperty("background", "background-color", colour("--map-ground"));
    for (const layer of layers([])) {
      if (map.getLayer(layer.id) === undefined) continue;
      for (const [name, value] of Object.entries(layer.paint ?? {})) {
        map.setPaintProperty(layer.id, name as "line-color", value as string);
      }
    }
  }

  function draw(): void {
    if (!isReady) return;
    const spots = shown.map(({ geometry, properties }, i): Feature<Point, Spot> => ({
      type: "Feature",
      geometry,
      properties: {
        i,
        s: stateOf(properties),
        x: geometry.coordinates[0],
        y: geometry.coordinates[1],
      },
    }));
    void sourceOf("ticket").setData({ type: "FeatureCollection", features: spots });
    void sourceOf("area").setData(areas(shown));
    drawGrid();
  }

  function drawGrid(): void {
    if (!isReady || !isPlain) return;
    const bounds = map.getBounds();
    const grid: Grid = graticule({
      west: bounds.getWest(),
      east: bounds.getEast(),
      south: bounds.getSouth(),
      north: bounds.getNorth(),
    });
    void sourceOf("grid").setData(grid);
  }

  function sourceOf(id: string): GeoJSONSource {
    const source = map.getSource<GeoJSONSource>(id);
    if (source === undefined) throw new Error(`the map has no source ${id}`);
    return source;
  }

  /** Puts a button at each crowd that is seen, and takes away those of crowds that are not. */
  function updateMarkers(): void {
    if (!isReady || !map.isSourceLoaded("ticket")) return;
    const seen = new Set<number>();
    for (const { properties, geometry } of map.querySourceFeatures("ticket", {
      filter: ["has", "point_count"],
    })) {
      const crowd = properties as Crowd;
      if (seen.has(crowd.cluster_id) || geometry.type !== "Point") continue;
      seen.add(crowd.cluster_id);
      const key = `${geometry.coordinates.join()} ${urgency.map((s) => crowd[s]).join()}`;
      const old = markers.get(crowd.cluster_id);
      if (old?.key === key) continue;
      old?.marker.remove();
      const at = geometry.coordinates as [number, number];
      const element = crowdButton(crowd, () => void enter(crowd, at));
      const marker = new Marker({ element }).setLngLat(at).addTo(map);
      markers.set(crowd.cluster_id, { marker, key });
    }
    for (const [id, { marker }] of markers) {
      if (seen.has(id)) continue;
      marker.remove();
      markers.delete(id);
    }
  }

  async function enter(crowd: Crowd, at: [number, number]): Promise<void> {
    const source = sourceOf("ticket");
    if (crowd.west === crowd.east && crowd.south === crowd.north) {
      const leaves = await source.getClusterLeaves(crowd.cluster_id, crowd.point_count, 0);
      openCard(leaves.map(({ properties }) => (properties as Spot).i));
      return;
    }
    const zoom = await source.getClusterExpansionZoom(crowd.cluster_id);
    map.easeTo({ center: at, zoom: Math.min(zoom, CLOSEST) });
    map.getCanvas().focus();
  }

  function openCard(numbers: readonly number[]): void {
    const tickets = [...new Set(numbers)].flatMap((i) => shown[i] ?? []).sort(byUrgency);
    const [first] = tickets;
    if (first === undefined) return;
    const before = document.activeElement;
    popup?.remove();
    const opened = new Popup({ maxWidth: "22rem" })
      .setLngLat(first.geometry.coordinates)
      .setDOMContent(ticketCard(tickets))
      .addTo(map);
    popup = opened;
    opened.getElement().addEventListener("keydown", ({ key }) => {
      if (key === "Escape") opened.remove();
    });
    opened.on("close", () => {
      if (before instanceof HTMLElement && before.isConnected)
        before.focus({ preventScroll: true });
    });
  }

  return {
    show(features, fit) {
      shown = features;
      if (fit) popup?.remove();
      draw();
      if (fit && !isSetByAddress) look(map, features);
      isSetByAddress = false;
    },
    locate(feature) {
      container.scrollIntoView({ block: "center" });
      map.jumpTo({
        center: feature.geometry.coordinates,
        zoom: Math.max(map.getZoom(), 13),
      });
      openCard([shown.indexOf(feature)]);
    },
  };
}

/** Moves the map to where nearly all are: a few wrong coordinates must not show half the world. */
function look(map: MapView, features: readonly TicketFeature[]): void {
  const lngs = middleOf(features.map(({ geometry }) => geometry.coordinates[0]));
  const lats = middleOf(features.map(({ geometry }) => geometry.coordinates[1]));
  map.fitBounds(
    lngs === undefined || lats === undefined ? HOME : [lngs[0], lats[0], lngs[1], lats[1]],
    { padding: 48, maxZoom: 14, animate: false },
  );
}

/** The least and the greatest number without the outermost hundredth at either end. */
function middleOf(numbers: readonly number[]): [number, number] | undefined {
  const sorted = Float64Array.from(numbers).sort();
  const cut = Math.ceil(sorted.length / 100) - 1;
  const [least, greatest] = [sorted[cut], sorted[sorted.length - 1 - cut]];
  return least === undefined || greatest === undefined ? undefined : [least, greatest];
}

/** The middle of each cluster's tickets, with its name: where there is no other map, they are it. */
function areas(features: readonly TicketFeature[]): FeatureCollection<Point, { name: string }> {
  const byName = new Map<string, { lng: number; lat: number; n: number }>();
  for (const { geometry, properties } of features) {
    if (properties.cluster === null) continue;
    const sum = byName.get(properties.cluster) ?? { lng: 0, lat: 0, n: 0 };
    sum.lng += geometry.coordinates[0];
    sum.lat += geometry.coordinates[1];
    sum.n += 1;
    byName.set(properties.cluster, sum);
  }
  return {
    type: "FeatureCollection",
    features: [...byName].map(([name, { lng, lat, n }]) => ({
      type: "Feature",
      geometry: { type: "Point", coordinates: [lng / n, lat / n] },
      properties: { name },
    })),
  };
}
