import type { Json } from '@heddle/core';
import {
  type LogitAttribution,
  type PairTerm,
  type ScoreAttribution,
  type Sum,
  sumOf as sumCheck,
  type Term,
  termName,
} from '@heddle/interp/attribution';
import { SOURCES_SHOWN } from './limits.ts';

/** A source as files and tables have it. */
type Source = {
  readonly source: string;
  readonly position: number;
  readonly contribution: number;
  readonly side?: 'query' | 'key';
};

export interface Report {
  /**
   * What people see: at most `SOURCES_SHOWN` sources, strongest first, and the sum of the others.
   */
  readonly summary: { readonly [name: string]: Json };
  /** All sources, for the file. */
  readonly all: Json;
  readonly holds: boolean;
}

/**
 * A score's report. The score is a sum over pairs (query source, key source); each pair's product
 * is shared equally by its two sources (the Shapley value of a bilinear form), so that both sides
 * stand in one list whose sum is the score once: a source's contribution is half of its marginal
 * `q_u · k` or `q · k_w`. `sides` has the sums of the whole marginals.
 */
export function scoreReport(why: ScoreAttribution): Report {
  const { query, key } = why.sides;
  const half = (term: Term) => ({ ...term, contribution: term.contribution / 2 });
  const sources = [
    ...query.terms.map((term) => sourceOf(half(term), 'query')),
    ...key.terms.map((term) => sourceOf(half(term), 'key')),
  ].toSorted((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
  const shared = sumCheck(
    sources.map(({ contribution }) => contribution),
    query.check.value,
  );
  // Both views must hold: an error of one side could hide behind the opposite error of the other.
  const check = { ...shared, holds: shared.holds && query.check.holds && key.check.holds };
  const pairs = why.pairs && {
    strongest: why.pairs.strongest.map(pairOf),
    rest: { count: why.pairs.restCount, sum: why.pairs.restSum },
    ...sumOf(why.pairs.check),
  };
  const question = {
    kind: 'score',
    head: `${why.layer}.${why.head}`,
    query: why.query,
    key: why.key,
    attention: why.attention,
  };
  const sides = { query: sumOf(query.check), key: sumOf(key.check) };
  return report(question, check, sources, { sides, pairs });
}

export function logitReport(why: LogitAttribution): Report {
  const sources = why.terms.map((term) => sourceOf(term));
  const question = { kind: 'logit', token: why.token, position: why.position };
  return report(question, why.check, sources, {});
}

function report(
  question: { readonly [name: string]: Json },
  check: Sum,
  sources: readonly Source[],
  more: { readonly [name: string]: Json },
): Report {
  const hidden = sources.slice(SOURCES_SHOWN);
  const rest = {
    count: hidden.length,
    sum: hidden.reduce((sum, { contribution }) => sum + contribution, 0),
  };
  const head = { question, ...sumOf(check), ...more };
  return {
    summary: { ...head, sources: sources.slice(0, SOURCES_SHOWN), rest },
    all: { ...head, sources },
    holds: check.holds,
  };
}

function sumOf(check: Sum) {
  const { value, sum, residual, termsAbsSum, holds } = check;
  return { value, sum, residual, terms_abs_sum: termsAbsSum, holds };
}

function sourceOf(term: Term, side?: 'query' | 'key'): Source {
  const { position, contribution } = term;
  return { source: termName(term), position, contribution, ...(side ? { side } : {}) };
}

function pairOf({ query, key, contribution }: PairTerm) {
  return {
    query: termName(query),
    query_position: query.position,
    key: termName(key),
    key_position: key.position,
    contribution,
  };
}
