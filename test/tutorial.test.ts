// The tutorial, walked through word by word.

import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { exitCodes } from "../src/errors.ts";
import { freePorts } from "./harness/free-ports.ts";
import { startCluster } from "./harness/postgres.ts";
import { openShell } from "./harness/shell.ts";
import { says, walk } from "./harness/walkthrough.ts";

test("the tutorial does what it says, from the demo to the map and back", async (t) => {
  // Of its own, because the tutorial makes roles, and drops those that other databases need.
  const cluster = await startCluster({ durable: false });
  t.after(cluster.stop);
  const [store, embedded] = (await freePorts(2)) as [number, number];
  const shell = await openShell(t, { FAUXQS_PORT: String(store) });

  await walk("docs/tutorial.md", {
    shell,
    names: {
      "sudo -u postgres psql": `psql ${cluster.url}`,
      "127.0.0.1:5432": new URL(cluster.url).host,
      "127.0.0.1:4566": `127.0.0.1:${store}`,
      "127.0.0.1:5433": `127.0.0.1:${embedded}`,
      "--port 5433": `--port ${embedded}`,
      "fleettickets preview": "fleettickets preview --port 0",
    },
    notes: [
      { at: "git clone", notRun: "there is a checkout already" },
      { at: "cd fleettickets", notRun: "the shell begins in it" },
      { at: "fleettickets preview", ready: /Ctrl-C/ },
      { at: "pglite-server", ready: /listening/i, until: "create role" },
      { at: "npx fauxqs", ready: /listening/i, until: "rm -r" },
      {
        at: "RUSTFS_ENDPOINT=",
        does: (text) => {
          appendFileSync(join(shell.folder, ".env"), text);
        },
      },
      { at: "ingest all", code: exitCodes.fileRefused, check: says(/^INC: 6 files.*\(dry run/m) },
      {
        at: "ingest all --apply",
        code: exitCodes.fileRefused,
        check: says(/^INC: .* 6 archived$/m),
      },
      { at: "fleettickets preview", ready: /Ctrl-C/ },
    ],
  });
});
