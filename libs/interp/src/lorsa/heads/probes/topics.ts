import type { Rng } from '@heddle/core';
import { CATEGORIES } from '../../../tasks/index.ts';
import type { NotApplicable, Probe, ProbeSequence, ProbeVocabulary } from './probe.ts';
import { randomIds } from './random-text.ts';

/** A topic's words stand among others; then so many tokens without them; then a few again, where the head would be active. */
const OPENING = 64;
const GAP = 64;
const ENDING = 8;
const TOPICS_MIN = 3;
const WORDS_MIN = 6;
const SEQUENCES_PER_TOPIC = 5;

export const topicTexts = (): string[] =>
  Object.values(CATEGORIES)
    .flat()
    .map((word) => ` ${word}`);

/** Far tokens of the topic are the sources: all are more than 64 tokens back. */
export function topicsProbe(rng: Rng, vocabulary: ProbeVocabulary): Probe | NotApplicable {
  const { encode, pool, prefix, n_ctx } = vocabulary;
  const topics = Object.values(CATEGORIES)
    .map((words) => words.map((word) => encode(` ${word}`)).filter((ids) => ids.length === 1))
    .map((words) => words.map(([id]) => id))
    .filter((words) => words.length >= WORDS_MIN);
  const longest = prefix.length + OPENING + GAP + ENDING;
  if (topics.length < TOPICS_MIN || n_ctx < longest) {
    const notApplicable =
      topics.length < TOPICS_MIN
        ? `only ${topics.length} topics have ${WORDS_MIN} words of one token; ${TOPICS_MIN} are needed`
        : `a context of ${n_ctx} is too short for sources more than 64 tokens back (${longest} tokens)`;
    return { detector: 'thematic_anchor', notApplicable };
  }
  const others = pool.filter((id) => !topics.some((words) => words.includes(id)));
  if (others.length < GAP) {
    return {
      detector: 'thematic_anchor',
      notApplicable: 'too few ordinary tokens beside the topics',
    };
  }
  const sequences = topics.flatMap((words, topic) =>
    Array.from({ length: SEQUENCES_PER_TOPIC }, (): ProbeSequence => {
      const opening = randomIds(rng, others, OPENING).map((id) =>
        rng.below(2) === 0 ? rng.pick(words) : id,
      );
      const ending = Array.from({ length: ENDING }, (_, i) =>
        i % 2 === 0 ? rng.pick(words) : rng.pick(others),
      );
      const tokens = [...prefix, ...opening, ...randomIds(rng, others, GAP), ...ending];
      const far = opening.flatMap((id, at) => (words.includes(id) ? [prefix.length + at] : []));
      const first = tokens.length - ENDING;
      const targets = ending.map((_, at) => ({ position: first + at, sources: far }));
      return { tokens, prefix: prefix.length, targets, topic };
    }),
  );
  const candidates = topics.flat();
  return { detector: 'thematic_anchor', text: 'topics', sequences, candidates, topics };
}
