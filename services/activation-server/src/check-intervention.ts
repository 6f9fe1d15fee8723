import { type HookPoint, hookPoint, type ModelConfig, resolveHooks } from '@heddle/models';
import { fromInline } from '@heddle/ports';
import type { Intervention } from '@heddle/ports/proto/activation';
import type { Tensor } from '@heddle/tensor';
import { checkPositions } from './check-positions.ts';
import { checkValueShape } from './intervention.ts';
import { refuse } from './refuse-field.ts';

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

const KINDS = {
  INTERVENTION_KIND_ADD: 'add',
  INTERVENTION_KIND_REPLACE: 'replace',
  INTERVENTION_KIND_SCALE: 'scale',
  INTERVENTION_KIND_ZERO: 'zero',
} as const;

/** Errors: `invalid_argument` naming the field of the intervention that is wrong. */
export function checkIntervention(
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
