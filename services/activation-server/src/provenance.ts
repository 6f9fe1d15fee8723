import { createHash } from 'node:crypto';
import { type EngineReport, engineVersions, type Init } from '@heddle/ports';
import type { RunRequest } from '@heddle/ports/proto/activation';
import type { Provenance } from '@heddle/ports/proto/common';
import type { CheckedRun } from './check-run.ts';
import { PROVENANCE_REQUEST_BYTES_MAX } from './limits.ts';
import type { OpenModel } from './open-model.ts';

export interface Made {
  readonly request: RunRequest;
  readonly open: OpenModel;
  readonly run: CheckedRun;
  /** Digests of the programs that ran, in order. */
  readonly programs: readonly string[];
  readonly report: EngineReport;
  readonly method: string;
  readonly createdMs: number;
  readonly versions: Readonly<Record<string, string>>;
}

const sha256 = (...parts: readonly (string | Uint8Array)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return `sha256:${hash.digest('hex')}`;
};

/** What a run was made from: enough to make it again. */
export function provenanceOf(made: Made): Init<Provenance> {
  const { request, open, run, programs, report, method, createdMs } = made;
  const tokens = run.prompts.map(
    (prompt) => new Uint8Array(Uint32Array.from(prompt.tokens).buffer),
  );
  const lengths = Uint32Array.from(run.prompts, (prompt) => prompt.tokens.length);
  const requestJson = JSON.stringify(request, bytesAsBase64);
  return {
    model: request.model,
    model_digest: `sha256:${open.model.digest.replace(/^sha256:/, '')}`,
    data_digest: sha256(new Uint8Array(lengths.buffer), ...tokens),
    program_digest: sha256(programs.join('\n')),
    precision: 'fp32',
    provider: report.provider,
    versions: versionsOf(report, made.versions),
    method,
    request_json: requestJson.length <= PROVENANCE_REQUEST_BYTES_MAX ? requestJson : '',
    created_ms: createdMs,
  };
}

function versionsOf(report: EngineReport, versions: Readonly<Record<string, string>>) {
  const all = { ...versions, ...engineVersions(report) };
  return Object.entries(all).map(([name, text]) => ({ component: name, version: text }));
}

/** proto's JSON writes bytes so; typed arrays would become objects of indices. */
function bytesAsBase64(_key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  // A Buffer's own toJSON runs before a replacer sees it.
  const buffer = value as { type?: unknown; data?: unknown } | null;
  if (buffer?.type === 'Buffer' && Array.isArray(buffer.data)) {
    return Buffer.from(buffer.data as number[]).toString('base64');
  }
  return value;
}
