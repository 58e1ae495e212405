import { existsSync } from "node:fs";
import { UsageError } from "./errors.ts";
import { type ProviderName, providerNames, providers } from "./geocoders.ts";
import { type LogLevel, logLevels } from "./log.ts";
import { keepSecret } from "./secrets.ts";
import { tlsProblems, withTlsOf } from "./tls.ts";

export interface BucketConfig {
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  /** undefined: the default chain of the AWS SDK. */
  readonly credentials:
    { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
}

export interface GeocoderConfig {
  readonly provider: ProviderName;
  /** Empty where the provider needs none. */
  readonly apiKey: string;
  /** The base address of the service. */
  readonly url: string;
  readonly requestsPerSecond: number;
  /** How long, in milliseconds, an answer may take. */
  readonly timeoutMs: number;
}

export interface TimeLimits {
  /** How long, in milliseconds, the object store or the database may show no sign of life. */
  readonly stallMs: number;
  /** How long, in milliseconds, one statement may take. */
  readonly statementMs: number;
}

export interface Config {
  /** `postgres://…`, or `pglite:<folder>` for the embedded one. */
  readonly databaseUrl: string;
  readonly bucket: BucketConfig;
  /** undefined: no provider is named, and the command needs none. */
  readonly geocoder: GeocoderConfig | undefined;
  readonly limits: TimeLimits;
  readonly logLevel: LogLevel;
  /** The MapLibre style of the preview's map; undefined for one that needs no other server. */
  readonly previewStyleUrl: string | undefined;
}

/** What a command line may override of the environment. */
export interface Flags {
  readonly endpoint?: string | undefined;
  readonly bucket?: string | undefined;
  readonly region?: string | undefined;
  readonly logLevel?: string | undefined;
}

/**
 * `bucket if set`: the bucket, where the environment names an object store; `geocoder if named`: its
 * settings must be right where GEOCODER_PROVIDER is set.
 */
export type Part = "database" | "bucket" | "bucket if set" | "geocoder" | "geocoder if named";
type Environment = Readonly<Record<string, string | undefined>>;

const ownSecretsOfLibraries = [
  "PGPASSWORD",
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
] as const;

/** Reads `.env` of the working folder, if there is one. What the environment has already, wins. */
export function loadDotEnv(): void {
  if (existsSync(".env")) process.loadEnvFile(".env");
}

/**
 * The configuration for a command: flag beats environment beats default. No problem quotes a value,
 * since it may be a secret in the wrong variable.
 *
 * @param needs the parts that the command uses; the others are not asked for
 * @throws UsageError with every problem at once, each with its cure
 */
export function readConfig(env: Environment, flags: Flags, needs: readonly Part[]): Config {
  const { config, problems } = inspectConfig(env, flags, needs);
  if (problems.length > 0) throw new UsageError(problems.join("\n"));
  return config;
}

/** The same for who wants to know of the problems without being stopped by them. */
export function inspectConfig(
  env: Environment,
  flags: Flags,
  needs: readonly Part[],
): { config: Config; problems: string[] } {
  const problems: string[] = [];
  // What the driver and the AWS SDK read themselves.
  for (const name of ownSecretsOfLibraries) keepSecret(env[name]);
  const config = {
    databaseUrl: readDatabaseUrl(env, needs.includes("database"), problems),
    bucket: readBucket(env, flags, needs, problems),
    geocoder: readGeocoder(env, needs, problems),
    limits: {
      stallMs: readSeconds(env, "STALL_TIMEOUT", 60, problems),
      statementMs: readSeconds(env, "STATEMENT_TIMEOUT", 900, problems),
    },
    logLevel: readLogLevel(env, flags, problems),
    previewStyleUrl: readStyleUrl(env, problems),
  };
  return { config: Object.freeze(config), problems };
}

function readDatabaseUrl(env: Environment, isNeeded: boolean, problems: string[]): string {
  const url = env["DATABASE_URL"] ?? "";
  if (isServerAddress(url)) {
    const address = withTlsOf(env, url);
    const { password, searchParams } = new URL(address);
    for (const secret of [url, address, decodeURIComponent(password)]) keepSecret(secret);
    for (const name of ["password", "sslpassword", "sslkey"]) {
      keepSecret(searchParams.get(name) ?? undefined);
    }
    if (isNeeded) problems.push(...tlsProblems(address));
    return address;
  }
  if (isNeeded && !/^pglite:./.test(url)) {
    problems.push(
      (url === "" ? "DATABASE_URL is not set" : "DATABASE_URL is not a database address") +
        ": set it to postgres://user:password@host:5432/name, with signs in the password as %xx, " +
        "or to pglite:<folder> for the embedded PostgreSQL",
    );
  }
  return url;
}

/** Whether it can be read in one way only, so that no part of a password is taken for a host. */
function isServerAddress(text: string): boolean {
  if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text) || !isDecodable(text)) return false;
  const { pathname, searchParams, hash } = new URL(text);
  return ![pathname, hash, ...searchParams.keys()].some((part) => /[@#]/.test(part));
}

/** Whether its escapes are right: a password with a bare % in it has wrong ones. */
function isDecodable(url: string): boolean {
  try {
    decodeURIComponent(url);
    return true;
  } catch {
    return false;
  }
}

function readBucket(
  env: Environment,
  flags: Flags,
  needs: readonly Part[],
  problems: string[],
): BucketConfig {
  const endpoint = flags.endpoint ?? (env["RUSTFS_ENDPOINT"] || undefined);
  const isNeeded =
    needs.includes("bucket") || (needs.includes("bucket if set") && endpoint !== undefined);
  const accessKeyId = env["RUSTFS_ACCESS_KEY"] || undefined;
  const secretAccessKey = env["RUSTFS_SECRET_KEY"] || undefined;
  keepSecret(accessKeyId);
  keepSecret(secretAccessKey);

  if (isNeeded) {
    if (endpoint === undefined) {
      problems.push("RUSTFS_ENDPOINT is not set: set it to the object store, http://host:9000");
    } else if (!isBaseAddress(endpoint)) {
      problems.push(
        "RUSTFS_ENDPOINT is not a base address: set it to http://host:9000, without user, ? and #; " +
          "the keys have variables of their own",
      );
    }
    if ((accessKeyId === undefined) !== (secretAccessKey === undefined)) {
      const [set, missing] =
        accessKeyId === undefined
          ? ["RUSTFS_SECRET_KEY", "RUSTFS_ACCESS_KEY"]
          : ["RUSTFS_ACCESS_KEY", "RUSTFS_SECRET_KEY"];
      problems.push(`${missing} is not set, but ${set} is: set both, or neither for AWS's chain`);
    }
  }
  return {
    endpoint: endpoint ?? "",
    bucket: flags.bucket ?? (env["RUSTFS_BUCKET"] || "isptickets"),
    region: flags.region ?? (env["RUSTFS_REGION"] || "us-east-1"),
    credentials:
      accessKeyId !== undefined && secretAccessKey !== undefined
        ? { accessKeyId, secretAccessKey }
        : undefined,
  };
}

function readGeocoder(
  env: Environment,
  needs: readonly Part[],
  problems: string[],
): GeocoderConfig | undefined {
  const name = env["GEOCODER_PROVIDER"] || undefined;
  const apiKey = env["GEOCODER_API_KEY"] ?? "";
  const isProviderName = providerNames.some((known) => known === apiKey);
  if (!isProviderName) keepSecret(apiKey);
  const isNeeded =
    needs.includes("geocoder") || (needs.includes("geocoder if named") && name !== undefined);
  if (!isNeeded) return undefined;

  const cure = `set it to one of ${providerNames.join(", ")}`;
  const provider = providerNames.find((known) => known === name);
  if (name === undefined) problems.push(`GEOCODER_PROVIDER is not set: ${cure}`);
  else if (provider === undefined)
    problems.push(`GEOCODER_PROVIDER is not a known provider: ${cure}`);

  const { needsKey = false, url: ownUrl = "" } = provider === undefined ? {} : providers[provider];
  if (isProviderName) {
    problems.push("GEOCODER_API_KEY is the name of a provider: set it to your key");
  } else if (needsKey && apiKey === "") {
    problems.push(`GEOCODER_API_KEY is not set: set it to your key of ${provider}`);
  }
  const url = env["GEOCODER_URL"] || ownUrl;
  if (url !== "" && !isBaseAddress(url)) {
    problems.push(
      "GEOCODER_URL is not a base address: set it to http://host:port, without user, ? and #",
    );
  } else if (provider !== undefined && url === "") {
    problems.push(
      `GEOCODER_URL is not set: set it to your ${provider}, http://host:port; the public server ` +
        "is not there for bulk use",
    );
  }
  const requestsPerSecond = Number(env["GEOCODER_RPS"] || "1");
  if (!(requestsPerSecond >= 0.001 && requestsPerSecond <= 1000)) {
    problems.push(
      "GEOCODER_RPS is not a rate: set it to requests a second, between 0.001 and 1000",
    );
  }
  const timeoutMs = readSeconds(env, "GEOCODER_TIMEOUT", 20, problems);
  return provider === undefined
    ? undefined
    : { provider, apiKey, url, requestsPerSecond, timeoutMs };
}

function isBaseAddress(text: string): boolean {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) return false;
  // A password with a slash in it ends up in the path, with the @ behind it.
  return !/[@?#]/.test(text);
}

function readStyleUrl(env: Environment, problems: string[]): string | undefined {
  const url = env["PREVIEW_STYLE_URL"] || undefined;
  if (url !== undefined && (!/^https?:\/\//.test(url) || !URL.canParse(url))) {
    problems.push(
      "PREVIEW_STYLE_URL is not an address: set it to a MapLibre style, https://host/style.json",
    );
  }
  return url;
}

function readSeconds(
  env: Environment,
  name: string,
  byDefault: number,
  problems: string[],
): number {
  const seconds = Number(env[name] || byDefault);
  if (!(seconds > 0 && seconds <= 86_400)) {
    problems.push(`${name} is not a length of time: set it to a number of seconds, up to a day`);
  }
  return Math.round(seconds * 1000);
}

function readLogLevel(env: Environment, flags: Flags, problems: string[]): LogLevel {
  const name = flags.logLevel ?? (env["LOG_LEVEL"] || "info");
  const level = logLevels.find((l) => l === name);
  if (level === undefined) {
    const source = flags.logLevel === undefined ? "LOG_LEVEL" : "--log-level";
    problems.push(`${source} is not a log level: set it to one of ${logLevels.join(", ")}`);
  }
  return level ?? "info";
}
