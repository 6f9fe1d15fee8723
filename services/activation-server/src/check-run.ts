import { type Details, invalidArgument, type OperationError } from '@heddle/core';
import {
  type HookPoint,
  hookPoint,
  hookPoints,
  type ModelConfig,
  type PlacedTargets,
  placeTarget,
  readTarget,
  resolveHooks,
  resolveTarget,
} from '@heddle/models';
import { fromInline, type Tokenizer } from '@heddle/ports';
import type { Intervention, RunRequest } from '@heddle/ports/proto/activation';
import type { Prompt, TokenizeOptions } from '@heddle/ports/proto/common';
import type { Tensor } from '@heddle/tensor';
import { checkValueShape } from './intervention.ts';
import {
  HOOKS_MAX,
  INTERVENTIONS_MAX,
  PROMPT_ID_BYTES_MAX,
  PROMPTS_MAX,
  TEXT_BYTES_MAX,
} from './limits.ts';
import type { ModelReading, OpenModel } from './open-model.ts';

export interface CheckedPrompt {
  readonly id: string;
  readonly tokens: readonly number[];
}

/** An intervention on one prompt, with its numbers checked for being numbers. */
export interface CheckedIntervention {
  readonly hook: string;
  readonly kind: 'add' | 'replace' | 'scale' | 'zero';
  readonly positions: readonly number[] | undefined;
  readonly heads: readonly number[] | undefined;
  /** Undefined: all prompts. */
  readonly prompts: ReadonlySet<number> | undefined;
  readonly value: Tensor<'f32'> | undefined;
  readonly factor: number | undefined;
  /** The request field, for errors that are found later. */
  readonly field: string;
}

/** A run whose every part is known to be one that the model can do. */
export interface CheckedRun {
  readonly prompts: readonly CheckedPrompt[];
  readonly hooks: readonly HookPoint[];
  /** Undefined: all. */
  readonly positions: readonly number[] | undefined;
  readonly dtype: 'f32' | 'f16';
  readonly interventions: readonly CheckedIntervention[];
  readonly alone: boolean;
  /** For each prompt the terms of the scalar whose gradient at the hooks is wanted; undefined: the values there. */
  readonly targets: PlacedTargets | undefined;
}

const refuse = (field: string, message: string, details: Details = {}): OperationError =>
  invalidArgument(`${field}: ${message}`, { field, details });

/** Errors: `invalid_argument` naming the first field that is wrong, its limit and what was sent. */
export function checkRun(request: RunRequest, open: OpenModel): CheckedRun {
  const { config } = open.model;
  checkCount('prompts', request.prompts.length, PROMPTS_MAX);
  checkCount('hooks', request.hooks.length, HOOKS_MAX);
  if (request.interventions.length > INTERVENTIONS_MAX) {
    checkCount('interventions', request.interventions.length, INTERVENTIONS_MAX);
  }
  const names = new Set(resolveHooks(config, request.hooks));
  const hooks = hookPoints(config).filter(({ name }) => names.has(name));
  const prompts = request.prompts.map((prompt, i) => {
    const field = `prompts[${i}]`;
    const bytes = Buffer.byteLength(prompt.id);
    if (bytes > PROMPT_ID_BYTES_MAX) {
      throw refuse(`${field}.id`, `${bytes} bytes; at most ${PROMPT_ID_BYTES_MAX}`, {
        limit: PROMPT_ID_BYTES_MAX,
      });
    }
    return { id: prompt.id, tokens: tokensOf(prompt, request.options, open, field) };
  });
  const lengths = prompts.map(({ tokens }) => tokens.length);
  const positions = checkPositions(request.positions, Math.min(...lengths), 'positions');
  const interventions = request.interventions.map((intervention, i) =>
    checkIntervention(intervention, config, lengths, `interventions[${i}]`),
  );
  return {
    prompts,
    hooks,
    positions,
    dtype: checkDType(request.dtype),
    interventions,
    alone: request.alone,
    targets: request.gradient === '' ? undefined : checkTarget(request.gradient, open, lengths),
  };
}

