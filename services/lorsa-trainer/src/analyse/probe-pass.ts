import { OperationError } from '@heddle/core';
import {
  DETECTORS,
  type DetectorName,
  drawProbes,
  type Probe,
  ProbeTally,
  probeTexts,
  type TokenEffects,
} from '@heddle/interp/lorsa/heads';
import { type Tensor, tensor } from '@heddle/tensor';
import type { Analysis } from './analysis.ts';
import type { ReadText } from './head-runner.ts';
import { PROBE_PROMPTS_PER_RUN, PROBE_TOKENS_PER_RUN, TEXTS_AT_ONCE } from './limits.ts';
import type { PassState } from './text-pass.ts';

/** What the detectors say of every head. */
export interface ProbeFindings {
  readonly detectors: readonly { readonly detector: string; readonly threshold: number }[];
  /** Why a detector could not be asked of this model. */
  readonly notApplicable: Readonly<Record<string, string>>;
  /** In the order of `detectors`; NaN where one does not apply. */
  scores(head: number): readonly { readonly score: number; readonly evidence: string }[];
}

const NAMES = Object.keys(DETECTORS) as DetectorName[];

/** Draws the probes for the host's vocabulary, runs them through host and layer, and tallies what the heads do on them. */
export async function readProbes(
  analysis: Analysis,
  state: PassState,
  effects: TokenEffects,
): Promise<ProbeFindings> {
  const { probes, notApplicable } = await drawn(analysis, state);
  const tallies = new Map<string, ProbeTally>();
  for (const probe of probes) tallies.set(probe.detector, new ProbeTally(probe, effects));
  // Probes of one text have the same sequences: the host reads them once.
  for (const text of new Set(probes.map((probe) => probe.text))) {
    const asked = probes.filter((probe) => probe.text === text);
    await readText(analysis, asked, tallies);
  }
  return {
    detectors: NAMES.map((detector) => ({ detector, threshold: DETECTORS[detector].threshold })),
    notApplicable,
    scores: (head) =>
      NAMES.map((detector) => {
        const tally = tallies.get(detector)?.score(head);
        return tally ?? { score: Number.NaN, evidence: '' };
      }),
  };
}

async function drawn({ deps, context, request, unseen, host }: Analysis, state: PassState) {
  const { signal } = context;
  const { model } = unseen;
  const prefix = await deps.prefix(model, signal);
  const special = new Set(prefix);
  const { occurrences } = state.lorsa.learn;
  const pool = [...occurrences]
    .filter(([id, { valid }]) => valid > 0 && !special.has(id))
    .map(([id]) => id)
    .sort((a, b) => a - b);
  const encoded = await encodedTexts(deps, model, request.seed, signal);
  const encode = (text: string) => encoded.get(text) ?? [];
  const probes: Probe[] = [];
  const notApplicable: Record<string, string> = {};
  const vocabulary = { encode, pool, prefix, n_ctx: host.n_ctx };
  for (const probe of drawnOrWhy(request.seed, vocabulary)) {
    if ('notApplicable' in probe) notApplicable[probe.detector] = probe.notApplicable;
    else probes.push(probe);
  }
  return { probes, notApplicable };
}

/** A text of a few different tokens makes no probes: every detector says so. */
function drawnOrWhy(...given: Parameters<typeof drawProbes>): ReturnType<typeof drawProbes> {
  try {
    return drawProbes(...given);
  } catch (thrown) {
    const { code, message } = OperationError.from(thrown);
    if (code !== 'invalid_argument') throw thrown;
    return NAMES.map((detector) => ({ detector, notApplicable: message }));
  }
}

async function encodedTexts(
  deps: Analysis['deps'],
  model: string,
  seed: number,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const texts = probeTexts(seed);
  const encoded = new Map<string, readonly number[]>();
  for (let from = 0; from < texts.length; from += TEXTS_AT_ONCE) {
    const part = texts.slice(from, from + TEXTS_AT_ONCE);
    for (const [text, ids] of await deps.encode(model, part, signal)) encoded.set(text, ids);
  }
  return encoded; // a text that is missing has no ids: the probes that need it do not apply
}

async function readText(
  { deps, context, unseen, runner }: Analysis,
  probes: readonly Probe[],
  tallies: ReadonlyMap<string, ProbeTally>,
): Promise<void> {
  const { signal } = context;
  const sequences = (probes[0]?.sequences ?? []).map(({ tokens }) => tokens);
  const hook = unseen.checkpoint.layer.hookIn;
  for (const [from, to] of runsOf(sequences.map(({ length }) => length))) {
    const part = sequences.slice(from, to);
    const x = await deps.capture(unseen.model, hook, part, signal);
    const text = paddedText(part, x, from);
    for await (const { heads } of runner.read(text, { signal, withHost: false })) {
      for (const { detector } of probes) tallies.get(detector)?.add(heads);
    }
    await context.pulse();
  }
}

/** Ranges of sequences that are run together: bounded in number and in padded tokens. */
function runsOf(lengths: readonly number[]): readonly (readonly [from: number, to: number])[] {
  const runs: [number, number][] = [];
  let from = 0;
  let longest = 0;
  lengths.forEach((length, at) => {
    const padded = Math.max(longest, length) * (at - from + 1);
    if (at > from && (padded > PROBE_TOKENS_PER_RUN || at - from >= PROBE_PROMPTS_PER_RUN)) {
      runs.push([from, at]);
      from = at;
      longest = 0;
    }
    longest = Math.max(longest, length);
  });
  if (from < lengths.length) runs.push([from, lengths.length]);
  return runs;
}

/** Sequences side by side, padded on the right: attention is causal, so that padding changes nothing before it. */
function paddedText(
  sequences: readonly (readonly number[])[],
  x: readonly Tensor<'f32'>[],
  firstIndex: number,
): ReadText {
  const lengths = sequences.map(({ length }) => length);
  const pos = Math.max(...lengths);
  const d_model = x[0]?.shape[1] ?? 0;
  const data = new Float32Array(sequences.length * pos * d_model);
  const tokens = new Int32Array(sequences.length * pos);
  const valid = new Uint8Array(sequences.length * pos);
  sequences.forEach((ids, b) => {
    data.set(x[b]?.data ?? [], b * pos * d_model);
    tokens.set(ids, b * pos);
    valid.fill(1, b * pos, b * pos + ids.length);
  });
  const shape = [sequences.length, pos, d_model];
  return { x: tensor('f32', shape, data), tokens, valid, lengths, firstIndex };
}
