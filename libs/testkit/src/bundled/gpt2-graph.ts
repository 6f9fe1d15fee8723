import { present } from '@heddle/core';
import type { GraphBuilder, Value } from '@heddle/onnx';
import { elementCount } from '@heddle/tensor';
import { type Gpt2Sizes, gpt2Parameters, parameterCount } from './parameters.ts';

/** GPT-2's `layer_norm_epsilon`. */
export const LAYER_NORM_EPSILON = 1e-5;

/** The one feed of all weights, cut into named parameters. */
function cutParameters(g: GraphBuilder, flat: Value, sizes: Gpt2Sizes): ReadonlyMap<string, Value> {
  const parameters = gpt2Parameters(sizes);
  const pieces = g.split(flat, {
    axis: 0,
    sizes: parameters.map(({ shape }) => elementCount(shape)),
  });
  return new Map(
    parameters.map(({ name, shape }, i) => [
      name,
      shape.length === 1 ? pieces[i]! : g.reshape(pieces[i]!, shape),
    ]),
  );
}

export function flatParametersInput(g: GraphBuilder, name: string, sizes: Gpt2Sizes): Value {
  return g.input(name, 'f32', [parameterCount(gpt2Parameters(sizes))]);
}

/**
 * A whole GPT-2 with its weights as values of the graph, so that they can be feeds and have gradients: what training
 * needs and the segments of `@heddle/models`, whose weights are files, do not offer. Checked against them.
 * `tokens`, `positions` i64 `[batch, pos]` → logits as rows `[batch·pos, d_vocab]`.
 */
export function buildGpt2(
  g: GraphBuilder,
  sizes: Gpt2Sizes,
  feeds: {
    readonly parameters: Value;
    readonly tokens: Value;
    readonly positions: Value;
  },
): Value {
  const weights = cutParameters(g, feeds.parameters, sizes);
  const weight = (name: string) => present(weights.get(name), name);
  const W_E = weight('wte.weight');
  const embedded = g.add(
    g.gather(W_E, feeds.tokens),
    g.gather(weight('wpe.weight'), feeds.positions),
  );
  let resid = g.reshape(embedded, [-1, sizes.d_model]); // rows: [batch·pos, d_model]
  for (let layer = 0; layer < sizes.n_layers; layer++) {
    g.scope(`h.${layer}`, () => {
      const part = (name: string) => weight(`h.${layer}.${name}`);
      const x = layerNorm(g, resid, part, 'ln_1');
      resid = g.add(resid, attention(g, sizes, x, part));
      const hidden = affine(g, layerNorm(g, resid, part, 'ln_2'), part, 'mlp.c_fc');
      resid = g.add(resid, affine(g, g.gelu(hidden, { approximate: 'tanh' }), part, 'mlp.c_proj'));
    });
  }
  const final = layerNorm(g, resid, weight, 'ln_f');
  return g.matMul(final, g.transpose(W_E));
}

type Part = (name: string) => Value;

function layerNorm(g: GraphBuilder, x: Value, part: Part, name: string): Value {
  return g.layerNormalization(x, part(`${name}.weight`), part(`${name}.bias`), {
    epsilon: LAYER_NORM_EPSILON,
  });
}

function affine(g: GraphBuilder, x: Value, part: Part, name: string): Value {
  return g.add(g.matMul(x, part(`${name}.weight`)), part(`${name}.bias`));
}

function attention(g: GraphBuilder, sizes: Gpt2Sizes, x: Value, part: Part): Value {
  const { n_heads, d_model } = sizes;
  const d_head = d_model / n_heads;
  const joined = affine(g, x, part, 'attn.c_attn');
  const [q, k, v] = g.split(joined, { axis: 1, sizes: [d_model, d_model, d_model] }).map((rows) => {
    const heads = g.reshape(rows, ['batch', 'pos', n_heads, d_head]);
    return g.transpose(heads, [0, 2, 1, 3]); // [batch, head, pos, d_head]
  }) as [Value, Value, Value];
  const scaled = g.div(g.matMul(q, g.transpose(k, [0, 1, 3, 2])), Math.sqrt(d_head));
  // A large negative number, not -∞: its gradient is plain 0 in every engine.
  const visible = g.trilu(g.cast(g.constantOfShape(['pos', 'pos'], 1), 'bool'));
  const pattern = g.softmax(g.where(visible, scaled, -1e9));
  const z = g.matMul(pattern, v);
  const rows = g.reshape(g.transpose(z, [0, 2, 1, 3]), [-1, d_model]);
  return affine(g, rows, part, 'attn.c_proj');
}
