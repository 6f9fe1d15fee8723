import { assert } from '@heddle/core';
import { type Dim, GraphBuilder, type Value } from '@heddle/onnx';
import type { ModelConfig } from '../config/model-config.ts';
import { hookPoint } from '../hooks/catalogue.ts';
import { type Model, weightOf } from '../model.ts';
import { factorFeed, type SegmentRequest, valueFeed } from './segment-request.ts';

/** Where a segment is built: the graph, the model's weights as values, and its hook points. */
export class SegmentSite {
  readonly g: GraphBuilder;
  readonly model: Model;
  readonly request: SegmentRequest;
  private readonly wanted: ReadonlySet<string>;
  private readonly slots: ReadonlySet<string>;
  private readonly carried: ReadonlySet<string>;
  private readonly values = new Map<string, Value>();
  private readonly weights = new Map<string, Value>();

  constructor(name: string, model: Model, request: SegmentRequest) {
    this.g = new GraphBuilder(name);
    this.model = model;
    this.request = request;
    this.slots = new Set(request.interventions);
    this.wanted = new Set([
      ...request.hooks,
      ...request.interventions,
      ...request.programs.flatMap(({ needs }) => needs),
      ...(request.gradient?.seeds ?? []),
      ...(request.gradient?.at ?? []),
    ]);
    this.carried = new Set([...request.interventions, ...(request.gradient?.at ?? [])]);
  }

  get config(): ModelConfig {
    return this.model.config;
  }

  /** Whether anything reads or changes this point: points that cost something extra are computed only then. */
  wants(hook: string): boolean {
    return this.wanted.has(hook);
  }

  changes(hook: string): boolean {
    return this.slots.has(hook);
  }

  /** Whether the model has to go on from this point's own value, because it is changed or differentiated by. */
  carries(hook: string): boolean {
    return this.carried.has(hook);
  }

  /** Marks a value as a hook point; returns the value to go on with, changed where an intervention has a slot. */
  hook(name: string, value: Value): Value {
    const changed = this.slots.has(name) ? this.intervene(name, value) : value;
    this.values.set(name, changed);
    return changed;
  }

  /** What a name stands for: a hook point changed once more (scores are masked again after an intervention), or `resid_in`. */
  mark(name: string, value: Value): Value {
    this.values.set(name, value);
    return value;
  }

  at(name: string): Value {
    const value = this.values.get(name);
    assert(value !== undefined, () => `${this.g.name}: hook ${name} was not built`);
    return value;
  }

  /** A weight by role, as f32; declared once. */
  weight(role: string): Value {
    const known = this.weights.get(role);
    if (known) return known;
    const { name, dtype, shape, location } = weightOf(this.model, role);
    const value = this.g.weight(name, dtype, shape, location);
    this.weights.set(role, value);
    return value;
  }

  hasWeight(role: string): boolean {
    return this.model.weights.has(role);
  }

  /**
   * x W + b of a projection, whichever way its weight lies in the file. A MatMul and an Add, for speed: ORT's Gemm copies the
   * bias into its result first, and its rows would need a Reshape back, which copies where the result is a hook's output. The
   * transposed weight is folded when the session is opened.
   */
  project(role: string, x: Value): Value {
    const { g } = this;
    const stored = this.weight(`${role}.W`);
    const W = weightOf(this.model, `${role}.W`).layout === 'out_in' ? g.transpose(stored) : stored;
    const product = g.matMul(x, W);
    return this.hasWeight(`${role}.b`) ? g.add(product, this.weight(`${role}.b`)) : product;
  }

  private intervene(name: string, value: Value): Value {
    const { axes } = hookPoint(this.config, name);
    const scores = axes.includes('key_pos');
    const full: readonly Dim[] = value.shape;
    const factor = scores ? full : [...full.slice(0, -1), 1];
    const scaled = this.g.mul(value, this.g.input(factorFeed(name), 'f32', factor));
    return this.g.add(scaled, this.g.input(valueFeed(name), 'f32', full));
  }
}
