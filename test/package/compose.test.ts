// There need not be a Docker engine: what compose.yaml has its services run is run here.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { type TestContext, describe, test } from "node:test";
import { promisify } from "node:util";
import {
  DeleteBucketCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { Client } from "pg";
import { exitCodes } from "../../src/errors.ts";
import { describeRun, runCli } from "../harness/cli.ts";
import { csvOf } from "../harness/csv.ts";
import { changeKey } from "../harness/loader.ts";
import { databaseUrl, startCluster } from "../harness/postgres.ts";
import { startS3 } from "../harness/s3.ts";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);
const compose = readFileSync(join(ROOT, "compose.yaml"), "utf8");
const dockerfile = readFileSync(join(ROOT, "Dockerfile"), "utf8");

describe("images", () => {
  test("are named by a full version, and never by the tag latest", () => {
    const images = imagesOf(dockerfile, compose);
    assert.ok(images.length > 3, images.join(" "));
    for (const image of images) {
      assert.match(image, /^[\w./-]+:\d+[\w.-]*[.-]\d[\w.-]*(@sha256:[0-9a-f]{64})?$/);
      assert.doesNotMatch(image, /latest/);
    }
  });

  test("are pinned to what their tags are now, and again when that has changed", async (t) => {
    const folder = await folderFor(t);
    for (const name of ["Dockerfile", "compose.yaml"]) cpSync(join(ROOT, name), join(folder, name));
    for (const sign of ["a", "b"]) {
      const digest = `sha256:${sign.repeat(64)}`;
      await pin(folder, `echo '{"digest":"${digest}"}'`);
      const [pinnedFile, pinnedCompose] = ["Dockerfile", "compose.yaml"].map((name) =>
        readFileSync(join(folder, name), "utf8"),
      );
      const before = imagesOf(dockerfile, compose).map((image) => image.replace(/@.*/, ""));
      assert.deepEqual(
        imagesOf(pinnedFile ?? "", pinnedCompose ?? ""),
        before.map((image) => `${image}@${digest}`),
      );
    }
    await assert.rejects(pin(folder, "echo '{}'"));
    await assert.rejects(pin(folder, "exit 1"));
  });

  /** Runs the script in `folder`, where `docker` does what `script` says. */
  async function pin(folder: string, script: string): Promise<void> {
    const bin = join(folder, "bin");
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, "docker"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const PATH = [bin, process.env["PATH"]].join(delimiter);
    await run(process.execPath, [join(ROOT, ".ci/pin-images.ts")], { cwd: folder, env: { PATH } });
  }
});

describe("the database of compose.yaml", () => {
  test("is migrated by its owner and loaded by a member of fleettickets_loader", async (t) => {
    const { url, addresses } = await startDatabase(t);
    const s3 = await startS3(t);
    const [owner = "", loader = ""] = addresses;
    const done = async (args: string[], env: Record<string, string>) => {
      const result = await runCli(args, { env });
      assert.equal(result.code, exitCodes.done, describeRun(args, result));
    };
    await done(["migrate"], { DATABASE_URL: owner });
    const env = { ...s3.env, DATABASE_URL: loader };
    await s3.put(changeKey(1), csvOf([{ ticket_id: "T1" }]));
    await done(["ingest", "all", "--apply"], env);
    await done(["doctor"], env);
    // With each update.
    await done(["migrate"], { DATABASE_URL: owner });

    const { rows } = await query(
      url,
      `select rolname, rolsuper or rolcreaterole or rolcreatedb or rolbypassrls as is_mighty
       from pg_roles where rolname like 'fleettickets%' and rolcanlogin order by 1`,
    );
    assert.deepEqual(rows, [
      { rolname: "fleettickets_cron", is_mighty: false },
      { rolname: "fleettickets_owner", is_mighty: false },
    ]);
    const denied = await query(loader, "select * from tickets.inc").then(
      () => "nothing",
      (error: unknown) => (error as { code: string }).code,
    );
    assert.equal(denied, "42501");
  });

  test("has no service but its own that knows the superuser", () => {
    const [before = "", after = ""] = compose.split("\n  store:");
    assert.match(before, /POSTGRES_PASSWORD: /);
    assert.doesNotMatch(after, /POSTGRES_PASSWORD|postgres:\/\/postgres/);
  });

  /** A server as the image makes it, with the script of compose.yaml run in it. */
  async function startDatabase(t: TestContext): Promise<{ url: string; addresses: string[] }> {
    // Of its own, since roles are a server's.
    const cluster = await startCluster({ durable: false });
    t.after(cluster.stop);
    await query(cluster.url, "create database fleettickets");
    const url = databaseUrl(cluster.url, "fleettickets");
    await query(url, "create extension postgis");
    const passwords = { OWNER_PASSWORD: "owner-1", LOADER_PASSWORD: "it's 100 %" };
    await run("psql", ["--no-psqlrc", "--file", join(ROOT, "compose/roles.sql"), url], {
      env: { PATH: process.env["PATH"], ...passwords },
    });
    const found = compose.match(/(?<=DATABASE_URL: ).*/g) ?? [];
    const addresses = found.map((address) =>
      address
        .replace("${OWNER_PASSWORD}", encodeURIComponent(passwords.OWNER_PASSWORD))
        .replace("${LOADER_PASSWORD}", encodeURIComponent(passwords.LOADER_PASSWORD))
        .replace("db:5432", new URL(url).host),
    );
    assert.equal(addresses.length, 2);
    return { url, addresses };
  }
});

test("the bucket of compose.yaml is made once, and left alone from then on", async (t) => {
  const s3 = await startS3(t);
  const makeBucket = () =>
    run(process.execPath, [join(ROOT, "compose/bucket.ts")], {
      env: {
        AWS_ENDPOINT_URL: s3.endpoint,
        AWS_REGION: s3.env["RUSTFS_REGION"],
        AWS_ACCESS_KEY_ID: s3.env["RUSTFS_ACCESS_KEY"],
        AWS_SECRET_ACCESS_KEY: s3.env["RUSTFS_SECRET_KEY"],
      },
    });
  const object = { Bucket: "isptickets", Key: changeKey(1) };
  await makeBucket();
  await s3.client.send(new PutObjectCommand({ ...object, Body: "x" }));
  await makeBucket();
  await s3.client.send(new HeadObjectCommand(object));
  await s3.client.send(new DeleteObjectCommand(object));
  await s3.client.send(new DeleteBucketCommand({ Bucket: object.Bucket }));
});

function imagesOf(...files: readonly string[]): string[] {
  return files.flatMap((text) => text.match(/(?<=^FROM |^ +image: |# syntax=)\S+/gm) ?? []);
}

async function query(url: string, text: string): Promise<{ rows: unknown[] }> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return client.query(text).finally(() => client.end());
}

async function folderFor(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "fleettickets-compose-"));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}
