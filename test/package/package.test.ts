import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, after, describe, test } from "node:test";
import { promisify } from "node:util";
import { placeOf } from "../../src/embedded-packages.ts";
import { exitCodes } from "../../src/errors.ts";
import { csvOf } from "../harness/csv.ts";
import { changeKey } from "../harness/loader.ts";
import { createEmptyDatabase } from "../harness/postgres.ts";
import { startS3 } from "../harness/s3.ts";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);

const folder = await mkdtemp("/tmp/fleettickets-package-");
after(() => rm(folder, { recursive: true }));
// Its own folder can be closed to the account that a test runs the program as.
chmodSync(folder, 0o755);

interface Packed {
  filename: string;
  files: { path: string }[];
}

const packed = await pack();
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  dependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
};
const optionalPeers = Object.keys(manifest.peerDependencies);

async function pack(): Promise<Packed> {
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], {
    cwd: ROOT,
    maxBuffer: 16 * 1024 * 1024,
  });
  // What prepack prints comes before it.
  const [found] = JSON.parse(stdout.slice(stdout.search(/^\[/m))) as Packed[];
  return found ?? assert.fail(stdout);
}

test("the package has what runs, and nothing else", () => {
  const kinds = [
    /^(package\.json|README\.md|LICENSE)$/,
    /^dist\/[\w/-]+\.js$/,
    /^dist\/s3-client\.licences\.txt$/,
    /^dist\/preview\/page\.css$/,
    /^src\/fleettickets\.js$/,
    /^migrations\/committed\/\d{6}[\w-]*\.sql$/,
    /^migrations\/fixtures\/grants\.sql$/,
    /^migrations\/seeds\/\w+\.sql$/,
  ];
  const paths = packed.files.map(({ path }) => path);
  assert.deepEqual(
    paths.filter((path) => !kinds.some((kind) => kind.test(path))),
    [],
  );
  for (const kind of kinds)
    assert.ok(
      paths.some((path) => kind.test(path)),
      String(kind),
    );
});

describe("installed in an empty prefix, and called from another folder", () => {
  const prefix = join(folder, "prefix");
  const command = join(prefix, "bin/fleettickets");

  const installed = join(prefix, "lib/node_modules/fleettickets");

  async function fleettickets(args: string[], env: Record<string, string> = {}) {
    const { PATH } = process.env;
    const { stdout } = await run(command, args, { cwd: tmpdir(), env: { PATH, ...env } });
    return stdout;
  }

  test("it has one command", async () => {
    await run("npm", [
      ...["install", "--global", "--prefix", prefix, "--prefer-offline"],
      ...["--no-audit", "--no-fund", join(folder, packed.filename)],
    ]);
    assert.deepEqual(readdirSync(join(prefix, "bin")), ["fleettickets"]);
    assert.match(await fleettickets(["--help"]), /Usage: fleettickets/);
    assert.match(await fleettickets(["--version"]), /^\d+\.\d+\.\d+\n$/);
  });

  test("it is below 25 MB, and without the embedded servers", () => {
    const files = globSync("**/*", { cwd: installed })
      .map((path) => lstatSync(join(installed, path)))
      .filter((found) => found.isFile());
    // What they take on the disk.
    const bytes = files.reduce((sum, { blocks }) => sum + blocks * 512, 0);
    assert.ok(files.length > 500 && bytes < 25_000_000, `${files.length} files, ${bytes} bytes`);
    for (const name of [...optionalPeers, "@aws-sdk/client-s3"]) {
      assert.ok(!existsSync(join(installed, "node_modules", name)), name);
    }
  });

  test("it has the licence of each package that is bundled", () => {
    const licences = readFileSync(join(installed, "dist/s3-client.licences.txt"), "utf8");
    for (const name of ["@aws-sdk/client-s3", "@aws-sdk/credential-provider-node"]) {
      assert.match(licences, new RegExp(`^${name} \\S+: Apache-2.0$`, "m"));
    }
    assert.ok(licences.split("Apache License").length > 5);
  });

  test("it migrates, loads and archives", async (t) => {
    const s3 = await startS3(t);
    const env = { ...s3.env, DATABASE_URL: await createEmptyDatabase(t) };
    await fleettickets(["migrate"], env);
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    const { exit_code } = JSON.parse(
      await fleettickets(["ingest", "inc", "--apply", "--json"], env),
    ) as { exit_code: number };
    assert.equal(exit_code, exitCodes.done);
    assert.deepEqual(await s3.keys(), ["automations/inc/processed/2026-06-15T06-20-00.csv"]);
    await fleettickets(["doctor"], env);
  });

  describe("asked for an embedded server, which is not installed", () => {
    const cases = {
      demo: ["demo"],
      migrate: ["migrate"],
      ingest: ["ingest", "inc", "--csv", "no-such.csv"],
      preview: ["preview", "--port", "0"],
    };
    for (const [name, args] of Object.entries(cases)) {
      test(`${name} ends with 2 and the command that installs it, and touches nothing`, async (t) => {
        const cwd = await emptyFolder(t);
        const { exit_code, error } = await refused(args, cwd);
        assert.equal(exit_code, exitCodes.usage);
        assert.match(error.message, /run npm install --global --prefix \S+ @electric-sql\/pglite@/);
        assert.deepEqual(readdirSync(cwd), []);
      });
    }

    test("doctor has that command as the cure", async (t) => {
      const { exit_code, checks } = await refused(["doctor"], await emptyFolder(t));
      assert.equal(exit_code, exitCodes.usage);
      const found = checks.find(({ check }) => check === "database");
      assert.match(found?.cure ?? "", /npm install --global --prefix/);
    });

    test("and with the command followed, the demo runs", async (t) => {
      const cwd = await emptyFolder(t);
      const { error } = await refused(["demo"], cwd);
      const install = /npm install .*$/.exec(error.message)?.[0] ?? assert.fail(error.message);
      await run("sh", ["-c", `${install} --prefer-offline --no-audit --no-fund`]);
      const { stdout } = await run(command, ["demo", "--json"], { cwd });
      assert.equal((JSON.parse(stdout) as { exit_code: number }).exit_code, exitCodes.done);
    });
  });

  interface Refused {
    exit_code: number;
    error: { message: string };
    checks: { check: string; cure: string | null }[];
  }

  /** What a command prints that an embedded database in `cwd` is named to, and that fails. */
  async function refused(args: string[], cwd: string): Promise<Refused> {
    const { PATH } = process.env;
    const env = { PATH, DATABASE_URL: "pglite:db" };
    try {
      await run(command, [...args, "--json"], { cwd, env });
    } catch (error) {
      return JSON.parse((error as { stdout: string }).stdout) as Refused;
    }
    return assert.fail(`${args.join(" ")} ended well`);
  }
});

