import type { GraphBuilder, Value } from '@heddle/onnx';
import { buildGate, type LorsaValues } from './forward-graph.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import { nextName } from './state-feeds.ts';
import type { LossValues } from './train-graph.ts';

/** Names of what AuxK adds to a step: feeds, and the output of its part of the loss. */
export const AUX = {
  /** Size input: dead heads per token. */
  topK: 'aux_k',
  coefficient: 'aux_coefficient',
  /** Tokens of silence after which a head is dead. */
  deadTokens: 'dead_tokens',
  /** `[ov_head]`, tokens since a head fired, at most `SILENT_MAX`; comes back as `next.silent_tokens`. */
  silent: 'silent_tokens',
  loss: 'auxiliary_loss',
} as const;

/** fp32 counts single tokens up to here, which is past any threshold (methods: 10 million). */
export const SILENT_MAX = 2 ** 24;

/** Which heads are dead before the step (1 or 0, `[ov_head]`); counts the step's silence for the next one. */
export function silenceGraph(
  g: GraphBuilder,
  { n_ov_heads }: Pick<LorsaConfig, 'n_ov_heads'>,
  { fired, tokens }: Pick<LossValues, 'fired' | 'tokens'>,
): { readonly dead: Value } {
  const silent = g.input(AUX.silent, 'f32', [n_ov_heads]);
  const threshold = g.input(AUX.deadTokens, 'f32', []);
  return g.scope('silence', () => {
    const longer = g.min(g.add(silent, tokens), SILENT_MAX);
    g.output(nextName(AUX.silent), g.where(g.greater(fired, 0), 0, longer));
    return { dead: g.cast(g.greaterOrEqual(silent, threshold), 'f32') };
  });
}

/**
 * AuxK (methods 1.8): the dead heads that rank highest rebuild the error e = y − ŷ, which is held fixed, as in the published
 * codes (Gao et al. 2024 detach it too): it is a target, and the main loss alone moves what made it.
 *
 *   ê = Σ z_i w_o_i over the token's top dead heads, without b_D     loss = coefficient · Σ weight ‖e − ê‖²
 */
export function auxiliaryGraph(
  g: GraphBuilder,
  { preActivations, rank }: Pick<LorsaValues, 'preActivations' | 'rank'>,
  of: Pick<LossValues, 'error' | 'weight'> & { readonly dead: Value; readonly W_O: Value },
): { readonly reconstruction: Value; readonly cotangent: Value; readonly loss: Value } {
  const coefficient = g.input(AUX.coefficient, 'f32', []);
  g.sizeInput(AUX.topK);
  return g.scope('auxiliary', () => {
    const { active } = buildGate(g, g.mul(rank, of.dead), AUX.topK);
    const reconstruction = g.gemm(g.mul(preActivations, active), of.W_O);
    const rest = g.add(reconstruction, of.error); // ê − e
    // Without a dead head there is nobody to explain anything, and no loss: not ‖e − 0‖².
    const any = g.reduceMax(of.dead, { keepDims: false });
    const weighted = g.mul(rest, g.mul(of.weight, g.mul(coefficient, any)));
    return {
      reconstruction,
      cotangent: g.mul(weighted, 2),
      loss: g.reduceSum(g.mul(weighted, rest), { keepDims: false }),
    };
  });
}
