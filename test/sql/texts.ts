/** Texts for property tests. */

import fc from "fast-check";

/** Any text that PostgreSQL can hold: no NUL, no half of a surrogate pair. */
export function anyText(maxLength = 30): fc.Arbitrary<string> {
  return fc
    .string({ unit: "binary", maxLength })
    .map((text) => text.toWellFormed().replaceAll("\0", ""));
}

/** Texts of these characters, to come near what a pattern lets through. */
export function textOf(characters: string, maxLength: number): fc.Arbitrary<string> {
  return fc.string({ unit: fc.constantFrom(...Array.from(characters)), maxLength });
}
