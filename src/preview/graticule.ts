import type { Feature, FeatureCollection, LineString, Point } from "geojson";

// Degrees between two lines, from the widest view to the closest.
const steps = [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const LINES = 5;

export interface Bounds {
  west: number;
  east: number;
  south: number;
  north: number;
}

export type Grid = FeatureCollection<
  LineString | Point,
  { name: string; anchor: "bottom-left" | "top-left" }
>;

/** Meridians and parallels of what is seen, a handful, each with its degrees at the edge. */
export function graticule({ west, east, south, north }: Bounds): Grid {
  const step = steps.findLast((each) => (east - west) / each <= 2 * LINES) ?? 30;
  // The lines reach beyond the edge, so that they are still there while the map is moved.
  const [wide, high] = [east - west, north - south];
  const top = Math.min(85, north + high);
  const bottom = Math.max(-85, south - high);
  const features: Grid["features"] = [];
  for (const lng of multiples(step, west - wide, east + wide)) {
    features.push(
      line([
        [lng, bottom],
        [lng, top],
      ]),
      label([lng, north], degrees(lng, step, "E", "W"), "top-left"),
    );
  }
  for (const lat of multiples(step, bottom, top)) {
    features.push(
      line([
        [west - wide, lat],
        [east + wide, lat],
      ]),
      label([west, lat], degrees(lat, step, "N", "S"), "bottom-left"),
    );
  }
  return { type: "FeatureCollection", features };
}

function multiples(step: number, from: number, to: number): number[] {
  const first = Math.ceil(from / step);
  return Array.from({ length: Math.max(0, Math.floor(to / step) - first + 1) }, (_, i) =>
    Number(((first + i) * step).toFixed(3)),
  );
}

function line(coordinates: [number, number][]): Feature<LineString, never> {
  return {
    type: "Feature",
    geometry: { type: "LineString", coordinates },
    properties: {} as never,
  };
}

function label(
  coordinates: [number, number],
  name: string,
  anchor: "bottom-left" | "top-left",
): Grid["features"][number] {
  return {
    type: "Feature",
    geometry: { type: "Point", coordinates },
    properties: { name, anchor },
  };
}

function degrees(value: number, step: number, positive: string, negative: string): string {
  const digits = step >= 1 ? 0 : Math.ceil(-Math.log10(step));
  const side = value === 0 ? "" : ` ${value > 0 ? positive : negative}`;
  return `${Math.abs(value).toFixed(digits)}°${side}`;
}
