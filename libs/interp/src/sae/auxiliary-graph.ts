import type { GraphBuilder, Value } from '@heddle/onnx';
import { AUX, SILENT_MAX } from '../lorsa/auxiliary-graph.ts';
import type { SaeConfig } from './sae-config.ts';
import type { SaeValues } from './sae-graph.ts';

/** Names of what AuxK adds to a step: those of a Lorsa step. */
export { AUX as SAE_AUX } from '../lorsa/auxiliary-graph.ts';

export interface SaeAuxiliaryInputs {
  /** Tokens on which each feature is active in this step `[feature]`, and how many tokens there are. */
  readonly fired: Value;
  readonly tokens: Value;
  /** ŷ − y `[token, d_model]`, and 1/tokens on valid ones, 0 elsewhere `[token, 1]`. */
  readonly error: Value;
  readonly weight: Value;
  readonly W_dec: Value;
}

/**
 * AuxK (Gao et al. 2024; methods 1.8) as `saeGradients` has it: the dead features that rank highest rebuild the error
 * e = y − ŷ, which is held fixed; the decoder's bias takes no part.
 */
export function saeAuxiliaryGraph(
  g: GraphBuilder,
  { d_sae }: SaeConfig,
  { pre, rank }: Pick<SaeValues, 'pre' | 'rank'>,
  of: SaeAuxiliaryInputs,
): { readonly reconstruction: Value; readonly cotangent: Value; readonly loss: Value } {
  const silent = g.input(AUX.silent, 'f32', [d_sae]);
  const threshold = g.input(AUX.deadTokens, 'f32', []);
  const coefficient = g.input(AUX.coefficient, 'f32', []);
  g.sizeInput(AUX.topK);
  return g.scope('auxiliary', () => {
    const longer = g.min(g.add(silent, of.tokens), SILENT_MAX);
    g.output(`next.${AUX.silent}`, g.where(g.greater(of.fired, 0), 0, longer));
    const dead = g.cast(g.greaterOrEqual(silent, threshold), 'f32');
    const { values, indices } = g.topK(g.mul(rank, dead), AUX.topK);
    const ones = g.cast(g.greater(values, 0), 'f32');
    const none = g.constantOfShape(pre.shape, 0);
    const active = g.scatterElements(none, indices, ones, { axis: 1 });
    const reconstruction = g.gemm(g.mul(pre, active), of.W_dec);
    const rest = g.add(reconstruction, of.error); // ê − e
    const weighted = g.mul(rest, g.mul(of.weight, coefficient));
    const loss = g.reduceSum(g.mul(weighted, rest), { keepDims: false });
    g.output(AUX.loss, loss);
    return { reconstruction, cotangent: g.mul(weighted, 2), loss };
  });
}
