import { assert } from '@heddle/core';
import { showShape } from '@heddle/tensor';
import type { BuiltNode } from '../builder/graph-core.ts';
import type { Dim } from '../dims.ts';
import type { Value } from '../graph.ts';
import type { GraphBuilder } from '../graph-builder.ts';
import { OPS } from '../ops/registry.ts';

/**
 * Gradients of a scalar by values of the same graph, as more nodes of that graph (reverse mode). Node names say where they
 * come from: `gradient.blocks.0.attn.MatMul_12.Mul_40`. A value that the loss does not depend on gets zeros.
 */
export function gradients(g: GraphBuilder, loss: Value, wrt: readonly Value[]): readonly Value[] {
  assert(
    loss.shape.every((n) => n === 1),
    () => `the loss is ${showShape(loss.shape)}, no scalar`,
  );
  return vjp(g, [loss], [g.constantOfShape(loss.shape, 1)], wrt);
}

/**
 * Vector-Jacobian product: d/dwrt Σᵢ ⟨outputᵢ, cotangentᵢ⟩. This is how gradients pass from segment to segment: the
 * cotangent of a segment's `resid` output is the gradient that the next segment gave for its input.
 */
export function vjp(
  g: GraphBuilder,
  outputs: readonly Value[],
  cotangents: readonly Value[],
  wrt: readonly Value[],
): readonly Value[] {
  assert(outputs.length === cotangents.length, 'not one cotangent for each output');
  const nodes = [...g.builtNodes];
  const wanted = dependentsOf(nodes, wrt);
  const sums = new Map<Value, Value[]>();
  const give = (value: Value, gradient: Value) => {
    const known = sums.get(value);
    if (known === undefined) sums.set(value, [gradient]);
    else known.push(gradient);
  };
  outputs.forEach((output, i) => {
    const cotangent = cotangents[i];
    const fits = showShape(cotangent.shape) === showShape(output.shape);
    assert(fits, () => `the cotangent of ${output.name} is ${showShape(cotangent.shape)}`);
    if (wanted.has(output)) give(output, cotangent);
  });
  const total = (value: Value): Value | undefined => {
    const parts = sums.get(value);
    if (parts === undefined) return undefined;
    const sum = parts.reduce((a, b) => g.add(a, b));
    sums.set(value, [sum]);
    return sum;
  };
  for (const node of nodes.reverse()) {
    if (!node.outputs.some((value) => wanted.has(value) && sums.has(value))) continue;
    g.scope(`gradient.${node.name}`, () => backward(g, node, { wanted, total, give }));
  }
  return wrt.map((value) => total(value) ?? g.zerosLike(value));
}

interface Walk {
  readonly wanted: ReadonlySet<Value>;
  readonly total: (value: Value) => Value | undefined;
  readonly give: (value: Value, gradient: Value) => void;
}

function backward(g: GraphBuilder, node: BuiltNode, { wanted, total, give }: Walk): void {
  const { gradient } = OPS[node.op];
  if (typeof gradient !== 'function') return;
  const dys = node.outputs.map(total);
  const rules = gradient({ ...node, g, dys, dy: dys[0] as Value });
  node.inputs.forEach((input, i) => {
    const rule = rules[i];
    if (rule !== undefined && wanted.has(input)) give(input, sumTo(g, rule(), input.shape));
  });
}

/** Everything that depends on one of `wrt`, through floats: only there is a gradient of use. */
function dependentsOf(nodes: readonly BuiltNode[], wrt: readonly Value[]): ReadonlySet<Value> {
  const wanted = new Set(wrt);
  for (const { inputs, outputs } of nodes) {
    if (!inputs.some((value) => wanted.has(value))) continue;
    for (const value of outputs) if (value.dtype === 'f32') wanted.add(value);
  }
  return wanted;
}

/** Undoes broadcasting: sums the axes that were repeated. Decided by names, so that symbolic sizes need no look at run time. */
function sumTo(g: GraphBuilder, gradient: Value, shape: readonly Dim[]): Value {
  const extra = gradient.shape.length - shape.length;
  assert(extra >= 0, () => `a gradient of ${showShape(gradient.shape)} for ${showShape(shape)}`);
  const leading = Array.from({ length: extra }, (_, i) => i);
  const repeated = shape.flatMap((n, axis) =>
    n === 1 && gradient.shape[axis + extra] !== 1 ? [axis + extra] : [],
  );
  const kept = g.reduceSum(gradient, { axes: repeated });
  return g.reduceSum(kept, { axes: leading, keepDims: false });
}
