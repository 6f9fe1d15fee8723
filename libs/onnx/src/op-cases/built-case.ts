import { elementCount, type Tensor, tensor } from '@heddle/tensor';
import { vjp } from '../autodiff/gradients.ts';
import type { Graph } from '../graph.ts';
import type { OpName } from '../ops/registry.ts';
import { CaseKit, type OpCase } from './case-kit.ts';

export interface BuiltCase {
  /** Outputs `y0`, `y1` … and, with gradients, `d.{input}`. */
  readonly graph: Graph;
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** The f32 outputs that can be differentiated, each with its `cotangent.{output}` among the feeds. */
  readonly floatOutputs: readonly string[];
  /** The f32 inputs. */
  readonly floatInputs: readonly string[];
  /** Ops of the case itself, without those of its gradient. */
  readonly ops: readonly OpName[];
}

/** A case on the shapes and numbers of a seed; with gradients, those of Σ ⟨output, cotangent⟩ by each float input. */
export function buildCase({ build }: OpCase, seed: number, withGradients: boolean): BuiltCase {
  const k = new CaseKit(seed);
  const outputs = build(k);
  const ops = k.g.builtNodes.map(({ op }) => op);
  const names = outputs.map((_, i) => `y${i}`);
  const floats = outputs.flatMap((value, i) => (value.dtype === 'f32' ? [{ value, i }] : []));
  const feeds: Record<string, Tensor> = { ...k.feeds };
  if (withGradients) {
    const cotangents = floats.map(({ value: { shape }, i }) => {
      const sizes = shape.map((size) => k.sizeOf(size));
      const data = Float32Array.from({ length: elementCount(sizes) }, () => k.rng.normal());
      feeds[`cotangent.y${i}`] = tensor('f32', sizes, data);
      return k.g.input(`cotangent.y${i}`, 'f32', shape);
    });
    const values = floats.map(({ value }) => value);
    vjp(k.g, values, cotangents, k.floats).forEach((gradient, i) => {
      k.g.output(`d.${k.floats[i].name}`, gradient);
    });
  }
  outputs.forEach((value, i) => {
    k.g.output(names[i], value);
  });
  return {
    graph: k.g.build(),
    feeds,
    floatOutputs: floats.map(({ i }) => names[i]),
    floatInputs: k.floats.map(({ name }) => name),
    ops,
  };
}
