import { encodeModel, GraphBuilder, gradients, type Value } from '@heddle/onnx';
import { flatParametersInput } from './gpt2-graph.ts';
import { buildLoss } from './loss-graph.ts';
import type { Gpt2Sizes } from './parameters.ts';

/**
 * One step of training as one graph: forward, loss, backward, clipped Adam. All state is fed and handed back.
 *
 *   feeds    parameters, m, v and trainable (1, or 0 for what stays as it is) `[flat]`; tokens, positions, targets i64 `[batch, pos]`; weights `[batch, pos]`;
 *            scalars rate, beta1, beta2, correction1, correction2, epsilon, clip
 *   outputs  parameters_next, m_next, v_next; loss; gradient_norm
 *
 * loss = Σ w · (log Σ exp logits − logit of the target) / Σ w. Gradients come from `gradients`, none by hand.
 */
export function trainingModel(sizes: Gpt2Sizes): Uint8Array {
  return encodeModel(trainingGraph(sizes).build());
}

export function trainingGraph(sizes: Gpt2Sizes): GraphBuilder {
  const g = new GraphBuilder('bundled-training');
  const parameters = flatParametersInput(g, 'parameters', sizes);
  const { loss } = buildLoss(g, sizes, parameters);
  const [gradient] = gradients(g, loss, [parameters]) as [Value];
  const trainable = flatParametersInput(g, 'trainable', sizes);
  g.scope('adam', () => buildAdam(g, sizes, { parameters, trainable, gradient }));
  g.output('loss', loss);
  return g;
}

/**
 * Adam (Kingma & Ba 2015) on the flat vector, after scaling the gradient to a norm of at most `clip`.
 * `correctionN` = 1 − betaNᵗ, fed, so that the step number needs no graph of its own.
 */
function buildAdam(
  g: GraphBuilder,
  sizes: Gpt2Sizes,
  {
    parameters,
    trainable,
    gradient,
  }: Readonly<Record<'parameters' | 'trainable' | 'gradient', Value>>,
): void {
  const scalar = (name: string) => g.input(name, 'f32', []);
  const [m, v] = ['m', 'v'].map((name) => flatParametersInput(g, name, sizes)) as [Value, Value];
  const [beta1, beta2] = [scalar('beta1'), scalar('beta2')];
  const kept = g.mul(gradient, trainable);
  const norm = g.reduceL2(kept, { keepDims: false });
  const clip = scalar('clip');
  const clipped = g.mul(kept, g.div(clip, g.max(clip, norm)));
  const mNext = g.add(g.mul(m, beta1), g.mul(clipped, g.sub(1, beta1)));
  const vNext = g.add(g.mul(v, beta2), g.mul(g.mul(clipped, clipped), g.sub(1, beta2)));
  const spread = g.add(g.sqrt(g.div(vNext, scalar('correction2'))), scalar('epsilon'));
  const rate = g.div(scalar('rate'), scalar('correction1'));
  // Masked again: the running mean of a frozen parameter still fades.
  const change = g.mul(g.mul(g.div(mNext, spread), rate), trainable);
  const next = g.sub(parameters, change);
  g.output('parameters_next', next);
  g.output('m_next', mNext);
  g.output('v_next', vNext);
  g.output('gradient_norm', norm);
}
