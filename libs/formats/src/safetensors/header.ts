import { assert, invalidArgument, type OperationError } from '@heddle/core';
import type { DType } from '@heddle/tensor';
import { HEADER_BYTES_MAX, TENSOR_AXES_MAX } from '../limits.ts';
import {
  type HeaderJson,
  type HeaderObject,
  HeaderParser,
  HeaderSyntaxError,
} from './header-json.ts';

/** Bits of one element of every dtype that the format knows, also those that we only carry past. */
const SAFETENSORS_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

export type SafetensorsDType = keyof typeof SAFETENSORS_BITS;

const OURS: Partial<Record<SafetensorsDType, DType>> = {
  F32: 'f32',
  F64: 'f64',
  F16: 'f16',
  BF16: 'bf16',
  I64: 'i64',
  I32: 'i32',
  U8: 'u8',
  BOOL: 'bool',
};

/** Our element type of a file's dtype; undefined for those that we cannot compute with (I8, F8 …). */
export function dtypeOf(dtype: SafetensorsDType): DType | undefined {
  return OURS[dtype];
}

/** Where one tensor lies. Offsets count from the start of the file, ready for `pread` and for ONNX external data. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}

export interface SafetensorsHeader {
  readonly file: string;
  readonly fileBytes: number;
  /** Where the data begin: 8 + header length. */
  readonly dataOffset: number;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * *How many bytes to read to have the whole header*: 8 + the length that the first eight bytes state.
 * Errors: `invalid_argument` when the file is shorter than that, or the header longer than `HEADER_BYTES_MAX`.
 */
export function safetensorsHeaderBytes(
  file: string,
  first8: Uint8Array,
  fileBytes: number,
): number {
  if (fileBytes < 8 || first8.length < 8) {
    throw damaged(
      file,
      `it has ${fileBytes} bytes, and 8 are needed to say how long the header is`,
    );
  }
  const stated = new DataView(first8.buffer, first8.byteOffset, 8).getBigUint64(0, true);
  if (stated > BigInt(HEADER_BYTES_MAX)) {
    throw damaged(file, `its header claims ${stated} bytes; the limit is ${HEADER_BYTES_MAX}`);
  }
  const length = Number(stated);
  if (8 + length > fileBytes) {
    throw damaged(file, `its header claims ${length} bytes, but only ${fileBytes - 8} follow`);
  }
  return 8 + length;
}

/**
 * *The table of contents of a safetensors file*, from its first bytes (`safetensorsHeaderBytes` of them) and its size.
 * At least as strict as the reference library: one JSON object that begins with `{`, no key twice, known dtypes, spans
 * that equal shape × dtype, that follow each other without hole or overlap, and that end exactly where the file ends.
 * Errors: `invalid_argument` that names the file, the tensor and what was expected.
 */
export function parseSafetensorsHeader(
  file: string,
  head: Uint8Array,
  fileBytes: number,
): SafetensorsHeader {
  const dataOffset = safetensorsHeaderBytes(file, head, fileBytes);
  assert(head.length >= dataOffset, () => `${file}: ${head.length} of ${dataOffset} header bytes`);
  const root = parseJson(file, head.subarray(8, dataOffset));
  const tensors = new Map<string, TensorEntry>();
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const [name, value] of root) {
    if (name === '__metadata__') metadata = readMetadata(file, value);
    else tensors.set(name, readEntry(file, name, value, dataOffset));
  }
  checkSpans(file, tensors, dataOffset, fileBytes);
  return { file, fileBytes, dataOffset, tensors, metadata };
}

function parseJson(file: string, bytes: Uint8Array): HeaderObject {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw damaged(file, 'its header is not UTF-8', { cause });
  }
  try {
    return new HeaderParser(text).parse();
  } catch (cause) {
    if (!(cause instanceof HeaderSyntaxError)) throw cause;
    throw damaged(file, cause.message, { cause });
  }
}

