import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** A real program (or a file of its) that tests run against; `test/servers/recipes.ts` knows where it comes from. */
export interface ServerProgram {
  readonly name: string;
  readonly version: string;
}

const nats = (version: string): ServerProgram => ({ name: 'nats-server', version });
/** All of one release: the three programs and what `kubectl version` says of the server. */
const kubernetes = (name: string): ServerProgram => ({ name, version: '1.34.4' });
const keda = (name: string): ServerProgram => ({ name, version: '2.21.0' });

export const SERVERS = {
  /** The oldest that we start on. */
  natsMinimum: nats('2.11.0'),
  natsCurrent: nats('2.15.2'),
  /** What Debian 12 ships: must be refused. */
  natsTooOld: nats('2.9.10'),
  s3: { name: 'versitygw', version: '1.8.0' },
  helm: { name: 'helm', version: '4.1.4' },
  kubectl: { name: 'kubectl', version: '1.35.2' },
  prometheus: { name: 'prometheus', version: '3.16.0' },
  promtool: { name: 'promtool', version: '3.16.0' },
  etcd: { name: 'etcd', version: '3.6.5' },
  apiserver: kubernetes('kube-apiserver'),
  controllers: kubernetes('kube-controller-manager'),
  scheduler: kubernetes('kube-scheduler'),
  /** Plays the nodes: pods on them become Ready, nothing runs in them. */
  kwok: { name: 'kwok', version: '0.7.0' },
  kedaOperator: keda('keda-operator'),
  kedaAdapter: keda('keda-adapter'),
  /** What autoscalers by CPU and memory ask. */
  metricsServer: { name: 'metrics-server', version: '0.9.0' },
  /** What rules and panels about pods and autoscalers ask. */
  kubeStateMetrics: { name: 'kube-state-metrics', version: '2.18.0' },
  /** Definitions of kinds, one YAML file each: ScaledObject; ServiceMonitor, PrometheusRule; Certificate; HTTPRoute. */
  kedaCrds: keda('keda-crds'),
  prometheusCrds: { name: 'prometheus-operator-crds', version: '0.85.0' },
  certificateCrds: { name: 'cert-manager-crds', version: '1.21.2' },
  gatewayCrds: { name: 'gateway-api-crds', version: '1.4.0' },
} as const satisfies Record<string, ServerProgram>;

/** Where `npm run servers` puts them, outside of the repository. */
export function serversFolder(): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  return process.env['HEDDLE_SERVERS'] ?? join(cache, 'heddle', 'servers');
}

export function serverPath({ name, version }: ServerProgram): string {
  return join(serversFolder(), `${name}-${version}`);
}

/** Why a test that needs this program cannot run; undefined when it can. */
export function missingServer(program: ServerProgram): string | undefined {
  if (existsSync(serverPath(program))) return undefined;
  return `no ${program.name} ${program.version} in ${serversFolder()} (npm run servers)`;
}
