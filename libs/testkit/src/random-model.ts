import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Rng } from '@heddle/core';
import { writeSafetensors } from '@heddle/formats';
import { readModelConfig, weightSpecs } from '@heddle/models';
import { elementCount, type Tensor, tensor } from '@heddle/tensor';

/** GPT-2's config.json of a given size. */
export function gpt2Config(sizes: {
  readonly n_layer: number;
  readonly n_head: number;
  readonly n_embd: number;
  readonly vocab_size: number;
  readonly n_positions: number;
}): Readonly<Record<string, unknown>> {
  return {
    model_type: 'gpt2',
    architectures: ['GPT2LMHeadModel'],
    activation_function: 'gelu_new',
    layer_norm_epsilon: 1e-5,
    ...sizes,
  };
}

/** Numbers drawn before they repeat: drawing 124 million would take longer than any test that uses them. */
const DRAWN = 1 << 20;
/** Standard deviation of weights, as GPT-2 was initialised: activations stay of order 1. */
const SCALE = 0.02;

/**
 * Writes a model's folder with random weights, any family that config.json can name; the same seed gives the same
 * bytes. For shapes and speed; what it says means nothing.
 */
export async function writeRandomModel(
  folder: string,
  configJson: Readonly<Record<string, unknown>>,
  seed: number,
): Promise<void> {
  const { config } = readModelConfig('config.json', configJson);
  const rng = new Rng(seed);
  const drawn = Float32Array.from({ length: DRAWN }, () => SCALE * rng.normal());
  const tensors: Record<string, Tensor> = {};
  for (const { names, shape, layout, role } of weightSpecs(config)) {
    // Each tensor starts elsewhere in the drawn numbers, so that no two are alike.
    const start = rng.below(DRAWN);
    const mean = layout === 'vector' && role.endsWith('.w') ? 1 : 0;
    const data = new Float32Array(elementCount(shape));
    for (let i = 0; i < data.length; i++) {
      data[i] = mean + (drawn[(start + i) % DRAWN] as number);
    }
    tensors[names[0] as string] = tensor('f32', shape, data);
  }
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(configJson));
  await writeFile(join(folder, 'model.safetensors'), writeSafetensors(tensors));
}
