import { invalidArgument } from '@heddle/core';

/** Checks bytes as they come, in order. */
export class Utf8Check {
  private readonly file: string;
  private readonly decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  /** What came before, as far as a character can reach back. */
  private tail: Uint8Array = new Uint8Array(0);
  private offset = 0;

  constructor(file: string) {
    this.file = file;
  }

  /** Errors: `invalid_argument` with the file and the first byte that is no UTF-8. */
  add(bytes: Uint8Array, last: boolean): void {
    try {
      this.decoder.decode(bytes, { stream: !last });
    } catch (cause) {
      const known = joinBytes(this.tail, bytes);
      const at = this.offset - this.tail.length + firstInvalid(known);
      const utf16 = at === 0 && (known[0] === 0xff || known[0] === 0xfe);
      throw invalidArgument(
        `${this.file}: byte ${at} is no UTF-8${utf16 ? ' (it looks like UTF-16)' : ''}; convert the file to UTF-8`,
        { field: 'corpus', details: { file: this.file, byte: at }, cause },
      );
    }
    const known = joinBytes(this.tail, bytes);
    this.tail = known.slice(Math.max(0, known.length - 3));
    this.offset += bytes.length;
  }
}

export function joinBytes(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

/** Index of the first byte that begins no whole character; the length if there is none. May begin inside of one. */
function firstInvalid(bytes: Uint8Array): number {
  let at = 0;
  while (at < 3 && ((bytes[at] ?? 0) & 0xc0) === 0x80 && bytes.length > 3) at++;
  const decoder = new TextDecoder('utf-8', { fatal: true });
  while (at < bytes.length) {
    const first = bytes[at] as number;
    const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    try {
      decoder.decode(bytes.subarray(at, at + length));
    } catch {
      return at;
    }
    at += length;
  }
  return bytes.length;
}
