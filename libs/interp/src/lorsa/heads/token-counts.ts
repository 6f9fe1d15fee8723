import { assert } from '@heddle/core';
import { type Tensor, tensor } from '@heddle/tensor';

/** How much a token matters to a head. */
export interface TokenWeight {
  readonly token: number;
  /** Its share of the head's total weight, in 0 to 1. */
  readonly weight: number;
  /** Sightings that were counted; exact when `error` is 0, else some may be missing. */
  readonly count: number;
  /** The true share lies in weight − error to weight. */
  readonly error: number;
}

const EMPTY = -1;

interface Counted {
  readonly weight: number;
  readonly count: number;
  readonly error: number;
}

const unlisted = (most: number): Counted => ({ weight: most, count: 0, error: most });

const added = (a: Counted, b: Counted): Counted => ({
  weight: a.weight + b.weight,
  count: a.count + b.count,
  error: a.error + b.error,
});

/**
 * *The heaviest tokens of every head* in bounded memory: space-saving (Metwally et al. 2005) with weights. Exact while a
 * head meets at most `capacity` tokens; past that the token of least weight gives its place, its weight and the blame of it: no estimate is off
 * by more than total / capacity, and no token heavier than that is missing. Merging adds the errors.
 */
export class TokenCounts {
  readonly heads: number;
  readonly capacity: number;
  private readonly ids: Int32Array;
  private readonly weights: Float64Array;
  private readonly counts: Float64Array;
  private readonly errors: Float64Array;
  /** Σ weight of each head, `[ov_head]`. */
  private readonly totals: Float64Array;

  constructor(heads: number, capacity: number) {
    assert(heads > 0 && capacity > 0, () => `${capacity} tokens of ${heads} heads`);
    this.heads = heads;
    this.capacity = capacity;
    this.ids = new Int32Array(heads * capacity).fill(EMPTY);
    this.weights = new Float64Array(heads * capacity);
    this.counts = new Float64Array(heads * capacity);
    this.errors = new Float64Array(heads * capacity);
    this.totals = new Float64Array(heads);
  }

  add(head: number, token: number, weight: number, count = 1, error = 0): void {
    this.totals[head] += weight;
    const from = head * this.capacity;
    let least = from;
    for (let at = from; at < from + this.capacity; at++) {
      if (this.ids[at] === token) {
        this.weights[at] += weight;
        this.counts[at] += count;
        this.errors[at] += error;
        return;
      }
      if (this.ids[at] === EMPTY) {
        this.put(at, token, weight, count, error);
        return;
      }
      if (this.weights[at] < this.weights[least]) least = at;
    }
    const lost = this.weights[least];
    this.put(least, token, lost + weight, count, lost + error);
  }

  private put(at: number, token: number, weight: number, count: number, error: number): void {
    this.ids[at] = token;
    this.weights[at] = weight;
    this.counts[at] = count;
    this.errors[at] = error;
  }

  total(head: number): number {
    return this.totals[head];
  }

  /** Heaviest first, of equal ones the lower id. */
  of(head: number, limit = this.capacity): TokenWeight[] {
    const from = head * this.capacity;
    const out: TokenWeight[] = [];
    for (let at = from; at < from + this.capacity && this.ids[at] !== EMPTY; at++) {
      const total = this.totals[head];
      const share = (value: number) => (total > 0 ? value / total : 0);
      out.push({
        token: this.ids[at],
        weight: share(this.weights[at]),
        count: this.counts[at],
        error: share(this.errors[at]),
      });
    }
    return out.sort((a, b) => b.weight - a.weight || a.token - b.token).slice(0, limit);
  }

  /**
   * Takes in the counts of another part (Agarwal et al. 2012): a token that a full part does not list may have weighed there as much
   * as the least that it lists, which is added and said as error; of the union the heaviest stay.
   */
  merge(other: TokenCounts): void {
    assert(other.heads === this.heads && other.capacity === this.capacity, 'same sizes');
    for (let head = 0; head < this.heads; head++) {
      const [mine, theirs] = [this.row(head), other.row(head)];
      const [least, otherLeast] = [this.least(mine), this.least(theirs)];
      const union = [...mine].map(([token, own]) => {
        return [token, added(own, theirs.get(token) ?? unlisted(otherLeast))] as const;
      });
      for (const [token, own] of theirs) {
        if (!mine.has(token)) union.push([token, added(unlisted(least), own)]);
      }
      union.sort(([a, x], [b, y]) => y.weight - x.weight || a - b);
      union.slice(0, this.capacity).forEach(([token, { weight, count, error }], i) => {
        this.put(head * this.capacity + i, token, weight, count, error);
      });
      this.totals[head] += other.totals[head];
    }
  }

  private row(head: number): Map<number, Counted> {
    const row = new Map<number, Counted>();
    const from = head * this.capacity;
    for (let at = from; at < from + this.capacity && this.ids[at] !== EMPTY; at++) {
      row.set(this.ids[at], {
        weight: this.weights[at],
        count: this.counts[at],
        error: this.errors[at],
      });
    }
    return row;
  }

  /** What a token that a row does not list can weigh at most. */
  private least(row: ReadonlyMap<number, Counted>): number {
    if (row.size < this.capacity) return 0;
    return Math.min(...[...row.values()].map(({ weight }) => weight));
  }

  tensors(): Record<string, Tensor> {
    const shape = [this.heads, this.capacity];
    return {
      ids: tensor('i32', shape, this.ids),
      weights: tensor('f64', shape, this.weights),
      counts: tensor('f64', shape, this.counts),
      errors: tensor('f64', shape, this.errors),
      totals: tensor('f64', [this.heads], this.totals),
    };
  }

  static from(tensors: (name: string) => Tensor): TokenCounts {
    const [heads, capacity] = tensors('ids').shape;
    const made = new TokenCounts(heads, capacity);
    made.ids.set(tensors('ids').data as Int32Array);
    made.weights.set(tensors('weights').data as Float64Array);
    made.counts.set(tensors('counts').data as Float64Array);
    made.errors.set(tensors('errors').data as Float64Array);
    made.totals.set(tensors('totals').data as Float64Array);
    return made;
  }
}
