import {
  type Estimate,
  type JobKind,
  outcomeWithFiles,
  type Task,
  type TaskContext,
  type TaskOutput,
} from '@heddle/actor';
import { type HostAccess, type HostJobDeps, hostProvenance } from '@heddle/client';
import { canonicalJson, invalidArgument } from '@heddle/core';
import { writeSafetensors } from '@heddle/formats';
import {
  type ContrastSample,
  checkPositions,
  headSample,
  type QueriesAndKeys,
} from '@heddle/interp/qk';
import type { ModelInfo } from '@heddle/ports/proto/activation';
import type { Provenance } from '@heddle/ports/proto/common';
import { type Tensor, tensor } from '@heddle/tensor';
import {
  checkSampleBytes,
  estimateFit,
  fitHead,
  fitSummary,
  fitTensors,
  type HeadFit,
} from './compute.ts';
import type { ContrastJson, FitRequest } from './fit-request.ts';
import { CAPTURE_PROMPTS, NULL_FITS_MAX } from './limits.ts';

type Head = FitRequest['heads'][number];

/**
 * The kind `qk.fit`: queries and keys of the contrasts, then one covariance for each feature and
 * head.
 */
export function fitKind(deps: HostJobDeps): JobKind {
  return {
    kind: 'qk.fit',
    limits: { concurrency: 1 },
    estimate: (request) => estimate(deps, request as unknown as FitRequest),
    split: () => [{ input: null }],
    run: (task, context) => runFit(deps, task, context),
  };
}

/** Refuses heads that the model lacks, and what would not fit, before there is a job. */
async function estimate({ hosts }: HostJobDeps, request: FitRequest): Promise<Estimate> {
  const info = await hosts.describe(request.model);
  const { length } = checkedHeads(request, info);
  checkSampleBytes(request, length, info.d_head);
  return estimateFit(request, length, info);
}

async function runFit(deps: HostJobDeps, task: Task, context: TaskContext): Promise<TaskOutput> {
  const started = context.clock.monotonic();
  const request = task.request as unknown as FitRequest;
  const info = await deps.hosts.describe(request.model, context.signal);
  const heads = checkedHeads(request, info);
  checkSampleBytes(request, heads.length, info.d_head);
  const { samples, captures } = await captureSamples(deps, request, info, heads, context);
  const fits: HeadFit[] = [];
  const total = samples.size * heads.length;
  for (const [feature, byHead] of samples) {
    for (const [i, { layer, head }] of heads.entries()) {
      const place = { feature, layer, head };
      fits.push(fitHead(place, byHead[i] ?? [], request.weighting, total <= NULL_FITS_MAX));
      context.progress({ done: fits.length, total, unit: 'fits' });
      await context.pulse();
    }
  }
  const provenance = hostProvenance(info, captures, deps.versions);
  const content = writeSafetensors(fitTensors(fits), { heddle: canonicalJson(provenance) });
  deps.metrics.add('qk_analyzer_fits_total', fits.length);
  const seconds = (context.clock.monotonic() - started) / 1000;
  deps.metrics.observe('qk_analyzer_fit_seconds', seconds);
  return outcomeWithFiles(context.blobs, {
    summary: {
      model: info.name,
      weighting: request.weighting,
      count: fits.length,
      features: fitSummary(fits),
    },
    files: [{ name: 'qk.safetensors', mediaType: 'application/x-safetensors', content }],
    provenance,
  });
}

function checkedHeads({ heads }: FitRequest, info: ModelInfo): readonly Head[] {
  heads.forEach(({ layer, head }, i) => {
    if (layer < info.n_layers && head < info.n_heads) return;
    throw invalidArgument(
      `heads[${i}] is ${layer}.${head}; the model has ${info.n_layers} layers of ${info.n_heads} heads, from 0`,
      { field: `heads[${i}]`, details: { layers: info.n_layers, heads: info.n_heads } },
    );
  });
  if (heads.length > 0) return heads;
  return Array.from({ length: info.n_layers * info.n_heads }, (_, i) => ({
    layer: Math.floor(i / info.n_heads),
    head: i % info.n_heads,
  }));
}

