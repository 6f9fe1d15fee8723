import { bucketRange, DISTANCE_BUCKETS } from './distance-buckets.ts';
import type { HeadStatistics } from './head-statistics.ts';
import { RULE_PRIOR_TOKENS, RULE_TOKENS } from './limits.ts';

/** A token in a rule: how much likelier the head is, on a log scale (nats), where it stands. */
export interface RuleToken {
  readonly token: number;
  readonly logRatio: number;
  /** Share of the head's activity, resp. of what it reads; what a card shows. */
  readonly weight: number;
}

/**
 * *A card's rule*: "fires on these tokens, reads from those, so far back". Computable from tokens alone, without the head and without a language model.
 * At most 32 tokens a side: what a person would read.
 */
export interface HeadRule {
  readonly fires: readonly RuleToken[];
  /** log ratio of every token that is not listed. */
  readonly firesElse: number;
  readonly reads: readonly RuleToken[];
  readonly readsElse: number;
  /** Share of what it reads by distance bucket; all 0: the rule says nothing about sources. */
  readonly distances: Float64Array;
}

/**
 * *Reads the rule off one half of the text.*
 *
 *   fires(u) = log P(active | u here) / P(active)        from (active on u + 5 f) / (u's occurrences + 5), f the head's frequency
 *   reads(u) = log P(u | source of the head) / P(u)      from its share of what the head reads, with 5 tokens' worth of P(u)
 *
 * Tokens that are not listed share what is left. The listed ones are those that carry the most activity, so that common words of a head are in and
 * a word seen once is not.
 */
export function learnRule(statistics: HeadStatistics, head: number): HeadRule {
  return { ...learnFires(statistics, head), ...learnReads(statistics, head) };
}

function learnFires(
  statistics: HeadStatistics,
  head: number,
): Pick<HeadRule, 'fires' | 'firesElse'> {
  const base = Math.max(statistics.frequency(head), 1 / (statistics.tokens + 1));
  const ratio = (active: number, occurrences: number) =>
    Math.log((active + RULE_PRIOR_TOKENS * base) / (occurrences + RULE_PRIOR_TOKENS) / base);
  let restActive = statistics.count(head);
  let restTokens = statistics.tokens;
  const fires = statistics.firesOn(head, RULE_TOKENS).map(({ token, count, weight }) => {
    const { valid } = statistics.occurrences.get(token) ?? { valid: 0 };
    restActive -= count;
    restTokens -= valid;
    return { token, weight, logRatio: ratio(count, valid) };
  });
  return { fires, firesElse: ratio(Math.max(0, restActive), Math.max(0, restTokens)) };
}

function learnReads(
  statistics: HeadStatistics,
  head: number,
): Pick<HeadRule, 'reads' | 'readsElse' | 'distances'> {
  const distances = statistics.distances(head);
  const rows = distances.some((share) => share > 0) ? statistics.count(head) : 0;
  let all = 0;
  for (const occurrences of statistics.occurrences.values()) all += occurrences.all;
  const ratio = (share: number, background: number) =>
    Math.log(
      (share * rows + RULE_PRIOR_TOKENS * background) / (rows + RULE_PRIOR_TOKENS) / background,
    );
  if (rows === 0) return { reads: [], readsElse: 0, distances };
  let [restShare, restBackground] = [1, 1];
  const reads = statistics.readsFrom(head, RULE_TOKENS).map(({ token, weight }) => {
    const background = Math.max(1, statistics.occurrences.get(token)?.all ?? 0) / all;
    restShare -= weight;
    restBackground -= background;
    return { token, weight, logRatio: ratio(weight, background) };
  });
  const left = Math.max(restBackground, 1 / all);
  return { reads, readsElse: ratio(Math.max(0, restShare), left), distances };
}

/** Distances with less of what a head reads are left out of its rule. */
const DISTANCE_SHARE_MIN = 0.01;

/**
 * *What a rule says about every position of a text*, as a likelihood ratio:
 *
 *   score(t) = exp fires(u_t) · Σ_b D_b mean_{s in bucket b behind t} exp reads(u_s)
 *
 * D the rule's distances over the buckets that exist at t, normalised: how much likelier the head is active here than anywhere when its source
 * is drawn by D and tokens are what the rule knows. Running sums make a bucket two look-ups: cost pos · 12.
 *
 *   tokens  [pos], places in `fires` and `reads`     fires, reads  ratio of every word of the text's vocabulary     into  [pos]
 */
export function scoreSequence(
  { distances }: HeadRule,
  of: { readonly tokens: Int32Array; readonly fires: Float64Array; readonly reads: Float64Array },
  into: Float64Array,
): void {
  const { tokens, fires, reads } = of;
  const buckets = Array.from({ length: DISTANCE_BUCKETS }, (_, b) => ({
    share: distances[b],
    ...bucketRange(b),
  })).filter(({ share }) => share >= DISTANCE_SHARE_MIN);
  const sums = new Float64Array(tokens.length + 1);
  for (let s = 0; s < tokens.length; s++) sums[s + 1] = sums[s] + reads[tokens[s]];
  for (let t = 0; t < tokens.length; t++) {
    let weight = 0;
    let lift = 0;
    for (const { share, near, far } of buckets) {
      if (near > t) break;
      const from = Math.max(0, t - far);
      const to = t - near + 1;
      weight += share;
      lift += (share * (sums[to] - sums[from])) / (to - from);
    }
    into[t] = fires[tokens[t]] * (weight > 0 ? lift / weight : 1);
  }
}

/** The ratios of a rule for the words of a text's vocabulary. */
export function ruleRatios(rule: HeadRule, places: ReadonlyMap<number, number>) {
  const table = (listed: readonly RuleToken[], other: number) => {
    const out = new Float64Array(places.size).fill(Math.exp(other));
    for (const { token, logRatio } of listed) {
      const place = places.get(token);
      if (place !== undefined) out[place] = Math.exp(logRatio);
    }
    return out;
  };
  return { fires: table(rule.fires, rule.firesElse), reads: table(rule.reads, rule.readsElse) };
}

/** The rule in one sentence; `show` gives a token as a person reads it. */
export function ruleText(rule: HeadRule, show: (token: number) => string, limit = 6): string {
  const list = (tokens: readonly RuleToken[]) =>
    tokens
      .filter(({ logRatio }) => logRatio > 0)
      .slice(0, limit)
      .map(({ token }) => show(token))
      .join(' ');
  const fires = list(rule.fires);
  const reads = list(rule.reads);
  const where = farness(rule.distances);
  const first = fires === '' ? 'fires on no token in particular' : `fires on ${fires}`;
  if (where === '') return first;
  return `${first}, reads ${reads === '' ? 'no token in particular' : `from ${reads}`} ${where}`;
}

/** Where most of what it reads stands. */
function farness(distances: Float64Array): string {
  const best = distances.indexOf(distances.reduce((a, b) => Math.max(a, b), 0));
  if (distances[best] === 0) return '';
  const { near, far } = bucketRange(best);
  const share = `(${Math.round(100 * distances[best])} %)`;
  if (near === 0) return `at its own place ${share}`;
  if (near === 1) return `one back ${share}`;
  if (near === far) return `${near} back ${share}`;
  return Number.isFinite(far)
    ? `${near} to ${far} back ${share}`
    : `${near} and more back ${share}`;
}
