import { assert, present } from '@heddle/core';
import { dot, rowOf } from '@heddle/linalg';
import { FoldedUnembedding, type HostRun, type ResidualSource } from '../host/index.ts';
import { IG_STEPS, PROBABILITY_SHARE } from './limits.ts';

/** What the trace explains: words, and optionally against what. */
export interface Question {
  readonly targets: readonly number[];
  readonly versus: readonly number[];
  readonly objective: 'probability' | 'logit';
  /** Position whose next token it is. */
  readonly position: number;
}

export interface Seed {
  readonly source: SeedSource;
  readonly weight: number;
}

/** A component at the asked position, with token and position embedding as one. */
export type SeedSource = Omit<ResidualSource, 'kind'> & {
  readonly kind: 'head' | 'mlp' | 'attn_bias' | 'embedding';
};

export interface Seeding {
  readonly seeds: readonly Seed[];
  /**
   * The objective; and what all components bring to it, each computed on its own, with the constant
   * part.
   */
  readonly value: number;
  readonly sum: number;
  readonly termsAbsSum: number;
}

/**
 * Components of the final residual stream at a position, over the final norm's frozen scale:
 * `x = Σ shares`.
 */
function finalShares(run: HostRun, position: number): SeedSource[] {
  const { n_layers } = run.host.shape;
  const scale = run.normScale(n_layers)[position];
  const out: SeedSource[] = [];
  let embedding: Float64Array | null = null;
  for (const source of run.sources(n_layers, position)) {
    const vector = source.vector.map((value) => value / scale);
    const { kind } = source;
    if (kind === 'token_embedding') embedding = vector;
    else if (kind === 'position_embedding') {
      embedding = (embedding as Float64Array).map((value, i) => value + vector[i]);
    } else out.push({ ...source, kind, vector });
  }
  assert(embedding !== null, 'no embedding among the sources');
  const bare = { layer: 0, head: null, source: position };
  return [{ ...bare, kind: 'embedding', vector: embedding }, ...out];
}

/**
 * The objective of a question as a function of logits: a logit difference (to the vocabulary's mean
 * without `versus`), or `Σ q*_t log p_t` with the weights that the clean logits give.
 */
export function objectiveOf(
  { targets, versus, objective }: Question,
  clean: Float64Array,
): (logits: Float64Array) => number {
  if (objective === 'logit') {
    const every = versus.length > 0 ? versus : Array.from(clean.keys());
    return (logits) => meanOf(logits, targets) - meanOf(logits, every);
  }
  const weights = wordWeights(logSoftmax(clean), targets, versus);
  return (logits) => {
    const logs = logSoftmax(logits);
    return weights.reduce((sum, { token, weight }) => sum + weight * logs[token], 0);
  };
}

export function seedsOf(run: HostRun, question: Question): Seeding {
  const unembedding = new FoldedUnembedding(run.host);
  for (const token of [...question.targets, ...question.versus]) unembedding.requireToken(token);
  const shares = finalShares(run, question.position);
  const logits = rowOf(present(run.activations.logits, 'capture of the logits'), question.position);
  return question.objective === 'logit'
    ? logitSeeds(unembedding, shares, logits, question)
    : probabilitySeeds(unembedding, shares, logits, question);
}

/**
 * *Logit seeds*: the contribution of every component to a direction of the unembedding (mean of the
 * targets' words minus the mean of `versus`, or minus the mean of the vocabulary without it).
 * Largest first until more than the whole is explained; a cutoff above half of the whole is lowered
 * to half. None where the whole is not positive: then biases, not components, made the answer.
 * `value` is the captured logit (difference); the constant part is b_U's.
 */
function logitSeeds(
  unembedding: FoldedUnembedding,
  shares: readonly SeedSource[],
  captured: Float64Array,
  question: Question,
): Seeding {
  const { targets, versus } = question;
  const mean = (tokens: readonly number[]) => {
    const out = unembedding.direction(tokens[0]).map(() => 0);
    for (const token of tokens) {
      unembedding.direction(token).forEach((value, i) => {
        out[i] += value / tokens.length;
      });
    }
    return out;
  };
  const against = versus.length > 0 ? mean(versus) : unembedding.meanDirection();
  const direction = mean(targets).map((value, i) => value - against[i]);
  const difference = objectiveOf(question, captured);
  const constant = difference(unembedding.b_U);
  const contributions = shares.map(({ vector }) => dot(vector, direction));
  const total = contributions.reduce((a, b) => a + b, 0);
  return {
    seeds: total > 0 ? largestUntil(shares, contributions, total) : [],
    value: difference(captured),
    sum: total + constant,
    termsAbsSum: contributions.reduce((sum, c) => sum + Math.abs(c), Math.abs(constant)),
  };
}

