import { outcomeWithFiles, type TaskOutput } from '@heddle/actor';
import type { Json } from '@heddle/core';
import {
  foldedWrites,
  type HeadRule,
  headRoles,
  type RoleToken,
  TokenEffects,
} from '@heddle/interp/lorsa/heads';
import { engineVersions } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';
import type { Analysis } from './analysis.ts';
import type { AnalysisFacts, HeadFindings } from './analysis-file.ts';
import { HEADS_FILE } from './finished-analyses.ts';
import { HEADS_AT_ONCE, ROLE_TOKENS } from './limits.ts';
import { type ProbeFindings, readProbes } from './probe-pass.ts';
import { meanOf, type ScoredRules, scoredRules } from './scored-rules.ts';
import type { PassState, TextPass } from './text-pass.ts';
import { tokenTops } from './vocabulary-pass.ts';
import { writeCards } from './write-cards.ts';

/** Rules, detectors, tokens written: what is found once the text has gone by; and the result's files. */
export async function finishAnalysis(analysis: Analysis, state: PassState): Promise<TaskOutput> {
  const { deps, context, request, unseen, inspected } = analysis;
  const { signal } = context;
  const say = (done: number, message: string) =>
    context.progress({ done, total: 4, unit: 'passes', message });
  say(0, 'scoring rules');
  const pulse = () => context.pulse();
  const rules = await scoredRules(state.lorsa, request.seed, pulse);
  const baseline = state.baseline && (await scoredRules(state.baseline, request.seed, pulse));
  const nearest = analysis.baseline && (await nearestFeatures(analysis, analysis.baseline.writes));

  say(1, 'reading the vocabulary');
  const vocabulary = await deps.vocabulary(unseen.model);
  const writes = foldedWrites(inspected.weights.W_O, vocabulary);
  const tops = await tokenTops(deps.engine, writes, vocabulary, ROLE_TOKENS, { signal, pulse });

  say(2, 'asking the detectors');
  const effects = new TokenEffects({ directions: writes, rows: vocabulary.rows });
  const probes = await readProbes(analysis, state, effects);

  say(3, 'writing the cards');
  const { learn: statistics, score } = state.lorsa;
  statistics.merge(score); // rules are learned and scored: from here on all of the text counts
  const found = { analysis, state, statistics, tops, probes, rules, baseline, nearest };
  const heads: HeadFindings[] = [];
  for (let head = 0; head < statistics.heads; head++) {
    heads.push(findingsOf(found, head));
    if (head % HEADS_AT_ONCE === 0) await context.pulse();
  }
  const facts = factsOf(analysis, probes, rules, baseline);
  const content = await writeCards(analysis, state, { facts, heads, rules: rules.rules });
  return outcomeWithFiles(context.blobs, {
    summary: summaryOf(analysis, state, facts, heads, probes),
    files: [{ name: HEADS_FILE, mediaType: 'application/x-safetensors', content }],
    provenance: await provenanceOf(analysis),
  });
}

/** The tokens of a rule's side that speak for the head, with their share of its activity. */
const speaking = (side: HeadRule['fires']): readonly RoleToken[] =>
  side.filter(({ logRatio }) => logRatio > 0).slice(0, ROLE_TOKENS);

interface Found {
  readonly analysis: Analysis;
  readonly state: PassState;
  readonly statistics: TextPass['learn'];
  readonly tops: Awaited<ReturnType<typeof tokenTops>>;
  readonly probes: ProbeFindings;
  readonly rules: ScoredRules;
  /** Of the SAE's features, and which of them writes most like each head. */
  readonly baseline: ScoredRules | undefined;
  readonly nearest: ((head: number) => number | undefined) | undefined;
}

/** The feature whose write direction has the largest cosine with the head's. */
async function nearestFeatures(
  { deps, context, inspected }: Analysis,
  rows: Tensor<'f32'>,
): Promise<(head: number) => number | undefined> {
  const options = { signal: context.signal, pulse: () => context.pulse() };
  const tops = await tokenTops(deps.engine, inspected.weights.W_O, { rows }, 1, options);
  return (head) => tops.top(head)[0]?.token;
}

