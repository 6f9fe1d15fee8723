import { type WeightStore, withHostModel } from '@heddle/client';
import { invalidArgument, type Json, notFound } from '@heddle/core';
import { type HostAttention, type RotaryConfig, rotaryOfHost } from '@heddle/interp/lorsa';
import { attentionRoles, attentionWeights, type Model, weightOf } from '@heddle/models';
import type { Clients, Hub, WeightReader } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';

/** The sizes of a host that a Lorsa layer must fit; known before any file is read. */
export interface HostSizes {
  readonly d_model: number;
  readonly d_head: number;
  readonly n_heads: number;
  readonly n_ctx: number;
  readonly n_layers: number;
}

/** One attention layer of a host: what a Lorsa layer that replaces it must fit. */
export interface HostLayer extends HostSizes {
  readonly modelDigest: string;
  readonly layer: number;
  readonly attnScale: number;
  readonly rotary: RotaryConfig | undefined;
  readonly qkNormEps: number | undefined;
  readonly attention: HostAttention;
  /** Where Lorsa reads: the vector that W_Q, W_K and W_V multiply. */
  readonly hookIn: string;
  /** What it must give: the layer's output with b_O. */
  readonly hookOut: string;
}

export interface HostDeps {
  readonly hub: Hub;
  readonly store: WeightStore;
  readonly peers: Pick<Clients, 'activation'>;
}

const CONFIG_BYTES_MAX = 2 ** 20; // a config.json has a few kilobytes

/** Reads one layer of a host. Errors: `invalid_argument` for a layer that it lacks; those of the hub. */
export async function readHostLayer(
  { hub, store, peers }: HostDeps,
  model: string,
  layer: number,
): Promise<HostLayer> {
  const { model: info } = await peers.activation.DescribeModel({ model });
  if (!info) throw notFound(`no model ${model}`, { field: 'model' });
  return withHostModel({ hub, store }, info, async ({ model: loaded, reader, folder }) => {
    const { config } = loaded;
    requireLayer(config, layer);
    const json = JSON.parse(await folder.readText('config.json', CONFIG_BYTES_MAX)) as Json;
    const { positions } = config;
    return {
      modelDigest: info.digest,
      layer,
      d_model: config.d_model,
      d_head: config.d_head,
      n_heads: config.n_heads,
      n_ctx: config.n_ctx,
      n_layers: config.n_layers,
      attnScale: config.attn_scale[layer] ?? Math.sqrt(config.d_head),
      rotary: positions.kind === 'rotary' ? rotaryOfHost(positions, json) : undefined,
      qkNormEps: config.qkNorm ? config.norm.epsilon : undefined,
      attention: await readAttention(reader, loaded, layer),
      ...layerHooks(layer),
    };
  });
}

/** Where a layer's attention reads and writes. */
export const layerHooks = (layer: number): Pick<HostLayer, 'hookIn' | 'hookOut'> => ({
  hookIn: `blocks.${layer}.ln1.hook_normalized`,
  hookOut: `blocks.${layer}.hook_attn_out`,
});

/** Errors: `invalid_argument` for a layer that the host lacks. */
export function requireLayer({ n_layers }: Pick<HostSizes, 'n_layers'>, layer: number): void {
  if (layer < n_layers) return;
  throw invalidArgument(`layer is ${layer}; the model has ${n_layers}, counted from 0`, {
    field: 'layer',
    details: { limit: n_layers - 1 },
  });
}

/** Sizes as the activation server tells them, for checks before a job is accepted. */
export async function readHostSizes(
  peers: HostDeps['peers'],
  model: string,
  signal?: AbortSignal,
): Promise<HostSizes> {
  const { model: info } = await peers.activation.DescribeModel({ model }, { signal });
  if (!info) throw notFound(`no model ${model}`, { field: 'model' });
  const { d_model, d_head, n_heads, n_ctx, n_layers } = info;
  return { d_model, d_head, n_heads, n_ctx, n_layers };
}

async function readAttention(
  reader: WeightReader,
  model: Model,
  layer: number,
): Promise<HostAttention> {
  const read = new Map<string, Tensor<'f32'>>();
  for (const role of attentionRoles(model, layer)) {
    read.set(weightOf(model, role).name, await reader.read(role));
  }
  const weights = attentionWeights(model, layer, ({ name }) => {
    const tensor = read.get(name);
    if (!tensor) throw new TypeError(`weight ${name} was not read`);
    return tensor;
  });
  if (!model.config.qkNorm) return weights;
  const gain = (name: 'q_norm' | 'k_norm') => reader.read(`blocks.${layer}.attn.${name}.w`);
  return { ...weights, q_norm: await gain('q_norm'), k_norm: await gain('k_norm') };
}
