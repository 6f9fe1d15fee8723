import { assert } from '@heddle/core';
import { type LorsaLayer, type MeanNorms, meanNorm, scaleFactors } from '@heddle/interp/lorsa';
import { type Tensor, tensor } from '@heddle/tensor';
import { FixedActivations } from '../fixed-activations.ts';
import type { SyntheticLayer } from '../synthetic-layer.ts';

/** For tests: the prompts that a synthetic host is asked about. */
export const PROMPTS = Array.from({ length: 12 }, (_, i) => ({
  tokens: Array.from({ length: 20 }, (_unused, j) => (i * 17 + j * 5 + ((i * j) % 7)) % 64),
}));

/**
 * For tests: the same host in other units. The synthetic one has norms near √d_model, so that normalising would change
 * nothing and any reading would fit; a real host's differ by ten and more.
 */
export function inOtherUnits(
  { host, values }: SyntheticLayer,
  units: { readonly input: number; readonly output: number },
): SyntheticLayer {
  const times = <T extends Tensor>(t: T, factor: number): T => ({
    ...t,
    data: (t.data as Float32Array).map((value) => value * factor),
  });
  const { W_Q, W_K, W_V, W_O, b_O } = host.attention;
  const attention = {
    ...host.attention,
    W_Q: times(W_Q, 1 / units.input),
    W_K: times(W_K, 1 / units.input),
    W_V: times(W_V, 1 / units.input),
    W_O: times(W_O, units.output),
    ...(b_O === undefined ? {} : { b_O: times(b_O, units.output) }),
  };
  const scaled: SyntheticLayer['values'] = (ids) => {
    const { [host.hookIn]: x, [host.hookOut]: y } = values(ids);
    assert(x && y, 'a layer has an input and an output');
    return { [host.hookIn]: times(x, units.input), [host.hookOut]: times(y, units.output) };
  };
  return {
    host: { ...host, attention },
    values: scaled,
    activations: (blobs, shardSequences = 32) =>
      new FixedActivations({
        blobs,
        values: scaled,
        shardSequences,
        modelDigest: host.modelDigest,
        special: (id) => id === 0,
      }),
  };
}

/** For tests: its mean norms over the valid tokens of these prompts. */
export function hostNorms({ host, values }: SyntheticLayer): MeanNorms {
  const all = (hook: string) => {
    const parts = PROMPTS.map(({ tokens }) => values(tokens)[hook]?.data ?? new Float32Array());
    const data = Float32Array.from(parts.flatMap((part) => [...part]));
    return tensor('f32', [data.length / host.d_model, host.d_model], data);
  };
  const valid = PROMPTS.flatMap(({ tokens }) => tokens.map((id) => id !== 0));
  return { input: meanNorm(all(host.hookIn), valid), output: meanNorm(all(host.hookOut), valid) };
}

/**
 * For tests: a layer that gives the synthetic host's output exactly (methods 1.14.7): a signed pair of rank-one heads per
 * dimension of each dense head, of which one is active. Folded, it works in the host's units; dataset-wise, its weights
 * are those of a training on normalised activations.
 */
export function exactLayer(
  { host }: SyntheticLayer,
  normalisation: 'inference' | 'dataset-wise',
  norms: MeanNorms,
): LorsaLayer {
  const { d_model, d_head, n_heads, attention } = host;
  const { W_Q, W_K, W_V, W_O, b_Q, b_K, b_V, b_O } = attention;
  const units = 2 * n_heads * d_head;
  const read = new Float32Array(units * d_model);
  const write = new Float32Array(units * d_model);
  const bias = new Float32Array(units);
  for (let i = 0; i < units; i++) {
    const head = Math.floor(i / (2 * d_head));
    const j = Math.floor((i % (2 * d_head)) / 2);
    const sign = i % 2 === 0 ? 1 : -1;
    for (let d = 0; d < d_model; d++) {
      read[i * d_model + d] = sign * (W_V.data[(head * d_model + d) * d_head + j] ?? 0);
      write[i * d_model + d] = sign * (W_O.data[(head * d_head + j) * d_model + d] ?? 0);
    }
    bias[i] = sign * (b_V?.data[head * d_head + j] ?? 0);
  }
  const factors =
    normalisation === 'inference' ? { input: 1, output: 1 } : scaleFactors(d_model, norms);
  const times = (t: Tensor, factor: number) =>
    tensor(
      'f32',
      t.shape,
      Float32Array.from(t.data as Float32Array, (v) => v * factor),
    );
  const zero = (...shape: number[]) =>
    tensor('f32', shape, new Float32Array(shape.reduce((a, b) => a * b)));
  return {
    config: {
      d_model,
      n_ov_heads: units,
      n_qk_heads: n_heads,
      d_qk_head: d_head,
      n_ctx: host.n_ctx,
      activation: 'topk',
      topK: units / 2,
      signed: false,
      decoderNormInGate: true,
      useDecoderBias: true,
      attnScale: host.attnScale,
      rotary: host.rotary,
      qkNormEps: undefined,
    },
    weights: {
      W_Q: times(W_Q, 1 / factors.input),
      W_K: times(W_K, 1 / factors.input),
      b_Q: times(b_Q ?? zero(n_heads, d_head), 1),
      b_K: times(b_K ?? zero(n_heads, d_head), 1),
      W_V: times(tensor('f32', [units, d_model], read), 1 / factors.input),
      b_V: tensor('f32', [units], bias),
      W_O: times(tensor('f32', [units, d_model], write), factors.output),
      b_D: times(b_O ?? zero(d_model), factors.output),
    },
    hookIn: host.hookIn,
    hookOut: host.hookOut,
    normalisation,
    norms: normalisation === 'inference' ? undefined : norms,
  };
}
