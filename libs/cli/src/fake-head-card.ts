import type { Init } from '@heddle/ports';
import type { DescribeHeadResponse } from '@heddle/ports/proto/lorsa';

/** For tests of the command line: an induction head's card, with a short sample and a long one. */
const LONG = Array.from({ length: 120 }, (_, at) => (at === 0 ? '<|endoftext|>' : ` w${at}`));

const pattern = (length: number, entries: Readonly<Record<number, number>>) =>
  Array.from({ length }, (_, at) => entries[at] ?? 0);

export const HEAD_CARD = {
  summary: {
    checkpoint: 'run-1',
    analysis: 'job-2',
    layer: 2,
    head: 7,
    qk_head: 1,
    frequency: 0.012345,
    activation_max: 4.2123456,
    scores: [
      { detector: 'sink', score: 0.04, threshold: 0.9, evidence: 'mean A(t, 0) is 0.04' },
      {
        detector: 'induction',
        score: 0.93123,
        threshold: 0.5,
        evidence: '93 % of |zp| on the token after the first copy, over 32 repeats of 24 tokens',
      },
    ],
    fires_on: [
      { id: 3, text: ' Mary', weight: 0.61 },
      { id: 4, text: '\n', weight: 0.2 },
    ],
    reads_from: [{ id: 5, text: ' John', weight: 0.4 }],
    raises: [
      { id: 5, text: ' John', weight: 2.1234567 },
      { id: 6, text: '', weight: 0.5 },
    ],
    lowers: [{ id: 7, text: ' the', weight: -1.5 }],
    original_heads: [
      { head: 1, share: 0.7 },
      { head: 0, share: 0.3 },
    ],
    participation_ratio: 1.7241379,
    rule_auroc: 0.914,
  },
  samples: [
    {
      token_ids: [1, 2, 3, 4, 5],
      tokens: [' Mary', ' saw', ' John', '\n', ' Mary'],
      position: 4,
      activation: 4.2123456,
      quantile: 0.98,
      z_pattern: [0.2107, -0.6319, 4.6336, 0, 0],
      pattern: [0.25, 0.05, 0.7, 0, 0],
    },
    {
      token_ids: LONG.map((_, at) => at),
      tokens: LONG,
      position: 100,
      activation: 0.5,
      quantile: 0.31,
      z_pattern: pattern(101, { 40: 0.45, 99: 0.05 }),
      pattern: pattern(101, { 0: 0.8, 40: 0.15 }),
    },
  ],
  rule: {
    text: 'fires on ␣Mary or ⏎ and reads from ␣John',
    fires_on: [{ id: 3, text: ' Mary', weight: 0.61 }],
    reads_from: [{ id: 5, text: ' John', weight: 0.4 }],
    auroc: 0.914,
    auroc_baseline: 0.8,
    auroc_shuffled: 0.51,
  },
  auroc_lorsa: 0.83,
  auroc_baseline: 0.79,
  auroc_shuffled: 0.5,
} as const satisfies Init<DescribeHeadResponse>;
