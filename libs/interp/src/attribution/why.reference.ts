import { invalidArgument, present } from '@heddle/core';
import { dot, rowOf, topk } from '@heddle/linalg';
import {
  FoldedUnembedding,
  type HostRun,
  type ResidualSource,
  requireTwinLength,
  SUM_TOLERANCE,
} from '../host/index.ts';
import { PAIRS_LISTED, PAIRS_MAX } from './limits.ts';

/**
 * A part of a score or a logit: what brought it, where it was written and (a head) where it was
 * read.
 */
export interface Term {
  readonly kind: ResidualSource['kind'] | 'query_bias' | 'key_bias' | 'unembedding_bias';
  readonly layer: number;
  readonly head: number | null;
  /** The position that a head read; otherwise the position where it stands. */
  readonly position: number;
  readonly contribution: number;
}

/** Σ of terms that were each computed on their own, against the value that the model had. */
export interface Sum {
  readonly value: number;
  readonly sum: number;
  /** `value − sum`. */
  readonly residual: number;
  readonly termsAbsSum: number;
  /** `|residual| ≤ 1e-4 · Σ|terms|`. */
  readonly holds: boolean;
}

export interface Side {
  readonly terms: readonly Term[];
  readonly check: Sum;
}

/** A product of a query-side and a key-side source. */
export interface PairTerm {
  readonly query: Omit<Term, 'contribution'>;
  readonly key: Omit<Term, 'contribution'>;
  readonly contribution: number;
}

export interface ScoreAttribution {
  readonly layer: number;
  readonly head: number;
  readonly query: number;
  readonly key: number;
  readonly attention: number;
  /**
   * The score by sources of the query (with the whole key), and by sources of the key (with the
   * whole query): two views of one number, strongest first.
   */
  readonly sides: { readonly query: Side; readonly key: Side };
  /**
   * The score by pairs of sources: the strongest, and the sum of all others; null where there are
   * too many pairs.
   */
  readonly pairs: {
    readonly strongest: readonly PairTerm[];
    readonly restSum: number;
    readonly restCount: number;
    readonly check: Sum;
  } | null;
}

export interface ScoreQuestion {
  readonly layer: number;
  readonly head: number;
  readonly query: number;
  /** Null: the key with the highest score. */
  readonly key: number | null;
}

/**
 * *Why a head's score is what it is*: `score = q·k / attnScale` is linear in every source of the
 * query's residual stream and in every source of the key's, once the norm scales (LN's, and those
 * of QK norm) are frozen; rotations and weights are exact. Terms: each earlier head by the position
 * it read, MLPs, attention biases (b_O with the value biases), token and position embedding, and
 * the head's own bias (b_Q or b_K with the norm's bias). Each computed independently; nothing is a
 * remainder.
 */
export function whyScore(run: HostRun, question: ScoreQuestion): ScoreAttribution {
  requireTwinLength(run.length);
  const { layer, head, query } = checked(run, question);
  const captured = scoresOf(run, layer, head, query);
  const key = question.key ?? captured.indexOf(Math.max(...captured));
  const reads = run.head(layer, head);
  const [q, k] = [reads.query(query), reads.key(key)];
  const querySources = run.sources(layer, query);
  const keySources = run.sources(layer, key);
  const queryShares = [
    ...querySources.map(({ vector }) => reads.toQuery(vector, query)),
    reads.queryBias(query),
  ];
  const keyShares = [
    ...keySources.map(({ vector }) => reads.toKey(vector, key)),
    reads.keyBias(key),
  ];
  const own = { layer, head, contribution: 0 };
  const queryTerms = [
    ...querySources.map(bare),
    { ...own, kind: 'query_bias', position: query } as const,
  ];
  const keyTerms = [...keySources.map(bare), { ...own, kind: 'key_bias', position: key } as const];
  const value = captured[key];
  const side = (terms: readonly Term[], shares: readonly Float64Array[], other: Float64Array) =>
    sideOf(
      terms.map((term, i) => ({ ...term, contribution: dot(shares[i], other) / reads.attnScale })),
      value,
    );
  return {
    layer,
    head,
    query,
    key,
    attention: run.pattern(layer, head, query, key),
    sides: { query: side(queryTerms, queryShares, k), key: side(keyTerms, keyShares, q) },
    pairs: pairsOf(queryTerms, queryShares, keyTerms, keyShares, reads.attnScale, value),
  };
}

function checked(run: HostRun, question: ScoreQuestion): ScoreQuestion {
  const { n_layers, n_heads } = run.host.shape;
  const bounds = [
    ['layer', question.layer, n_layers - 1],
    ['head', question.head, n_heads - 1],
    ['query', question.query, run.length - 1],
    ['key', question.key ?? 0, question.query],
  ] as const;
  for (const [field, value, limit] of bounds) {
    if (Number.isInteger(value) && value >= 0 && value <= limit) continue;
    throw invalidArgument(`${field} is ${value}; it must be 0 to ${limit}`, {
      field: `score.${field}`,
      details: { limit },
    });
  }
  return question;
}

