import { widenF16 } from '@heddle/tensor';
import type { Contract } from './contract.ts';
import type { Recorded } from './transcript.ts';

/** What a call answered, as values that can be compared: streams of bytes become the tensors and files that they carry. */
export function answerOf(contract: Contract, { path, responses }: Recorded): unknown {
  const parts = responses.map((bytes) => contract.decodeResponse(path, bytes));
  switch (path.slice(path.lastIndexOf('/') + 1)) {
    case 'Run':
    case 'Apply':
      return tensorsOf(parts);
    case 'ReadArtifact':
      return fileOf(parts);
    case 'Watch':
      return parts.at(-1); // on the way it is another story each time
    default:
      return parts;
  }
}

type Part = Readonly<Record<string, unknown>>;

interface Header {
  readonly name: string;
  readonly dtype: string;
}

/** Numbers of one tensor: compared by the measure of the largest of them. */
export interface Numbers {
  readonly numbers: ArrayLike<number>;
  readonly halves: boolean;
}

export const isNumbers = (value: unknown): value is Numbers =>
  typeof value === 'object' && value !== null && 'numbers' in value && 'halves' in value;

/** Every message that is no chunk, and with each header the numbers that its chunks carry. */
function tensorsOf(parts: readonly Part[]): unknown {
  const said: Record<string, unknown>[] = [];
  let chunks: Uint8Array[] = [];
  for (const part of parts) {
    const { chunk, ...rest } = part as { chunk?: { data: Uint8Array } | null };
    if (chunk) {
      chunks.push(chunk.data);
      said[said.length - 1] = { ...said.at(-1), chunks };
      continue;
    }
    chunks = [];
    said.push(rest);
  }
  return said.map(({ chunks: bytes, ...rest }) => {
    const header = rest['header'] as Header | null | undefined;
    return header
      ? { ...rest, values: numbersOf(header.dtype, Buffer.concat((bytes ?? []) as Uint8Array[])) }
      : rest;
  });
}

function fileOf(parts: readonly Part[]): unknown {
  const [first] = parts;
  const data = parts.flatMap(({ data }) => (data instanceof Uint8Array ? [data] : []));
  const content = Buffer.concat(data);
  const { name = '' } = (first?.['artifact'] ?? {}) as { name?: string };
  if (name.endsWith('.json')) return { ...first, content: JSON.parse(content.toString()) };
  return name.endsWith('.safetensors') ? { ...first, content: safetensorsOf(content) } : first;
}

/** By name: dtype, shape and numbers. The metadata are texts of whoever wrote the file. */
export function safetensorsOf(bytes: Buffer): Readonly<Record<string, unknown>> {
  const length = Number(bytes.readBigUInt64LE());
  const { __metadata__: _, ...tensors } = JSON.parse(bytes.toString('utf8', 8, 8 + length));
  return Object.fromEntries(
    Object.entries(
      tensors as Record<string, { dtype: string; data_offsets: [number, number] }>,
    ).map(
      ([
        name,
        {
          data_offsets: [from, to],
          ...rest
        },
      ]) => {
        const data = bytes.subarray(8 + length + from, 8 + length + to);
        return [name, { ...rest, values: numbersOf(`ELEMENT_TYPE_${rest.dtype}`, data) }];
      },
    ),
  );
}

function numbersOf(dtype: string, bytes: Buffer): Numbers | string {
  const { buffer } = new Uint8Array(bytes); // at an offset that its elements may have
  switch (dtype) {
    case 'ELEMENT_TYPE_F32':
      return { numbers: new Float32Array(buffer), halves: false };
    case 'ELEMENT_TYPE_F64':
      return { numbers: new Float64Array(buffer), halves: false };
    case 'ELEMENT_TYPE_F16':
      return { numbers: widenF16(new Uint16Array(buffer)), halves: true };
    default:
      return `${dtype} ${bytes.toString('base64')}`;
  }
}
