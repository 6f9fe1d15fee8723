import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type Cluster,
  type ClusterProcess,
  freePort,
  SERVERS,
  serverPath,
  startCluster,
  temporaryFolder,
} from '@heddle/testkit';
import { makeAuthority, writeTls } from '@heddle/testkit/certificates';
import { stringify } from 'yaml';
import { ruleFiles } from '../../deploy/observability/rule-files.ts';

const HOME = fileURLToPath(new URL('../../deploy/observability/', import.meta.url));
const HEDDLE = fileURLToPath(new URL('../../services/embedded/bin/heddle.js', import.meta.url));
const WORKING = ['activation', 'lorsa', 'qk', 'circuit', 'attribution'] as const;
export const OUTSIDE = ['kube-state-metrics', 'dcgm-exporter'] as const;

/** Of Prometheus' API: `data` of its answer. */
type Ask = <T>(path: string, parameters?: Readonly<Record<string, string>>) => Promise<T>;

/** A cluster as the chart deploys it, and the Prometheus that watches it. */
export interface MonitoringWorld {
  readonly cluster: Cluster;
  /** A front door with TLS: what only encrypted processes expose. */
  readonly encrypted: ClusterProcess;
  readonly ask: Ask;
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
    const { address, end } = await startPrometheus(
      folder.path,
      configOf(cluster, encrypted, outside),
    );
    removers.push(end);
    const ask: Ask = async <T>(path: string, parameters = {}): Promise<T> => {
      const url = `http://${address}/api/v1/${path}?${new URLSearchParams(parameters)}`;
      const { status, data, error } = (await (await fetch(url)).json()) as Answer<T>;
      if (status !== 'success') throw new Error(`${path} ${JSON.stringify(parameters)}: ${error}`);
      return data;
    };
    await caughtUp(ask); // what grows from now on is an increase
    const watched = async (): Promise<void> => {
      await tour(cluster);
      await caughtUp(ask);
    };
    return { cluster, encrypted, ask, tour: watched, caughtUp: () => caughtUp(ask), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

interface Answer<T> {
  readonly status: string;
  readonly data: T;
  readonly error?: string;
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

/** Scraped and evaluated every other second, so that a test need not wait for what takes a cluster half a minute. */
function configOf(cluster: Cluster, encrypted: ClusterProcess, outside: Server) {
  const { port } = outside.address() as AddressInfo;
  const targetOf = (each: ClusterProcess) => ({
    targets: [new URL(each.pages).host],
    labels: {
      ...{ job: 'heddle', namespace: 'heddle', instance: each.name },
      service: each.services[0] ?? '',
      role: each.name.endsWith('-workers') ? 'workers' : 'service',
    },
  });
  return {
    global: { scrape_interval: '2s', scrape_timeout: '2s', evaluation_interval: '2s' },
    rule_files: ['*.rules.yaml'],
    scrape_configs: [
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
    ],
  };
}

async function startPrometheus(folder: string, config: object) {
  for (const path of ruleFiles().keys()) {
    const text = readFileSync(join(HOME, path), 'utf8').replaceAll(
      /interval: \w+/g,
      'interval: 2s',
    );
    writeFileSync(join(folder, path.replace('rules/', '').replace('.yaml', '.rules.yaml')), text);
  }
  const file = join(folder, 'prometheus.yaml');
  writeFileSync(file, stringify(config));
  const address = `127.0.0.1:${await freePort()}`;
  const args = [
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    `--web.listen-address=${address}`,
    '--log.level=warn',
  ];
  const child = spawn(serverPath(SERVERS.prometheus), args, {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const said: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => said.push(text));
  const end = async (): Promise<void> => {
    if (child.exitCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
  await whenReady(`http://${address}/-/ready`, child, said);
  return { address, end };
}

async function whenReady(url: string, child: ChildProcess, said: readonly string[]) {
  const untilMs = performance.now() + 30_000;
  for (;;) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok) return;
    if (child.exitCode !== null || performance.now() > untilMs) {
      throw new Error(`Prometheus is not ready: ${said.join('')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Until every target was scraped and every rule evaluated after now, in this order. */
async function caughtUp(ask: Ask): Promise<void> {
  const isPast = (times: readonly string[], ms: number): boolean =>
    times.length > 0 && times.every((time) => Date.parse(time) > ms);
  const scraped = async (): Promise<readonly string[]> => {
    const { activeTargets } = await ask<{
      readonly activeTargets: readonly { readonly lastScrape: string; readonly health: string }[];
    }>('targets');
    // One that was too late on a busy machine has not been seen.
    return activeTargets.map(({ lastScrape, health }) => (health === 'up' ? lastScrape : ''));
  };
  const evaluated = async (): Promise<readonly string[]> => {
    const { groups } = await ask<{
      readonly groups: readonly { readonly lastEvaluation: string }[];
    }>('rules');
    return groups.map(({ lastEvaluation }) => lastEvaluation);
  };
  const untilMs = performance.now() + 60_000;
  for (const times of [scraped, evaluated, evaluated]) {
    const fromMs = Date.now();
    while (!isPast(await times(), fromMs)) {
      if (performance.now() > untilMs) throw new Error('Prometheus does not keep up');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** The main job: a run, a training, a fit, a trace, an attribution, through the front door. */
async function tour(cluster: Cluster): Promise<void> {
  const args = [HEDDLE, '--server', cluster.address, 'tour', '--exit', '--json'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const said: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => said.push(text));
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`the tour ended with ${status}: ${said.join('')}`);
}
