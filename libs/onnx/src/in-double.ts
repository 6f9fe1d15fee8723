import type { DType } from '@heddle/tensor';
import type { Attribute, Constant, Graph, NamedValue, Node, ValueInfo } from './graph.ts';

/**
 * The same graph computed in double: every f32 in it, also of outputs and constants, becomes f64. Inputs do too, except
 * those named in `single`, which are fed in f32 and widened inside: weights then travel at half the size. For engines
 * with double kernels (ONNX Runtime's CPU provider). Weights in files are not taken: their bytes have a type of their own.
 */
export function inDouble(graph: Graph, single: readonly string[] = []): Graph {
  if (graph.weights.length > 0) throw new TypeError('a graph with weights in files stays single');
  const kept = new Set(single);
  const doubled = (name: string): string => (kept.has(name) ? `${name}.double` : name);
  const casts = graph.inputs
    .filter(({ name, dtype }) => kept.has(name) && dtype === 'f32')
    .map(({ name }): Node => {
      const to = { to: 'f64' };
      return {
        op: 'Cast',
        name: `${name}.Cast`,
        inputs: [name],
        outputs: [doubled(name)],
        attributes: to,
      };
    });
  const values = new Map<string, ValueInfo>();
  for (const [name, info] of graph.values) values.set(doubled(name), widened(info));
  for (const input of graph.inputs) if (kept.has(input.name)) values.set(input.name, input);
  return {
    ...graph,
    inputs: graph.inputs.map((input) => (kept.has(input.name) ? input : widened(input))),
    outputs: graph.outputs.map(widened),
    constants: graph.constants.map((constant): Constant => widened(constant)),
    nodes: [
      ...casts,
      ...graph.nodes.map((node) => ({
        ...node,
        inputs: node.inputs.map(doubled),
        attributes: Object.fromEntries(
          Object.entries(node.attributes).map(([name, value]) => [name, inAttribute(name, value)]),
        ),
      })),
    ],
    values,
  };
}

const widen = (dtype: DType): DType => (dtype === 'f32' ? 'f64' : dtype);

function widened<T extends ValueInfo | NamedValue>(info: T): T {
  return { ...info, dtype: widen(info.dtype) };
}

function inAttribute(name: string, value: Attribute): Attribute {
  if (name === 'to') return widen(value as DType);
  // An array has a `fill` too.
  if (typeof value !== 'object' || Array.isArray(value) || !('fill' in value)) return value;
  return { ...value, dtype: widen(value.dtype) };
}
