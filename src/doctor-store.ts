import { type Check, failed, failure, ok, skipped, warning } from "./check.ts";
import type { Config } from "./config.ts";
import { formatDuration } from "./duration.ts";
import { type ExitCode, exitCodes } from "./errors.ts";
import { type Store, type StoredObject, openStore } from "./store.ts";

// Object stores refuse requests whose time is 15 minutes off.
const CLOCK_LIMIT_MS = 5 * 60_000;
// Where the exporter writes, for a look at the bucket without a database to ask.
const USUAL_PREFIX = "automations/";

/** Looks at the bucket: whether it can be listed and read, and what its clock says. */
export async function examineStore(
  config: Config,
  problems: readonly string[],
  prefixes: readonly string[],
): Promise<Check[]> {
  if (problems.length > 0) return [skipped("bucket", "the configuration does not name it")];
  const store = openStore(config.bucket, config.limits.stallMs);
  try {
    const checks = [ok("bucket", `${config.bucket.bucket} at ${config.bucket.endpoint}`)];
    let sample: StoredObject | undefined;
    for (const prefix of prefixes.length > 0 ? prefixes : [USUAL_PREFIX]) {
      const { objects } = await store.listPage(prefix, "all", undefined);
      sample ??= objects.find(({ bytes }) => bytes > 0);
      checks.push(examinePrefix(prefix, objects));
    }
    checks.push(await examineReading(store, sample));
    const clock = await store.clock();
    checks.push(
      clock === undefined
        ? skipped("store's clock", "the store does not tell the time")
        : examineClock("store's clock", exitCodes.objectStore, clock),
    );
    return checks;
  } catch (error) {
    return [failure("bucket", error)];
  } finally {
    store.close();
  }
}

function examinePrefix(prefix: string, objects: readonly StoredObject[]): Check {
  if (objects.length > 0) return ok(prefix, "has objects");
  return warning(
    prefix,
    "nothing is there",
    "Look whether the exporter writes to this bucket, and whether RUSTFS_BUCKET is right",
  );
}

async function examineReading(store: Store, sample: StoredObject | undefined): Promise<Check> {
  if (sample === undefined) return skipped("reading", "there is no object to read");
  for await (const chunk of store.read(sample)) {
    if (chunk.length > 0) return ok("reading", sample.key);
  }
  const finding = `${sample.key} has ${sample.bytes} bytes, and none came`;
  return failed("reading", exitCodes.objectStore, finding, "Look at the store's log");
}

export function examineClock(check: string, exit: ExitCode, theirs: Date, now = new Date()): Check {
  const apart = theirs.getTime() - now.getTime();
  const difference = formatDuration(Math.abs(apart) / 1000);
  if (Math.abs(apart) <= CLOCK_LIMIT_MS) return ok(check, `within ${difference} of this machine's`);
  return failed(
    check,
    exit,
    `${difference} ${apart > 0 ? "ahead of" : "behind"} this machine's`,
    "Set the clocks by NTP, on this machine and there",
  );
}
