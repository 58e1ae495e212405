import { type CapturedHistory, captureHistory } from "../api/load.ts";
import { withDatabase } from "../database.ts";
import { exitCodes } from "../errors.ts";
import { print, printJson, table } from "../output.ts";
import { type CommonFlags, runCommand } from "../session.ts";

/** `fleettickets capture-history [dataset]` */
export function captureHistoryCommand(
  dataset: string | undefined,
  flags: CommonFlags,
): Promise<void> {
  return runCommand(flags, ["database"], async ({ config }) => {
    const captured = await withDatabase(config, (db) => captureHistory(db, dataset ?? null));
    if (flags.json === true) printJson({ datasets: captured, exit_code: exitCodes.done });
    else print(tableOf(captured));
    return exitCodes.done;
  });
}

function tableOf(captured: readonly CapturedHistory[]): string {
  return table(
    [
      { title: "dataset", align: "left" },
      { title: "new closures", align: "right" },
      { title: "clusters changed", align: "right" },
    ],
    captured.map((c) => [c.dataset, String(c.closures), String(c.clusters)]),
  );
}
