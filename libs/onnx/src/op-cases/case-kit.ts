import { assert, Rng } from '@heddle/core';
import { elementCount, type Tensor, tensor } from '@heddle/tensor';
import { atomsOf, type Dim, evaluateDim } from '../dims.ts';
import type { Value } from '../graph.ts';
import { GraphBuilder } from '../graph-builder.ts';

/** One way to use an op, on shapes and numbers from a seed. Returns the graph's outputs. */
export interface OpCase {
  readonly title: string;
  readonly build: (k: CaseKit) => readonly Value[];
}

const SIZE_MAX = 4; // small enough for a central difference of every element, large enough to tell axes apart

/** A builder whose inputs come with feeds. */
export class CaseKit {
  readonly g = new GraphBuilder('case');
  readonly rng: Rng;
  readonly feeds: Record<string, Tensor> = {};
  /** The float inputs: what gradients are taken by. */
  readonly floats: Value[] = [];
  private readonly sizes = new Map<string, number>();

  constructor(seed: number) {
    this.rng = new Rng(seed);
  }

  /** A random size. */
  get n(): number {
    return 1 + this.rng.below(SIZE_MAX);
  }

  /** One of the axes of a rank, counted from the front or from the end. */
  axis(rank: number): number {
    return this.rng.below(2 * rank) - rank;
  }

  /** The number that a size has in this case; names get one when they are first seen. */
  sizeOf(size: Dim): number {
    for (const atom of atomsOf(size)) if (!this.sizes.has(atom)) this.sizes.set(atom, this.n);
    const known = evaluateDim(size, this.sizes);
    assert(known !== undefined, () => `size ${size}`);
    return known;
  }

  /** f32 uniform in [low, high); continuous, so that no two are equal and no kink is hit. */
  float(shape: readonly Dim[], { low = -2, high = 2 } = {}): Value {
    const sizes = shape.map((size) => this.sizeOf(size));
    const values = () => low + (high - low) * this.rng.uniform();
    const data = Float32Array.from({ length: elementCount(sizes) }, values);
    const value = this.feed(tensor('f32', sizes, data), shape);
    this.floats.push(value);
    return value;
  }

  /** i64 uniform in [from, below). */
  whole(shape: readonly Dim[], from: number, below: number): Value {
    const sizes = shape.map((size) => this.sizeOf(size));
    const one = () => BigInt(from + this.rng.below(below - from));
    const data = BigInt64Array.from({ length: elementCount(sizes) }, one);
    return this.feed(tensor('i64', sizes, data), shape);
  }

  /** i64 whose last axis never holds a number twice: what a ScatterElements without add needs. */
  distinct(shape: readonly Dim[], below: number): Value {
    const sizes = shape.map((size) => this.sizeOf(size));
    const along = sizes[sizes.length - 1];
    const numbers = Array.from({ length: below }, (_, i) => BigInt(i));
    const lines = Array.from({ length: elementCount(sizes.slice(0, -1)) }, () =>
      this.rng.shuffle(numbers).slice(0, along),
    );
    return this.feed(tensor('i64', sizes, BigInt64Array.from(lines.flat())), shape);
  }

  bits(shape: readonly Dim[]): Value {
    const sizes = shape.map((size) => this.sizeOf(size));
    const data = Uint8Array.from({ length: elementCount(sizes) }, () => this.rng.below(2));
    return this.feed(tensor('bool', sizes, data), shape);
  }

  /** A fed number that is the size of its name. */
  sizeInput(name: string, size: number): Dim {
    this.sizes.set(name, size);
    this.feeds[name] = tensor('i64', [1], BigInt64Array.of(BigInt(size)));
    this.g.sizeInput(name);
    return name;
  }

  private feed(value: Tensor, shape: readonly Dim[]): Value {
    const name = `input${Object.keys(this.feeds).length}`;
    this.feeds[name] = value;
    return this.g.input(name, value.dtype, shape);
  }
}
