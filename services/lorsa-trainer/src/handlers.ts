import { setImmediate as nextTurn } from 'node:timers/promises';
import { invalidArgument, OperationError } from '@heddle/core';
import {
  type CallContext,
  type Clock,
  type Engine,
  type Handlers,
  type Init,
  type Metrics,
  TensorCollector,
  tensorParts,
} from '@heddle/ports';
import type { Provenance } from '@heddle/ports/proto/common';
import type {
  ApplyRequest,
  ApplyResponse,
  ApplyStart,
  LorsaService,
} from '@heddle/ports/proto/lorsa';
import type { Tensor } from '@heddle/tensor';
import { apply } from './apply/apply.ts';
import { APPLY_BYTES_MAX } from './apply/limits.ts';
import { type CheckpointSources, type OpenCheckpoint, openCheckpoint } from './checkpoint-files.ts';
import type { LorsaDeps, LorsaPart } from './part.ts';
import { digestOfTensors } from './programs.ts';
import { trainingResult } from './training-result.ts';

export interface HandlerDeps extends CheckpointSources {
  readonly engine: Pick<Engine, 'run' | 'report'>;
  readonly metrics: Metrics;
  readonly versions: Readonly<Record<string, string>>;
  readonly clock: Pick<Clock, 'now'>;
  /** Lets timers and messages run. */
  readonly breathe: () => Promise<void>;
}

/** The part that runs checkpoints: Apply and DescribeCheckpoint. */
export function checkpointPart(deps: LorsaDeps): LorsaPart {
  const { blobs, jobs } = deps;
  const jobResult = trainingResult({ blobs, jobs });
  const handlers = lorsaHandlers({ ...deps, breathe: () => nextTurn(), jobResult });
  return { handlers, jobKinds: [] };
}

/** The contract's side: requests checked in, answers out. */
export function lorsaHandlers(deps: HandlerDeps): Handlers<LorsaService> {
  return {
    async DescribeCheckpoint({ checkpoint }) {
      const { layer, provenance } = await openCheckpoint(deps, checkpoint);
      const { config } = layer;
      return {
        architecture: {
          n_ov_heads: config.n_ov_heads,
          n_qk_heads: config.n_qk_heads,
          d_qk_head: config.d_qk_head,
          top_k: config.topK,
          init: String(provenance['init'] ?? ''),
        },
        d_model: config.d_model,
        layer: Number(/^blocks\.(\d+)\./.exec(layer.hookIn)?.[1] ?? 0),
        hook_in: layer.hookIn,
        hook_out: layer.hookOut,
        normalisation: layer.normalisation,
        model: String(provenance['model'] ?? ''),
      };
    },

    Apply: (requests, call) => applyStream(deps, requests, call),
  };
}

async function* applyStream(
  deps: HandlerDeps,
  requests: AsyncIterable<ApplyRequest>,
  call: CallContext,
): AsyncGenerator<Init<ApplyResponse>> {
  const { start, input, target } = await received(requests);
  const checkpoint = await openCheckpoint(deps, start.checkpoint);
  const { layer } = checkpoint;
  const { z_pattern: zPattern, pattern } = start;
  const { provider } = await deps.engine.report();
  const applied = await apply(
    { layer, input, target, zPattern, pattern },
    {
      // Only ONNX Runtime's CPU kernels compute in double.
      engine: provider === 'cpu' ? deps.engine : undefined,
      signal: call.signal,
      breathe: async () => {
        await deps.breathe();
        if (!call.signal.aborted) return;
        throw new OperationError({
          code: 'cancelled',
          message: 'cancelled',
          cause: call.signal.reason,
        });
      },
    },
  );
  deps.metrics.add('lorsa_trainer_applied_tokens_total', applied.tokens);
  for (const { name, axes, tensor } of applied.tensors) yield* tensorParts(tensor, { name, axes });
  const { l0, fvu } = applied;
  const sent = Object.entries({ input, ...(target === undefined ? {} : { target }) });
  const made = { start, checkpoint, data_digest: digestOfTensors('', sent), method: call.method };
  const provenance = provenanceOf(deps, made);
  yield { end: { l0, provenance, ...(fvu === undefined ? {} : { fvu }) } };
}

interface AppliedFrom {
  readonly start: ApplyStart;
  readonly checkpoint: OpenCheckpoint;
  readonly data_digest: string;
  readonly method: string;
}

function provenanceOf(
  { versions, clock }: HandlerDeps,
  { start, checkpoint, data_digest, method }: AppliedFrom,
): Init<Provenance> {
  const { model = '', model_digest = '' } = checkpoint.provenance;
  return {
    model: String(model),
    model_digest: String(model_digest),
    data_digest,
    program_digest: checkpoint.digest,
    precision: 'fp64',
    provider: 'cpu',
    versions: Object.entries(versions).map(([component, version]) => ({ component, version })),
    method,
    request_json: JSON.stringify(start),
    created_ms: clock.now(),
  };
}

/** The whole request of an Apply: one start, then `input`, then perhaps `target`. */
async function received(
  requests: AsyncIterable<ApplyRequest>,
): Promise<{ start: ApplyStart; input: Tensor; target: Tensor | undefined }> {
  const collector = new TensorCollector(APPLY_BYTES_MAX);
  const tensors = new Map<string, Tensor>();
  let start: ApplyStart | undefined;
  for await (const request of requests) {
    if (request.start) {
      if (start) throw invalidArgument('a second start in the stream', { field: 'start' });
      start = request.start;
      continue;
    }
    if (!start) throw invalidArgument('the stream must begin with start', { field: 'start' });
    const done = collector.add(request);
    if (!done) continue;
    const { name } = done.label;
    if ((name !== 'input' && name !== 'target') || tensors.has(name)) {
      throw invalidArgument(`tensor ${name}; one input and at most one target are expected`, {
        field: 'header.name',
      });
    }
    tensors.set(name, done.tensor);
  }
  collector.end();
  const input = tensors.get('input');
  if (!start) throw invalidArgument('the stream has no start', { field: 'start' });
  if (!input) throw invalidArgument('the stream has no tensor input', { field: 'input' });
  return { start, input, target: tensors.get('target') };
}
