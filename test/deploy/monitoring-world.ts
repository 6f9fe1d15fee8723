import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Cluster, type ClusterProcess, startCluster, temporaryFolder } from '@heddle/testkit';
import { makeAuthority, writeTls } from '@heddle/testkit/certificates';
import { type Prometheus, startPrometheus } from '@heddle/testkit/servers/prometheus';
import { ruleFiles } from '../../deploy/observability/rule-files.ts';

const HOME = fileURLToPath(new URL('../../deploy/observability/', import.meta.url));
const HEDDLE = fileURLToPath(new URL('../../services/embedded/bin/heddle.js', import.meta.url));
const WORKING = ['activation', 'lorsa', 'qk', 'circuit', 'attribution'] as const;
/** So that a test need not wait for what takes a cluster half a minute. */
const EVERY_SECONDS = 2;
export const OUTSIDE = ['kube-state-metrics', 'keda-operator', 'dcgm-exporter'] as const;

/** A cluster as the chart deploys it, and the Prometheus that watches it. */
export interface MonitoringWorld {
  readonly cluster: Cluster;
  /** A front door with TLS: what only encrypted processes expose. */
  readonly encrypted: ClusterProcess;
  readonly ask: Prometheus['ask'];
  /** The main job, and then a look of Prometheus at everything. */
  tour(): Promise<void>;
  /** Every target is up and scraped, and every rule evaluated, after now. */
  caughtUp(): Promise<void>;
  remove(): Promise<void>;
}

export async function openMonitoringWorld(): Promise<MonitoringWorld> {
  const folder = await temporaryFolder();
  const removers: (() => Promise<unknown>)[] = [() => folder.remove()];
  const remove = async (): Promise<void> => {
    for (const each of removers.splice(0).reverse()) await each();
  };
  try {
    const cluster = await startCluster({
      processes: [
        ...WORKING.map((service) => ({ services: [service], env: { HEDDLE_WORK: 'none' } })),
        // One that is told of a GPU where there is none: it says so.
        ...WORKING.map((service) => ({
          services: [service],
          name: `${service}-workers`,
          env: { HEDDLE_PROVIDERS: 'cuda,cpu' },
        })),
        { services: ['explorer'] },
      ],
    });
    removers.push(() => cluster.remove());
    const encrypted = await addEncrypted(cluster, join(folder.path, 'tls'));
    const outside = await serveExpositions();
    removers.push(async () => outside.close());
    const prometheus = await startPrometheus({
      scrapes: scrapesOf(cluster, encrypted, outside),
      rules: rules(),
      everySeconds: EVERY_SECONDS,
    });
    removers.push(prometheus.stop);
    const { ask, caughtUp } = prometheus;
    await caughtUp(); // what grows from now on is an increase
    const watched = async (): Promise<void> => {
      await tour(cluster);
      await caughtUp();
    };
    return { cluster, encrypted, ask, tour: watched, caughtUp, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function addEncrypted(cluster: Cluster, path: string): Promise<ClusterProcess> {
  const authority = await makeAuthority();
  await writeTls(path, authority, await authority.issue({ names: ['heddle-explorer'] }));
  const env = { HEDDLE_TLS_DIR: path };
  const [added] = await cluster.add({ services: ['explorer'], name: 'encrypted', env });
  if (added === undefined) throw new Error('no process was added');
  return added;
}

/** What others would expose, under `/NAME`. */
async function serveExpositions(): Promise<Server> {
  const server = createServer((request, response) => {
    const name = OUTSIDE.find((each) => request.url === `/${each}`);
    response.setHeader('content-type', 'text/plain; version=0.0.4');
    if (name === undefined) response.writeHead(404).end();
    else response.end(expositionOf(name));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

export const expositionOf = (name: (typeof OUTSIDE)[number]): string =>
  readFileSync(join(HOME, 'expositions', `${name}.prom`), 'utf8');

function scrapesOf(cluster: Cluster, encrypted: ClusterProcess, outside: Server) {
  const { port } = outside.address() as AddressInfo;
  const targetOf = (each: ClusterProcess) => ({
    targets: [new URL(each.pages).host],
    labels: {
      ...{ job: 'heddle', namespace: 'heddle', instance: each.name },
      service: each.services[0] ?? '',
      role: each.name.endsWith('-workers') ? 'workers' : 'service',
    },
  });
  return [
    {
      job_name: 'heddle',
      static_configs: cluster.processes.filter((each) => each !== encrypted).map(targetOf),
    },
    {
      job_name: 'heddle-encrypted',
      scheme: 'https',
      tls_config: { insecure_skip_verify: true },
      static_configs: [targetOf(encrypted)],
    },
    ...OUTSIDE.map((name) => ({
      job_name: name,
      metrics_path: `/${name}`,
      honor_labels: true,
      static_configs: [{ targets: [`127.0.0.1:${port}`] }],
    })),
  ];
}

/** Name → text of the rules. */
const rules = (): ReadonlyMap<string, string> =>
  new Map([...ruleFiles()].map(([path, text]) => [basename(path, '.yaml'), text]));

/** The main job: a run, a training, a fit, a trace, an attribution, through the front door. */
async function tour(cluster: Cluster): Promise<void> {
  const args = [HEDDLE, '--server', cluster.address, 'tour', '--exit', '--json'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const said: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => said.push(text));
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`the tour ended with ${status}: ${said.join('')}`);
}
