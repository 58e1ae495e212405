import { once } from "node:events";
import { exitCodes } from "../errors.ts";
import { print, printJson } from "../output.ts";
import { loadBundle } from "../preview-bundle.ts";
import { startPreview } from "../preview-server.ts";
import { openReader } from "../reading.ts";
import { type CommonFlags, runCommand } from "../session.ts";

/** The flags of `fleettickets preview`. */
export interface PreviewFlags extends CommonFlags {
  readonly host: string;
  readonly port: number;
}

/** `fleettickets preview` */
export function previewCommand(flags: PreviewFlags): Promise<void> {
  return runCommand(flags, ["database"], async ({ config, log }) => {
    const reader = openReader(config);
    try {
      await reader.check();
      const { host, port } = flags;
      const options = { host, port, styleUrl: config.previewStyleUrl };
      const server = await startPreview(options, { reader, bundle: await loadBundle(), log });
      if (flags.json === true) printJson({ url: server.url });
      else print(`The page is at ${server.url}\nCtrl-C ends it.`);
      await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
      await server.close();
      return exitCodes.done;
    } finally {
      await reader.close();
    }
  });
}
