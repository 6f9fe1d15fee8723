import type { Alert, AlertGroup } from './alert.ts';
import { AVAILABILITY } from './availability.ts';
import { CALLS } from './calls.ts';
import { COMPUTE } from './compute.ts';
import { GPU } from './gpu.ts';
import { JOBS } from './jobs.ts';
import { KEDA } from './keda.ts';
import { KUBERNETES } from './kubernetes.ts';
import { STORES } from './stores.ts';

export type { Alert, AlertGroup, Recording, Severity } from './alert.ts';
export { RECORDINGS } from './recording.ts';

/** File of rules → its groups. All but the first need an exporter that not every cluster has. */
export const ALERT_FILES: Readonly<Record<string, readonly AlertGroup[]>> = {
  alerts: [AVAILABILITY, STORES, JOBS, CALLS, COMPUTE],
  'alerts-kubernetes': [KUBERNETES],
  'alerts-keda': [KEDA],
  'alerts-gpu': [GPU],
};

export const ALERTS: readonly Alert[] = Object.values(ALERT_FILES).flatMap((groups) =>
  groups.flatMap(({ alerts }) => alerts),
);
