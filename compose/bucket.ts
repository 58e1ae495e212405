// Makes the bucket of compose.yaml, unless it is there.

import { CreateBucketCommand, HeadBucketCommand, S3Client } from "@aws-sdk/client-s3";

// Address and keys are in the AWS_ variables. The store may take its time to start.
const store = new S3Client({ forcePathStyle: true, maxAttempts: 20 });
const bucket = { Bucket: "isptickets" };
try {
  await store.send(new HeadBucketCommand(bucket));
} catch (error) {
  if (!(error instanceof Error && error.name === "NotFound")) throw error;
  await store.send(new CreateBucketCommand(bucket));
}
