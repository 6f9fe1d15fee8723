import { type HookPoint, hookPoints, lackingPoints } from '@heddle/models';
import type { Init } from '@heddle/ports';
import type { HookPoint as HookPointMessage, ModelInfo } from '@heddle/ports/proto/activation';
import { elementCount } from '@heddle/tensor';
import type { NamedModel } from './model-names.ts';
import type { ModelReading, OpenModel } from './open-model.ts';

/** A model as `model show` prints it. */
export function modelInfo({
  name,
  bundled,
  importedMs,
  model,
  tokenizer,
}: OpenModel): Init<ModelInfo> {
  const { config } = model;
  const weights = [...model.weights.values()];
  const parameters = weights.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  return {
    name,
    family: config.family,
    path: model.path,
    digest: `sha256:${model.digest.replace(/^sha256:/, '')}`,
    bundled,
    n_layers: config.n_layers,
    n_heads: config.n_heads,
    n_key_value_heads: config.n_key_value_heads,
    d_model: config.d_model,
    d_head: config.d_head,
    d_mlp: config.d_mlp,
    d_vocab: config.d_vocab,
    n_ctx: config.n_ctx,
    parameters,
    weight_bytes: model.weightBytes,
    resident_bytes: 4 * parameters,
    stored_dtype: commonest(weights.map(({ dtype }) => dtype.toUpperCase())),
    tokenizer: tokenizer !== undefined,
    ignored_fields: model.ignoredFields,
    imported_ms: importedMs,
  };
}

/** A model as it is remembered, or as it is open. */
export function infoOf(model: OpenModel | NamedModel): Init<ModelInfo> {
  if ('model' in model) return modelInfo(model);
  const { name, path, digest, importedMs, import: imported } = model;
  const placed = { name, path, digest, imported_ms: importedMs };
  if (imported === undefined) return placed;
  const { content, source, info } = imported;
  return { ...info, ...placed, digest: `sha256:${digest}`, content, source };
}

function commonest(words: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? '';
}

/** Every hook point of a model, in the order in which it computes them; then the catalogue's others, with the reason. */
export function hookMessages({ model: { config } }: ModelReading): Init<HookPointMessage>[] {
  const there = hookPoints(config).map((point) => hookMessage(point, ''));
  const lacking = lackingPoints(config).map(({ reason, ...point }) => hookMessage(point, reason));
  return [...there, ...lacking];
}

type Told = Omit<HookPoint, 'segment'>;

function hookMessage(point: Told, reason: string): Init<HookPointMessage> {
  const { name, axes, shape, definition, aliases } = point;
  return {
    name,
    axes,
    shape: shape.map((size) => (size === 'pos' ? 0 : size)),
    definition,
    aliases,
    available: reason === '',
    reason,
  };
}
