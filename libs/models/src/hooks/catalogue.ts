import { invalidArgument } from '@heddle/core';
import type { ModelConfig } from '../config/model-config.ts';
import { blockPoints, type PointTemplate } from './block-points.ts';

/** A part of a model that is one session: the embedding, a block, the unembedding. */
export type Segment =
  | { readonly kind: 'embed' }
  | { readonly kind: 'block'; readonly layer: number }
  | { readonly kind: 'unembed' };

export function segmentName(segment: Segment): string {
  return segment.kind === 'block' ? `blocks.${segment.layer}` : segment.kind;
}

/** A place in a model where a value can be read, and (but for logits) changed. */
export interface HookPoint {
  readonly name: string;
  /** Without the batch axis; `'1'` is an axis of size one. */
  readonly axes: readonly string[];
  /** `'pos'` stands for the length of the prompt. */
  readonly shape: readonly (number | 'pos')[];
  readonly definition: string;
  /** Other names that are understood: TransformerLens 3's, after the modules. */
  readonly aliases: readonly string[];
  readonly segment: Segment;
}

/** *Every hook point of a model*, in forward order. */
export function hookPoints(config: ModelConfig): readonly HookPoint[] {
  const points = [...embedPoints(config)];
  for (let layer = 0; layer < config.n_layers; layer++) {
    const templates = blockPoints(config).filter((point) => point.lacking === undefined);
    points.push(...templates.map((template) => inLayer(config, template, layer)));
  }
  points.push(...unembedPoints(config));
  return points;
}

/** A point of the catalogue that a model has not, and why. */
export type LackingPoint = Omit<HookPoint, 'segment'> & { readonly reason: string };

/** *The catalogue's other points*: those that this model lacks, in forward order. */
export function lackingPoints(config: ModelConfig): readonly LackingPoint[] {
  const points: LackingPoint[] = [];
  if (config.positions.kind === 'rotary') {
    const reason = whyLacking(config, POS_EMBED.name);
    points.push({ ...POS_EMBED, shape: ['pos', config.d_model], reason });
  }
  const lacking = blockPoints(config).filter((point) => point.lacking !== undefined);
  for (let layer = 0; layer < config.n_layers; layer++) {
    for (const template of lacking) {
      const { segment: _, ...point } = inLayer(config, template, layer);
      points.push({ ...point, reason: whyLacking(config, point.name) });
    }
  }
  return points;
}

/** The point of a canonical name. Errors: `invalid_argument` for a name that the model lacks, with the reason. */
export function hookPoint(config: ModelConfig, name: string): HookPoint {
  const parsed = /^blocks\.(0|[1-9]\d{0,3})\.(.+)$/.exec(name);
  if (parsed) {
    const layer = Number(parsed[1]);
    const template = blockPoints(config).find((point) => point.name === parsed[2]);
    if (template?.lacking === undefined && template && layer < config.n_layers) {
      return inLayer(config, template, layer);
    }
  } else {
    const point = [...embedPoints(config), ...unembedPoints(config)].find((p) => p.name === name);
    if (point) return point;
  }
  throw invalidArgument(`hook ${JSON.stringify(name)}: ${whyLacking(config, name)}`, {
    field: 'hooks',
    details: { hook: name },
  });
}

/** Why a model has no point of that name, in a sentence. */
export function whyLacking(config: ModelConfig, name: string): string {
  const { family, n_layers } = config;
  const parsed = /^blocks\.([^.]*)\.(.+)$/.exec(name);
  if (name === 'hook_pos_embed') {
    return `${family} has no position embedding: positions enter by rotary, see blocks.L.attn.hook_rot_q`;
  }
  if (!parsed) return 'no hook point has this name; `heddle model hooks` lists them';
  const template = blockPoints(config).find((point) => point.name === parsed[2]);
  if (!template) return 'no hook point of a block has this name; `heddle model hooks` lists them';
  if (template.lacking !== undefined) return `${family} lacks it: ${template.lacking}`;
  return `the model has layers 0 to ${n_layers - 1}`;
}

function inLayer(config: ModelConfig, template: PointTemplate, layer: number): HookPoint {
  const prefix = `blocks.${layer}.`;
  return {
    name: `${prefix}${template.name}`,
    axes: template.axes,
    shape: template.axes.map((axis) => sizeOf(config, axis)),
    definition: template.definition,
    aliases: template.aliases.map((alias) => `${prefix}${alias}`),
    segment: { kind: 'block', layer },
  };
}

function sizeOf(config: ModelConfig, axis: string): number | 'pos' {
  switch (axis) {
    case 'pos':
    case 'query_pos':
    case 'key_pos':
      return 'pos';
    case 'head':
      return config.n_heads;
    case 'kv_head':
      return config.n_key_value_heads;
    case '1':
      return 1;
    default:
      return config[axis as 'd_head' | 'd_model' | 'd_mlp' | 'd_vocab'];
  }
}

const POS_EMBED = {
  name: 'hook_pos_embed',
  axes: ['pos', 'd_model'],
  definition: 'W_pos[pos]',
  aliases: ['pos_embed.hook_out'],
} as const;

function embedPoints(config: ModelConfig): readonly HookPoint[] {
  const segment: Segment = { kind: 'embed' };
  const shared = { axes: ['pos', 'd_model'], shape: ['pos', config.d_model] as const, segment };
  const embed: HookPoint = {
    ...shared,
    name: 'hook_embed',
    definition: 'W_E[token]',
    aliases: ['embed.hook_out'],
  };
  if (config.positions.kind === 'rotary') return [embed];
  return [embed, { ...shared, ...POS_EMBED }];
}

function unembedPoints(config: ModelConfig): readonly HookPoint[] {
  const segment: Segment = { kind: 'unembed' };
  const { d_model, d_vocab, norm } = config;
  const layer = norm.kind === 'layer';
  return [
    {
      name: 'ln_final.hook_scale',
      axes: ['pos', '1'],
      shape: ['pos', 1],
      definition: layer ? '√(var(resid) + ε)' : '√(mean(resid²) + ε)',
      aliases: [],
      segment,
    },
    {
      name: 'ln_final.hook_normalized',
      axes: ['pos', 'd_model'],
      shape: ['pos', d_model],
      definition: layer
        ? '(resid − mean) / scale · gain + bias: what W_U multiplies'
        : 'resid / scale · gain: what W_U multiplies',
      aliases: ['ln_final.hook_out', 'unembed.hook_in'],
      segment,
    },
    {
      name: 'logits',
      axes: ['pos', 'd_vocab'],
      shape: ['pos', d_vocab],
      definition: 'ln_final.hook_normalized W_U, before softmax',
      aliases: ['unembed.hook_out'],
      segment,
    },
  ];
}
