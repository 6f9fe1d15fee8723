import { type Detector, shareAt } from './detector.ts';
import { credit, percent, seen, shrunk } from './evidence.ts';

/**
 * *Successor*: on ordinal lists Σ |zp_s| · [the item that w_o raises most of all lists' items is the successor of the item at s] /
 * Σ |zp_s|: the share of what it reads whose successor it raises (methods 1.12; by weight of the z-pattern, because a rank-one head raises one
 * item and can be right about few). Times rows / (rows + 4).
 */
export const successor: Detector = {
  name: 'successor',
  threshold: 0.5,
  what: 'reads an item of an ordered list and raises the next',
  evidence: ({ row, sequence, target, effects }) => {
    const { labels = [] } = sequence;
    const best = effects.best();
    const sources = labels.flatMap((label, s) =>
      label === best && s <= target.position ? [s] : [],
    );
    return { value: shareAt(row, sources, target.position) };
  },
  score: (sums) => shrunk(sums, sums.value),
  words: (sums) =>
    `${percent(sums.value)} of its z-pattern is on items whose successor is the item that it raises most; ${seen(sums)}`,
};

/**
 * *Thematic anchor*: a topic's words stand more than 64 tokens back; the share of Σ|zp| on them above what even attention would
 * give, (share − n/(t+1)) / (1 − n/(t+1)), times the credit for raising the topic's words among those of all topics (methods 1.12: long
 * range, topic purity, effect spread over the domain), times rows / (rows + 4).
 */
export const thematicAnchor: Detector = {
  name: 'thematic_anchor',
  threshold: 0.4,
  what: 'reads the words of a topic over more than 64 tokens and raises the topic',
  evidence: ({ row, probe, sequence, target, effects }) => {
    const share = shareAt(row, target.sources, target.position);
    const even = target.sources.length / (target.position + 1);
    const value = Math.max(0, (share - even) / (1 - even));
    const words = probe.topics?.[sequence.topic ?? 0] ?? [];
    if (value === 0 || words.length === 0) return { value };
    const boost = words.reduce((sum, word) => sum + effects.percentile(word), 0) / words.length;
    return { value, boost, boostWeight: value };
  },
  score: (sums) => shrunk(sums, sums.value * credit(sums.boost)),
  words: (sums) =>
    `${percent(sums.value)} of its z-pattern, beyond what even attention gives, is on the topic's words more than 64 tokens back, and it raises the topic above ${percent(sums.boost)} of the others; ${seen(sums)}`,
};
