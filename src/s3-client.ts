// What the program uses of the AWS SDK, in one place: the package brings it as one bundle, made by
// s3-client-build.ts, because the SDK as npm installs it is more than all the rest together.
export {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from "@aws-sdk/client-s3";
