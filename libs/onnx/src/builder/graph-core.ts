import { assert } from '@heddle/core';
import type { DType, Tensor } from '@heddle/tensor';
import { atomsOf, type Dim, dim, termsOf } from '../dims.ts';
import type {
  Attributes,
  Constant,
  Graph,
  NamedValue,
  Value,
  ValueInfo,
  WeightLocation,
} from '../graph.ts';
import { CONTENT_ELEMENTS_MAX, SHARED_CONSTANT_ELEMENTS_MAX } from '../limits.ts';
import { OPS, type OpName } from '../ops/registry.ts';
import { Refusal } from '../ops/rule.ts';
import { ShapeError } from '../shape-error.ts';
import { constantFrom } from './constant-from.ts';

/** A builder's own view of a value: its name changes when it becomes an output. */
interface OwnValue extends Value {
  name: string;
}

export interface BuiltNode {
  readonly op: OpName;
  readonly name: string;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: Attributes;
}

/** A value, or a number that becomes a constant of the other operand's type. */
export type Operand = Value | number;

/** Names, scopes, constants and outputs: what a graph is before it has ops. `GraphBuilder` adds one method per op. */
export class GraphCore {
  readonly name: string;
  private readonly inputs: OwnValue[] = [];
  private readonly weights: { readonly value: OwnValue; readonly location: WeightLocation }[] = [];
  private readonly constants: { readonly value: OwnValue; readonly data: Float64Array }[] = [];
  private readonly nodes: BuiltNode[] = [];
  private readonly outputs: OwnValue[] = [];
  private readonly values = new Set<Value>();
  private readonly names = new Set<string>();
  private readonly sharedConstants = new Map<string, Value>();
  /** Where each symbolic size can be read when the graph runs. */
  private readonly sizes = new Map<string, { readonly of: Value; readonly axis: number }>();
  /** Sizes, and lists of them, that the graph computes already. */
  private readonly sizeValues = new Map<string, Value>();
  private readonly scopes: string[] = [];
  private counter = 0;

  constructor(name = 'heddle') {
    this.name = name;
  }

  /** The path of names around what is being built: `blocks.0.attn`. */
  get path(): string {
    return this.scopes.join('.');
  }

  /** Nodes added inside `body` carry the name; scopes nest, joined by a dot. */
  scope<T>(name: string, body: () => T): T {
    this.scopes.push(name);
    try {
      return body();
    } finally {
      this.scopes.pop();
    }
  }

  /** A feed. Keeps its plain name whatever the scope. Sizes that are names are symbolic, and equal wherever they are written. */
  input(name: string, dtype: DType, shape: readonly Dim[]): Value {
    const value = this.register(name, 'input', { dtype, shape: shape.map(dim) });
    this.inputs.push(value);
    return value;
  }

  /** A whole number that is a size (a k of TopK, a bound of a Slice): fed as i64 `[1]`, and usable as a symbolic size by its name. */
  sizeInput(name: string): Value {
    const value = this.register(name, 'input', { dtype: 'i64', shape: [1], content: [name] });
    this.inputs.push(value);
    this.sizeValues.set(name, value);
    return value;
  }

  /**
   * Weights by reference to the bytes of a file. Half precisions are widened exactly, so that what is returned is f32
   * (the interpreter's callback and the encoded initializer keep the stored type).
   */
  weight(name: string, dtype: DType, shape: readonly number[], location: WeightLocation): Value {
    const stored = this.register(name, 'weight', { dtype, shape });
    this.weights.push({ value: stored, location });
    if (dtype !== 'f16' && dtype !== 'bf16') return stored;
    return this.emit('Cast', [stored], { to: 'f32' })[0];
  }

  /**
   * Structure: axes, shapes, masks, epsilons, tables; never a number that a user chose. Plain numbers become f32 unless a
   * dtype is given; floats stay doubles until they are encoded. Equal small constants are one.
   */
  constant(from: Tensor | number | readonly number[], dtype?: DType): Value {
    const { type, shape, data } = constantFrom(from, dtype);
    const key =
      data.length <= SHARED_CONSTANT_ELEMENTS_MAX ? `${type} ${shape} ${data.join()}` : undefined;
    const known = key === undefined ? undefined : this.sharedConstants.get(key);
    if (known) return known;
    const small = type === 'i64' && shape.length <= 1 && data.length <= CONTENT_ELEMENTS_MAX;
    const info = { dtype: type, shape, ...(small ? { content: [...data] } : {}) };
    const value = this.register(`constant.${this.constants.length}`, 'constant', info);
    this.constants.push({ value, data });
    if (key !== undefined) this.sharedConstants.set(key, value);
    return value;
  }

  /** Sizes as an i64 list that the graph computes: constants where they are numbers, else read from where the names came from. */
  dims(shape: readonly Dim[]): Value {
    const sizes = shape.map(dim);
    if (sizes.every((n) => typeof n === 'number')) return this.constant(sizes as number[], 'i64');
    if (sizes.length === 1) return this.sizeOf(sizes[0]);
    const key = sizes.join(', ');
    const known = this.sizeValues.get(key);
    if (known) return known;
    const parts = sizes.map((n) => this.sizeOf(n));
    const joined = this.withContent(this.emit('Concat', parts, { axis: 0 })[0], sizes);
    this.sizeValues.set(key, joined);
    return joined;
  }

