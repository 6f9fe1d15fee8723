import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Heddle, Outcome } from '@heddle/client';
import { failedPrecondition, invalidArgument, type Json } from '@heddle/core';
import { readSafetensors } from '@heddle/formats';
import type { Init } from '@heddle/ports';
import type { RunRequest } from '@heddle/ports/proto/activation';
import type { Provenance } from '@heddle/ports/proto/common';
import type { Command } from 'commander';
import { readTensors } from '../arguments/files.ts';
import { compareJson, compareTensors, type Difference, type NamedTensors } from '../compare.ts';
import { followJob, started } from '../follow-job.ts';
import type { Invocation } from '../invocation.ts';
import { runFile } from '../run-file.ts';
import { showNumber, table } from '../show.ts';

export function addReproduce(program: Command, invocation: Invocation): void {
  program
    .command('reproduce <id>')
    .description(
      'run a result again from its provenance and compare; a job, or a file of `heddle run`',
    )
    .action((id: string) => {
      const path = resolve(invocation.io.workingDirectory, id);
      const isFile = id.endsWith('.safetensors') || existsSync(path);
      return isFile ? reproduceRun(invocation, id) : reproduceJob(invocation, id);
    });
}

async function reproduceRun(invocation: Invocation, path: string) {
  const old = await readTensors(invocation, path, 'id');
  const provenance = provenanceOf(path, old.header.metadata.get('heddle'));
  const request = JSON.parse(provenance.request_json) as Init<RunRequest>;
  const collected = await invocation.withHeddle({ contracts: ['activation'] }, (heddle) =>
    heddle.collectRun(request, { signal: invocation.signal }),
  );
  const now = collected.end.provenance;
  const differences = compareTensors(old, readSafetensors('the new run', runFile(collected)));
  report(invocation, { from: { file: path }, again: {}, differences, old: provenance, now });
}

function provenanceOf(path: string, text: string | undefined): Provenance {
  try {
    const provenance = JSON.parse(text ?? '') as Provenance;
    if (typeof provenance.request_json !== 'string' || !provenance.method.endsWith('/Run')) {
      throw new TypeError('made by another method');
    }
    if (provenance.request_json !== '') return provenance;
  } catch (cause) {
    throw invalidArgument(
      `${path} does not say how to make it again: only files of \`heddle run\` do; of a job, name its id`,
      { field: 'id', cause },
    );
  }
  throw failedPrecondition(`${path}: the request was too large to be kept in its provenance`, {
    field: 'id',
  });
}

async function reproduceJob(invocation: Invocation, id: string) {
  const key = `reproduce-${crypto.randomUUID()}`;
  const contracts = ['jobs', 'activation', 'lorsa', 'qk', 'circuit', 'attribution'] as const;
  await invocation.withHeddle({ contracts }, async (heddle) => {
    const before = await heddle.outcome(id);
    const again = started(await heddle.jobs.Rerun({ id: before.job.id, client_key: key }));
    invocation.note(`job ${again} does what ${before.job.id} did`);
    await followJob(invocation, heddle, again);
    const after = await heddle.outcome(again);
    report(invocation, {
      from: { job: before.job.id },
      again: { job: again },
      differences: await compareOutcomes(heddle, before, after),
      old: before.provenance,
      now: after.provenance,
    });
  });
}

/** How long it took is no part of a result. */
const TIMINGS = /(^|_)(seconds|ms|second|per_second)(_|$)/;

async function compareOutcomes(heddle: Heddle, before: Outcome, after: Outcome) {
  const differences: Difference[] = compareJson(before.summary as Json, after.summary as Json, {
    ignore: TIMINGS,
  });
  for (const { name, digest, media_type } of before.artifacts) {
    const other = after.artifacts.find((artifact) => artifact.name === name);
    if (other?.digest === digest) continue;
    if (other === undefined || media_type === 'application/octet-stream') {
      differences.push({ what: name, error: null });
      continue;
    }
    const [a, b] = await Promise.all([
      heddle.artifactBytes(before.job.id, name),
      heddle.artifactBytes(after.job.id, name),
    ]);
    differences.push(...compareArtifacts(name, media_type, a, b));
  }
  return differences;
}

function compareArtifacts(name: string, type: string, a: Uint8Array, b: Uint8Array): Difference[] {
  if (type === 'application/x-safetensors') {
    const tensors = (bytes: Uint8Array): NamedTensors => readSafetensors(name, bytes);
    return compareTensors(tensors(a), tensors(b));
  }
  const json = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes)) as Json;
  return compareJson(json(a), json(b), { ignore: TIMINGS }).map((difference) => ({
    ...difference,
    what: `${name}: ${difference.what}`,
  }));
}

interface Report {
  readonly from: { readonly job?: string; readonly file?: string };
  readonly again: { readonly job?: string };
  readonly differences: readonly Difference[];
  readonly old: Provenance | null;
  readonly now: Provenance | null;
}

const SHOWN = 20;

function report(invocation: Invocation, { from, again, differences, old, now }: Report): void {
  const equal = differences.length === 0;
  const worst = differences.reduce(
    (max, d) => Math.max(max, d.error ?? Number.POSITIVE_INFINITY),
    0,
  );
  const document = {
    ...from,
    again: again.job,
    equal,
    max_error: worst,
    differences,
    versions_then: old?.versions ?? [],
    versions_now: now?.versions ?? [],
  };
  if (equal) {
    invocation.print(document, 'equal: every number is the same');
    return;
  }
  const rows = differences.slice(0, SHOWN).map((d) => [d.what, showNumber(d.error)]);
  const head = `not equal: ${differences.length} parts differ, by at most ${showNumber(worst)} (max|Δ| / max(1, max|value|))`;
  invocation.print(document, `${head}\n${table(['part', 'error'], rows)}`);
}
