import type { Rng } from '@heddle/core';

type Message = Record<string, unknown>;

const NUMBERS = [
  0,
  1,
  2,
  7,
  31,
  49,
  50,
  128,
  1e6,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 53,
  -1,
  0.5,
  1e-40,
  1e38,
  3e38,
  Number.NaN,
  Infinity,
  -Infinity,
];

const STRINGS = [
  '',
  ' ',
  '*',
  '*'.repeat(256),
  '*a'.repeat(128),
  'a'.repeat(257),
  'x'.repeat(100_000),
  'blocks.*.hook_resid_pre',
  'blocks.99999999999999999999.hook_z',
  'blocks.0.attn.hook_rot_q',
  'blocks.-1.hook_resid_pre',
  'blocks.1.hook_resid_post',
  'blocks.[0-9',
  'blocks.[].attn.hook_z',
  'blocks.[!0].attn.hook_z',
  '?'.repeat(40),
  'hook_nothing',
  'logits',
  '__proto__',
  'constructor',
  '\u0000',
  '../../../../etc',
  '/etc/passwd',
  '/dev/zero',
  'hf:someone/something',
  'gpt2',
  'qwen3',
  'ELEMENT_TYPE_I64',
  'NaN',
  '💥'.repeat(50),
];

interface Place {
  readonly holder: Record<string | number, unknown>;
  readonly key: string | number;
  readonly path: string;
}

/** Changes one to three places of a plain request object, in place, and says which. */
export function mutateMessage(rng: Rng, message: Message): string {
  const done: string[] = [];
  for (let n = 1 + rng.below(3); n > 0; n--) {
    const places = placesOf(message, '');
    if (places.length === 0) break;
    const place = rng.pick(places);
    place.holder[place.key] = mutated(rng, place.holder[place.key]);
    done.push(`${place.path} is ${shown(place.holder[place.key])}`);
  }
  return done.join('; ');
}

function placesOf(value: object, path: string): Place[] {
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    const name = path === '' ? key : `${path}.${key}`;
    const holder = value as Record<string, unknown>;
    const own: Place = { holder, key, path: name };
    const nested = typeof inner === 'object' && inner !== null && !ArrayBuffer.isView(inner);
    // Long lists have one place of their own and those of their first items.
    return nested ? [own, ...placesOf(inner, name).slice(0, 24)] : [own];
  });
}

function mutated(rng: Rng, value: unknown): unknown {
  if (typeof value === 'number') return rng.pick(NUMBERS);
  if (typeof value === 'string') return rng.pick(STRINGS);
  if (typeof value === 'boolean') return !value;
  if (value instanceof Uint8Array) return mutatedBytes(rng, value);
  if (Array.isArray(value)) return mutatedList(rng, value);
  return rng.below(2) === 0 ? null : {};
}

/** Mostly fp32 numbers: specials, and lengths that do not fit their shape. */
function mutatedBytes(rng: Rng, bytes: Uint8Array): Uint8Array {
  if (rng.below(3) === 0) return bytes.slice(0, rng.below(bytes.length + 1));
  if (rng.below(4) === 0) return new Uint8Array(1 << rng.below(20));
  const floats = new Float32Array(Math.max(1, bytes.length >> 2));
  return new Uint8Array(floats.fill(rng.pick([...NUMBERS])).buffer);
}

function mutatedList(rng: Rng, list: readonly unknown[]): unknown[] {
  const item = list.length === 0 ? rng.pick<unknown>([0, 3, 'logits', {}]) : rng.pick(list);
  switch (rng.below(5)) {
    case 0:
      return [];
    case 1:
      return list.toReversed();
    case 2:
      return [...list, item];
    case 3:
      return new Array<unknown>(1 << rng.below(13)).fill(item);
    default:
      return [...list, typeof item === 'number' ? rng.pick(NUMBERS) : item];
  }
}

function shown(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}… (${text.length})` : text;
}
