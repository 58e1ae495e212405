// There need not be a Docker engine: the steps of the Dockerfile are taken in a temporary folder.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { exitCodes } from "../../src/errors.ts";
import { csvOf } from "../harness/csv.ts";
import { changeKey } from "../harness/loader.ts";
import { createEmptyDatabase } from "../harness/postgres.ts";
import { startS3 } from "../harness/s3.ts";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);

// Below /tmp, where everybody may look.
const folder = mkdtempSync("/tmp/fleettickets-image-");
chmodSync(folder, 0o755);
after(async () => {
  await run("chmod", ["-R", "u+w", folder]);
  rmSync(folder, { recursive: true });
});

const instructions = readFileSync(join(ROOT, "Dockerfile"), "utf8")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line) => {
    const [, name = "", rest = ""] = /^(\w+) (.*)$/.exec(line) ?? [];
    return { name, rest };
  });

/** Takes the steps of a stage; its `/` is a folder of its own. */
async function build(stage: { as: string; steps: typeof instructions }): Promise<void> {
  const root = rootOf(stage.as);
  let workdir = "/";
  for (const { name, rest } of stage.steps) {
    if (name === "WORKDIR") {
      workdir = rest;
      mkdirSync(join(root, workdir), { recursive: true });
    } else if (name === "COPY") copy(rest, join(root, workdir));
    else if (name === "RUN") {
      mkdirSync(join(root, "usr/local/bin"), { recursive: true });
      const command = rest.replaceAll(/(?<=\s)\/(?=app|usr)/g, `${root}/`);
      await run("sh", ["-c", command], { cwd: join(root, workdir), maxBuffer: 64 * 1024 * 1024 });
    }
  }
}

function rootOf(stage: string): string {
  return join(folder, stage);
}

function copy(rest: string, workdir: string): void {
  const words = rest.split(" ");
  const from = words.find((word) => word.startsWith("--from="))?.slice("--from=".length);
  const mode = words.find((word) => word.startsWith("--chmod="))?.slice("--chmod=".length);
  const paths = words.filter((word) => !word.startsWith("--"));
  const target = join(workdir, paths.pop() ?? assert.fail(rest));
  const sources = paths.flatMap((path) =>
    globSync(join(from === undefined ? ROOT : rootOf(from), path)),
  );
  assert.ok(sources.length > 0, rest);
  for (const source of sources) {
    assert.ok(from !== undefined || isInContext(source), `.dockerignore leaves out ${source}`);
    const to = rest.endsWith("/") ? join(target, basename(source)) : target;
    cpSync(source, to, { recursive: true, verbatimSymlinks: true });
    if (mode !== undefined) chmodSync(to, Number.parseInt(mode, 8));
  }
}

/** What the last pattern says that fits, as Docker has it. */
function isInContext(path: string): boolean {
  const relative = path.slice(ROOT.length + 1);
  const allowed = readFileSync(join(ROOT, ".dockerignore"), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("!"))
    .map((line) => line.slice(1));
  return allowed.some((name) => relative === name || relative.startsWith(`${name}/`));
}

test("the image's steps make a program that a stranger runs from a read-only tree", async (t) => {
  if (process.getuid?.() !== 0) {
    t.skip("only root can become another user");
    return;
  }
  const cut = instructions.findLastIndex(({ name }) => name === "FROM");
  await build({ as: "build", steps: instructions.slice(0, cut) });
  await build({ as: "image", steps: instructions.slice(cut) });
  await run("chmod", ["-R", "a-w,a+rX", rootOf("image")]);

  const s3 = await startS3(t);
  const DATABASE_URL = await createEmptyDatabase(t);
  const fleettickets = async (args: string[]) => {
    const { PATH } = process.env;
    const { stdout } = await run(
      "runuser",
      ["-u", "nobody", "--", join(rootOf("image"), "usr/local/bin/fleettickets"), ...args],
      {
        cwd: "/",
        env: { PATH, ...s3.env, DATABASE_URL, TZ: "Africa/Nairobi", NODE_ENV: "production" },
      },
    );
    return stdout;
  };
  await fleettickets(["migrate"]);
  await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
  const result = JSON.parse(await fleettickets(["ingest", "all", "--apply", "--json"])) as {
    exit_code: number;
  };
  assert.equal(result.exit_code, exitCodes.done);
  await fleettickets(["doctor"]);
  const demo = await fleettickets(["demo", "--json"]).catch((error: unknown) => error);
  assert.equal((demo as { code?: unknown }).code, exitCodes.usage);
  for (const name of ["eslint", "node", "@electric-sql", "fauxqs"]) {
    assert.ok(!existsSync(join(rootOf("image"), "app/node_modules", name)), name);
  }
});

test("the image runs as nobody of weight, on Nairobi's time, and stays until it is told to go", () => {
  const last = (name: string) => instructions.findLast((i) => i.name === name)?.rest;
  assert.equal(last("USER"), "node");
  assert.match(last("ENV") ?? "", /TZ=Africa\/Nairobi/);
  // Without a shell, which would be one more process that has to pass the signal on.
  assert.match(last("HEALTHCHECK") ?? "", / CMD \["fleettickets", "doctor"\]$/);
});

test("the image has the Node that the tests ran on", () => {
  const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version: string }>;
  };
  const version = packages["node_modules/node"]?.version ?? assert.fail("no Node is locked");
  const bases = instructions.filter(({ name }) => name === "FROM").map(({ rest }) => rest);
  assert.equal(bases.length, 2);
  for (const base of bases) assert.ok(base.startsWith(`node:${version}-slim`), base);
});

test("what keeps the container alive ends at once on SIGTERM", async () => {
  const cmd = instructions.find(({ name }) => name === "CMD")?.rest ?? assert.fail("no CMD");
  const [program = "", ...args] = JSON.parse(cmd) as string[];
  const child = spawn(program, args, { stdio: "ignore", detached: true });
  await sleep(300);
  assert.equal(child.exitCode, null);
  const at = Date.now();
  child.kill("SIGTERM");
  await once(child, "exit");
  assert.ok(Date.now() - at < 2_000);
  // In a container, what it started ends with it.
  process.kill(-(child.pid ?? assert.fail()));
});
