import { InvalidArgumentError } from 'commander';

/** A range may not stand for more than this: `0-4000000000` is a slip, not a wish. */
const LIST_LENGTH_MAX = 100_000;

/** `1,4,7-9` → 1, 4, 7, 8, 9. Counted from 0. */
export function parseList(text: string): number[] {
  const out: number[] = [];
  for (const part of text.split(',')) {
    const match = /^\s*(\d{1,9})(?:-(\d{1,9}))?\s*$/.exec(part);
    if (!match) throw new InvalidArgumentError(`'${part}' is no number or range; say 1,4,7-9.`);
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (last < first) throw new InvalidArgumentError(`'${part}' runs backwards.`);
    if (out.length + last - first >= LIST_LENGTH_MAX) {
      throw new InvalidArgumentError(`more than ${LIST_LENGTH_MAX} entries.`);
    }
    for (let i = first; i <= last; i++) out.push(i);
  }
  return out;
}

/** The same, ascending and without repetition: a set of places. */
export function parsePlaces(text: string): number[] {
  return [...new Set(parseList(text))].sort((a, b) => a - b);
}

/** `L.H`. */
export function parseHead(text: string): { readonly layer: number; readonly head: number } {
  const match = /^(\d{1,6})\.(\d{1,6})$/.exec(text.trim());
  if (!match) throw new InvalidArgumentError(`'${text}' is no head; say L.H, counted from 0: 3.0.`);
  return { layer: Number(match[1]), head: Number(match[2]) };
}

/** `all`, or `3.0,4.11`; all is the empty list. */
export function parseHeads(text: string): readonly { layer: number; head: number }[] {
  return text === 'all' ? [] : text.split(',').map(parseHead);
}

/** Comma-separated words, none empty; an option that is given twice names all of them. */
export function parseWords(text: string, previous: readonly string[] = []): string[] {
  const words = text.split(',').map((word) => word.trim());
  if (words.includes('')) throw new InvalidArgumentError('an entry of the list is empty.');
  return [...previous, ...words];
}

/** For options that may be repeated: each use adds one. */
export function collect<T>(parse: (text: string) => T) {
  return (text: string, previous: readonly T[] = []): T[] => [...previous, parse(text)];
}

/** The largest uint32. On the wire a larger one would lose its upper bits: 4294967299 steps were 3. */
const COUNT_MAX = 4_294_967_295;

export function parseCount(text: string): number {
  const count = parseLong(text);
  if (count > COUNT_MAX) throw new InvalidArgumentError(`${text} is more than ${COUNT_MAX}.`);
  return count;
}

/** For the contract's uint64: seeds, tokens of a corpus. */
export function parseLong(text: string): number {
  if (!/^\d{1,12}$/.test(text)) throw new InvalidArgumentError(`'${text}' is no count.`);
  return Number(text);
}

/** How many or how large, where none is no answer: on the wire 0 says "not given". */
export function parseSize(text: string): number {
  const size = parseCount(text);
  if (size === 0) throw new InvalidArgumentError('it is at least 1.');
  return size;
}

/** The same for the contract's uint64. */
export function parseLongSize(text: string): number {
  const size = parseLong(text);
  if (size === 0) throw new InvalidArgumentError('it is at least 1.');
  return size;
}

/** A number greater than 0: on the wire 0 says "not given". */
export function parsePositive(text: string): number {
  const value = parseNumber(text);
  if (value <= 0) throw new InvalidArgumentError(`'${text}' is not greater than 0.`);
  return value;
}

export function parsePort(text: string): number {
  const port = parseCount(text);
  if (port > 65_535) throw new InvalidArgumentError(`'${text}' is no port.`);
  return port;
}

export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw new InvalidArgumentError(`'${text}' is no number.`);
  }
  return value;
}

/** A token of the vocabulary: `id:N`, or a string that is one token. */
export function parseToken(text: string): { readonly id: number } | { readonly text: string } {
  if (!text.startsWith('id:')) return { text };
  const id = text.slice(3);
  if (!/^\d{1,9}$/.test(id)) throw new InvalidArgumentError(`'${text}' is no token; say id:N.`);
  return { id: Number(id) };
}

/** `T` or `T,T`, none empty: a token that is a comma is said by its id. */
export function parseTargets(text: string): ReturnType<typeof parseToken>[] {
  const words = text.split(',');
  if (words.includes('')) {
    throw new InvalidArgumentError('a token is empty; say one that has a comma as id:N.');
  }
  return words.map(parseToken);
}
