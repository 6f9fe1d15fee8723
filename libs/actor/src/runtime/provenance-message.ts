import type { Json } from '@heddle/core';
import type { Init } from '@heddle/ports';
import type { Provenance } from '@heddle/ports/proto/common';
import type { JobView } from './job-view.ts';

/** A request is shown up to here; all of it stays in the journal. */
export const REQUEST_CHARACTERS_MAX = 65_536;

type Facts = { readonly [name: string]: Json };

/** What a job's provenance says, under whatever of the known names it says it. */
export function provenanceMessage(view: JobView): Init<Provenance> {
  const facts: Facts = view.provenance ?? {};
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
    versions: Object.entries(isFacts(versions) ? versions : {}).map(([component, version]) => ({
      component,
      version: String(version),
    })),
    method: view.kind,
    request_json: JSON.stringify(view.request).slice(0, REQUEST_CHARACTERS_MAX),
    created_ms: view.createdMs,
  };
}

const isFacts = (value: Json | undefined): value is Facts =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