function checkTarget(
  expression: string,
  { model: { config }, tokenizer }: OpenModel,
  lengths: readonly number[],
): PlacedTargets {
  const encode =
    tokenizer && ((text: string) => tokenizer.encode(text, { addSpecialTokens: false }));
  const terms = resolveTarget(config, readTarget(expression), encode);
  return lengths.map((length) => placeTarget(config, terms, length));
}

function checkCount(field: string, count: number, limit: number): void {
  if (count >= 1 && count <= limit) return;
  throw refuse(field, `${count} of them; 1 to ${limit} are taken`, { limit, count });
}

function checkDType(dtype: RunRequest['dtype']): 'f32' | 'f16' {
  if (dtype === 'ELEMENT_TYPE_UNSPECIFIED' || dtype === 'ELEMENT_TYPE_F32') return 'f32';
  if (dtype === 'ELEMENT_TYPE_F16') return 'f16';
  throw refuse('dtype', `${dtype} is not sent: ELEMENT_TYPE_F32 or ELEMENT_TYPE_F16`);
}

/**
 * What the model reads: ids as they are, or text as tokenizer.json says. Errors: `invalid_argument` for an id out of
 * range, a prompt past n_ctx, an empty one, and for text where there is no tokenizer.
 */
export function tokensOf(
  prompt: Prompt | null,
  options: TokenizeOptions | null,
  { model: { config }, tokenizer }: ModelReading,
  field: string,
): readonly number[] {
  const { n_ctx, d_vocab } = config;
  let tokens: readonly number[];
  if (prompt?.tokens) tokens = prompt.tokens.ids;
  else if (prompt?.text !== undefined) tokens = encode(prompt.text, options, tokenizer, field);
  else throw refuse(field, 'neither text nor tokens');
  if (tokens.length === 0) throw refuse(field, 'no token: a prompt has at least one');
  if (tokens.length > n_ctx) {
    throw refuse(field, `${tokens.length} tokens; the model reads at most ${n_ctx}`, {
      limit: n_ctx,
      tokens: tokens.length,
    });
  }
  const bad = tokens.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= d_vocab);
  if (bad >= 0) {
    const id = tokens[bad] as number;
    const message = `${id} is no token of the model; ids are 0 to ${d_vocab - 1}`;
    throw refuse(`${field}.tokens.ids[${bad}]`, message, { limit: d_vocab - 1, id });
  }
  return tokens;
}

function encode(
  text: string,
  options: TokenizeOptions | null,
  tokenizer: Tokenizer | undefined,
  field: string,
): readonly number[] {
  const { bos = false, no_special = false } = options ?? {};
  if (bos && no_special) throw refuse('options.bos', 'excludes options.no_special');
  if (!tokenizer) throw refuse(`${field}.text`, 'the model has no tokenizer.json: send token ids');
  const bytes = Buffer.byteLength(text);
  if (bytes > TEXT_BYTES_MAX) {
    throw refuse(`${field}.text`, `${bytes} bytes; at most ${TEXT_BYTES_MAX}`, {
      limit: TEXT_BYTES_MAX,
      bytes,
    });
  }
  const ids = tokenizer.encode(text, { addSpecialTokens: !no_special });
  if (!bos) return ids;
  const { bosId } = tokenizer;
  if (bosId === undefined) throw refuse('options.bos', 'the model names no BOS token');
  return ids[0] === bosId ? ids : [bosId, ...ids];
}

