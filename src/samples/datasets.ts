import { day, exportStamp, hour } from "./time.ts";

// What INC and CRQ differ in.

export type Dataset = "inc" | "crq";

export interface Profile {
  dataset: Dataset;
  idPrefix: string;
  /** Keeps the INC and CRQ files of one seed from being twins. */
  salt: number;
  /** Raw status words for each step of a ticket's life; the last step is closed. */
  lifeCycle: readonly (readonly string[])[];
  serviceTypes: readonly string[];
  slaTarget: number;
  department: string;
}

export const profiles: Record<Dataset, Profile> = {
  inc: {
    dataset: "inc",
    idPrefix: "INC",
    salt: 0x1d872b41,
    lifeCycle: [
      ["Open", "New"],
      ["Assigned"],
      ["In progress", "pending ", "On site"],
      ["closed", "Resolved"],
    ],
    serviceTypes: ["FTTH", "FTTH", "FTTH", "FTTB", "Fixed Wireless"],
    slaTarget: 48 * hour,
    department: "Field Ops",
  },
  crq: {
    dataset: "crq",
    idPrefix: "CRQ",
    salt: 0x6a09e667,
    lifeCycle: [
      ["Open", "Requested"],
      ["Assigned", "Scheduled "],
      ["In progress", "pending ", "Cabling"],
      ["closed", "Installed", "Completed"],
    ],
    serviceTypes: ["FTTH", "FTTH", "FTTB"],
    slaTarget: 7 * day,
    department: "Installations",
  },
};

export function exportKey(dataset: Dataset, at: number): string {
  return `automations/${dataset}/changes/${exportStamp(at)}.csv`;
}
