import type { Rng } from '@heddle/core';
import type { NotApplicable, Probe, ProbeSequence, ProbeVocabulary } from './probe.ts';
import { randomIds } from './random-text.ts';

/** Several periods and starts, so that a head with a fixed distance or place cannot pass for induction. */
const PERIODS = [11, 13, 17, 19, 23];
/** About 3,000 places to be active at: a head that is active at one of a hundred is still seen thirty times. */
const SEQUENCES = 192;
const JUNK_MAX = 8;

/**
 * Random ids, then the same again. At t of the second copy induction reads s = t − (period − 1), the token after the earlier
 * occurrence of this one, and raises it.
 */
export function repeatsProbe(rng: Rng, vocabulary: ProbeVocabulary): Probe | NotApplicable {
  const { pool, prefix, n_ctx } = vocabulary;
  const periods = PERIODS.filter((period) => prefix.length + JUNK_MAX + 2 * period <= n_ctx);
  if (periods.length < 2) {
    return { detector: 'induction', notApplicable: `a context of ${n_ctx} holds no two copies` };
  }
  const sequences = Array.from({ length: SEQUENCES }, (_, i): ProbeSequence => {
    const period = periods[i % periods.length];
    const fresh = randomIds(rng, pool, period + JUNK_MAX);
    const chain = fresh.slice(0, period);
    const junk = fresh.slice(period, period + rng.below(JUNK_MAX + 1));
    const tokens = [...prefix, ...junk, ...chain, ...chain];
    const second = tokens.length - period;
    const targets = Array.from({ length: period - 1 }, (_, at) => {
      const position = second + at;
      const source = position - (period - 1);
      return { position, sources: [source], raises: tokens[source] };
    });
    return { tokens, prefix: prefix.length, targets };
  });
  return { detector: 'induction', text: 'repeats', sequences };
}

/**
 * On the same text: what a copy-suppression head reads in the second copy it lowers. Tokens come by lot, so that no head reads the same
 * few words all the time; special tokens and the first place carry no label, because a sink lowers them by no choice.
 */
export function copySuppressionProbe(repeats: Probe | NotApplicable): Probe | NotApplicable {
  const detector = 'copy_suppression';
  if ('notApplicable' in repeats) return { detector, notApplicable: repeats.notApplicable };
  const sequences = repeats.sequences.map(({ tokens, prefix, targets }): ProbeSequence => {
    const labels = tokens.map((token, at) => (at < Math.max(1, prefix) ? -1 : token));
    return {
      tokens,
      prefix,
      labels,
      targets: targets.map(({ position }) => ({ position, sources: [] })),
    };
  });
  return { detector, text: repeats.text, sequences };
}
