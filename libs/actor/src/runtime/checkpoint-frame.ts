import { assert, dataLoss } from '@heddle/core';

/** Whose checkpoint it is and how far it reaches. */
export interface CheckpointHeader {
  readonly job: string;
  readonly task: number;
  readonly cursor: number;
  readonly claim: string;
}

const MAGIC = 0x48444c43; // 'HDLC'

/**
 * A checkpoint as a blob: magic, length of the header, header as JSON, then the kind's bytes. The header makes the blob
 * this attempt's alone, so that it can be removed once a later one is committed without asking who else has the same
 * bytes; and a checkpoint of another task cannot be taken for this one's.
 */
export function frameCheckpoint(header: CheckpointHeader, payload: Uint8Array): Uint8Array {
  const { job, task, cursor, claim } = header;
  const text = new TextEncoder().encode(JSON.stringify({ v: 1, job, task, cursor, claim }));
  const framed = new Uint8Array(8 + text.length + payload.length);
  const view = new DataView(framed.buffer);
  view.setUint32(0, MAGIC);
  view.setUint32(4, text.length);
  framed.set(text, 8);
  framed.set(payload, 8 + text.length);
  return framed;
}

/** The kind's bytes. Errors: `data_loss` when the frame is broken or another task's. */
export function openCheckpoint(
  framed: Uint8Array,
  expected: Pick<CheckpointHeader, 'job' | 'task' | 'cursor'>,
): Uint8Array {
  const { job, task, cursor } = expected;
  assert(job.length > 0, 'a checkpoint belongs to a job');
  const where = `the checkpoint of task ${task} of job ${job}`;
  const view = new DataView(framed.buffer, framed.byteOffset, framed.byteLength);
  if (framed.length < 8 || view.getUint32(0) !== MAGIC) throw dataLoss(`${where} has no frame`);
  const end = 8 + view.getUint32(4);
  if (end > framed.length) throw dataLoss(`${where} is cut short`);
  let header: Partial<CheckpointHeader> & { readonly v?: unknown };
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(framed.subarray(8, end)));
  } catch (cause) {
    throw dataLoss(`${where} has a broken header`, { cause });
  }
  if (header.v !== 1) throw dataLoss(`${where} has version ${String(header.v)}`);
  if (header.job !== job || header.task !== task || header.cursor !== cursor) {
    throw dataLoss(`${where} at ${cursor} is that of ${header.job}/${header.task}`);
  }
  return framed.slice(end);
}
