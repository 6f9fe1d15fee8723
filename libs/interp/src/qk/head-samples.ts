import { assert, invalidArgument } from '@heddle/core';
import type { Tensor } from '@heddle/tensor';
import type { ContrastSample } from './contrastive-covariance.reference.ts';

/** One line of a contrast file: positions in one prompt. */
export interface ContrastPositions {
  readonly query: number;
  readonly positive: readonly number[];
  readonly negative: readonly number[];
}

/**
 * Queries `[pos, head, d_head]` and keys `[pos, kv_head, d_head]` of one layer, as they meet in the
 * score.
 */
export interface QueriesAndKeys {
  readonly q: Tensor<'f64'>;
  readonly k: Tensor<'f64'>;
}

/**
 * Refuses positions that the prompt lacks, keys after the query, and a position on both sides;
 * `field` names the line.
 */
export function checkPositions(line: ContrastPositions, tokens: number, field: string): void {
  if (!Number.isInteger(line.query) || line.query < 0 || line.query >= tokens) {
    throw invalidArgument(`${field}.query is ${line.query}; the prompt has ${tokens} tokens`, {
      field: `${field}.query`,
      details: { limit: tokens - 1 },
    });
  }
  for (const side of ['positive', 'negative'] as const) {
    line[side].forEach((position, i) => {
      if (Number.isInteger(position) && position >= 0 && position <= line.query) return;
      throw invalidArgument(
        `${field}.${side}[${i}] is ${position}; a key stands at 0 to the query's position ${line.query}`,
        { field: `${field}.${side}[${i}]`, details: { limit: line.query } },
      );
    });
  }
  const both = line.positive.find((position) => line.negative.includes(position));
  if (both === undefined) return;
  throw invalidArgument(`${field} has position ${both} as positive and as negative`, {
    field: `${field}.negative`,
  });
}

/** The vectors of one head at the positions of a line; heads of a group share a kv_head. */
export function headSample(
  { q, k }: QueriesAndKeys,
  head: number,
  line: ContrastPositions,
): ContrastSample {
  const [, n_heads, d_head] = q.shape;
  const [, n_kv] = k.shape;
  assert(n_heads % n_kv === 0, 'head must be a multiple of kv_head');
  const kv = Math.floor(head / (n_heads / n_kv));
  const at = (t: Tensor<'f64'>, position: number, index: number, count: number) =>
    t.data.slice((position * count + index) * d_head, (position * count + index + 1) * d_head);
  const keys = (positions: readonly number[]) => positions.map((p) => at(k, p, kv, n_kv));
  return {
    query: at(q, line.query, head, n_heads),
    positive: keys(line.positive),
    negative: keys(line.negative),
  };
}
