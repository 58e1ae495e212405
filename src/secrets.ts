// Long enough not to blank out ordinary words when somebody's password is one.
const MIN_LENGTH = 4;
// How deep a text may be packed: JSON within JSON within JSON escapes a quote seven times.
const MAX_BACKSLASHES = 8;

const secrets = new Set<string>();
/** Matches every remembered secret in every form; undefined until it is needed. */
let anySecret: RegExp | undefined;

/** Remembers a value that must never be printed. */
export function keepSecret(value: string | undefined): void {
  if (value === undefined || value.length < MIN_LENGTH) return;
  secrets.add(value);
  anySecret = undefined;
}

/**
 * The text with every remembered secret struck out, however it is encoded. Everything that the
 * program prints goes through this.
 */
export function withoutSecrets(text: string): string {
  if (secrets.size === 0) return text;
  anySecret ??= patternOfAll();
  return text.replace(anySecret, "***");
}

function patternOfAll(): RegExp {
  // The longest first: one secret may be a part of another.
  const longestFirst = [...secrets].sort((a, b) => b.length - a.length);
  return new RegExp(longestFirst.flatMap(formsOf).join("|"), "g");
}

/**
 * The beginning of a text that somebody else wrote. Secrets are struck out first: of one that is
 * cut in two, the first half would not be recognized.
 */
export function excerpt(text: string, maxLength: number): string {
  const clean = withoutSecrets(text);
  return clean.length <= maxLength ? clean : `${clean.slice(0, maxLength)}…`;
}

/** The patterns of what a server, a driver or a library may make of a secret that it quotes. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [
    patternOf(secret),
    ...[0, 1, 2].map((bytesBefore) => base64Of(bytes, bytesBefore)),
    [...bytes].map((byte) => hex(byte, 2)).join(""),
  ];
}

/**
 * Matches a text of which each character, letters and digits of ASCII aside, may be written as it is
 * or in any usual encoding. Encoders differ in what they leave alone: `encodeURIComponent` does so
 * with `'!()*~`, `URLSearchParams` and AWS do not.
 */
function patternOf(text: string): string {
  return Array.from(text, (char) =>
    /[A-Za-z0-9]/.test(char) ? char : `(?:${formsOfChar(char).join("|")})`,
  ).join("");
}

const entities: Readonly<Record<string, string>> = {
  "&": "amp",
  "<": "lt",
  ">": "gt",
  '"': "quot",
  "'": "apos",
};

const shortEscapes: Readonly<Record<string, string>> = {
  "\b": "b",
  "\t": "t",
  "\n": "n",
  "\f": "f",
  "\r": "r",
};

function formsOfChar(char: string): string[] {
  const bytes = [...Buffer.from(char)];
  const units = Array.from({ length: char.length }, (_, i) => char.charCodeAt(i));
  const codePoint = char.codePointAt(0) ?? 0;
  const escaped = `\\\\{1,${MAX_BACKSLASHES}}`;
  const entity = "&(?:amp;)*";
  const forms = [
    asItIs(char),
    // Percent-encoded, also more than once.
    bytes.map((byte) => `%(?:25)*${hex(byte, 2)}`).join(""),
    // JSON and JavaScript.
    units.map((unit) => `${escaped}u${hex(unit, 4)}`).join(""),
    // HTML and XML.
    `${entity}#(?:0*${codePoint}|[xX]0*${hex(codePoint, 1)});`,
  ];
  if (bytes.length === 1) forms.push(`${escaped}x${hex(codePoint, 2)}`);
  // UTF-8 read as Latin-1.
  else forms.push(bytes.map(literal).join(""));
  if (entities[char] !== undefined) forms.push(`${entity}${entities[char]};`);
  if (shortEscapes[char] !== undefined) forms.push(`${escaped}${shortEscapes[char]}`);
  // In application/x-www-form-urlencoded.
  if (char === " ") forms.push(...formsOfChar("+"));
  return forms;
}

/** The character itself, with what may stand before it in a quoted text. */
function asItIs(char: string): string {
  const itself = Array.from({ length: char.length }, (_, i) => literal(char.charCodeAt(i))).join(
    "",
  );
  if (/[\p{L}\p{N}\s]/u.test(char)) return itself;
  if (char === "\\") return `\\\\{1,${MAX_BACKSLASHES}}`;
  const maybeEscaped = `\\\\{0,${MAX_BACKSLASHES - 1}}${itself}`;
  // SQL and CSV write quotes twice, a shell closes and opens them around one.
  return /["']/.test(char) ? `(?:${maybeEscaped}){1,3}` : maybeEscaped;
}

/** Matches bytes within a text in base64 in which so many bytes, modulo three, come before them. */
function base64Of(bytes: Buffer, bytesBefore: number): string {
  const whole = Buffer.concat([Buffer.alloc(bytesBefore), bytes]);
  const begin = Math.ceil((bytesBefore * 8) / 6);
  const end = Math.floor((whole.length * 8) / 6);
  const own = Array.from(whole.toString("base64").slice(begin, end), (char) => {
    if (char === "+") return `(?:${patternOf("+")}|-)`;
    if (char === "/") return `(?:${patternOf("/")}|_)`;
    return char;
  });
  // The last character of a secret may share the next one with what follows.
  return `${own.join("")}[\\w+/-]?`;
}

function literal(codeUnit: number): string {
  return `\\u${codeUnit.toString(16).padStart(4, "0")}`;
}

/** A number in hexadecimal digits of either case. */
function hex(value: number, digits: number): string {
  return value
    .toString(16)
    .padStart(digits, "0")
    .replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`);
}
