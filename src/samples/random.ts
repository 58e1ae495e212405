// Chance: whoever draws brings the generator along, so that a seed decides all.

export type Random = () => number;

/** Mulberry32: integer arithmetic only, hence the same numbers everywhere. */
export function seededRandom(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from 0 up to, not including, `limit`. */
export function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

export function chance(random: Random, probability: number): boolean {
  return random() < probability;
}

export function pick<T>(random: Random, list: readonly T[]): T {
  const picked = list[below(random, list.length)];
  if (picked === undefined) throw new RangeError("nothing to pick from");
  return picked;
}

/** Draws `count` of the list without putting back; drawing all of them shuffles. */
export function draw<T>(random: Random, list: readonly T[], count: number): T[] {
  const left = [...list];
  for (let drawn = 0; drawn < count; drawn++) {
    const other = drawn + below(random, left.length - drawn);
    [left[drawn], left[other]] = [left[other] as T, left[drawn] as T];
  }
  return left.slice(0, count);
}
