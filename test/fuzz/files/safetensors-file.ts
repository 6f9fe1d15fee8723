import { entry, type JsonTree, textOf, treeOf } from './json-tree.ts';

/** A safetensors file taken apart without any check, so that it can be put together wrongly. */
export interface LooseFile {
  readonly header: JsonTree;
  readonly data: Uint8Array;
}

export function takeApart(bytes: Uint8Array): LooseFile {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const text = new TextDecoder().decode(bytes.subarray(8, 8 + length));
  return { header: treeOf(JSON.parse(text)), data: bytes.slice(8 + length) };
}

/** `stated`: what the length field says instead of the truth. `pad`: spaces behind the header. */
export function putTogether(
  file: LooseFile,
  { stated, pad = 0 }: { stated?: bigint; pad?: number } = {},
): Uint8Array {
  const header = new TextEncoder().encode(textOf(file.header) + ' '.repeat(pad));
  const out = new Uint8Array(8 + header.length + file.data.length);
  new DataView(out.buffer).setBigUint64(0, stated ?? BigInt(header.length), true);
  out.set(header, 8);
  out.set(file.data, 8 + header.length);
  return out;
}

export interface LooseTensor {
  readonly name: string;
  readonly info: JsonTree;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** Tensors of an undamaged header, in its order. */
export function tensorsOf({ header }: LooseFile): readonly LooseTensor[] {
  if (header.kind !== 'object') return [];
  return header.entries
    .filter(([name]) => name !== '__metadata__')
    .map(([name, info]) => {
      const read = (key: string) => JSON.parse(textOf(entry(info, key) as JsonTree)) as unknown;
      const [begin, end] = read('data_offsets') as [number, number];
      return {
        name,
        info,
        dtype: read('dtype') as string,
        shape: read('shape') as number[],
        begin,
        end,
      };
    });
}

export function setField(info: JsonTree, key: string, value: unknown): void {
  if (info.kind !== 'object') return;
  const i = info.entries.findIndex(([name]) => name === key);
  info.entries[i] = [key, treeOf(value)];
}
