import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { S3_LIMITS } from './limits.ts';
import { guarded, isAbsent } from './s3-error.ts';

export interface S3BucketOptions {
  readonly bucket: string;
  /** Of an S3-compatible server; without one, AWS'. */
  readonly endpoint?: string;
  readonly region?: string;
  /** `http://host/bucket/key` instead of `http://bucket.host/key`: what most servers besides AWS want. */
  readonly pathStyle?: boolean;
  /** Without them the SDK looks where it always does: environment, files, the pod's identity. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Smaller than `S3_LIMITS` in tests, so that a few megabytes take the path of many gigabytes. */
  readonly sizes?: {
    readonly partBytes: number;
    readonly copyBytes: number;
    readonly wholeBytes?: number;
  };
}

export interface S3Object {
  readonly key: string;
  readonly bytes: number;
  /** The end of the second it was modified in. */
  readonly modifiedMs: number;
}

/** One bucket: the requests that blobs need, and nothing of their names. */
export class S3Bucket {
  private readonly client: S3Client;
  private readonly bucket: string;
  private readonly copyBytes: number;
  /** What is longer goes up in parts of this … */
  readonly partBytes: number;
  /** … but what lies in memory whole anyway. */
  readonly wholeBytes: number;

  private constructor(options: S3BucketOptions) {
    this.client = new S3Client(configOf(options));
    this.bucket = options.bucket;
    this.partBytes = options.sizes?.partBytes ?? S3_LIMITS.partBytes;
    this.wholeBytes = options.sizes?.wholeBytes ?? S3_LIMITS.wholeBytes;
    this.copyBytes = options.sizes?.copyBytes ?? S3_LIMITS.copyBytes;
  }

  /** Makes the bucket if it is not there and we may. */
  static async open(options: S3BucketOptions): Promise<S3Bucket> {
    const { bucket: Bucket } = options;
    const opened = new S3Bucket(options);
    try {
      await guarded(`opening bucket ${Bucket}`, async () => {
        try {
          await opened.client.send(new HeadBucketCommand({ Bucket }));
        } catch (error) {
          if (!isAbsent(error)) throw error;
          await opened.make();
        }
      });
    } catch (error) {
      opened.close();
      throw error;
    }
    return opened;
  }

  /** A small object in one request; the server checks the SHA-256 before it keeps anything. */
  async put(key: string, bytes: Uint8Array, sha256: Buffer): Promise<void> {
    const checked = { ChecksumSHA256: sha256.toString('base64'), ContentLength: bytes.length };
    const command = new PutObjectCommand({
      Bucket: this.bucket,
      Key: key,
      Body: bytes,
      ...checked,
    });
    // The signature covers the same digest; without it the SDK hashes the bytes once more.
    command.middlewareStack.add(
      (next) => (args) => {
        const { headers } = args.request as { headers: Record<string, string> };
        headers['x-amz-content-sha256'] = sha256.toString('hex');
        return next(args);
      },
      { step: 'build' },
    );
    await this.client.send(command);
  }

  /** A stream of any length, each part with its checksum. What breaks off leaves nothing. */
  async upload(key: string, stream: NodeJS.ReadableStream): Promise<void> {
    const params = { Bucket: this.bucket, Key: key, Body: stream as never };
    const upload = new Upload({
      client: this.client,
      params: { ...params, ChecksumAlgorithm: 'SHA256' },
      partSize: this.partBytes,
      queueSize: S3_LIMITS.partsInFlight,
      leavePartsOnError: false,
    });
    await upload.done();
  }

