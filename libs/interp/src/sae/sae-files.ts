import { canonicalJson, invalidArgument, type Json, OperationError } from '@heddle/core';
import { type Safetensors, writeSafetensors } from '@heddle/formats';
import { showShape, type Tensor, tensor } from '@heddle/tensor';
import {
  checkSaeConfig,
  mapSae,
  SAE_PARAMETERS,
  type SaeConfig,
  type SaeWeights,
  saeDecoderNorms,
  saeShape,
} from './sae-config.ts';

/** SAELens' names of the two files of an autoencoder. */
export const SAE_CONFIG_FILE = 'cfg.json';
export const SAE_WEIGHTS_FILE = 'sae_weights.safetensors';

/** An autoencoder with the hook point that it reads and writes, in the host's units. */
export interface SaeLayer {
  readonly config: SaeConfig;
  readonly weights: SaeWeights<Tensor<'f32'>>;
  readonly hook: string;
}

/**
 * Weights for the host's units from weights for c·y, with unit decoder rows: W_enc ‖w_dec‖, b_enc ‖w_dec‖ / c, w_dec / ‖w_dec‖,
 * b_dec / c. Same reconstruction (divided by c) and same winners; activations become what is written, in the host's
 * units, so that readers that rank without the decoder's norm choose the same features.
 */
export function foldSae(weights: SaeWeights, factor: number): SaeWeights<Tensor<'f32'>> {
  const norms = saeDecoderNorms(weights).map((norm) => (norm > 0 ? norm : 1));
  const [features = 0, d_model = 0] = weights.W_dec.shape;
  return mapSae(weights, (t, name) => {
    const by = (scale: (at: number) => number) =>
      tensor(
        'f32',
        t.shape,
        Float32Array.from(t.data, (value, at) => value * scale(at)),
      );
    switch (name) {
      case 'W_enc':
        return by((at) => norms[at % features]);
      case 'b_enc':
        return by((at) => norms[at] / factor);
      case 'W_dec':
        return by((at) => 1 / norms[Math.floor(at / d_model)]);
      case 'b_dec':
        return by(() => 1 / factor);
    }
  });
}

/** The two files as SAELens 6 lays them out, architecture `topk`. `metadata` goes under that key of the config. */
export function writeSaeFiles(
  { config, weights, hook }: SaeLayer,
  metadata: Readonly<Record<string, Json>>,
): { readonly configText: string; readonly weights: Uint8Array } {
  const json = {
    architecture: 'topk',
    d_in: config.d_model,
    d_sae: config.d_sae,
    k: config.topK,
    dtype: 'float32',
    device: 'cpu',
    apply_b_dec_to_input: true,
    normalize_activations: 'none',
    reshape_activations: 'none',
    metadata: { hook_name: hook, ...metadata },
  };
  // The config travels inside too, so that the file can be used without its folder.
  const own = { heddle: canonicalJson(metadata), 'heddle.config': canonicalJson(json) };
  return {
    configText: `${JSON.stringify(json, null, 2)}\n`,
    weights: writeSafetensors({ ...weights }, own),
  };
}

/** Reads what `writeSaeFiles` wrote. Errors: `invalid_argument` naming the key or tensor that is wrong. */
export function readSaeFiles(configText: string | undefined, file: Safetensors): SaeLayer {
  const json = parsed(configText ?? file.header.metadata.get('heddle.config') ?? '');
  const expected = {
    architecture: 'topk',
    normalize_activations: 'none',
    apply_b_dec_to_input: true,
  };
  for (const [key, value] of Object.entries(expected)) {
    if (json[key] === value) continue;
    throw invalidArgument(`${key} is ${JSON.stringify(json[key])}; ${value} can be read`, {
      field: key,
    });
  }
  const { d_in, d_sae, k, metadata } = json as unknown as Record<'d_in' | 'd_sae' | 'k', number> & {
    readonly metadata?: { readonly hook_name?: Json };
  };
  const config = checkSaeConfig({ d_model: d_in, d_sae, topK: k });
  const take = (name: (typeof SAE_PARAMETERS)[number]) => {
    const t = file.header.tensors.has(name) ? file.tensor(name) : undefined;
    const shape = saeShape(config, name);
    if (t?.dtype === 'f32' && showShape(t.shape) === showShape(shape)) return t as Tensor<'f32'>;
    const found = t ? `${t.dtype} ${showShape(t.shape)}` : 'missing';
    throw invalidArgument(`${name} is ${found}; f32 ${showShape(shape)} is expected`, {
      field: name,
    });
  };
  const weights = Object.fromEntries(SAE_PARAMETERS.map((name) => [name, take(name)]));
  const hook = typeof metadata?.hook_name === 'string' ? metadata.hook_name : '';
  // One entry per name of SAE_PARAMETERS, which fromEntries forgets.
  return { config, weights: weights as unknown as SaeLayer['weights'], hook };
}

function parsed(text: string): Readonly<Record<string, Json>> {
  try {
    const value = JSON.parse(text) as Json;
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, Json>;
    throw invalidArgument('not an object');
  } catch (cause) {
    throw invalidArgument(`${SAE_CONFIG_FILE}: ${OperationError.from(cause).message}`, {
      field: SAE_CONFIG_FILE,
    });
  }
}
