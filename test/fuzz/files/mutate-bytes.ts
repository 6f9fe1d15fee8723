import type { Rng } from '@heddle/core';

/** A file with damage that knows nothing of its format; says what was done. */
export function mutateBytes(rng: Rng, bytes: Uint8Array): readonly [Uint8Array, string] {
  const at = bytes.length === 0 ? 0 : rng.below(bytes.length);
  switch (rng.below(8)) {
    case 0:
      return [bytes.slice(0, at), `cut at ${at} of ${bytes.length}`];
    case 1: {
      const more = 1 << rng.below(12);
      const longer = new Uint8Array(bytes.length + more);
      longer.set(bytes);
      return [longer, `${more} zeros behind the end`];
    }
    case 2: {
      const count = Math.min(bytes.length - at, 1 + rng.below(64));
      return [withoutRange(bytes, at, count), `${count} bytes missing at ${at}`];
    }
    case 3: {
      const out = bytes.slice();
      out.fill(rng.pick([0x00, 0xff, 0x20, 0x7b]), at, at + 1 + rng.below(64));
      return [out, `a run of one byte at ${at}`];
    }
    case 4: {
      const out = bytes.slice();
      out.copyWithin(at, bytes.length === 0 ? 0 : rng.below(bytes.length));
      return [out, `a piece copied to ${at}`];
    }
    default:
      return flipBits(rng, bytes, 0, bytes.length);
  }
}

/** Flips 1 to 8 bits in [begin, end). */
export function flipBits(
  rng: Rng,
  bytes: Uint8Array,
  begin: number,
  end: number,
): readonly [Uint8Array, string] {
  const out = bytes.slice();
  const places: number[] = [];
  for (let n = 1 + rng.below(8); n > 0 && end > begin; n--) {
    const at = begin + rng.below(end - begin);
    out[at] = (out[at] as number) ^ (1 << rng.below(8));
    places.push(at);
  }
  return [out, `bits flipped at ${places.join(', ')}`];
}

function withoutRange(bytes: Uint8Array, at: number, count: number): Uint8Array {
  const out = new Uint8Array(bytes.length - count);
  out.set(bytes.subarray(0, at));
  out.set(bytes.subarray(at + count), at);
  return out;
}
