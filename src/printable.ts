// What the program prints holds texts of others: keys, headers, cluster names, error messages. Here
// they are made fit for a terminal and a log.
import { withoutSecrets } from "./secrets.ts";

// Control characters, and what changes the order of other characters or cannot be seen: a terminal
// would obey the first, a person would be deceived by the others.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/**
 * A text for a person: without secrets, and with visible escapes, `\x1b` or `\u202e`, in place of
 * what cannot be printed. Line feeds and tabs stay.
 */
export function printable(text: string): string {
  return withoutSecrets(text).replace(UNPRINTABLE, (char) =>
    char === "\n" || char === "\t" ? char : visible(char),
  );
}

/** The same for a text that is a part of a line: what it says must not look like another line. */
export function printableInLine(text: string): string {
  return withoutSecrets(text).replace(UNPRINTABLE, visible);
}

/** Data as JSON in one line, without secrets, and harmless where a terminal shows it. */
export function printableJson(data: unknown): string {
  // From each text before it is JSON: a secret may be a number, or hold what is syntax there.
  const json = JSON.stringify(data, (_name, value: unknown) =>
    typeof value === "string" ? withoutSecrets(value) : value,
  );
  return json.replace(UNPRINTABLE, (char) =>
    Array.from({ length: char.length }, (_, i) => `\\u${hex(char.charCodeAt(i), 4)}`).join(""),
  );
}

function visible(char: string): string {
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x100) return `\\x${hex(code, 2)}`;
  return code < 0x1_0000 ? `\\u${hex(code, 4)}` : `\\u{${hex(code, 5)}}`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}
