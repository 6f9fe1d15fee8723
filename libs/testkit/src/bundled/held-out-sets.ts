import { Rng } from '@heddle/core';
import {
  boxFacts,
  categoryList,
  IOI_PATTERNS,
  type IoiOrder,
  ioiSentence,
  repeatedSequence,
  succession,
  type Text,
} from '@heddle/interp/tasks';
import type { BpeEncoder } from './bpe.ts';
import { type Encoded, encodeText } from './corpus.ts';

/** Prompts that training never held, with their answers. */
export interface HeldOutSet {
  readonly name: string;
  readonly texts: readonly Encoded[];
}

const SEED = 20_000_003;

/** Everything the model card measures accuracy on; `texts` prompts a set. */
export function heldOutSets(encoder: BpeEncoder, texts: number): readonly HeldOutSet[] {
  const rng = new Rng(SEED);
  const set = (name: string, draw: () => Text, count = texts): HeldOutSet => ({
    name,
    texts: Array.from({ length: count }, () => encodeText(encoder, draw())),
  });
  const repeat = (period: number) =>
    set(
      `repeat, period ${period}`,
      () => repeatedSequence(rng, 'held-out', { period, length: 2 * period }),
      // A long text has as many answers as its period.
      Math.ceil((texts * 8) / period),
    );
  const ioi = (order: IoiOrder, patterns?: typeof IOI_PATTERNS) =>
    set(
      `ioi, ${order}, ${patterns ? 'all fifteen patterns' : 'held-out patterns'}`,
      () => ioiSentence(rng, 'held-out', { order, ...(patterns ? { patterns } : {}) }).text,
      texts / 2,
    );
  const box = (facts: number) =>
    set(`box, ${facts} facts`, () =>
      boxFacts(rng, 'held-out', {
        factForm: 'sentence',
        questionForm: 'sentence',
        facts,
        questions: 1,
      }),
    );
  return [
    ...[8, 16, 32, 64, 120].map(repeat),
    ioi('ABBA'),
    ioi('BABA'),
    ioi('ABBA', IOI_PATTERNS),
    ioi('BABA', IOI_PATTERNS),
    set('succession', () => succession(rng, 'held-out')),
    set('list, at most 6 items', () => categoryList(rng, 'held-out', 6)),
    set('list, at most 8 items', () => categoryList(rng, 'held-out', 8)),
    ...[2, 3, 4, 6].map(box),
  ];
}

export interface IoiPrompt {
  readonly ids: readonly number[];
  /** Place of the indirect object in the prompt. */
  readonly ioPos: number;
  readonly ioToken: number;
  readonly sToken: number;
}

/** Held-out IOI prompts without their answer, both orders in turn: what heads are measured on. */
export function ioiPrompts(encoder: BpeEncoder, count: number): readonly IoiPrompt[] {
  const rng = new Rng(SEED + 1);
  return Array.from({ length: count }, (_, i) => {
    const sentence = ioiSentence(rng, 'held-out', { order: i % 2 === 0 ? 'ABBA' : 'BABA' });
    const ids = encoder.encode(sentence.prompt);
    const [ioToken] = encoder.encode(` ${sentence.io}`) as [number];
    const [sToken] = encoder.encode(` ${sentence.s}`) as [number];
    return { ids, ioPos: ids.indexOf(ioToken), ioToken, sToken };
  });
}
