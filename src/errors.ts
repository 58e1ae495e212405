/** How a run ended, for the shell. The numbers are part of the command line's contract. */
export const exitCodes = {
  done: 0,
  unexpected: 1,
  usage: 2,
  database: 3,
  objectStore: 4,
  locked: 5,
  fileRefused: 6,
  geocoderRefused: 7,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/**
 * Every error of our own: what it means and how a run that meets it ends. Those below TK100 are
 * raised by the database, with these as their SQLSTATE; the others by the gate in front of COPY.
 * `npm run docs` writes the table of the docs from this.
 */
export const ownErrors: Readonly<Record<string, { exit: ExitCode; means: string }>> = {
  TK001: { exit: exitCodes.usage, means: "There is no such dataset." },
  TK002: { exit: exitCodes.locked, means: "Another run is loading the dataset." },
  TK003: {
    exit: exitCodes.usage,
    means: "A key belongs to no dataset, or the bucket has no such export.",
  },
  TK010: { exit: exitCodes.fileRefused, means: "The header has no column `ticket_id`." },
  TK011: { exit: exitCodes.fileRefused, means: "The header names a column twice." },
  TK012: { exit: exitCodes.fileRefused, means: "A column of the header has no name." },
  TK013: { exit: exitCodes.fileRefused, means: "The header has too many unknown columns." },
  TK020: {
    exit: exitCodes.fileRefused,
    means: "COPY staged another number of rows than was sent.",
  },
  TK021: { exit: exitCodes.fileRefused, means: "Too many rows of the file were rejected." },
  TK022: { exit: exitCodes.fileRefused, means: "A `ticket_id` holds a line break." },
  TK023: {
    exit: exitCodes.database,
    means: "Rows of a file were staged by hand while `apply_staged` was applying it.",
  },
  TK024: {
    exit: exitCodes.database,
    means: "Rows staged by hand carry a key that does not begin with `manual:`.",
  },
  TK030: { exit: exitCodes.usage, means: "The map knows no such status." },
  TK031: { exit: exitCodes.usage, means: "A dashboard's window is no length of time." },
  TK032: { exit: exitCodes.usage, means: "A dashboard's window ends before it begins." },
  TK035: { exit: exitCodes.usage, means: "What is asked for is no range of days or times." },
  TK036: { exit: exitCodes.usage, means: "A point, or a number of tickets, is out of range." },
  TK037: { exit: exitCodes.usage, means: "There is no such tile." },
  TK038: { exit: exitCodes.usage, means: "The query parameters of a tile say nothing." },
  TK039: { exit: exitCodes.database, means: "History is append-only: it cannot be changed." },
  TK040: { exit: exitCodes.database, means: "PostGIS is not installed in the schema `public`." },
  TK041: {
    exit: exitCodes.database,
    means: "A column of a ticket that follows from its raw or the gazetteers was to be written.",
  },
  TK050: { exit: exitCodes.usage, means: "Neither clusters nor locations are to be geocoded." },
  TK051: { exit: exitCodes.locked, means: "Another run is geocoding the same." },
  TK052: { exit: exitCodes.usage, means: "No ticket and no gazetteer has this cluster or place." },
  TK053: { exit: exitCodes.usage, means: "Coordinates are missing, out of range or elsewhere." },
  TK054: { exit: exitCodes.usage, means: "There is no point that could be verified." },
  TK101: { exit: exitCodes.fileRefused, means: "The object is empty: not even a header." },
  TK102: { exit: exitCodes.fileRefused, means: "The object is compressed or an archive." },
  TK103: {
    exit: exitCodes.fileRefused,
    means: "The object is HTML or XML: most likely an error page.",
  },
  TK104: { exit: exitCodes.fileRefused, means: "The columns are not separated by commas." },
  TK105: { exit: exitCodes.fileRefused, means: "The file holds a NUL byte." },
  TK106: { exit: exitCodes.fileRefused, means: "The file is not valid UTF-8." },
  TK107: { exit: exitCodes.fileRefused, means: "A quote stands where none may be." },
  TK108: { exit: exitCodes.fileRefused, means: "A quoted field or a row does not end." },
  TK109: {
    exit: exitCodes.fileRefused,
    means: "A row has another number of fields than the header.",
  },
  TK110: {
    exit: exitCodes.fileRefused,
    means: "A line is a lone `\\.`, which some servers take for the end.",
  },
  TK111: { exit: exitCodes.fileRefused, means: "A quoted field has swallowed whole rows." },
  TK112: {
    exit: exitCodes.fileRefused,
    means: "A carriage return without a line feed may end a line, or be part of a value.",
  },
  TK113: { exit: exitCodes.fileRefused, means: "The header is longer than 64 KiB." },
  TK114: { exit: exitCodes.fileRefused, means: "The header has more than 1,600 columns." },
};

/** An error with a number of its own in the documentation, or one that a peer gave a number. */
export class CodedError extends Error {
  override name = "CodedError";
  /** `TK…`, or the SQLSTATE of PostgreSQL. */
  readonly code: string;
  readonly detail: string | undefined;
  /** What to do now. */
  readonly hint: string | undefined;
  /** The line of the file at which it went wrong, from 1. */
  readonly line: number | undefined;

  constructor(
    code: string,
    message: string,
    more: {
      detail?: string | undefined;
      hint?: string | undefined;
      line?: number | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: more.cause });
    this.code = code;
    this.detail = more.detail;
    this.hint = more.hint;
    this.line = more.line;
  }
}

