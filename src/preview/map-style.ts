import type { LayerSpecification, StyleSpecification } from "maplibre-gl";
import { urgency } from "./data.ts";

type OverlayLayer = Extract<LayerSpecification, { source: string }>;

export function plainStyle(): StyleSpecification {
  const paint = { "background-color": colour("--map-ground") };
  return {
    version: 8,
    sources: {},
    layers: [{ id: "background", type: "background", paint }],
  };
}

/** @param font a font that the style's own server has; any will do where the style names none */
export function layers(font: string[]): OverlayLayer[] {
  const text = { "text-size": 12, ...(font.length > 0 && { "text-font": font }) };
  const halo = { "text-halo-color": colour("--map-ground"), "text-halo-width": 1.5 };
  return [
    {
      id: "grid",
      type: "line",
      source: "grid",
      filter: ["==", ["geometry-type"], "LineString"],
      paint: { "line-color": colour("--map-line"), "line-width": 1 },
    },
    {
      id: "grid-name",
      type: "symbol",
      source: "grid",
      filter: ["==", ["geometry-type"], "Point"],
      layout: {
        ...text,
        "text-size": 11,
        "text-field": ["get", "name"],
        "text-anchor": ["get", "anchor"],
      },
      paint: { "text-color": colour("--map-faint"), ...halo },
    },
    {
      id: "area",
      type: "symbol",
      source: "area",
      layout: {
        ...text,
        "text-size": 13,
        "text-field": ["get", "name"],
        "text-anchor": "top",
        "text-offset": [0, 1.7],
        "text-padding": 6,
      },
      paint: { "text-color": colour("--map-text"), ...halo },
    },
    {
      id: "ticket",
      type: "circle",
      source: "ticket",
      filter: ["!", ["has", "point_count"]],
      paint: {
        "circle-radius": 7,
        "circle-stroke-width": 2,
        "circle-stroke-color": colour("--map-ground"),
        "circle-color": [
          "match",
          ["get", "s"],
          ...urgency.flatMap((state) => [state, colour(`--${state}`)]),
          colour("--unknown"),
        ] as unknown as string,
      },
    },
  ];
}

/** The first font that a style names outright. */
export function fontOf({ layers }: StyleSpecification): string[] {
  for (const layer of layers) {
    const font = layer.type === "symbol" ? layer.layout?.["text-font"] : undefined;
    if (!Array.isArray(font)) continue;
    const names = (font as unknown[]).filter((name) => typeof name === "string");
    // What is nested is an expression.
    if (names.length === font.length) return names;
  }
  return [];
}

export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
