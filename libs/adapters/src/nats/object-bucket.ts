import { dataLoss } from '@heddle/core';
import { Objm } from '@nats-io/obj';
import type { NatsLink } from './nats-link.ts';
import { ensureStream } from './streams.ts';

/** What an object store keeps of an object, in NATS' own spelling (ADR-20). */
export interface ObjectMeta {
  readonly name: string;
  readonly bucket: string;
  /** Names the object's chunks. */
  readonly nuid: string;
  readonly size: number;
  readonly chunks: number;
  readonly mtime: string;
  readonly digest: string;
  readonly options?: { readonly max_chunk_size?: number };
  readonly deleted?: boolean;
}

/** The stream and subjects of a bucket. */
export interface Bucket {
  readonly name: string;
  readonly stream: string;
  readonly metaRoot: string;
  chunks(id: string): string;
  meta(objectName: string): string;
}

/** Makes the bucket as NATS' client does, or verifies the one that is there. */
export async function openBucket(link: NatsLink, bytesMax = -1): Promise<Bucket> {
  const name = `${link.prefix}-blobs`;
  const stream = `OBJ_${name}`;
  const metaRoot = `$O.${name}.M.`;
  await link.patiently(`making bucket ${name}`, () =>
    new Objm(link.js).create(name, {
      replicas: link.replicas,
      max_bytes: bytesMax,
    }),
  );
  await ensureStream(link, {
    name: stream,
    subjects: [`$O.${name}.C.>`, `${metaRoot}>`],
    retention: 'limits',
    storage: 'file',
    discard: 'new',
    max_bytes: bytesMax,
    max_age: 0,
  });
  return {
    name,
    stream,
    metaRoot,
    chunks: (id) => `$O.${name}.C.${id}`,
    meta: (objectName) => `${metaRoot}${paddedBase64url(objectName)}`,
  };
}

export function readMeta(bytes: Uint8Array, name: string): ObjectMeta {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as ObjectMeta;
  } catch (error) {
    throw dataLoss(`the description of ${name} cannot be read`, { cause: error });
  }
}

/** NATS' clients pad; Node's `base64url` does not. */
function paddedBase64url(text: string): string {
  return Buffer.from(text).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}
