import { PRIOR_ROWS } from '../limits.ts';
import { type Detector, type ProbeRow, type RowEvidence, shareAt } from './detector.ts';
import { credit, percent, seen, shrunk } from './evidence.ts';

/** Share of the z-pattern on the sources, and how high the head lifts the token that follows, weighted by that share. */
function copying({ row, target, effects }: ProbeRow): RowEvidence {
  const value = shareAt(row, target.sources, target.position);
  if (target.raises === undefined || value === 0) return { value };
  return { value, boost: effects.percentile(target.raises), boostWeight: value };
}

/**
 * *Induction*: in the second copy of a repeated random sequence the mean share of Σ|zp| at s = t − (period − 1), the token after
 * the earlier occurrence of this one, times the credit for raising that token (methods 1.12), times rows / (rows + 4).
 */
export const induction: Detector = {
  name: 'induction',
  threshold: 0.4,
  what: 'copies what followed the previous occurrence, on repeated random tokens',
  evidence: copying,
  score: (sums) => shrunk(sums, sums.value * credit(sums.boost)),
  words: (sums) =>
    `${percent(sums.value)} of its z-pattern is on the token after the earlier occurrence, which it raises above ${percent(sums.boost)} of the sequence's tokens; ${seen(sums)}`,
};

/**
 * *Subtoken induction*: a word comes again in other pieces; the mean share of Σ|zp| on its earlier occurrence, times the credit
 * for raising the next piece (methods 1.12), times rows / (rows + 4).
 */
export const subtokenInduction: Detector = {
  name: 'subtoken_induction',
  threshold: 0.4,
  what: 'completes a word seen earlier in other pieces',
  evidence: copying,
  score: (sums) => shrunk(sums, sums.value * credit(sums.boost)),
  words: (sums) =>
    `${percent(sums.value)} of its z-pattern is on the word's earlier occurrence, and it raises the next piece above ${percent(sums.boost)} of the sequence's tokens; ${seen(sums)}`,
};

/**
 * *Name mover*: at the end of an IOI prompt the mean of (share of Σ|zp| on IO) · [w_o · (W_U[IO] − W_U[S]) > 0], weighted by z
 * (methods 1.12), times rows / (rows + 4).
 */
export const nameMover: Detector = {
  name: 'name_mover',
  threshold: 0.5,
  what: 'moves the indirect object to the end, on IOI prompts',
  evidence: ({ row, target, effects }) => {
    const share = shareAt(row, target.sources, target.position);
    const { raises = 0, versus = 0 } = target;
    const right = share > 0 && effects.effect(raises) > effects.effect(versus);
    return { value: right ? share : 0, boost: right ? 1 : 0, boostWeight: share };
  },
  score: (sums) => shrunk(sums, sums.value),
  words: (sums) =>
    `${percent(sums.value)} of its z-pattern at the end is on the indirect object and raises it above the subject (${percent(sums.boost)} of what is on it does); ${seen(sums)}`,
};

/** Sources with less of a row say nothing about what the head reads. */
const SOURCE_SHARE_MIN = 0.05;
/** Lowered below this share of the other tokens: full credit at the bottom, none from here on. */
const LOWERED = 0.25;

/**
 * *Copy suppression*: Σ_s |zp_s| · credit(s) / Σ_s |zp_s| over the row, credit 1 when the token at s is the one that the head lowers most
 * among the sequence's tokens and 0 from the lowest quarter on: a negative w_o · W_U[token at s] that goes with zp (methods
 * 1.12). Chance gives 1/8, but one of eight heads that read a single token lowers it by chance: the mean is taken times
 * variety / (variety + 4), variety being the number of different tokens read (participation ratio).
 */
export const copySuppression: Detector = {
  name: 'copy_suppression',
  threshold: 0.45,
  what: 'lowers the logits of the tokens that it reads',
  evidence: ({ row, sequence, target, effects, z }) => {
    const { zPattern } = row;
    const { labels = [], tokens: ids } = sequence;
    let total = 0;
    for (let s = 0; s <= target.position; s++) total += Math.abs(zPattern[s]);
    let value = 0;
    const tokens: { token: number; weight: number }[] = [];
    for (let s = 0; s <= target.position && total > 0; s++) {
      const share = Math.abs(zPattern[s]) / total;
      if (labels[s] < 0 || share < SOURCE_SHARE_MIN) continue;
      const percentile = effects.percentile(labels[s]);
      // What pulls against the activation writes the other way round.
      const place = zPattern[s] * z > 0 ? percentile : 1 - percentile;
      value += share * Math.max(0, 1 - place / LOWERED);
      tokens.push({ token: ids[s], weight: share });
    }
    return { value, tokens };
  },
  score: ({ value, variety }) => (value * variety) / (variety + PRIOR_ROWS),
  words: (sums) =>
    `what it reads is among what it lowers most, to ${percent(sums.value)} (chance: 13 %), over ${sums.variety.toFixed(1)} different tokens; ${seen(sums)}`,
};
