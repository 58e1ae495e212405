import { datasetOfKey } from "../api/load.ts";
import { type CommonFlags, runCommand } from "../session.ts";
import { runIngests } from "./ingest.ts";

/** `fleettickets retry <key…>` */
export function retryCommand(
  keys: readonly string[],
  flags: CommonFlags & { readonly apply?: boolean | undefined },
): Promise<void> {
  return runCommand(flags, ["database", "bucket"], (session) =>
    runIngests(
      session,
      async (db) => {
        const keysOf = new Map<string, string[]>();
        for (const key of keys) {
          const dataset = await datasetOfKey(db, key);
          keysOf.set(dataset, [...(keysOf.get(dataset) ?? []), key]);
        }
        return [...keysOf].map(([dataset, itsKeys]) => ({
          dataset,
          apply: flags.apply === true,
          source: { from: "keys" as const, keys: itsKeys },
          reseed: false,
          archive: true,
          maxFiles: Infinity,
        }));
      },
      flags.json === true,
    ),
  );
}