test("package.json is what it was before the package was made", () => {
  assert.ok("@aws-sdk/client-s3" in manifest.dependencies);
  assert.ok(!existsSync(join(ROOT, "package.json.kept")));
});

test("the command that installs goes by where the program is", () => {
  const project = mkdtempSync(join(folder, "project-"));
  const inProject = join(project, "node_modules/fleettickets");
  assert.deepEqual(placeOf(inProject), ["--prefix", project]);
  assert.deepEqual(placeOf("/usr/local/lib/node_modules/fleettickets"), [
    "--global",
    "--prefix",
    "/usr/local",
  ]);
  assert.deepEqual(placeOf("/app").slice(-2), ["--prefix", "/app"]);

  const lib = join(project, "lib");
  mkdirSync(lib);
  writeFileSync(join(lib, "package.json"), "{}");
  assert.deepEqual(placeOf(join(lib, "node_modules/fleettickets")), ["--prefix", lib]);
});

test("without the development tools, a checkout takes the embedded servers by the same command", async (t) => {
  const checkout = await emptyFolder(t);
  for (const name of ["package.json", "package-lock.json", ".npmrc"]) {
    cpSync(join(ROOT, name), join(checkout, name));
  }
  await run("npm", ["ci", "--omit=dev", "--ignore-scripts", "--prefer-offline"], { cwd: checkout });
  const wanted = Object.entries(manifest.peerDependencies).map(([n, range]) => `${n}@${range}`);
  const options = ["--ignore-scripts", "--prefer-offline"];
  await run("npm", ["install", ...placeOf(checkout), ...options, ...wanted]);
  for (const name of optionalPeers) {
    assert.ok(existsSync(join(checkout, "node_modules", name)), name);
  }
  assert.ok(!existsSync(join(checkout, "node_modules/eslint")));
  for (const name of ["package.json", "package-lock.json"]) {
    assert.equal(
      readFileSync(join(checkout, name), "utf8"),
      readFileSync(join(ROOT, name), "utf8"),
    );
  }
});

async function emptyFolder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "fleettickets-empty-"));
  t.after(() => rm(path, { recursive: true }));
  return path;
}