function largestUntil(
  shares: readonly SeedSource[],
  contributions: readonly number[],
  total: number,
): Seed[] {
  const order = byDescending(contributions);
  let cumulated = 0;
  let cutoff = contributions[order[order.length - 1]];
  for (const i of order) {
    cumulated += contributions[i];
    if (cumulated <= total) continue;
    cutoff = contributions[i];
    break;
  }
  cutoff = Math.min(cutoff, total / 2);
  return order
    .filter((i) => contributions[i] >= cutoff)
    .map((i) => ({ source: shares[i], weight: contributions[i] }));
}

/**
 * *Probability seeds*: `J(z) = Σ_t q*_t log softmax(z)_t` over the targets, q* the clean
 * probabilities renormalised among them (minus the same over `versus`, where given); integrated
 * gradients from b_U to b_U + z in 64 steps over the components' logits; then components are
 * removed, largest first and positive ones only, until J has lost 0.8 of J(z) − J(b_U). The
 * gradient is pulled back through W_U once, since IG is linear in the component. Weights are the
 * integrated gradients.
 */
function probabilitySeeds(
  unembedding: FoldedUnembedding,
  shares: readonly SeedSource[],
  captured: Float64Array,
  question: Question,
): Seeding {
  const { b_U } = unembedding;
  const z = unembedding.logits(sumOf(shares));
  const words = wordWeights(logSoftmax(captured), question.targets, question.versus);
  const totalWeight = question.versus.length > 0 ? 0 : 1;
  const J = objectiveOf(question, captured);
  const biased = (logits: Float64Array) => logits.map((value, t) => value + b_U[t]);
  const gradient = new Float64Array(b_U.length);
  for (let step = 0; step <= IG_STEPS; step++) {
    const share = (step === 0 || step === IG_STEPS ? 0.5 : 1) / IG_STEPS;
    const logs = logSoftmax(z.map((value, t) => (value * step) / IG_STEPS + b_U[t]));
    for (let t = 0; t < gradient.length; t++)
      gradient[t] -= share * totalWeight * Math.exp(logs[t]);
    for (const { token, weight } of words) gradient[token] += share * weight;
  }
  const pulled = unembedding.pullBack(gradient);
  const attributions = shares.map(({ vector }) => dot(vector, pulled));
  const start = J(biased(z));
  const floor = J(b_U);
  const wanted = PROBABILITY_SHARE * (start - floor);
  const seeds: Seed[] = [];
  let left = z;
  for (const i of byDescending(attributions)) {
    if (attributions[i] <= 0 || start - J(biased(left)) >= wanted) break;
    const removed = unembedding.logits(shares[i].vector);
    left = left.map((value, t) => value - removed[t]);
    seeds.push({ source: shares[i], weight: attributions[i] });
  }
  return {
    seeds,
    value: J(captured),
    sum: attributions.reduce((a, b) => a + b, floor),
    termsAbsSum: attributions.reduce((sum, a) => sum + Math.abs(a), Math.abs(floor)),
  };
}

/** q* of the targets, and minus that of `versus`. */
function wordWeights(clean: Float64Array, targets: readonly number[], versus: readonly number[]) {
  return [...cleanShares(clean, targets, 1), ...cleanShares(clean, versus, -1)];
}

function cleanShares(clean: Float64Array, tokens: readonly number[], sign: number) {
  const mass = tokens.reduce((sum, t) => sum + Math.exp(clean[t]), 0);
  return tokens.map((token) => ({ token, weight: (sign * Math.exp(clean[token])) / mass }));
}

function meanOf(values: Float64Array, at: readonly number[]): number {
  return at.reduce((sum, i) => sum + values[i], 0) / at.length;
}

function byDescending(values: readonly number[]): number[] {
  return values.map((_, i) => i).sort((a, b) => values[b] - values[a] || a - b);
}

function sumOf(shares: readonly SeedSource[]): Float64Array {
  const out = new Float64Array(shares[0].vector.length);
  for (const { vector } of shares) {
    for (let i = 0; i < out.length; i++) out[i] += vector[i];
  }
  return out;
}

function logSoftmax(z: Float64Array): Float64Array {
  let max = Number.NEGATIVE_INFINITY;
  for (const value of z) max = Math.max(max, value);
  let sum = 0;
  for (const value of z) sum += Math.exp(value - max);
  const log = max + Math.log(sum);
  return z.map((value) => value - log);
}