  /** One size as an i64 `[1]`. */
  private sizeOf(size: Dim): Value {
    if (typeof size === 'number') return this.constant([size], 'i64');
    const known = this.sizeValues.get(size);
    if (known) return known;
    const value = this.withContent(this.computeSize(size), [size]);
    this.sizeValues.set(size, value);
    return value;
  }

  private computeSize(size: string): Value {
    if (atomsOf(size)[0] === size) {
      const found = this.sizes.get(size);
      assert(found !== undefined, () => `no value of graph ${this.name} has the size "${size}"`);
      return this.emit('Shape', [found.of], { start: found.axis, end: found.axis + 1 })[0];
    }
    const terms = termsOf(size).map(({ coefficient, atoms }) => {
      const factors = atoms.map((atom) => this.sizeOf(atom));
      if (coefficient !== 1 || factors.length === 0) factors.unshift(this.sizeOf(coefficient));
      return factors.reduce((a, b) => this.emit('Mul', [a, b], {})[0]);
    });
    return terms.reduce((a, b) => this.emit('Add', [a, b], {})[0]);
  }

  private withContent(value: Value, content: readonly Dim[]): Value {
    (value as { content?: readonly Dim[] }).content = content;
    return value;
  }

  /** Adds a node; its types are inferred now, and a mismatch is thrown now. */
  protected emit(op: OpName, inputs: readonly Value[], attributes: Attributes): readonly Value[] {
    for (const input of inputs) {
      assert(this.values.has(input), () => `${op}: "${input?.name}" is of another builder`);
    }
    const inferred = this.infer(op, inputs, attributes);
    const name = `${this.path === '' ? '' : `${this.path}.`}${op}_${this.counter++}`;
    const outputs = inferred.map((info, i) =>
      this.register(i === 0 ? name : `${name}.${i}`, 'node', info),
    );
    this.nodes.push({ op, name, inputs, outputs, attributes });
    return outputs;
  }

  private infer(op: OpName, inputs: readonly Value[], attributes: Attributes) {
    try {
      return OPS[op].infer({ inputs, attributes });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      throw new ShapeError(this.path, op, error.message, inputs);
    }
  }

  private register(name: string, source: Value['source'], info: ValueInfo): OwnValue {
    assert(name !== '' && !this.names.has(name), () => `graph ${this.name}: "${name}" is taken`);
    this.names.add(name);
    const value: OwnValue = { dtype: info.dtype, shape: info.shape, name, source };
    if (info.content !== undefined) this.withContent(value, info.content);
    this.values.add(value);
    info.shape.forEach((size, axis) => {
      if (atomsOf(size)[0] === size && !this.sizes.has(size))
        this.sizes.set(size, { of: value, axis });
    });
    return value;
  }

  /**
   * Makes a value an output under this name. The value itself is renamed, which costs nothing when it runs; only where that
   * is impossible (a feed, a weight, a constant, an output already) an Identity is added. Returns the value to go on with.
   */
  output(name: string, value: Value): Value {
    assert(this.values.has(value), () => `output ${name}: "${value.name}" is of another builder`);
    const own = value as OwnValue;
    if (this.outputs.includes(own) && own.name === name) return own;
    if (own.source !== 'node' || this.outputs.includes(own)) {
      this.output(name, this.emit('Identity', [own], {})[0]);
      return value;
    }
    assert(!this.names.has(name), () => `graph ${this.name}: output "${name}" is taken`);
    this.names.delete(own.name);
    this.names.add(name);
    own.name = name;
    this.outputs.push(own);
    return own;
  }

  /** What was built so far, for whoever walks it: autodiff. */
  get builtNodes(): readonly BuiltNode[] {
    return this.nodes;
  }

  /** The numbers of a constant; undefined for other values. */
  constantData(value: Value): Float64Array | undefined {
    return this.constants.find((constant) => constant.value === value)?.data;
  }

  /** The finished graph; nodes, weights and constants that no output needs are left out. */
  build(): Graph {
    assert(this.outputs.length > 0, () => `graph ${this.name} has no output`);
    const { nodes, used } = this.needed();
    const named = (value: Value): NamedValue => ({
      name: value.name,
      dtype: value.dtype,
      shape: value.shape,
      ...(value.content ? { content: value.content } : {}),
    });
    const constants: Constant[] = this.constants
      .filter(({ value }) => used.has(value))
      .map(({ value, data }) => ({ ...named(value), data }));
    const weights = this.weights.filter(({ value }) => used.has(value));
    return {
      name: this.name,
      inputs: this.inputs.map(named),
      outputs: this.outputs.map(named),
      nodes: nodes.map(({ op, name, inputs, outputs, attributes }) => ({
        op,
        name,
        inputs: inputs.map((value) => value.name),
        outputs: outputs.map((value) => value.name),
        attributes,
      })),
      constants,
      weights: weights.map(({ value, location }) => ({ ...named(value), location })),
      values: new Map([...this.values].map((value) => [value.name, named(value)])),
    };
  }

  private needed() {
    const used = new Set<Value>(this.outputs);
    const nodes: BuiltNode[] = [];
    for (const node of this.nodes.toReversed()) {
      if (!node.outputs.some((value) => used.has(value))) continue;
      nodes.push(node);
      for (const input of node.inputs) used.add(input);
    }
    return { nodes: nodes.reverse(), used };
  }
}
