import { type LorsaLayer, mapWeights, scaleFactors, toF32 } from '@heddle/interp/lorsa';
import { type Tensor, tensor } from '@heddle/tensor';
import { type HostSample, meanNorms } from './host-sample.ts';

/**
 * Gain and, for LayerNorm, bias of the norm that a layer reads behind. `ln1.hook_normalized` is the value before them
 * in some versions of TransformerLens and after them in others: a checkpoint that was trained on the former reads
 * n = (x − bias) / gain, where x is what the host's own weights read.
 */
export interface NormGain {
  /** `[d_model]`. */
  readonly gain: Float32Array;
  readonly bias: Float32Array | undefined;
}

/** A gain this small beside the largest loses what it multiplies: n could not be found again from x. */
const GAIN_SHARE_MIN = 1e-4;

/** Whether n is something else than x, and can be had from it. */
export function tellsApart({ gain, bias }: NormGain): boolean {
  const sizes = gain.map(Math.abs);
  const largest = sizes.reduce((most, size) => Math.max(most, size), 0);
  const same = gain.every((g) => g === 1) && (bias?.every((b) => b === 0) ?? true);
  return !same && sizes.every((size) => size > largest * GAIN_SHARE_MIN);
}

/** The same tokens with n in the place of x. */
export function beforeGain(sample: HostSample, norm: NormGain): HostSample {
  const sequences = sample.sequences.map((sequence) => {
    const d_model = sequence.x.shape[2] ?? 0;
    const data = sequence.x.data.map((value, at) => {
      const d = at % d_model;
      return (value - (norm.bias?.[d] ?? 0)) / (norm.gain[d] ?? 1);
    });
    return { ...sequence, x: tensor('f64', sequence.x.shape, data) };
  });
  return { ...sample, sequences, norms: meanNorms(sequences) };
}

/**
 * A layer that reads n as one that reads x, with the same output: W / gain for W_Q, W_K, W_V row by row, and their biases
 * less c · (bias / gain) W, where c is what the normalisation multiplies the input by.
 */
export function afterGain(layer: LorsaLayer, { gain, bias }: NormGain): LorsaLayer {
  const { d_model } = layer.config;
  const scale = layer.norms ? scaleFactors(d_model, layer.norms).input : 1;
  const offset = Float64Array.from(gain, (g, d) => (scale * (bias?.[d] ?? 0)) / g);
  const { W_Q, W_K, W_V } = layer.weights;
  /** Σ_d offset_d W[head, d, c]: of the shared heads. */
  const perHead = (b: Tensor, W: Tensor): Tensor<'f32'> => {
    const [, , width = 0] = W.shape;
    const data = Float32Array.from(b.data as Float32Array, (value, at) => {
      const [head, c] = [Math.floor(at / width), at % width];
      let sum = 0;
      for (let d = 0; d < d_model; d++) {
        sum += (offset[d] ?? 0) * Number(W.data[(head * d_model + d) * width + c] ?? 0);
      }
      return value - sum;
    });
    return tensor('f32', b.shape, data);
  };
  const weights = mapWeights(layer.weights, (t, name) => {
    switch (name) {
      case 'W_Q':
      case 'W_K': {
        const [, , width = 1] = t.shape;
        return divided(t, (at) => gain[Math.floor(at / width) % d_model] ?? 1);
      }
      case 'W_V':
        return divided(t, (at) => gain[at % d_model] ?? 1);
      case 'b_Q':
        return perHead(t, W_Q);
      case 'b_K':
        return perHead(t, W_K);
      case 'b_V': {
        const rows = { ...W_V, shape: [W_V.shape[0] ?? 0, d_model, 1] };
        return perHead(t, rows);
      }
      default:
        return toF32(t);
    }
  });
  return { ...layer, weights };
}

function divided(t: Tensor<'f32' | 'f64'>, by: (at: number) => number): Tensor<'f32'> {
  return tensor(
    'f32',
    t.shape,
    Float32Array.from(t.data, (value, at) => value / by(at)),
  );
}
