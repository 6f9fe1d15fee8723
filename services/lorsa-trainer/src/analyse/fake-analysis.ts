import type { AnalysisFacts, FindingsSizes, HeadFindings } from './analysis-file.ts';

/** For tests: findings about four heads, two of them alike in frequency. */
export const FACTS: AnalysisFacts = {
  checkpoint: 'run-1',
  checkpoint_digest: 'sha256:c',
  model: '',
  layer: 2,
  hook_in: 'blocks.2.ln1.hook_normalized',
  heads: 4,
  qk_heads: 2,
  host_heads: 3,
  detectors: [
    { detector: 'induction', threshold: 0.5 },
    { detector: 'sink', threshold: 0.9 },
  ],
  auroc: { lorsa: 0.8, baseline: null, shuffled: 0.5 },
};

export const SIZES: FindingsSizes = { roleTokens: 3, samples: 2 };

export const TEXT = {
  sequences: new Map([
    [0, [1, 2, 3]],
    [1, [4, 5]],
    [2, [6, 7, 8, 9]],
  ]),
  tokens: new Map(Array.from({ length: 60 }, (_, id) => [id, ` t${id}`] as const)),
};

export const finding = (head: number, changes: Partial<HeadFindings> = {}): HeadFindings => ({
  frequency: [0.1, 0.3, 0.1, 0][head] ?? 0,
  activationMax: head + 0.5,
  scores: [
    { score: head / 4, evidence: `head ${head} induces` },
    { score: Number.NaN, evidence: '' },
  ],
  roles: {
    fires_on: [{ token: 10 + head, weight: 0.5 }],
    reads_from: [
      { token: 20 + head, weight: 0.25 },
      { token: 50, weight: 0.1 },
    ],
    raises: [{ token: 30 + head, weight: 2 }],
    lowers: [],
  },
  hostShares: Float32Array.of(0.5, 0.25, 0.25),
  participationRatio: 2.5,
  rule: {
    text: `fires on ␣t${10 + head}`,
    auroc: head === 3 ? Number.NaN : 0.75,
    shuffled: 0.5,
    baseline: head === 1 ? 0.625 : Number.NaN,
    firesOn: [{ token: 10 + head, weight: 0.5 }],
    readsFrom: [],
  },
  samples: head === 3 ? [] : [{ activation: 1.5, sequence: 2, position: 1, quantile: 1 }],
  ...changes,
});