/** Ascending, unique and inside of the shortest prompt that they are about. */
function checkPositions(
  positions: readonly number[],
  length: number,
  field: string,
): readonly number[] | undefined {
  if (positions.length === 0) return undefined;
  positions.forEach((position, i) => {
    if (!(position < length)) {
      const message = `${position}; the shortest prompt that it is about has positions 0 to ${length - 1}`;
      throw refuse(`${field}[${i}]`, message, { limit: length - 1, position });
    }
    const before = positions[i - 1];
    if (before !== undefined && before >= position) {
      throw refuse(`${field}[${i}]`, `${position} after ${before}: positions ascend, each once`);
    }
  });
  return positions;
}

const KINDS = {
  INTERVENTION_KIND_ADD: 'add',
  INTERVENTION_KIND_REPLACE: 'replace',
  INTERVENTION_KIND_SCALE: 'scale',
  INTERVENTION_KIND_ZERO: 'zero',
} as const;

function checkIntervention(
  intervention: Intervention,
  config: ModelConfig,
  lengths: readonly number[],
  field: string,
): CheckedIntervention {
  const kind = KINDS[intervention.kind as keyof typeof KINDS];
  if (kind === undefined) throw refuse(`${field}.kind`, `${intervention.kind} is no kind`);
  const point = hookPoint(config, checkHookName(config, intervention.hook, `${field}.hook`));
  if (point.name === 'logits') throw refuse(`${field}.hook`, 'logits are read only');
  const { prompts } = intervention;
  prompts.forEach((prompt, i) => {
    if (prompt < lengths.length) return;
    const message = `${prompt}; the request has prompts 0 to ${lengths.length - 1}`;
    throw refuse(`${field}.prompts[${i}]`, message, { limit: lengths.length - 1 });
  });
  const about = prompts.length === 0 ? lengths : prompts.map((prompt) => lengths[prompt] as number);
  const valued = kind === 'add' || kind === 'replace';
  const checked: CheckedIntervention = {
    hook: point.name,
    kind,
    positions: checkPositions(intervention.positions, Math.min(...about), `${field}.positions`),
    heads: checkHeads(intervention.heads, point, `${field}.heads`),
    prompts: prompts.length === 0 ? undefined : new Set(prompts),
    value: valued ? checkValue(intervention, `${field}.value`) : undefined,
    factor: kind === 'scale' ? checkFactor(intervention.factor, `${field}.factor`) : undefined,
    field,
  };
  checkValueShape(point, checked, about);
  return checked;
}

function checkHookName(config: ModelConfig, hook: string, field: string): string {
  const [name, ...more] = resolveHooks(config, [hook], field);
  if (name === undefined || more.length > 0 || /[*?[]/.test(hook)) {
    throw refuse(field, `${JSON.stringify(hook)}: one hook name, no glob`);
  }
  return name;
}

function checkHeads(
  heads: readonly number[],
  point: HookPoint,
  field: string,
): readonly number[] | undefined {
  if (heads.length === 0) return undefined;
  const axis = point.axes.findIndex((name) => name === 'head' || name === 'kv_head');
  if (axis < 0)
    throw refuse(field, `${point.name} has no heads: its axes are ${point.axes.join(', ')}`);
  const count = point.shape[axis] as number;
  heads.forEach((head, i) => {
    if (!(head < count))
      throw refuse(`${field}[${i}]`, `${head}; heads are 0 to ${count - 1}`, { limit: count - 1 });
  });
  return heads;
}

function checkValue({ value }: Intervention, field: string): Tensor<'f32'> {
  if (value === null) throw refuse(field, 'missing: ADD and REPLACE need one');
  const tensor = fromInline(value, field);
  if (tensor.dtype !== 'f32') throw refuse(`${field}.dtype`, `${tensor.dtype}; values are f32`);
  const data = tensor.data as Float32Array;
  const bad = data.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0)
    throw refuse(field, `element ${bad} is ${data[bad]}; values are finite`, { index: bad });
  return tensor as Tensor<'f32'>;
}

function checkFactor(factor: number, field: string): number {
  if (Number.isFinite(factor)) return factor;
  throw refuse(field, `${factor}; a factor is finite`);
}
