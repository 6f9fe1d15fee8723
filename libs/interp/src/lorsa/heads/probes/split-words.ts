import type { Rng } from '@heddle/core';
import { SPLIT_WORDS } from '../../../tasks/index.ts';
import type { NotApplicable, Probe, ProbeSequence, ProbeVocabulary } from './probe.ts';
import { randomIds } from './random-text.ts';

const SEQUENCES = 144;
const WORDS_MIN = 8;
const JUNK = { least: 6, most: 14 };

export const splitWordTexts = (): string[] => SPLIT_WORDS.flatMap((word) => [` ${word}`, word]);

/**
 * A word, other tokens, and the word again in other pieces: ` Marion` … `M` `arion`. At a piece that is not its last, subtoken
 * induction reads the earlier occurrence and raises the next piece.
 */
export function splitWordsProbe(rng: Rng, vocabulary: ProbeVocabulary): Probe | NotApplicable {
  const { encode, pool, prefix, n_ctx } = vocabulary;
  const words = SPLIT_WORDS.flatMap((word) => {
    const [first, again] = [encode(` ${word}`), encode(word)];
    const differ = again.length >= 2 && first[0] !== again[0] && !first.includes(again[1]);
    return differ && first.length <= 3 && again.length <= 6 ? [{ first, again }] : [];
  });
  const longest = prefix.length + 2 * JUNK.most + 9;
  if (words.length < WORDS_MIN || n_ctx < longest) {
    const reason =
      words.length < WORDS_MIN
        ? `this tokenizer cuts only ${words.length} of ${SPLIT_WORDS.length} words in two ways; ${WORDS_MIN} are needed`
        : `a context of ${n_ctx} is shorter than the probe's ${longest}`;
    return { detector: 'subtoken_induction', notApplicable: reason };
  }
  const sequences = Array.from({ length: SEQUENCES }, (_, i): ProbeSequence => {
    const { first, again } = words[i % words.length];
    const span = () => JUNK.least + rng.below(JUNK.most - JUNK.least + 1);
    const before = span();
    const fresh = randomIds(rng, pool, before + span());
    const head = [...prefix, ...fresh.slice(0, before)];
    const sources = first.map((_, at) => head.length + at);
    const tokens = [...head, ...first, ...fresh.slice(before), ...again];
    const start = tokens.length - again.length;
    const targets = again.slice(1).map((raises, at) => ({ position: start + at, sources, raises }));
    return { tokens, prefix: prefix.length, targets };
  });
  return { detector: 'subtoken_induction', text: 'split words', sequences };
}
