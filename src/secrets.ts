// Long enough not to blank out ordinary words when somebody's password is one.
const MIN_LENGTH = 4;
const secrets = new Set<string>();

/** Remembers a value that must never be printed, in the forms in which it might turn up. */
export function keepSecret(value: string | undefined): void {
  if (value === undefined || value.length < MIN_LENGTH) return;
  secrets.add(value);
  secrets.add(encodeURIComponent(value));
  // As the log and --json write it.
  secrets.add(JSON.stringify(value).slice(1, -1));
}

/** The text with every remembered secret struck out. All output of the program goes through it. */
export function withoutSecrets(text: string): string {
  let clean = text;
  for (const secret of secrets) clean = clean.replaceAll(secret, "***");
  return clean;
}
