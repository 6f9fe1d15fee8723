import { type HeadRule, learnRule, scoreRules } from '@heddle/interp/lorsa/heads';
import { RULE_WORK } from './limits.ts';
import type { TextPass } from './text-pass.ts';

/** The rules of all heads, and how well each says where its head is active; NaN where it is on too few tokens. */
export interface ScoredRules {
  readonly rules: readonly HeadRule[];
  readonly auroc: Float64Array;
  /** The same heads, each with the card of another. */
  readonly shuffled: Float64Array;
}

/** Look-ups per token that scoring a rule takes, its own and another head's. */
const LOOK_UPS = 24;

/**
 * Rules learned from one half of the documents and scored on the other, some heads at a time so that messages are heard
 * in between; cards are dealt within such a group.
 */
export async function scoredRules(
  { learn, held }: TextPass,
  seed: number,
  pulse: () => Promise<void>,
): Promise<ScoredRules> {
  const { heads } = learn;
  const rules: HeadRule[] = [];
  const auroc = new Float64Array(heads).fill(Number.NaN);
  const shuffled = new Float64Array(heads).fill(Number.NaN);
  const size = Math.max(2, Math.floor(RULE_WORK / (LOOK_UPS * Math.max(1, held.tokens))));
  for (let from = 0; from < heads; from += size) {
    const group = Array.from({ length: Math.min(size, heads - from) }, (_, at) => from + at);
    for (const head of group) rules.push(learnRule(learn, head));
    const scores = scoreRules(held, (head) => rules[head] as HeadRule, { seed, heads: group });
    for (const head of group) {
      auroc[head] = scores.auroc[head] ?? Number.NaN;
      shuffled[head] = scores.shuffled[head] ?? Number.NaN;
    }
    await pulse();
  }
  return { rules, auroc, shuffled };
}

/** Mean of what was measured; null where nothing was. */
export function meanOf(areas: Float64Array): number | null {
  const measured = areas.filter((area) => Number.isFinite(area));
  if (measured.length === 0) return null;
  return measured.reduce((sum, area) => sum + area, 0) / measured.length;
}
