import { Rng } from '@heddle/core';
import { auroc, type MeanInterval, meanInterval } from './auroc.ts';
import type { HeadRule } from './head-rule.ts';
import type { HeldOutText } from './held-out-text.ts';
import { AUROC_ACTIVE_MIN } from './limits.ts';

export interface RuleScores {
  /** AUROC of each head's rule as a predictor of its activity; NaN where it was active on fewer than 5 tokens. */
  readonly auroc: Float64Array;
  /** The same heads, each with another head's card. */
  readonly shuffled: Float64Array;
  readonly mean: MeanInterval;
  readonly shuffledMean: MeanInterval;
}

/**
 * *How well cards say where heads fire*, on text that no rule was read off. `heads` restricts it (SAEs and layers are compared on equally many);
 * cards are dealt anew among those, so that no head gets its own. Cost: heads · tokens · 12, twice.
 */
export function scoreRules(
  text: HeldOutText,
  rule: (head: number) => HeadRule,
  options: { readonly seed: number; readonly heads?: readonly number[] },
): RuleScores {
  const chosen = options.heads ?? Array.from({ length: text.heads }, (_, head) => head);
  const scored = chosen.filter((head) => text.activeOn(head).length >= AUROC_ACTIVE_MIN);
  const areas = new Float64Array(text.heads).fill(Number.NaN);
  const shuffled = new Float64Array(text.heads).fill(Number.NaN);
  const other = derangement(scored, new Rng(options.seed));
  scored.forEach((head, i) => {
    areas[head] = auroc(text.scores(rule(head)), text.activeOn(head));
    if (scored.length > 1) shuffled[head] = auroc(text.scores(rule(other[i])), text.activeOn(head));
  });
  return {
    auroc: areas,
    shuffled,
    mean: meanInterval(areas),
    shuffledMean: meanInterval(shuffled),
  };
}

/** A random cycle through all: every item goes to another one. */
function derangement(items: readonly number[], rng: Rng): number[] {
  const order = rng.shuffle(items);
  const next = new Map(order.map((item, i) => [item, order[(i + 1) % order.length]]));
  return items.map((item) => next.get(item) as number);
}

/** Which half of the text a document is in: rules are read off one and scored on the other, and no document is in both. */
export function ruleHalf(document: Uint8Array): 'learn' | 'score' {
  // Documents are named by digests, so that their last bit is a fair coin that every worker throws alike.
  return (document[document.length - 1] & 1) === 0 ? 'learn' : 'score';
}
