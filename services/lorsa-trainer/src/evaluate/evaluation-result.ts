import { outcomeWithFiles, type TaskContext, type TaskOutput } from '@heddle/actor';
import type { Json } from '@heddle/core';
import type { SaeLayer } from '@heddle/interp/sae';
import {
  type BlobDigest,
  type Clients,
  decodeOutcome,
  type Engine,
  type EngineReport,
  engineVersions,
} from '@heddle/ports';
import type { Unseen, UnseenRequest } from '../unseen.ts';
import { type BaselineDeps, resultOf } from './baseline-request.ts';
import { strideOver, tokensReplaced } from './downstream-pass.ts';
import type { EvaluateRequest } from './evaluate-request.ts';
import type { EvaluationSizes, EvaluationState } from './evaluation-state.ts';
import { evaluationRows, kCurve, measuredOf } from './evaluation-table.ts';
import type { Subject } from './subject.ts';

export interface EvaluateJobDeps {
  readonly engine: Engine;
  readonly peers: Pick<Clients, 'activation'>;
  readonly baselines: BaselineDeps;
  readonly versions: Readonly<Record<string, string>>;
  readonly unseen: (
    context: Pick<TaskContext, 'signal' | 'pulse' | 'progress' | 'log'>,
    request: UnseenRequest,
  ) => Promise<Unseen>;
}

/** Everything of one running evaluation that does not change from shard to shard. */
export interface Evaluation {
  readonly deps: EvaluateJobDeps;
  readonly context: TaskContext;
  readonly request: EvaluateRequest;
  readonly unseen: Unseen;
  readonly topK: readonly number[];
  readonly baseline: { readonly job: string; readonly layer: SaeLayer } | undefined;
  readonly sizes: EvaluationSizes;
  readonly engine: EngineReport;
  /** Digest of all that the sums depend on. */
  readonly of: string;
}

/** The table, as the job's summary and as a file. */
export async function finished(
  evaluation: Evaluation,
  subjects: readonly Subject[],
  state: EvaluationState,
): Promise<TaskOutput> {
  const { deps, context, request, unseen, topK, baseline, engine } = evaluation;
  const { layer, digest } = unseen.checkpoint;
  const { tokens, predictions } = measuredOf(state);
  const training = await trainingFacts(deps.baselines, request.checkpoint);
  const summary = {
    checkpoint: request.checkpoint,
    model: unseen.model,
    hook_in: layer.hookIn,
    hook_out: layer.hookOut,
    heads: layer.config.n_ov_heads,
    top_k: layer.config.topK,
    activation: layer.config.activation,
    text: {
      source: unseen.source,
      tokens,
      sequences: unseen.sequences,
      documents: unseen.documents,
      documents_left_out: unseen.leftOut,
      trained_on_known: unseen.trainedOnKnown,
    },
    downstream: {
      predictions,
      every_nth_sequence: strideOver(tokens),
      tokens_per_sequence_max: tokensReplaced(layer.config.d_model),
    },
    rows: evaluationRows(state),
    fvu_at_k: kCurve(state, topK),
    baseline: baseline?.job ?? null,
    training,
  };
  const provenance: Record<string, Json> = {
    model: unseen.model,
    model_digest: unseen.checkpoint.provenance['model_digest'] ?? '',
    data_digest: unseen.dataDigest,
    program_digest: `sha256:${subjects[0]?.program.digest}`,
    checkpoint_digest: digest,
    precision: 'fp32',
    provider: engine.provider,
    versions: { ...deps.versions, ...engineVersions(engine) },
  };
  const text = `${JSON.stringify(summary, null, 2)}\n`;
  const file = { name: 'evaluation.json', mediaType: 'application/json' } as const;
  return outcomeWithFiles(context.blobs, {
    summary: summary as unknown as { [name: string]: Json },
    files: [{ ...file, content: new TextEncoder().encode(text) }],
    provenance,
  });
}

const FACTS = ['steps', 'tokens', 'fvu', 'l0', 'dead_heads', 'dead_after_tokens', 'dense_heads'];

/** What the training says of itself, with its curve; null where the checkpoint is no training of ours. */
async function trainingFacts(deps: BaselineDeps, checkpoint: string): Promise<Json> {
  if (checkpoint.includes('/') || checkpoint.endsWith('.safetensors')) return null;
  const view = await deps.jobs.get(checkpoint);
  if (view.kind !== 'lorsa.train') return null;
  const { summary, artifacts } = decodeOutcome(await resultOf(deps, view.id));
  const facts = FACTS.flatMap((name) => {
    const value = summary[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const curve = artifacts.find(({ name }) => name === 'curve.json');
  const points = curve ? await curvePoints(deps, curve.digest as BlobDigest) : [];
  return { ...Object.fromEntries(facts), curve: points };
}

async function curvePoints({ blobs }: BaselineDeps, digest: BlobDigest): Promise<Json> {
  const text = new TextDecoder().decode(await blobs.read(digest));
  const { points } = JSON.parse(text) as { readonly points?: Json };
  return points ?? [];
}
