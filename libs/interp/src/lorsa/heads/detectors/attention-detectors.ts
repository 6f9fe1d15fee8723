import { type Detector, shareAt } from './detector.ts';
import { percent, seen, shrunk } from './evidence.ts';

/**
 * *Previous token*: on random text the mean share of Σ|zp| at s = t − 1 (methods 1.12), weighted by |z|, times rows / (rows + 4).
 */
export const previousToken: Detector = {
  name: 'previous_token',
  threshold: 0.5,
  what: 'reads the token before, on random text',
  evidence: ({ row, target }) => ({ value: shareAt(row, target.sources, target.position) }),
  score: (sums) => shrunk(sums, sums.value),
  words: (sums) => `${percent(sums.value)} of its z-pattern is on the token before; ${seen(sums)}`,
};

/**
 * *Sink*: on random text the mean of A(t, 0), weighted by |z|, times rows / (rows + 4); called so above 0.9 (methods 1.12). What it writes
 * may be a constant: the evidence says how much z varies.
 */
export const sink: Detector = {
  name: 'sink',
  threshold: 0.9,
  what: 'attends to the first position, on random text',
  evidence: ({ row, target }) => ({ value: row.pattern[target.sources[0]] }),
  score: (sums) => shrunk(sums, sums.value),
  words: (sums) => {
    const varies = sums.mean === 0 ? 0 : sums.deviation / Math.abs(sums.mean);
    const constant = varies < 0.1 ? ', as good as a constant' : '';
    return `${percent(sums.value)} of its attention is on the first position; z varies by ${percent(varies)}${constant}; ${seen(sums)}`;
  },
};
