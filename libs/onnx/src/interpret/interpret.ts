import { assert, invalidArgument, present } from '@heddle/core';
import { showShape, type Tensor, tensor, widenBf16, widenF16 } from '@heddle/tensor';
import { type Dim, evaluateDim } from '../dims.ts';
import type { Graph, NamedValue, ValueInfo } from '../graph.ts';
import { OPS } from '../ops/registry.ts';
import { type NdArray, ndArray } from './nd-array.ts';

export interface InterpretOptions {
  /** The stored bytes of a weight as a tensor of its stored dtype; half precisions are widened by the graph's own Cast. */
  readonly weights?: (name: string) => Tensor;
}

/**
 * Runs a graph node by node in fp64: the oracle for what an engine computes. Floats come out as f64, whole numbers as i64,
 * truth values as bool. Every value's shape is compared with what the builder inferred, so that inference is tested by every run.
 *
 * Errors: invalid_argument for a feed that is missing, unknown, or of another type or shape than its input.
 */
export function interpret(
  graph: Graph,
  feeds: Readonly<Record<string, Tensor>>,
  options: InterpretOptions = {},
): Record<string, Tensor> {
  const sizes = new Map<string, number>();
  const values = new Map<string, NdArray>();
  for (const { name, dtype, shape, data } of graph.constants) {
    values.set(name, ndArray(dtype, shape as readonly number[], data));
  }
  for (const input of graph.inputs) values.set(input.name, fed(input, feeds[input.name], sizes));
  for (const name of Object.keys(feeds)) {
    if (!values.has(name)) refuseFeed(name, `graph ${graph.name} has no such input`);
  }
  for (const { name, shape, dtype } of graph.weights) {
    const weight = present(options.weights, `weights for graph ${graph.name}`)(name);
    assert(weight.dtype === dtype, () => `weight ${name} is ${weight.dtype}, not ${dtype}`);
    bindShape(name, shape, weight.shape, sizes);
    values.set(name, ndArray(dtype, weight.shape, toDoubles(weight)));
  }
  runNodes(graph, values, sizes);
  return Object.fromEntries(
    graph.outputs.map(({ name }) => [name, toTensor(present(values.get(name), name))]),
  );
}

function runNodes(graph: Graph, values: Map<string, NdArray>, sizes: Map<string, number>): void {
  const lastUse = new Map<string, number>();
  graph.nodes.forEach((node, i) => {
    for (const name of node.inputs) lastUse.set(name, i);
  });
  for (const { name } of graph.outputs) lastUse.set(name, Number.POSITIVE_INFINITY);
  graph.nodes.forEach((node, i) => {
    const inputs = node.inputs.map((name) => present(values.get(name), name));
    const outputs = OPS[node.op].interpret(inputs, node.attributes);
    node.outputs.forEach((name, k) => {
      const info = present(graph.values.get(name), name) as ValueInfo;
      assert(outputs[k].dtype === info.dtype, () => `${name} is ${outputs[k].dtype}`);
      bindShape(name, info.shape, outputs[k].shape, sizes);
      values.set(name, outputs[k]);
    });
    // A long graph holds only what is still to be read.
    for (const name of node.inputs) if (lastUse.get(name) === i) values.delete(name);
  });
}

/** Gives unseen symbolic sizes their number and compares all others. */
function bindShape(
  name: string,
  declared: readonly Dim[],
  actual: readonly number[],
  sizes: Map<string, number>,
): void {
  const wrong = () => `${name} is ${showShape(actual)}, declared ${showShape(declared)}`;
  assert(declared.length === actual.length, wrong);
  declared.forEach((size, axis) => {
    const expected = evaluateDim(size, sizes);
    if (expected === undefined) sizes.set(size as string, actual[axis]);
    else assert(expected === actual[axis], wrong);
  });
}

function fed(input: NamedValue, feed: Tensor | undefined, sizes: Map<string, number>): NdArray {
  const { name, dtype, shape, content } = input;
  if (feed === undefined) return refuseFeed(name, 'is not fed');
  const isFloat = feed.dtype === 'f64' && dtype === 'f32';
  if (feed.dtype !== dtype && !isFloat) refuseFeed(name, `is fed as ${feed.dtype}, not ${dtype}`);
  const fits =
    shape.length === feed.shape.length &&
    shape.every((size, i) => (evaluateDim(size, sizes) ?? feed.shape[i]) === feed.shape[i]);
  if (!fits) refuseFeed(name, `is ${showShape(feed.shape)}, not ${showShape(shape)}`);
  bindShape(name, shape, feed.shape, sizes);
  const array = ndArray(dtype, feed.shape, toDoubles(feed));
  // A size input's number is the size of that name.
  if (typeof content?.[0] === 'string') sizes.set(content[0], array.data[0]);
  return array;
}

function refuseFeed(name: string, reason: string): never {
  throw invalidArgument(`feed ${name}: ${reason}`);
}

function toDoubles({ dtype, data }: Tensor): Float64Array {
  if (dtype === 'f16') return Float64Array.from(widenF16(data as Uint16Array));
  if (dtype === 'bf16') return Float64Array.from(widenBf16(data as Uint16Array));
  return Float64Array.from(data as ArrayLike<number>, Number);
}

function toTensor({ dtype, shape, data }: NdArray): Tensor {
  if (dtype === 'i64') return tensor('i64', shape, BigInt64Array.from(data, BigInt));
  if (dtype === 'i32') return tensor('i32', shape, Int32Array.from(data));
  if (dtype === 'bool') return tensor('bool', shape, Uint8Array.from(data));
  return tensor('f64', shape, Float64Array.from(data));
}
