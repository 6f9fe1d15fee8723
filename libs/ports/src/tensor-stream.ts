import { assert, dataLoss, invalidArgument, resourceExhausted } from '@heddle/core';
import {
  BYTES_PER_ELEMENT,
  type DType,
  elementCount,
  fromBytes,
  showShape,
  type Tensor,
  toBytes,
} from '@heddle/tensor';
import type { ElementType, InlineTensor, TensorChunk, TensorHeader } from './proto/gen/common.ts';

/** 256 KiB: the fastest chunk measured over gRPC, and small enough that a stream never holds much. */
export const CHUNK_BYTES = 256 * 1024;
/** More axes than any tensor of ours has. */
const AXES_MAX = 8;

type WireDType = Exclude<DType, 'bf16'>;

const ELEMENT_TYPES: Readonly<Record<WireDType, ElementType>> = {
  f32: 'ELEMENT_TYPE_F32',
  f16: 'ELEMENT_TYPE_F16',
  f64: 'ELEMENT_TYPE_F64',
  i64: 'ELEMENT_TYPE_I64',
  i32: 'ELEMENT_TYPE_I32',
  u8: 'ELEMENT_TYPE_U8',
  bool: 'ELEMENT_TYPE_BOOL',
};

const DTYPES = new Map(
  Object.entries(ELEMENT_TYPES).map(([dtype, type]) => [type, dtype as DType]),
);

function elementType(dtype: DType): ElementType {
  assert(dtype !== 'bf16', 'bf16 does not cross the wire: widen it');
  return ELEMENT_TYPES[dtype];
}

/** The dtype on the wire. Errors: `invalid_argument` on UNSPECIFIED and on what a newer peer may send. */
export function dtypeOf(type: ElementType, field: string): DType {
  const dtype = DTYPES.get(type);
  if (dtype === undefined) throw invalidArgument(`${field}: ${type} is no element type`, { field });
  return dtype;
}

/** A part of a stream of tensors. */
export interface TensorPart {
  readonly header?: TensorHeader;
  readonly chunk?: TensorChunk;
}

export interface TensorLabel {
  readonly name: string;
  /** Which prompt of the request, from 0. */
  readonly prompt?: number;
  readonly axes?: readonly string[];
}

/** A tensor as its header and its chunks; the chunks are views, so the tensor must not change until they are sent. */
export function* tensorParts(t: Tensor, label: TensorLabel): Generator<TensorPart> {
  const bytes = toBytes(t);
  yield {
    header: {
      name: label.name,
      prompt: label.prompt ?? 0,
      dtype: elementType(t.dtype),
      shape: t.shape,
      axes: label.axes ?? [],
      byte_length: bytes.byteLength,
    },
  };
  for (let offset = 0; offset < bytes.byteLength; offset += CHUNK_BYTES) {
    yield { chunk: { offset, data: bytes.subarray(offset, offset + CHUNK_BYTES) } };
  }
}

export interface LabelledTensor {
  readonly label: Required<TensorLabel>;
  readonly tensor: Tensor;
}

/**
 * Puts tensors together again: each is allocated once, and every chunk copied to its place (which also settles
 * alignment). `bytesMax` bounds the sum of all. Errors: `data_loss` when parts are missing or out of order,
 * `resource_exhausted` past the bound, before anything is allocated.
 */
export class TensorCollector {
  private readonly bytesMax: number;
  private allocated = 0;
  private open:
    | { header: TensorHeader; dtype: DType; bytes: Uint8Array; filled: number }
    | undefined;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Takes the next part; returns the tensor that it completed, if it did. */
  add(part: TensorPart): LabelledTensor | undefined {
    if (part.header) this.begin(part.header);
    else if (part.chunk) this.fill(part.chunk);
    if (this.open === undefined || this.open.filled < this.open.bytes.byteLength) return undefined;
    const { header, dtype, bytes } = this.open;
    this.open = undefined;
    const { name, prompt, axes } = header;
    return { label: { name, prompt, axes }, tensor: fromBytes(dtype, header.shape, bytes) };
  }

  /** The stream has ended. */
  end(): void {
    if (this.open === undefined) return;
    const { header, filled } = this.open;
    throw dataLoss(`the stream ended ${filled} bytes into ${header.name} of ${header.byte_length}`);
  }

  private begin(header: TensorHeader): void {
    this.end();
    const dtype = dtypeOf(header.dtype, 'header.dtype');
    const sized =
      header.shape.length <= AXES_MAX &&
      (header.axes.length === 0 || header.axes.length === header.shape.length);
    if (!sized || elementCount(header.shape) * BYTES_PER_ELEMENT[dtype] !== header.byte_length) {
      throw invalidArgument(
        `${header.name}: ${dtype} ${showShape(header.shape)} does not take ${header.byte_length} bytes`,
        { field: 'header.byte_length' },
      );
    }
    if (this.allocated + header.byte_length > this.bytesMax) {
      throw resourceExhausted(
        `${header.name} brings the tensors to ${this.allocated + header.byte_length} bytes; at most ${this.bytesMax} are taken`,
        { field: 'header.byte_length', details: { limit: this.bytesMax }, retryable: false },
      );
    }
    this.allocated += header.byte_length;
    this.open = { header, dtype, bytes: new Uint8Array(header.byte_length), filled: 0 };
  }

  private fill({ offset, data }: TensorChunk): void {
    const { open } = this;
    if (open === undefined) throw dataLoss('a chunk came without the header of its tensor');
    if (offset !== open.filled || offset + data.byteLength > open.bytes.byteLength) {
      throw dataLoss(
        `${open.header.name}: a chunk at byte ${offset}, where ${open.filled} was next`,
      );
    }
    open.bytes.set(data, offset);
    open.filled += data.byteLength;
  }
}

/** A small tensor in a message. Errors: `invalid_argument` naming the field when bytes and shape disagree. */
export function fromInline(inline: InlineTensor, field: string): Tensor {
  const dtype = dtypeOf(inline.dtype, `${field}.dtype`);
  const bytes = elementCount(inline.shape) * BYTES_PER_ELEMENT[dtype];
  if (inline.shape.length > AXES_MAX || bytes !== inline.data.byteLength) {
    throw invalidArgument(
      `${field}: ${dtype} ${showShape(inline.shape)} takes ${bytes} bytes, not ${inline.data.byteLength}`,
      { field: `${field}.data` },
    );
  }
  return fromBytes(dtype, inline.shape, inline.data);
}

export function toInline(t: Tensor): InlineTensor {
  return { dtype: elementType(t.dtype), shape: t.shape, data: toBytes(t) };
}
