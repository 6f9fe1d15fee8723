import {
  type HookPoint,
  hookPoints,
  type PlacedTargets,
  placeTarget,
  readTarget,
  resolveHooks,
  resolveTarget,
} from '@heddle/models';
import type { RunRequest } from '@heddle/ports/proto/activation';
import { type CheckedIntervention, checkIntervention } from './check-intervention.ts';
import { checkPositions } from './check-positions.ts';
import { HOOKS_MAX, INTERVENTIONS_MAX, PROMPT_ID_BYTES_MAX, PROMPTS_MAX } from './limits.ts';
import type { OpenModel } from './open-model.ts';
import { tokensOf } from './read-prompt.ts';
import { refuse } from './refuse-field.ts';

export interface CheckedPrompt {
  readonly id: string;
  readonly tokens: readonly number[];
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
  /** Also −log p of each next token. */
  readonly lossPerToken: boolean;
}

/** Errors: `invalid_argument` naming the first field that is wrong, its limit and what was sent. */
export function checkRun(request: RunRequest, open: OpenModel): CheckedRun {
  const { config } = open.model;
  checkCount('prompts', request.prompts.length, PROMPTS_MAX);
  checkLoss(request);
  if (!request.loss_per_token || request.hooks.length > 0) {
    checkCount('hooks', request.hooks.length, HOOKS_MAX);
  }
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
    lossPerToken: request.loss_per_token,
  };
}

function checkLoss({ loss_per_token, gradient, positions }: RunRequest): void {
  if (!loss_per_token) return;
  if (gradient !== '') throw refuse('loss_per_token', 'comes with values, not with gradients');
  if (positions.length === 0) return;
  throw refuse('positions', 'loss_per_token is about every position: leave them out');
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
