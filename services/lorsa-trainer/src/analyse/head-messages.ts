import type { JobView } from '@heddle/actor';
import type { Json } from '@heddle/core';
import type { RoleToken } from '@heddle/interp/lorsa/heads';
import type { Init } from '@heddle/ports';
import type { Provenance } from '@heddle/ports/proto/common';
import type { HeadRule, HeadSummary, WeightedToken } from '@heddle/ports/proto/lorsa';
import type { AnalysisFile, HeadFindings } from './analysis-file.ts';

const weighted = (file: AnalysisFile, tokens: readonly RoleToken[]): Init<WeightedToken>[] =>
  tokens.map(({ token, weight }) => ({ id: token, text: file.textOf(token), weight }));

/** A number that was measured; NaN is left out of the message. */
const measured = (value: number): number | undefined =>
  Number.isFinite(value) ? value : undefined;

/** A head in a list. `checkpoint`: as the analysis knows it. */
export function headSummary(
  file: AnalysisFile,
  job: string,
  head: number,
  found: HeadFindings = file.head(head),
): Init<HeadSummary> {
  const { facts } = file;
  return {
    checkpoint: facts.checkpoint,
    analysis: job,
    layer: facts.layer,
    head,
    // Consecutive groups share their queries and keys.
    qk_head: Math.floor(head / (facts.heads / facts.qk_heads)),
    frequency: found.frequency,
    activation_max: found.activationMax,
    scores: found.scores.flatMap(({ score, evidence }, at) =>
      Number.isFinite(score) ? [{ ...facts.detectors[at], score, evidence }] : [],
    ),
    fires_on: weighted(file, found.roles.fires_on),
    reads_from: weighted(file, found.roles.reads_from),
    raises: weighted(file, found.roles.raises),
    lowers: weighted(file, found.roles.lowers),
    original_heads: Array.from(found.hostShares, (share, host) => ({ head: host, share }))
      .filter(({ share }) => share > 0)
      .sort((a, b) => b.share - a.share || a.head - b.head),
    participation_ratio: measured(found.participationRatio) ?? 0,
    rule_auroc: measured(found.rule.auroc),
  };
}

export function headRule(file: AnalysisFile, { rule }: HeadFindings): Init<HeadRule> {
  return {
    text: rule.text,
    fires_on: weighted(file, rule.firesOn),
    reads_from: weighted(file, rule.readsFrom),
    auroc: measured(rule.auroc),
    auroc_baseline: measured(rule.baseline),
    auroc_shuffled: measured(rule.shuffled),
  };
}

/** What the findings were made from. */
export function analysisProvenance(job: JobView): Init<Provenance> {
  const facts: { readonly [name: string]: Json } = job.provenance ?? {};
  const text = (name: string) => (typeof facts[name] === 'string' ? facts[name] : '');
  const { seed, versions } = facts;
  return {
    model: text('model'),
    model_digest: text('model_digest'),
    data_digest: text('data_digest'),
    program_digest: text('program_digest'),
    precision: text('precision'),
    provider: text('provider'),
    seed: typeof seed === 'number' ? seed : undefined,
    versions: Object.entries((versions ?? {}) as Record<string, Json>).map(
      ([component, version]) => ({ component, version: String(version) }),
    ),
    method: job.kind,
    request_json: JSON.stringify(job.request).slice(0, 65_536),
    created_ms: job.createdMs,
  };
}