function scoresOf(run: HostRun, layer: number, head: number, query: number): Float64Array {
  const scores = present(run.layer(layer).attn_scores, `capture of the scores of block ${layer}`);
  const at = (head * run.length + query) * run.length;
  return scores.data.slice(at, at + query + 1);
}

function bare({ kind, layer, head, source }: ResidualSource): Term {
  return { kind, layer, head, position: source, contribution: 0 };
}

function sideOf(terms: readonly Term[], value: number): Side {
  const strongest = terms.toSorted((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
  return {
    terms: strongest,
    check: sumOf(
      terms.map(({ contribution }) => contribution),
      value,
    ),
  };
}

export function sumOf(terms: readonly number[], value: number): Sum {
  const sum = terms.reduce((a, b) => a + b, 0);
  const termsAbsSum = terms.reduce((a, b) => a + Math.abs(b), 0);
  const residual = value - sum;
  return {
    value,
    sum,
    residual,
    termsAbsSum,
    holds: Math.abs(residual) <= SUM_TOLERANCE * termsAbsSum,
  };
}

function pairsOf(
  queryTerms: readonly Term[],
  queryShares: readonly Float64Array[],
  keyTerms: readonly Term[],
  keyShares: readonly Float64Array[],
  attnScale: number,
  value: number,
): ScoreAttribution['pairs'] {
  if (queryTerms.length * keyTerms.length > PAIRS_MAX) return null;
  const products = new Float64Array(queryTerms.length * keyTerms.length);
  queryShares.forEach((q, i) => {
    keyShares.forEach((k, j) => {
      products[i * keyShares.length + j] = dot(q, k) / attnScale;
    });
  });
  const listed = Math.min(PAIRS_LISTED, products.length);
  const { indices } = topk(products.map(Math.abs), listed, 'pairs');
  const isListed = new Set(indices);
  let [restSum, sum, termsAbsSum] = [0, 0, 0];
  products.forEach((product, i) => {
    if (!isListed.has(i)) restSum += product;
    sum += product;
    termsAbsSum += Math.abs(product);
  });
  const nameless = ({ contribution: _, ...term }: Term) => term;
  const residual = value - sum;
  const holds = Math.abs(residual) <= SUM_TOLERANCE * termsAbsSum;
  return {
    strongest: Array.from(indices, (i) => ({
      query: nameless(queryTerms[Math.floor(i / keyTerms.length)]),
      key: nameless(keyTerms[i % keyTerms.length]),
      contribution: products[i],
    })),
    restSum,
    restCount: products.length - listed,
    check: { value, sum, residual, termsAbsSum, holds },
  };
}

export interface LogitAttribution extends Side {
  readonly token: number;
  readonly position: number;
}

/**
 * *Why a next-token logit is what it is*: the sources of the final residual stream over the final
 * norm's frozen scale, each times the word's direction `diag(gamma) W_U`, and the constant
 * `b_U + beta W_U`. The logit is raw, not centred over the vocabulary.
 */
export function whyLogit(
  run: HostRun,
  { token, position }: { readonly token: number | null; readonly position: number },
): LogitAttribution {
  requireTwinLength(run.length);
  if (!Number.isInteger(position) || position < 0 || position >= run.length) {
    throw invalidArgument(`position is ${position}; the prompt has ${run.length} tokens`, {
      field: 'logit.position',
      details: { limit: run.length - 1 },
    });
  }
  const { n_layers } = run.host.shape;
  const logits = rowOf(present(run.activations.logits, 'capture of the logits'), position);
  const asked = token ?? topk(logits, 1, 'logits').indices[0];
  const unembedding = new FoldedUnembedding(run.host);
  const direction = unembedding.direction(asked);
  const scale = run.normScale(n_layers)[position];
  const terms: Term[] = run
    .sources(n_layers, position)
    .map((source) => ({ ...bare(source), contribution: dot(source.vector, direction) / scale }));
  terms.push({
    kind: 'unembedding_bias',
    layer: n_layers,
    head: null,
    position,
    contribution: unembedding.b_U[asked],
  });
  return { token: asked, position, ...sideOf(terms, logits[asked]) };
}

/**
 * How a term is called in tables: `9.6`, `mlp 3`, `bias 3` (attention biases of a layer),
 * `embedding`.
 */
export function termName({ kind, layer, head }: Omit<Term, 'contribution'>): string {
  switch (kind) {
    case 'head':
      return `${layer}.${head}`;
    case 'mlp':
      return `mlp ${layer}`;
    case 'attn_bias':
      return `bias ${layer}`;
    case 'token_embedding':
      return 'embedding';
    default:
      return kind.replaceAll('_', ' ');
  }
}