/** A prompt with all of its contrasts: it runs once. */
interface PromptLines {
  readonly tokens: readonly number[];
  readonly lines: readonly ContrastJson[];
}

interface Samples {
  /** By feature; the lists stand in the order of the heads. */
  readonly samples: Map<string, ContrastSample[][]>;
  readonly captures: readonly (Provenance | null)[];
}

async function captureSamples(
  { hosts }: HostJobDeps,
  request: FitRequest,
  info: ModelInfo,
  heads: readonly Head[],
  context: TaskContext,
): Promise<Samples> {
  const { signal } = context;
  const nothing = { layers: 0, logits: false };
  const { shape } = await hosts.host(info, nothing, { signal, pulse: () => context.pulse() });
  // The vectors that meet in the score: after the rotation, and the norm before it, where there is
  // one.
  const hook = (layer: number, which: 'q' | 'k') =>
    `blocks.${layer}.attn.hook_${shape.rotary === null ? '' : 'rot_'}${which}`;
  const layers = [...new Set(heads.map(({ layer }) => layer))];
  const hooks = layers.flatMap((layer) => [hook(layer, 'q'), hook(layer, 'k')]);
  const prompts = await tokenised(hosts, request, context);
  const samples = new Map(
    request.contrasts.map(({ feature }) => [feature, heads.map((): ContrastSample[] => [])]),
  );
  const captures: (Provenance | null)[] = [];
  for (let from = 0; from < prompts.length; from += CAPTURE_PROMPTS) {
    const batch = prompts.slice(from, from + CAPTURE_PROMPTS);
    const ids = batch.map(({ tokens }) => tokens);
    const captured = await hosts.capture(request.model, ids, hooks, signal);
    captures.push(captured.provenance);
    for (const [i, { lines }] of batch.entries()) {
      const byLayer = new Map<number, QueriesAndKeys>(
        layers.map((layer) => [
          layer,
          {
            q: wide(captured.value(i, hook(layer, 'q'))),
            k: wide(captured.value(i, hook(layer, 'k'))),
          },
        ]),
      );
      for (const line of lines) collect(samples.get(line.feature) ?? [], byLayer, heads, line);
    }
    context.progress({
      done: Math.min(from + CAPTURE_PROMPTS, prompts.length),
      total: prompts.length,
      unit: 'prompts',
    });
    await context.pulse();
  }
  return { samples, captures };
}

function collect(
  byHead: readonly ContrastSample[][],
  byLayer: ReadonlyMap<number, QueriesAndKeys>,
  heads: readonly Head[],
  line: ContrastJson,
): void {
  heads.forEach(({ layer, head }, i) => {
    const values = byLayer.get(layer);
    if (values) byHead[i]?.push(headSample(values, head, line));
  });
}

async function tokenised(
  hosts: HostAccess,
  { model, contrasts, options }: FitRequest,
  context: TaskContext,
): Promise<PromptLines[]> {
  const byPrompt = new Map<string, { tokens: readonly number[]; lines: ContrastJson[] }>();
  for (const [i, line] of contrasts.entries()) {
    const key = canonicalJson(line.prompt);
    let known = byPrompt.get(key);
    if (known === undefined) {
      const tokens = await hosts.tokenize(model, line.prompt, options, context.signal);
      known = { tokens, lines: [] };
      byPrompt.set(key, known);
    }
    checkPositions(line, known.tokens.length, `contrasts[${i}]`);
    known.lines.push(line);
  }
  return [...byPrompt.values()];
}

function wide({ shape, data }: Tensor): Tensor<'f64'> {
  return tensor('f64', shape, Float64Array.from(data as Float32Array));
}