function readMetadata(file: string, value: HeaderJson): ReadonlyMap<string, string> {
  if (!(value instanceof Map)) throw damaged(file, '__metadata__ is not an object');
  for (const [key, text] of value as HeaderObject) {
    if (typeof text !== 'string') {
      throw damaged(file, `__metadata__ ${JSON.stringify(key)} is not a string`);
    }
  }
  return value as ReadonlyMap<string, string>;
}

function readEntry(file: string, name: string, value: HeaderJson, dataOffset: number): TensorEntry {
  const fail = (why: string) => damaged(file, why, { tensor: name });
  if (!(value instanceof Map)) throw fail('its description is not an object');
  const info = value as HeaderObject;
  for (const key of info.keys()) {
    if (key !== 'dtype' && key !== 'shape' && key !== 'data_offsets') {
      throw fail(`unknown field ${JSON.stringify(key)}; dtype, shape and data_offsets expected`);
    }
  }
  const dtype = info.get('dtype');
  if (typeof dtype !== 'string' || !Object.hasOwn(SAFETENSORS_BITS, dtype)) {
    throw fail(`unknown dtype ${JSON.stringify(dtype)}`);
  }
  const shape = wholeNumbers(info.get('shape'));
  if (!shape || shape.length > TENSOR_AXES_MAX) {
    throw fail(`shape is not a list of at most ${TENSOR_AXES_MAX} whole numbers`);
  }
  const [begin, end, ...more] = wholeNumbers(info.get('data_offsets')) ?? [];
  if (begin === undefined || end === undefined || more.length > 0 || end < begin) {
    throw fail('data_offsets is not [begin, end] with begin ≤ end');
  }
  const expected = spanBytes(dtype as SafetensorsDType, shape);
  if (expected === undefined) throw fail(`the size of ${dtype} [${shape.join(', ')}] overflows`);
  if (expected !== end - begin) {
    throw fail(
      `${dtype} [${shape.join(', ')}] takes ${expected} bytes, data_offsets span ${end - begin}`,
    );
  }
  const offset = dataOffset + begin;
  return { name, dtype: dtype as SafetensorsDType, shape, offset, bytes: end - begin };
}

/** Bytes of a tensor; undefined when the product leaves the safe integers or is no whole number of bytes. */
function spanBytes(dtype: SafetensorsDType, shape: readonly number[]): number | undefined {
  let bits: number = SAFETENSORS_BITS[dtype];
  for (const n of shape) {
    bits *= n;
    if (!Number.isSafeInteger(bits)) return undefined;
  }
  return bits % 8 === 0 ? bits / 8 : undefined;
}

function checkSpans(
  file: string,
  tensors: ReadonlyMap<string, TensorEntry>,
  dataOffset: number,
  fileBytes: number,
): void {
  const inOrder = [...tensors.values()].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataOffset;
  for (const { name, offset, bytes } of inOrder) {
    if (offset !== end) {
      const what = offset > end ? `leaves a hole of ${offset - end}` : `overlaps ${end - offset}`;
      throw damaged(file, `its data begin at byte ${offset}, which ${what} bytes`, {
        tensor: name,
      });
    }
    end += bytes;
  }
  if (end !== fileBytes) {
    const what = end > fileBytes ? 'it is cut short' : 'bytes follow that no tensor owns';
    throw damaged(file, `${what}: ${end} bytes expected, ${fileBytes} found`);
  }
}

function wholeNumbers(value: HeaderJson | undefined): readonly number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return value.every((n) => typeof n === 'number') ? (value as readonly number[]) : undefined;
}

function damaged(
  file: string,
  why: string,
  at: { tensor?: string; cause?: unknown } = {},
): OperationError {
  const where = at.tensor === undefined ? file : `${file}: tensor ${JSON.stringify(at.tensor)}`;
  const details = at.tensor === undefined ? { file } : { file, tensor: at.tensor };
  return invalidArgument(`${where}: ${why}`, { field: 'model', details, cause: at.cause });
}
