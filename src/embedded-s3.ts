import type { AddressInfo } from "node:net";
import { CreateBucketCommand, PutObjectCommand, S3Client } from "./s3-client.ts";
import { buildApp } from "fauxqs";
import type { BucketConfig } from "./config.ts";

/** An object store inside this process, for the demo. It forgets everything when it stops. */
export interface EmbeddedS3 {
  config: BucketConfig;
  put: (key: string, body: Buffer) => Promise<void>;
  stop: () => Promise<void>;
}

/** Starts it on 127.0.0.1, with one empty bucket. */
export async function startEmbeddedS3(bucket: string): Promise<EmbeddedS3> {
  const app = buildApp({ logger: false });
  await app.listen({ host: "127.0.0.1", port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const access = {
    endpoint: `http://127.0.0.1:${port}`,
    region: "us-east-1",
    credentials: { accessKeyId: "demo", secretAccessKey: "demo" },
  };
  const client = new S3Client({ ...access, forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  return {
    config: { ...access, bucket },
    async put(key, body) {
      await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));
    },
    async stop() {
      client.destroy();
      await app.close();
    },
  };
}
