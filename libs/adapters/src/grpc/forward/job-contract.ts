import type { ContractName } from '@heddle/ports';

/** Contracts whose services run jobs; a job's kind, and so its id, begins with its contract's name. */
const DOMAINS = ['activation', 'attribution', 'circuit', 'lorsa', 'qk'] as const;

/** Shorter beginnings of an id say nothing: they are for the service to refuse. */
const CHARACTERS_MIN = 4;

/** `lorsa-train-3f9c…`, or a beginning of it → `lorsa`; undefined when no service has jobs of that name. */
export function contractOfJob(id: string): ContractName | undefined {
  return DOMAINS.find((domain) => {
    const prefix = `${domain}-`;
    return id.startsWith(prefix) || (id.length >= CHARACTERS_MIN && prefix.startsWith(id));
  });
}
