import { assert } from '@heddle/core';
import type { Axis } from './axes.ts';
import { showShape } from './tensor.ts';

type Words<S extends string> = S extends `${infer Head} ${infer Tail}` ? Head | Words<Tail> : S;

/** `'query_pos d_head'` when every word is an axis (or a number), else a type that names the misspelt word. */
type Spec<S extends string> =
  Exclude<Words<S>, Axis | `${number}`> extends never
    ? S
    : { readonly 'not an axis': Exclude<Words<S>, Axis | `${number}`> };

interface Shaped {
  readonly shape: readonly number[];
}

/**
 * Checks every shape against its axes, and that an axis has one size everywhere; returns the sizes by name.
 * `bindAxes({ q: [q, 'query_pos d_head'], k: [k, 'key_pos d_head'] })` fails by name: "k: d_head is 3, but 2 in q".
 */
export function bindAxes<const T extends Record<string, string>>(
  tensors: { readonly [K in keyof T]: readonly [Shaped, T[K] & Spec<T[K]>] },
): { readonly [A in Extract<Words<T[keyof T]>, Axis>]: number } {
  const sizes = new Map<string, { size: number; from: string }>();
  for (const [name, [{ shape }, spec]] of Object.entries(
    tensors as Record<string, readonly [Shaped, string]>,
  )) {
    const axes = spec.split(' ');
    assert(
      axes.length === shape.length,
      () => `${name}: ${showShape(shape)} has ${shape.length} axes, not ${showShape(axes)}`,
    );
    axes.forEach((axis, i) => {
      const size = shape[i] as number;
      if (/^\d+$/.test(axis)) {
        assert(size === Number(axis), () => `${name}: axis ${i} is ${size}, not ${axis}`);
        return;
      }
      const known = sizes.get(axis);
      if (known === undefined) sizes.set(axis, { size, from: name });
      else {
        assert(
          known.size === size,
          () => `${name}: ${axis} is ${size}, but ${known.size} in ${known.from}`,
        );
      }
    });
  }
  return Object.fromEntries([...sizes].map(([axis, { size }]) => [axis, size])) as never;
}
