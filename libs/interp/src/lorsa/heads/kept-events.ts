import { assert } from '@heddle/core';
import { type Tensor, tensor } from '@heddle/tensor';

/** A head active at a place of the text. */
export interface HeadEvent {
  readonly activation: number;
  readonly sequence: number;
  readonly position: number;
}

/**
 * For every head the events with the largest keys; equal keys: the earlier sequence, then the earlier position. What is kept follows
 * from the set of events alone, so any order, any split into parts and any merge of the parts give the same.
 * Memory: heads · capacity events. Cost per event: a comparison, and capacity moves for the few that get in.
 */
export class KeptEvents {
  readonly heads: number;
  readonly capacity: number;
  private readonly sizes: Int32Array;
  private readonly keys: Float64Array;
  private readonly activations: Float64Array;
  private readonly sequences: Int32Array;
  private readonly positions: Int32Array;

  constructor(heads: number, capacity: number) {
    assert(heads > 0 && capacity >= 0, () => `${capacity} events of ${heads} heads`);
    this.heads = heads;
    this.capacity = capacity;
    this.sizes = new Int32Array(heads);
    this.keys = new Float64Array(heads * capacity);
    this.activations = new Float64Array(heads * capacity);
    this.sequences = new Int32Array(heads * capacity);
    this.positions = new Int32Array(heads * capacity);
  }

  offer(head: number, key: number, { activation, sequence, position }: HeadEvent): void {
    this.insert(head, key, activation, sequence, position);
  }

  /** As `offer`, without an object per event: this runs once for every active token and head of a text. */
  insert(head: number, key: number, activation: number, sequence: number, position: number): void {
    const from = head * this.capacity;
    const size = this.sizes[head];
    if (size === this.capacity && (size === 0 || key < this.keys[from + size - 1])) return;
    const before = (at: number) => {
      if (key !== this.keys[at]) return key > this.keys[at];
      if (sequence !== this.sequences[at]) return sequence < this.sequences[at];
      return position < this.positions[at];
    };
    if (size === this.capacity && !before(from + size - 1)) return;
    let at = from + Math.min(size, this.capacity - 1);
    for (; at > from && before(at - 1); at--) this.move(at - 1, at);
    this.keys[at] = key;
    this.activations[at] = activation;
    this.sequences[at] = sequence;
    this.positions[at] = position;
    if (size < this.capacity) this.sizes[head] = size + 1;
  }

  private move(from: number, to: number): void {
    this.keys[to] = this.keys[from];
    this.activations[to] = this.activations[from];
    this.sequences[to] = this.sequences[from];
    this.positions[to] = this.positions[from];
  }

  /** Largest key first. */
  of(head: number): HeadEvent[] {
    const from = head * this.capacity;
    return Array.from({ length: this.sizes[head] }, (_, i) => ({
      activation: this.activations[from + i],
      sequence: this.sequences[from + i],
      position: this.positions[from + i],
    }));
  }

  merge(other: KeptEvents): void {
    assert(other.heads === this.heads && other.capacity === this.capacity, 'same sizes');
    for (let head = 0; head < this.heads; head++) {
      const from = head * this.capacity;
      for (let at = from; at < from + other.sizes[head]; at++) {
        this.insert(
          head,
          other.keys[at],
          other.activations[at],
          other.sequences[at],
          other.positions[at],
        );
      }
    }
  }

  tensors(): Record<string, Tensor> {
    const shape = [this.heads, this.capacity];
    return {
      sizes: tensor('i32', [this.heads], this.sizes),
      keys: tensor('f64', shape, this.keys),
      activations: tensor('f64', shape, this.activations),
      sequences: tensor('i32', shape, this.sequences),
      positions: tensor('i32', shape, this.positions),
    };
  }

  static from(tensors: (name: string) => Tensor): KeptEvents {
    const [heads, capacity] = tensors('keys').shape;
    const made = new KeptEvents(heads, capacity);
    made.sizes.set(tensors('sizes').data as Int32Array);
    made.keys.set(tensors('keys').data as Float64Array);
    made.activations.set(tensors('activations').data as Float64Array);
    made.sequences.set(tensors('sequences').data as Int32Array);
    made.positions.set(tensors('positions').data as Int32Array);
    return made;
  }
}

/**
 * A number in [0, 1) for each event, the same whoever asks: keeping the events with the largest is drawing without
 * replacement, each event as likely as any other, and needs no generator that would have to be resumed.
 */
export function drawOf(seed: number, head: number, sequence: number, position: number): number {
  let high = 0x9e3779b9 ^ seed;
  let low = 0x85ebca6b;
  for (const word of [head, sequence, position]) {
    high = mix(high ^ word);
    low = mix(low + Math.imul(word, 0xc2b2ae35) + high);
  }
  return ((mix(high ^ low) >>> 5) * 2 ** 26 + (mix(low) >>> 6)) / 2 ** 53;
}

/** A bijection of 32 bits in which every bit moves every other (Murmur 3's finaliser). */
function mix(word: number): number {
  let z = word | 0;
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
  return z ^ (z >>> 16);
}
