const unitSeconds = { s: 1, m: 60, h: 3600, d: 86_400 } as const;
type Unit = keyof typeof unitSeconds;

/** Seconds of a text such as `2h`, `90m` or `1d12h`; undefined when it is no such text. */
export function parseDuration(text: string): number | undefined {
  if (!/^([0-9]{1,9}[smhd])+$/.test(text)) return undefined;
  return Array.from(text.matchAll(/([0-9]+)([smhd])/g)).reduce(
    (sum, [, count, unit]) => sum + Number(count) * unitSeconds[unit as Unit],
    0,
  );
}

/** Seconds for a person: the two largest units, as `1 d 12 h`. */
export function formatDuration(seconds: number): string {
  const names: [Unit, string][] = [
    ["d", "d"],
    ["h", "h"],
    ["m", "min"],
    ["s", "s"],
  ];
  let rest = Math.max(0, Math.round(seconds));
  const parts = names.map(([unit, name]) => {
    const count = Math.floor(rest / unitSeconds[unit]);
    rest -= count * unitSeconds[unit];
    return { count, name };
  });
  const first = parts.findIndex(({ count }) => count > 0);
  if (first === -1) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(({ count }) => count > 0)
    .map(({ count, name }) => `${count} ${name}`)
    .join(" ");
}
