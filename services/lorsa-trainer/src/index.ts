import type { JobKind } from '@heddle/actor';
import type { Service } from '@heddle/ports';
import { remoteActivations } from './activation-source.ts';
import { analysisPart } from './analyse/handlers.ts';
import { evaluatePart } from './evaluate/handlers.ts';
import { checkpointPart } from './handlers.ts';
import { interchangePart } from './interchange/handlers.ts';
import { LORSA_METRICS } from './metrics.ts';
import type { LorsaDeps, LorsaPart, ServiceDeps } from './part.ts';
import { sweepPart } from './sweep/handlers.ts';
import { trainPart } from './train-handlers.ts';

export { LORSA_METRICS } from './metrics.ts';
export type { ServiceDeps } from './part.ts';

/** Each subject's handlers and job kinds, one line each. */
const PARTS: readonly ((deps: LorsaDeps) => LorsaPart)[] = [
  trainPart,
  sweepPart,
  evaluatePart,
  analysisPart,
  checkpointPart,
  interchangePart,
];

/** Trains Lorsa layers, runs them, and looks at them. */
export async function createService(deps: ServiceDeps): Promise<Service<JobKind>> {
  const { blobs, peers } = deps;
  const own = { activation: peers.activation, jobs: deps.jobsOf('activation'), blobs };
  const activations = remoteActivations(own);
  const parts = PARTS.map((make) => make({ ...deps, activations }));
  return {
    name: 'lorsa-trainer',
    handlers: { lorsa: Object.assign({}, ...parts.map(({ handlers }) => handlers)) },
    jobKinds: parts.flatMap(({ jobKinds }) => jobKinds),
    metrics: LORSA_METRICS,
    close: async () => {},
  };
}
