import type { Rng } from '@heddle/core';
import type { Probe, ProbeSequence, ProbeVocabulary } from './probe.ts';

/** Sequences and tokens of random text; before the fifth token almost any source is "the token before". */
const SEQUENCES = 24;
const LENGTH = 64;
const FIRST_TARGET = 4;

/** Random ids without repetition as far as the pool goes: nothing in it can be foretold. */
export function randomIds(rng: Rng, pool: readonly number[], count: number): number[] {
  const distinct = new Set<number>();
  while (distinct.size < Math.min(count, pool.length / 2)) distinct.add(rng.pick(pool));
  const out = [...distinct];
  while (out.length < count) out.push(rng.pick(pool));
  return out;
}

/** Two probes on one text: `previous_token` looks for s = t − 1, `sink` for position 0. */
export function randomTextProbes(rng: Rng, vocabulary: ProbeVocabulary): Probe[] {
  const { pool, prefix, n_ctx } = vocabulary;
  const length = Math.min(LENGTH, n_ctx - prefix.length);
  const texts = Array.from({ length: SEQUENCES }, () => [
    ...prefix,
    ...randomIds(rng, pool, length),
  ]);
  const sequences = (source: (position: number) => number): ProbeSequence[] =>
    texts.map((tokens) => ({
      tokens,
      prefix: prefix.length,
      targets: tokens.flatMap((_, position) =>
        position < prefix.length + FIRST_TARGET ? [] : [{ position, sources: [source(position)] }],
      ),
    }));
  return [
    { detector: 'previous_token', text: 'random', sequences: sequences((t) => t - 1) },
    { detector: 'sink', text: 'random', sequences: sequences(() => 0) },
  ];
}
