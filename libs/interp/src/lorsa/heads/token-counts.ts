import { assert } from '@heddle/core';
import { type Tensor, tensor } from '@heddle/tensor';

/** How much a token matters to a head. */
export interface TokenWeight {
  readonly token: number;
  /** Its share of the head's total weight, in 0 to 1. */
  readonly weight: number;
  /** Sightings that were counted; exact when `error` is 0, else too low by at most what `error` says. */
  readonly count: number;
  /** The true share lies in weight − error to weight. */
  readonly error: number;
}

const EMPTY = -1;

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

  merge(other: TokenCounts): void {
    assert(other.heads === this.heads && other.capacity === this.capacity, 'same sizes');
    for (let head = 0; head < this.heads; head++) {
      const before = this.totals[head];
      const from = head * this.capacity;
      for (let at = from; at < from + this.capacity && other.ids[at] !== EMPTY; at++) {
        this.add(head, other.ids[at], other.weights[at], other.counts[at], other.errors[at]);
      }
      this.totals[head] = before + other.totals[head];
    }
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