/** The database said no, or nothing at all. */
export class DatabaseError extends CodedError {
  override name = "DatabaseError";

  constructor(...[code, message, more = {}]: ConstructorParameters<typeof CodedError>) {
    // PostgreSQL's own hint for a missing function, to add casts, leads nowhere.
    const isMissingFunction = code === "42883";
    super(code, message, {
      ...more,
      hint: isMissingFunction ? hintFor(code) : (more.hint ?? hintFor(code)),
    });
  }
}

/** The cure for what PostgreSQL has no hint for. */
function hintFor(sqlState: string): string | undefined {
  // No such schema, table or function.
  if (/^(3F000|42P01|42883)$/.test(sqlState)) {
    return "The schema is missing or older than this program: fleettickets migrate";
  }
  if (sqlState === "3D000") {
    return "Create the database, or mend its name in DATABASE_URL; then: fleettickets migrate";
  }
  if (sqlState === "28000") {
    return (
      "The server does not let this user in from here: look at its pg_hba.conf and at the user in " +
      "DATABASE_URL. If it insists on TLS, set sslmode; on a client certificate, sslcert and sslkey"
    );
  }
  if (sqlState.startsWith("28")) return "Mend the user or the password in DATABASE_URL";
  if (sqlState === "08P01") {
    return (
      "If this is PgBouncer, its log says more: it may not know the user or the database, or want " +
      "a setting of DATABASE_URL in its ignore_startup_parameters"
    );
  }
  if (sqlState === "42501") {
    return (
      "The user of DATABASE_URL must be a member of fleettickets_loader, " +
      "or of fleettickets_reader to preview and report"
    );
  }
  if (sqlState === "25006") {
    return (
      "DATABASE_URL names a standby, or a user who may only read: name the primary. " +
      "A standby is for status, preview and report"
    );
  }
  if (sqlState === "55P03")
    return "Another session holds a lock on a table: end it, then run again";
  return undefined;
}

/** A file that must not be loaded, by what is in it. */
export class RefusedFile extends CodedError {
  override name = "RefusedFile";
}

/** The object store said no, or nothing at all, or gave something else than it had promised. */
export class ObjectStoreError extends Error {
  override name = "ObjectStoreError";
  readonly hint: string | undefined;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.hint = options.hint;
  }
}

/** What was read is not the object that was listed, or not all of it: worth a second reading. */
export class UnreliableRead extends ObjectStoreError {
  override name = "UnreliableRead";
}

/** No sign of life within the limit: asking again takes as long again. */
export class SilentStore extends ObjectStoreError {
  override name = "SilentStore";
}

/** The geocoder wants no more of us, now or for good, or cannot be reached. */
export class GeocoderError extends Error {
  override name = "GeocoderError";
  readonly hint: string;
  /** When it may go on, where that is known. */
  readonly until: Date | undefined;

  constructor(message: string, { hint, until }: { hint: string; until?: Date | undefined }) {
    super(message);
    this.hint = hint;
    this.until = until;
  }
}

/** The command line or the environment is wrong; each problem comes with its cure. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** Whether this error is about the content of a file, so that the run goes on to the next one. */
export function isRefusal(error: unknown): error is CodedError {
  return error instanceof CodedError && exitCodeOf(error) === exitCodes.fileRefused;
}

/** The exit code of a run that `error` has ended: the one place where errors become numbers. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof UsageError) return exitCodes.usage;
  if (error instanceof ObjectStoreError) return exitCodes.objectStore;
  if (error instanceof GeocoderError) return exitCodes.geocoderRefused;
  if (error instanceof RefusedFile) return exitCodes.fileRefused;
  if (error instanceof CodedError) {
    const own = ownErrors[error.code];
    if (own) return own.exit;
    // The address leads to a session that nothing can be done with: a matter of configuration.
    if (error.code === "pooler") return exitCodes.usage;
    // COPY's own complaints about a file: bad format, a byte that is no text.
    return /^22(P04|021)$/.test(error.code) ? exitCodes.fileRefused : exitCodes.database;
  }
  return exitCodes.unexpected;
}

/** An error as data, for `--json` and the log. */
export interface ErrorDescription {
  name: string;
  message: string;
  code?: string;
  detail?: string | undefined;
  hint?: string | undefined;
  line?: number | undefined;
}

export function describeError(error: unknown): ErrorDescription {
  const { message, name } = error instanceof Error ? error : new Error(String(error));
  if (error instanceof CodedError) {
    const { code, detail, hint, line } = error;
    return { name, message, code, detail, hint, line };
  }
  const isPeer = error instanceof ObjectStoreError || error instanceof GeocoderError;
  return { name, message, hint: isPeer ? error.hint : undefined };
}
