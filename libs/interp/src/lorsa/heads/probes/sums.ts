import type { Rng } from '@heddle/core';
import type { NotApplicable, Probe, ProbeSequence, ProbeVocabulary } from './probe.ts';

/** Operands 0 to 99; every fourth cell of the 100 × 100, drawn by lot. */
export const OPERANDS = 100;
const CELLS = 2500;

const FORMS = [
  { number: (n: number) => `${n}`, plus: '+', equals: '=' },
  { number: (n: number) => ` ${n}`, plus: ' +', equals: ' =' },
] as const;

const numbers = Array.from({ length: OPERANDS }, (_, n) => n);

export const sumTexts = (): string[] =>
  FORMS.flatMap(({ number, plus, equals }) => [...numbers.map(number), plus, equals]);

/** `a+b=`, operands of one token each: the last token's activations are the heat map z(a, b). */
export function sumsProbe(rng: Rng, vocabulary: ProbeVocabulary): Probe | NotApplicable {
  const { encode, prefix } = vocabulary;
  const form = FORMS.find(({ number }) => numbers.every((n) => encode(number(n)).length === 1));
  if (!form) {
    const notApplicable = 'this tokenizer has not every number from 0 to 99 as one token';
    return { detector: 'arithmetic', notApplicable };
  }
  const cells = rng
    .shuffle(Array.from({ length: OPERANDS ** 2 }, (_, cell) => cell))
    .slice(0, CELLS);
  const sequences = cells.map((cell): ProbeSequence => {
    const [a, b] = [Math.floor(cell / OPERANDS), cell % OPERANDS];
    const sum = [form.number(a), form.plus, form.number(b), form.equals].flatMap(encode);
    const tokens = [...prefix, ...sum];
    const targets = [{ position: tokens.length - 1, sources: [] }];
    return { tokens, prefix: prefix.length, targets, operands: [a, b] };
  });
  return { detector: 'arithmetic', text: 'sums', sequences };
}