function findingsOf(found: Found, head: number): HeadFindings {
  const { analysis, state, statistics, tops, probes } = found;
  const { rules, auroc, shuffled } = found.rules;
  const rule = rules[head] as HeadRule;
  const original = state.originals?.of(head);
  const feature = found.nearest?.(head);
  const { quantile_samples } = analysis.request;
  return {
    frequency: statistics.frequency(head),
    activationMax: statistics.max(head),
    scores: probes.scores(head),
    roles: headRoles({ statistics, tops }, head, ROLE_TOKENS),
    hostShares: original?.shares ?? new Float64Array(analysis.host.n_heads),
    participationRatio: original?.participationRatio ?? Number.NaN,
    rule: {
      text: '', // put into words once the tokens' texts are known
      auroc: auroc[head] ?? Number.NaN,
      shuffled: shuffled[head] ?? Number.NaN,
      baseline: feature === undefined ? Number.NaN : (found.baseline?.auroc[feature] ?? Number.NaN),
      firesOn: speaking(rule.fires),
      readsFrom: speaking(rule.reads),
    },
    samples: [...statistics.top(head), ...statistics.quantileSamples(head, quantile_samples)],
  };
}

function factsOf(
  { request, unseen, host, inspected }: Analysis,
  { detectors }: ProbeFindings,
  rules: ScoredRules,
  baseline: ScoredRules | undefined,
): AnalysisFacts {
  const { layer } = unseen.checkpoint;
  const { config } = inspected;
  return {
    checkpoint: request.checkpoint,
    checkpoint_digest: request.checkpoint_digest,
    model: unseen.model,
    layer: host.layer,
    hook_in: layer.hookIn,
    heads: config.n_ov_heads,
    qk_heads: config.n_qk_heads,
    host_heads: host.n_heads,
    detectors,
    auroc: {
      lorsa: meanOf(rules.auroc),
      baseline: baseline === undefined ? null : meanOf(baseline.auroc),
      shuffled: meanOf(rules.shuffled),
    },
  };
}

function summaryOf(
  { request, unseen, context, startedMs }: Analysis,
  state: PassState,
  facts: AnalysisFacts,
  heads: readonly HeadFindings[],
  probes: ProbeFindings,
): Record<string, Json> {
  const { tokens } = state.lorsa.learn; // both halves by now
  const { leftOut, trainedOnKnown, source } = unseen;
  const called = facts.detectors.map(({ detector, threshold }, at): [string, number] => {
    return [detector, heads.filter(({ scores }) => (scores[at]?.score ?? 0) > threshold).length];
  });
  const spread = state.originals?.distribution();
  return {
    checkpoint: request.checkpoint,
    model: unseen.model,
    layer: facts.layer,
    heads: facts.heads,
    silent_heads: heads.filter(({ frequency }) => frequency === 0).length,
    text: source,
    tokens,
    sequences: state.sequences,
    documents: unseen.documents,
    documents_left_out: leftOut,
    trained_on_known: trainedOnKnown,
    auroc_lorsa: facts.auroc.lorsa,
    auroc_baseline: facts.auroc.baseline,
    auroc_shuffled: facts.auroc.shuffled,
    spread_heads: spread?.spread ?? null,
    mean_participation_ratio: spread?.meanParticipationRatio ?? null,
    heads_by_detector: Object.fromEntries(called),
    not_applicable: { ...probes.notApplicable },
    seconds: (context.clock.monotonic() - startedMs) / 1000,
  };
}

async function provenanceOf(analysis: Analysis): Promise<Record<string, Json>> {
  const { deps, request, unseen, host, runner, content } = analysis;
  const engine = await deps.engine.report();
  return {
    model: unseen.model,
    model_digest: host.modelDigest,
    data_digest: unseen.dataDigest,
    program_digest: `sha256:${runner.program.digest}`,
    checkpoint_digest: request.checkpoint_digest,
    content,
    precision: 'fp32',
    provider: engine.provider,
    seed: request.seed,
    versions: { ...deps.versions, ...engineVersions(engine) },
  };
}
