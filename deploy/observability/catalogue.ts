import { ACTIVATION_METRICS } from '@heddle/activation-server';
import { jobMetrics } from '@heddle/actor';
import { CONTENT_METRICS } from '@heddle/adapters/content';
import { grpcMetrics } from '@heddle/adapters/grpc';
import { PromMetrics } from '@heddle/adapters/prom';
import { ATTRIBUTION_METRICS } from '@heddle/attribution-service';
import { CIRCUIT_METRICS } from '@heddle/circuit-tracer';
import { LORSA_METRICS } from '@heddle/lorsa-trainer';
import type { MetricSpec } from '@heddle/ports';
import { QK_METRICS } from '@heddle/qk-analyzer';
import {
  ENGINE_METRICS,
  NATS_METRICS,
  NATS_USERS,
  PROCESS_METRICS,
  STORE_METRICS,
  TLS_METRICS,
} from 'heddle';

export type Service = 'activation' | 'lorsa' | 'qk' | 'circuit' | 'attribution' | 'explorer';

export const SERVICES: readonly Service[] = [
  'activation',
  'lorsa',
  'qk',
  'circuit',
  'attribution',
  'explorer',
];

const OWN: Readonly<Record<Service, readonly MetricSpec[]>> = {
  activation: ACTIVATION_METRICS,
  lorsa: LORSA_METRICS,
  qk: QK_METRICS,
  circuit: CIRCUIT_METRICS,
  attribution: ATTRIBUTION_METRICS,
  explorer: [],
};

/** Kinds of jobs of a service: what its queues are for. */
export function kindsOf(service: Service): readonly string[] {
  const user = NATS_USERS.find(({ name }) => name === service);
  return (user?.queues ?? []).map((queue) => queue.replace(/^tasks\./, ''));
}

/** What a process of a service in a cluster exposes, beside Node's own. */
export function metricsOf(
  service: Service,
  { tls = false }: { readonly tls?: boolean } = {},
): readonly MetricSpec[] {
  const everywhere = [...PROCESS_METRICS, ...(tls ? TLS_METRICS : []), ...grpcMetrics()];
  if (service === 'explorer') return everywhere; // it keeps nothing and computes nothing
  return [
    ...everywhere,
    ...STORE_METRICS,
    ...NATS_METRICS,
    ...ENGINE_METRICS,
    ...CONTENT_METRICS,
    ...jobMetrics(kindsOf(service)),
    ...OWN[service],
  ];
}

export interface Exposed {
  readonly name: string;
  readonly kind: string;
  readonly help: string;
}

/** Families of an exposition. */
export function familiesOf(text: string): readonly Exposed[] {
  const kinds = new Map(
    [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', kind = '']) => [name, kind]),
  );
  return [...text.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, name = '', help = '']) => ({
    name,
    help,
    kind: kinds.get(name) ?? 'untyped',
  }));
}

/** What prom-client and Node say of every process. */
export async function nodeMetrics(): Promise<readonly Exposed[]> {
  return familiesOf(await new PromMetrics().text());
}
