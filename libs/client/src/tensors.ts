import { dataLoss } from '@heddle/core';
import type { CallOptions } from '@heddle/ports';
import {
  type Client,
  type Init,
  type LabelledTensor,
  TensorCollector,
  tensorParts,
} from '@heddle/ports';
import type {
  ActivationService,
  RunEnd,
  RunRequest,
  RunStart,
} from '@heddle/ports/proto/activation';
import type { ApplyEnd, ApplyStart, LorsaService } from '@heddle/ports/proto/lorsa';
import { RUN_BYTES_MAX } from './limits.ts';

export interface StreamOptions extends CallOptions {
  /** Bound on the sum of all tensors; past it the call fails with `resource_exhausted` before allocating. */
  readonly bytesMax?: number;
}

/** What a run streams, tensors put together: one start, the tensors as they are finished, one end. */
export type RunItem =
  | { readonly type: 'start'; readonly start: RunStart }
  | { readonly type: 'tensor'; readonly tensor: LabelledTensor }
  | { readonly type: 'end'; readonly end: RunEnd };

export interface CollectedRun {
  readonly start: RunStart;
  readonly tensors: readonly LabelledTensor[];
  readonly end: RunEnd;
}

/** Activations, tensor by tensor: memory holds one at a time. */
export async function* runItems(
  activation: Client<ActivationService>,
  request: Init<RunRequest>,
  { bytesMax = RUN_BYTES_MAX, ...options }: StreamOptions = {},
): AsyncGenerator<RunItem> {
  const collector = new TensorCollector(bytesMax);
  for await (const part of activation.Run(request, options)) {
    if (part.start) yield { type: 'start', start: part.start };
    else if (part.end) {
      collector.end();
      yield { type: 'end', end: part.end };
    } else {
      const tensor = collector.add(part);
      if (tensor) yield { type: 'tensor', tensor };
    }
  }
  collector.end();
}

/** Activations, all in memory. */
export async function collectRun(
  activation: Client<ActivationService>,
  request: Init<RunRequest>,
  options: StreamOptions = {},
): Promise<CollectedRun> {
  const tensors: LabelledTensor[] = [];
  let start: RunStart | undefined;
  let end: RunEnd | undefined;
  for await (const item of runItems(activation, request, options)) {
    if (item.type === 'tensor') tensors.push(item.tensor);
    else if (item.type === 'start') start = item.start;
    else end = item.end;
  }
  if (start === undefined || end === undefined) throw dataLoss('the run ended before its end part');
  return { start, tensors, end };
}

export interface AppliedLorsa {
  readonly tensors: readonly LabelledTensor[];
  readonly end: ApplyEnd;
}

/** A Lorsa checkpoint on tensors of the caller: `input` and, where the checkpoint needs it, `target`. */
export async function applyLorsa(
  lorsa: Client<LorsaService>,
  start: Init<ApplyStart>,
  inputs: readonly LabelledTensor[],
  { bytesMax = RUN_BYTES_MAX, ...options }: StreamOptions = {},
): Promise<AppliedLorsa> {
  async function* requests() {
    yield { start };
    for (const { label, tensor } of inputs) yield* tensorParts(tensor, label);
  }
  const collector = new TensorCollector(bytesMax);
  const tensors: LabelledTensor[] = [];
  let end: ApplyEnd | undefined;
  for await (const part of lorsa.Apply(requests(), options)) {
    if (part.end) end = part.end;
    const done = collector.add(part);
    if (done) tensors.push(done);
  }
  collector.end();
  if (end === undefined) throw dataLoss('the application ended before its end part');
  return { tensors, end };
}
