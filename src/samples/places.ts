import { type Random, below, chance, pick } from "./random.ts";

// Where tickets are.

/** With their regions. QOA and PTMP stand for Quarry Road and Pipeline; some have no cluster. */
export const clusters = [
  ["Embakasi", "Nairobi"],
  ["Karen", "Nairobi"],
  ["Kasarani", "Nairobi"],
  ["Kilimani", "Nairobi"],
  ["Langata", "Nairobi"],
  ["Westlands", "Nairobi"],
  ["QOA", "Nairobi"],
  ["PTMP", "Nairobi"],
  ["Ruaka", "Kiambu"],
  ["Thika", "Kiambu"],
  ["Rongai", "Kajiado"],
  ["Syokimau", "Machakos"],
  ["", "Nairobi"],
] as const;

/** Plain names, then what is hard to carry: commas, quotes, line breaks, more than ASCII. */
const places = [
  "Argwings Kodhek Rd",
  "Lavington Green",
  "Donholm Phase 8",
  "Mirema Drive",
  "Garden City Mall",
  "Kamakis Corner",
  "Ndege Road, Gate 4",
  "Café Amani, 2nd Fl",
  "Rose Avenue – Annex",
  "Mūgumo Close",
  "Delta Towers 🏢",
  "Flat 3\\B Ring Rd",
  'Court "Amani" House 7',
  'The "Palms", Block D',
  "Tassia Estate\nBlock C",
  "Juja Farm\n\nPlot 19",
  "Acacia Court\r\nDoor 5",
];

export const nairobiPoints = [
  ["-1.292066", "36.821945"],
  ["-1.2676", "36.8108"],
  ["-1.3194", "36.7073"],
  ["-1.2195", "36.8960"],
] as const;

/** Prefixes the place with network codes as they stand in the source, or with none. */
export function locationName(cluster: string, random: Random): string {
  const place = pick(random, places);
  const area = (cluster || "NBO").toUpperCase();
  const cabinet = `_FDT${1 + below(random, 280)}`;
  const codes = ["", "", `NW_${area}`, `NW_${area}${cabinet}`, `ADR_MNT_${area}`, cabinet];
  const parts = [pick(random, codes), chance(random, 0.15) ? "SDUS" : "", place];
  return parts.filter((part) => part !== "").join(" ");
}

export function spellRegion(region: string, random: Random): string {
  return pick(random, [region, region, region.toLowerCase(), region.toUpperCase(), ` ${region}`]);
}
