import { invalidArgument } from '@heddle/core';
import type { LorsaLayer } from '@heddle/interp/lorsa';
import { forInspection, referenceSequence, zRow } from '@heddle/interp/lorsa/heads';
import type { Init } from '@heddle/ports';
import type {
  DescribeHeadRequest,
  DescribeHeadResponse,
  HeadSample,
} from '@heddle/ports/proto/lorsa';
import type { Tensor } from '@heddle/tensor';
import type { AnalysisFile, SamplePlace } from './analysis-file.ts';
import type { FinishedAnalyses } from './finished-analyses.ts';
import { headAlone } from './head-alone.ts';
import { analysisProvenance, headRule, headSummary } from './head-messages.ts';

export interface DescribeDeps {
  readonly analyses: FinishedAnalyses;
  readonly layer: (checkpoint: string) => Promise<LorsaLayer>;
  /** x `[pos, d_model]` of each sequence at a hook, in host units. */
  readonly capture: (
    model: string,
    hook: string,
    sequences: readonly (readonly number[])[],
    signal: AbortSignal,
  ) => Promise<readonly Tensor<'f32'>[]>;
}

/**
 * A head's card. Its figures are read; the patterns of its samples are computed now, in fp64 on the host's activations:
 * only this head and its queries and keys. Errors: `not_found` naming StartAnalysis; `invalid_argument` for a head that
 * the checkpoint lacks.
 */
export async function describeHead(
  deps: DescribeDeps,
  request: DescribeHeadRequest,
  signal: AbortSignal,
): Promise<Init<DescribeHeadResponse>> {
  const { checkpoint, head } = request;
  const analysis = await deps.analyses.of(checkpoint, request.analysis);
  const file = await deps.analyses.open(analysis);
  const { facts } = file;
  if (head >= facts.heads) {
    throw invalidArgument(`head is ${head}; the checkpoint has ${facts.heads}, counted from 0`, {
      field: 'head',
      details: { limit: facts.heads - 1 },
    });
  }
  const found = file.head(head);
  const samples =
    found.samples.length === 0 ? [] : await withPatterns(deps, file, { ...request, signal });
  const { lorsa, baseline, shuffled } = facts.auroc;
  return {
    summary: headSummary(file, analysis.job.id, head, found),
    samples,
    rule: headRule(file, found),
    auroc_lorsa: lorsa ?? 0,
    auroc_shuffled: shuffled ?? 0,
    provenance: analysisProvenance(analysis.job),
    ...(baseline === null ? {} : { auroc_baseline: baseline }),
  };
}

async function withPatterns(
  deps: DescribeDeps,
  file: AnalysisFile,
  of: { readonly checkpoint: string; readonly head: number; readonly signal: AbortSignal },
): Promise<Init<HeadSample>[]> {
  const { samples } = file.head(of.head);
  const { config, weights } = forInspection(headAlone(await deps.layer(of.checkpoint), of.head));
  const indices = [...new Set(samples.map(({ sequence }) => sequence))];
  const texts = indices.map((index) => Array.from(file.sequence(index)));
  const { model, hook_in } = file.facts;
  const captured = await deps.capture(model, hook_in, texts, of.signal);
  const read = indices.map((index, at) => {
    const tokens = texts[at] ?? [];
    const valid = tokens.map(() => 1);
    const x = captured[at] as Tensor<'f32'>;
    return referenceSequence(config, weights, { x, tokens, valid, index });
  });
  return samples.map((sample): Init<HeadSample> => {
    const { attention } = read[indices.indexOf(sample.sequence)] ?? {};
    const row = attention && zRow(attention, 0, sample.position);
    return {
      ...placed(file, sample),
      z_pattern: Array.from(row?.zPattern ?? []),
      pattern: Array.from(row?.pattern ?? []),
    };
  });
}

function placed(file: AnalysisFile, sample: SamplePlace): Init<HeadSample> {
  const { position, activation, quantile } = sample;
  const token_ids = Array.from(file.sequence(sample.sequence));
  const tokens = token_ids.map((id) => file.textOf(id));
  return { token_ids, tokens, position, activation, quantile };
}
