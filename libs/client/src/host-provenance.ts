import { createHash } from 'node:crypto';
import type { Json } from '@heddle/core';
import type { ModelInfo } from '@heddle/ports/proto/activation';
import type { Provenance } from '@heddle/ports/proto/common';

/** What a result of the host's mathematics was made from, in the words of `heddle.common.v1.Provenance`. */
export type HostProvenance = {
  readonly model: string;
  readonly model_digest: string;
  readonly data_digest: string;
  readonly program_digest: string;
  readonly precision: string;
  readonly provider: string;
  readonly versions: { readonly [component: string]: string };
};

/** Values came out of these captures, and what was made of them is fp64 on the host. `versions`: of this process. */
export function hostProvenance(
  { name, digest }: Pick<ModelInfo, 'name' | 'digest'>,
  captures: readonly (Provenance | null)[],
  versions: Readonly<Record<string, string>>,
): HostProvenance {
  const told = captures.filter((capture) => capture !== null);
  const engine = (told[0]?.versions ?? []).map(({ component, version }) => [component, version]);
  return {
    model: name,
    model_digest: digest,
    data_digest: digestOfAll(told.map(({ data_digest }) => data_digest)),
    program_digest: digestOfAll(told.map(({ program_digest }) => program_digest)),
    precision: 'fp64 over a capture in fp32',
    provider: told[0]?.provider ?? '',
    versions: { ...Object.fromEntries(engine), ...versions },
  };
}

/** The provenance of what was put together from parts, each with its own; they agree in all but their data. */
export function joinProvenance(parts: readonly { readonly [name: string]: Json }[]): {
  readonly [name: string]: Json;
} {
  const digests = (name: string) => digestOfAll(parts.map((part) => String(part[name] ?? '')));
  const joined = { data_digest: digests('data_digest'), program_digest: digests('program_digest') };
  return { ...parts[0], ...joined };
}

/** One is itself; several are the hash of their list, in order. */
function digestOfAll(digests: readonly string[]): string {
  if (digests.length <= 1) return digests[0] ?? '';
  return `sha256:${createHash('sha256').update(digests.join('\n')).digest('hex')}`;
}
