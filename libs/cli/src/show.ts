import Table from 'cli-table3';

type Cell = string | number | boolean | undefined;

/** Rows under a head, without rules: for eyes, and for `awk`. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const plain = new Table({
    head: [...head],
    chars: NO_RULES,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  });
  for (const row of rows) plain.push(row.map((cell) => `${cell ?? ''}`));
  return plain
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

const NO_RULES = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '',
};

/** Name and value, one a line. */
export function facts(entries: readonly (readonly [string, Cell])[]): string {
  const width = Math.max(...entries.map(([name]) => name.length));
  const lines = entries.map(([name, value]) => `${name.padEnd(width)}  ${value ?? ''}`);
  return lines.map((line) => line.trimEnd()).join('\n');
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function showBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toPrecision(3)} ${UNITS[unit]}`;
}

export function showNumber(value: unknown): string {
  if (typeof value !== 'number') return value === null || value === undefined ? '-' : `${value}`;
  if (Number.isInteger(value)) return `${value}`;
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e6 ? value.toPrecision(4) : value.toExponential(3);
}

export const showTime = (ms: number): string => (ms === 0 ? '-' : new Date(ms).toISOString());

export const showShape = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

/**
 * A document as JSON. protobufjs marks an optional field that is set by a member `_field: 'field'`, which is no field.
 */
export function jsonText(document: unknown): string {
  return JSON.stringify(document, (name, value: unknown) =>
    name.startsWith('_') && value === name.slice(1) ? undefined : value,
  );
}

/** Text in which white space can be seen. */
export const visible = (text: string): string => JSON.stringify(text).slice(1, -1);
