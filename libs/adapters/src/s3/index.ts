export { S3Blobs, type S3BlobsOptions } from './s3-blobs.ts';
export type { S3BucketOptions } from './s3-bucket.ts';