  /** On the server; the target is there whole or not at all. */
  async copy(from: string, to: string, bytes: number): Promise<void> {
    const CopySource = encodeURI(`${this.bucket}/${from}`); // a header, where the other keys are paths
    const target = { Bucket: this.bucket, Key: to };
    if (bytes <= this.copyBytes) {
      await this.client.send(new CopyObjectCommand({ ...target, CopySource }));
      return;
    }
    const { UploadId } = await this.client.send(new CreateMultipartUploadCommand(target));
    try {
      const Parts: { ETag: string | undefined; PartNumber: number }[] = [];
      for (let at = 0; at < bytes; at += this.copyBytes) {
        const PartNumber = Parts.length + 1;
        const end = Math.min(at + this.copyBytes, bytes) - 1;
        const part = {
          ...target,
          UploadId,
          PartNumber,
          CopySource,
          CopySourceRange: `bytes=${at}-${end}`,
        };
        const { CopyPartResult } = await this.client.send(new UploadPartCopyCommand(part));
        Parts.push({ ETag: CopyPartResult?.ETag, PartNumber });
      }
      const whole = { ...target, UploadId, MultipartUpload: { Parts } };
      await this.client.send(new CompleteMultipartUploadCommand(whole));
    } catch (error) {
      const broken = new AbortMultipartUploadCommand({ ...target, UploadId });
      await this.client.send(broken).catch(() => undefined);
      throw error;
    }
  }

  async head(key: string): Promise<S3Object | undefined> {
    try {
      const found = await this.client.send(
        new HeadObjectCommand({ Bucket: this.bucket, Key: key }),
      );
      return { key, bytes: found.ContentLength ?? 0, modifiedMs: endOfSecond(found.LastModified) };
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  async get(
    key: string,
    from = 0,
  ): Promise<{ readonly bytes: number; readonly body: AsyncIterable<Uint8Array> }> {
    const { Body, ContentLength } = await this.client.send(
      new GetObjectCommand({
        Bucket: this.bucket,
        Key: key,
        ...(from === 0 ? {} : { Range: `bytes=${from}-` }),
      }),
    );
    return { bytes: ContentLength ?? 0, body: Body as unknown as AsyncIterable<Uint8Array> };
  }

  async remove(key: string): Promise<void> {
    await this.client.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: key }));
  }

  async *list(prefix: string): AsyncGenerator<S3Object> {
    let token: string | undefined;
    do {
      const page = await this.client.send(
        new ListObjectsV2Command({
          Bucket: this.bucket,
          Prefix: prefix,
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
      );
      for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
        yield { key: Key, bytes: Size, modifiedMs: endOfSecond(LastModified) };
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  /**
   * Ends multipart uploads under a prefix that began before this time. The first page again and again while that ends some: not
   * every server goes on from a marker that it gave.
   */
  async abortUploads(prefix: string, beforeMs: number): Promise<void> {
    const target = { Bucket: this.bucket };
    for (let pages = 0; pages < S3_LIMITS.uploadPagesMax; pages++) {
      const { Uploads = [], IsTruncated } = await this.client.send(
        new ListMultipartUploadsCommand({ ...target, Prefix: prefix }),
      );
      const old = Uploads.filter(({ Initiated }) => (Initiated?.getTime() ?? Infinity) < beforeMs);
      for (const { Key, UploadId } of old) {
        await this.client.send(new AbortMultipartUploadCommand({ ...target, Key, UploadId }));
      }
      if (old.length === 0 || IsTruncated !== true) return;
    }
  }

  close(): void {
    this.client.destroy();
  }

  /** Replicas that start together make it together: one of them does, to the others it is there. */
  private async make(): Promise<void> {
    try {
      await this.client.send(new CreateBucketCommand({ Bucket: this.bucket }));
    } catch (error) {
      if ((error as Error).name !== 'BucketAlreadyOwnedByYou') throw error;
    }
  }
}

function configOf({ endpoint, region, pathStyle, credentials }: S3BucketOptions): S3ClientConfig {
  return {
    region: region ?? 'us-east-1',
    forcePathStyle: pathStyle ?? endpoint !== undefined,
    maxAttempts: S3_LIMITS.attemptsMax,
    requestHandler: { connectionTimeout: S3_LIMITS.connectMs, socketTimeout: S3_LIMITS.idleMs },
    // We name our checksums and check what we read: servers that lack newer kinds are served too.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  };
}

function endOfSecond(date: Date | undefined): number {
  const { secondMs } = S3_LIMITS;
  return Math.floor((date?.getTime() ?? 0) / secondMs) * secondMs + secondMs - 1;
}
