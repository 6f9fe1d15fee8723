import type { NatsUser } from '@heddle/adapters/nats';

/** The kinds of jobs of each service that has any. The front door needs no NATS, so it is no user of it. */
const KINDS = {
  activation: ['activation.cache', 'activation.import'],
  attribution: ['attribution.why'],
  circuit: ['circuit.trace'],
  lorsa: [
    'lorsa.analyse',
    'lorsa.baseline',
    'lorsa.evaluate',
    'lorsa.import',
    'lorsa.sweep',
    'lorsa.train',
  ],
  qk: ['qk.fit'],
} as const;

/** The services as NATS knows them: what deploy/nats gives permissions to. */
export const NATS_USERS: readonly NatsUser[] = Object.entries(KINDS).map(([name, kinds]) => ({
  name,
  queues: kinds.map((kind) => `tasks.${kind}`),
}));
