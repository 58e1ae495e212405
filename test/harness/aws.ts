// A stand-in for the AWS command line, which knows as much of it as the documentation uses:
//
//   aws --endpoint-url <url> s3 cp [--recursive] <from> <to>

import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import {
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  paginateListObjectsV2,
} from "@aws-sdk/client-s3";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { "endpoint-url": { type: "string" }, recursive: { type: "boolean", default: false } },
});
const [service, command, from = "", to = "", ...others] = positionals;
if (service !== "s3" || command !== "cp" || to === "" || others.length > 0) {
  throw new Error(`not known to the stand-in: aws ${process.argv.slice(2).join(" ")}`);
}

const { RUSTFS_ACCESS_KEY = "", RUSTFS_SECRET_KEY = "", RUSTFS_REGION = "us-east-1" } = process.env;
const client = new S3Client({
  endpoint: values["endpoint-url"] ?? "",
  region: RUSTFS_REGION,
  credentials: { accessKeyId: RUSTFS_ACCESS_KEY, secretAccessKey: RUSTFS_SECRET_KEY },
  forcePathStyle: true,
});
for (const name of values.recursive ? await namesBelow(from) : [""]) {
  await write(to + name, await read(from + name));
}
client.destroy();

async function namesBelow(address: string): Promise<string[]> {
  const { Bucket, Key: Prefix } = placeOf(address);
  const names: string[] = [];
  for await (const { Contents = [] } of paginateListObjectsV2({ client }, { Bucket, Prefix })) {
    names.push(...Contents.map(({ Key = "" }) => Key.slice(Prefix.length)));
  }
  return names;
}

async function read(address: string): Promise<Uint8Array> {
  if (!isInBucket(address)) return readFile(address);
  const { Body } = await client.send(new GetObjectCommand(placeOf(address)));
  if (!Body) throw new Error(`there is no ${address}`);
  return Body.transformToByteArray();
}

async function write(address: string, Body: Uint8Array): Promise<void> {
  if (isInBucket(address)) await client.send(new PutObjectCommand({ ...placeOf(address), Body }));
  else await writeFile(address, Body);
}

function isInBucket(address: string): boolean {
  return address.startsWith("s3://");
}

function placeOf(address: string): { Bucket: string; Key: string } {
  const [, Bucket = "", Key = ""] = /^s3:\/\/([^/]+)\/(.*)$/.exec(address) ?? [];
  return { Bucket, Key };
}
