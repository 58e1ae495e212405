// Times as the source writes them: EAT wall time. They are milliseconds everywhere else.

export const minute = 60_000;
export const hour = 60 * minute;
export const day = 24 * hour;
export const eatOffset = 3 * hour;

export const defaultFirstExport = "2026-06-15T06-20-00";
export const defaultEveryMinutes = 20;

export function parseExportTime(stamp: string): number {
  const [date, time = ""] = stamp.split("T");
  const at = Date.parse(`${date}T${time.replaceAll("-", ":")}+03:00`);
  if (Number.isNaN(at)) throw new RangeError(`not an export time: ${stamp}`);
  return at;
}

export function exportStamp(at: number): string {
  return eatTimestamp(at).replace(" ", "T").replaceAll(":", "-");
}

/** Nairobi keeps UTC+3 all year, so a shifted UTC clock shows its wall time on any machine. */
export function eatTimestamp(at: number): string {
  return new Date(at + eatOffset).toISOString().slice(0, 19).replace("T", " ");
}
