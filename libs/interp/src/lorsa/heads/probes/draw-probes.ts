import { invalidArgument, Rng } from '@heddle/core';
import { ioiProbe, ioiTexts } from './ioi.ts';
import { listsProbe, listTexts } from './lists.ts';
import type { NotApplicable, Probe, ProbeVocabulary } from './probe.ts';
import { randomTextProbes } from './random-text.ts';
import { copySuppressionProbe, repeatsProbe } from './repeats.ts';
import { splitWordsProbe, splitWordTexts } from './split-words.ts';
import { sumsProbe, sumTexts } from './sums.ts';
import { topicsProbe, topicTexts } from './topics.ts';

/** Fewer different ids than this make no random text. */
const POOL_MIN = 64;

/** Every text that `drawProbes` of this seed asks to be encoded, each once. */
export function probeTexts(seed: number): string[] {
  const texts = [splitWordTexts(), listTexts(), ioiTexts(seed), sumTexts(), topicTexts()];
  return [...new Set(texts.flat())];
}

/**
 * *The probe of every detector*, or why this model cannot have it. The same seed and vocabulary give the same prompts; each probe draws
 * from a generator of its own, so that one that does not apply moves no other. Errors: `invalid_argument` for a pool that is too small.
 */
export function drawProbes(seed: number, vocabulary: ProbeVocabulary): (Probe | NotApplicable)[] {
  if (new Set(vocabulary.pool).size < POOL_MIN) {
    throw invalidArgument(`random text needs ${POOL_MIN} different tokens`, {
      field: 'data',
      details: { limit: POOL_MIN },
    });
  }
  const rng = (probe: number) => new Rng(seed * 16 + probe);
  const repeats = repeatsProbe(rng(1), vocabulary);
  return [
    ...randomTextProbes(rng(0), vocabulary),
    repeats,
    splitWordsProbe(rng(2), vocabulary),
    ioiProbe(seed, vocabulary),
    copySuppressionProbe(repeats),
    listsProbe(rng(3), vocabulary),
    sumsProbe(rng(4), vocabulary),
    topicsProbe(rng(5), vocabulary),
  ];
}
