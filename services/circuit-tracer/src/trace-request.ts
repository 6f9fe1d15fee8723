import {
  type PromptJson,
  promptJson,
  type TargetJson,
  type TokenizeJson,
  targetJson,
} from '@heddle/client';
import { invalidArgument, unimplemented } from '@heddle/core';
import { requireTwinLength } from '@heddle/interp/host';
import { ioiDataset } from '@heddle/interp/tasks';
import type { StartTraceRequest } from '@heddle/ports/proto/circuit';
import type { TargetToken } from '@heddle/ports/proto/common';
import { DATASET_MAX, PROMPTS_MAX, TARGETS_MAX } from './limits.ts';

/** A trace as it was asked for, in JSON: what the job's journal and the provenance keep. */
export type TraceRequest = {
  readonly model: string;
  readonly prompts: readonly PromptJson[];
  readonly dataset: { readonly name: 'ioi'; readonly count: number; readonly seed: number } | null;
  readonly options: TokenizeJson;
  readonly targets: readonly TargetJson[];
  readonly versus: readonly TargetJson[];
  readonly method: 'accpp' | 'sad';
  readonly objective: 'probability' | 'logit';
  readonly threshold: number | null;
  readonly position: number | null;
  readonly validate: boolean;
};

/** One prompt of a trace with its question. */
export interface TraceItem {
  readonly prompt: PromptJson;
  readonly targets: readonly TargetJson[];
  readonly versus: readonly TargetJson[];
}

/** What can be checked before the model is known; the rest is checked when the job starts. */
export function checkedTrace(request: StartTraceRequest): TraceRequest {
  if (request.validate && request.method === 'TRACE_METHOD_SAD') {
    throw unimplemented('edges of SAD are not validated yet; ACC++ validates its own', {
      field: 'validate',
    });
  }
  const { threshold, position } = request;
  if (threshold !== undefined && !(threshold > 0 && threshold <= 1)) {
    throw invalidArgument(`threshold is ${threshold}; a share above 0 and up to 1 is expected`, {
      field: 'threshold',
      details: { limit: 1 },
    });
  }
  const dataset = checkedDataset(request);
  if (request.prompts.length > PROMPTS_MAX || (request.prompts.length === 0 && !dataset)) {
    throw invalidArgument(`${request.prompts.length} prompts; 1 to ${PROMPTS_MAX}, or a dataset`, {
      field: 'prompts',
      details: { limit: PROMPTS_MAX },
    });
  }
  if (request.prompts.length > 0 && dataset) {
    throw invalidArgument('prompts and a dataset exclude each other', { field: 'dataset' });
  }
  const prompts = request.prompts.map((prompt, i) => promptJson(prompt, `prompts[${i}]`));
  prompts.forEach((prompt, i) => {
    if ('tokens' in prompt) requireTwinLength(prompt.tokens.length, `prompts[${i}]`);
  });
  return {
    model: request.model,
    prompts,
    dataset,
    options: {
      bos: request.options?.bos ?? false,
      no_special: request.options?.no_special ?? false,
    },
    targets: targets(request.targets, 'targets'),
    versus: targets(request.versus, 'versus'),
    method: request.method === 'TRACE_METHOD_SAD' ? 'sad' : 'accpp',
    objective: request.objective === 'OBJECTIVE_LOGIT' ? 'logit' : 'probability',
    threshold: threshold ?? null,
    position: position ?? null,
    validate: request.validate,
  };
}

function checkedDataset({ dataset }: StartTraceRequest): TraceRequest['dataset'] {
  if (dataset === null) return null;
  const { name, count, seed } = dataset;
  if (name !== 'ioi') {
    throw invalidArgument(`dataset.name is ${JSON.stringify(name)}; ioi is known`, {
      field: 'dataset.name',
    });
  }
  if (count < 1 || count > DATASET_MAX) {
    throw invalidArgument(`dataset.count is ${count}; 1 to ${DATASET_MAX} are made`, {
      field: 'dataset.count',
      details: { limit: DATASET_MAX },
    });
  }
  return { name, count, seed };
}

function targets(list: readonly TargetToken[], field: string): TargetJson[] {
  if (list.length > TARGETS_MAX) {
    throw invalidArgument(`${list.length} ${field}; at most ${TARGETS_MAX}`, {
      field,
      details: { limit: TARGETS_MAX },
    });
  }
  return list.flatMap((target, i) => targetJson(target, `${field}[${i}]`) ?? []);
}

export function itemCount({ prompts, dataset }: TraceRequest): number {
  return dataset?.count ?? prompts.length;
}

/**
 * The prompts `from` to `to` with their questions. A dataset brings its answers: the indirect
 * object, and for the logit objective the subject as what it is compared with, unless the request
 * names its own.
 */
export function traceItems(request: TraceRequest, from: number, to: number): TraceItem[] {
  const { prompts, dataset, targets, versus, objective } = request;
  if (dataset === null) {
    return prompts.slice(from, to).map((prompt) => ({ prompt, targets, versus }));
  }
  return ioiDataset(to, dataset.seed)
    .slice(from)
    .map(({ prompt, io, s }) => ({
      prompt: { text: prompt },
      targets: targets.length > 0 ? targets : [{ text: ` ${io}` }],
      versus: versus.length > 0 || objective !== 'logit' ? versus : [{ text: ` ${s}` }],
    }));
}
