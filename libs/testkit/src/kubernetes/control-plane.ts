import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '@heddle/core';
import { makeAuthority, writeTls } from '../certificates.ts';
import { stablePort } from '../cluster/stable-port.ts';
import type { Launched } from '../processes/launch.ts';
import { missingServer, SERVERS, type ServerProgram, serverPath } from '../servers/binaries.ts';
import { untilUp } from '../servers/until-up.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { ApiClient } from './api-client.ts';
import { kedaObjects } from './keda-objects.ts';
import { type NodeSpec, nodeObject } from './nodes.ts';
import * as programs from './programs.ts';
import { usageConfiguration, usageObjects, usagePath } from './usage.ts';

/** A real Kubernetes control plane with KEDA, whose nodes are played by kwok. */
export interface ControlPlane {
  readonly kubeconfig: string;
  readonly api: ApiClient;
  /** Its standard output. Errors: what it said on the other one. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  helm(args: readonly string[]): Promise<string>;
  /** Objects, or YAML, as `kubectl apply` has them. */
  apply(what: readonly object[] | string): Promise<void>;
  /**
   * Starts the metrics server, with `usage`: it answers when this resolves, with figures of the pods that were there ten
   * seconds later (of others within twenty).
   */
  startMetricsServer(): Promise<void>;
  /** What a program said last: `keda-operator`, `kube-apiserver`. */
  said(program: string): string;
  /** Ends everything and removes the folder. */
  stop(): Promise<void>;
}

export interface ControlPlaneOptions {
  /** Default: two with eight GPUs each, one with eight GPUs in slices, two with none. */
  readonly nodes?: readonly NodeSpec[];
  /** False: nothing is scaled by queues; starts sooner. */
  readonly keda?: boolean;
  /** True: nodes say what their pods use, which is what the pods' annotations say (`USAGE_ANNOTATIONS`). */
  readonly usage?: boolean;
}

const NODES: readonly NodeSpec[] = [
  { name: 'gpu-0', gpus: { 'nvidia.com/gpu': 8 } },
  { name: 'gpu-1', gpus: { 'nvidia.com/gpu': 8 } },
  { name: 'gpu-sliced', gpus: { 'nvidia.com/mig-1g.10gb': 28, 'nvidia.com/mig-2g.20gb': 12 } },
  { name: 'cpu-0' },
  { name: 'cpu-1' },
];

const NEEDED = [
  SERVERS.etcd,
  SERVERS.apiserver,
  SERVERS.controllers,
  SERVERS.scheduler,
  SERVERS.kwok,
  SERVERS.kedaOperator,
  SERVERS.kedaAdapter,
  SERVERS.kedaCrds,
  SERVERS.prometheusCrds,
  SERVERS.certificateCrds,
  SERVERS.gatewayCrds,
  SERVERS.kubectl,
  SERVERS.helm,
];

/** The definitions that charts of ours use, and all that KEDA's operator looks at; the others only take time. */
const KINDS = [
  ...['ScaledObject', 'ScaledJob', 'TriggerAuthentication', 'ClusterTriggerAuthentication'],
  ...['CloudEventSource', 'ClusterCloudEventSource'],
  ...['ServiceMonitor', 'PodMonitor', 'PrometheusRule'],
  ...['Certificate', 'Issuer', 'ClusterIssuer'],
  ...['Gateway', 'HTTPRoute', 'GRPCRoute'],
];

/** On a busy machine each part may take long; each is waited for as it comes. */
const PART_MS = 90_000;

/** Why a test that needs a control plane, and these, cannot run; undefined when it can. */
export function missingControlPlane(...also: readonly ServerProgram[]): string | undefined {
  const missing = [...NEEDED, ...also].map(missingServer).find((reason) => reason !== undefined);
  return missing && `no control plane: ${missing.replace(')', ' -- control-plane)')}`;
}

/** Starts one, with every part answering when this resolves (about ten seconds, 0.9 GiB). */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const folder = await temporaryFolder();
  const running = new Map<string, Launched>();
  const clients: ApiClient[] = [];
  const stop = async (): Promise<void> => {
    for (const client of clients) client.close();
    for (const [, { kill }] of running) kill('SIGKILL');
    await Promise.all([...running.values()].map(({ exited }) => exited));
    await folder.remove();
  };
  try {
    const { ground, client, kubelet } = await prepare(folder.path, options.usage ?? false);
    clients.push(client, kubelet);
    const start = async (program: (ground: programs.Ground) => programs.CommandLine) => {
      const command = program(ground);
      running.set(command[0].name, await programs.launchProgram(command, ground));
    };
    const plane: ControlPlane = {
      ...handle({ ground, client, running, stop }),
      startMetricsServer: async () => {
        assert(ground.hasUsage, 'a control plane whose nodes say what pods use');
        // kwok gets to know of pods when it is first asked for one, and that answer is without them.
        const nodes = await client.list('/api/v1/nodes');
        await Promise.all(nodes.map(({ metadata }) => kubelet.get(usagePath(metadata.name))));
        await start(programs.metricsServer);
        await plane.apply(usageObjects(ground.ports));
        await ready(plane, 'metrics-server', '/apis/metrics.k8s.io/v1beta1', running);
      },
    };
    await start(programs.etcd);
    await start(programs.apiserver);
    await ready(plane, 'kube-apiserver', '/readyz', running);
    await Promise.all([programs.controllers, programs.scheduler, programs.kwok].map(start));
    await plane.kubectl(['apply', '--server-side', '-f', '-'], await definitions());
    await plane.apply((options.nodes ?? NODES).map(nodeObject));
    if (options.keda !== false) {
      await plane.apply(kedaObjects(ground.ports));
      await Promise.all([programs.kedaOperator, programs.kedaAdapter].map(start));
      await ready(plane, 'keda-adapter', '/apis/external.metrics.k8s.io/v1beta1', running);
    }
    await plane.kubectl(['wait', '--for=condition=Ready', 'nodes', '--all', '--timeout=60s']);
    return plane;
  } catch (error) {
    const said = [...running].map(([name, { stderr }]) => `${name}: ${stderr().slice(-600)}`);
    await stop();
    throw new Error(`${(error as Error).message}\n${said.join('\n')}`);
  }
}

/** Certificates, tokens and the kubeconfig. */
async function prepare(folder: string, hasUsage: boolean) {
  const names = [
    ...['etcd', 'etcdPeer', 'api', 'kedaAdapter', 'kedaAdapterMetrics'],
    ...['kedaMetrics', 'kedaHealth', 'kedaService', 'kubelet', 'metricsServer'],
  ];
  const ports = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await stablePort()] as const)),
  ) as unknown as programs.Ports;
  const authority = await makeAuthority('test control plane');
  const services = ['keda-operator', 'keda-metrics-apiserver'].map((name) => `${name}.keda.svc`);
  const own = await authority.issue({ names: ['localhost', '127.0.0.1', ...services] });
  await writeTls(folder, authority, own);
  await writeTls(join(folder, 'proxy'), authority, await authority.issue({ names: ['proxy'] }));
  await writeTls(
    join(folder, 'accounts'),
    authority,
    await authority.issue({ names: ['accounts'] }),
  );
  const token = randomBytes(16).toString('hex');
  await writeFile(join(folder, 'tokens.csv'), `${token},admin,admin,system:masters\n`);
  const kubeconfig = join(folder, 'kubeconfig');
  const server = `https://127.0.0.1:${ports.api}`;
  // JSON is YAML.
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name: 'test', cluster: { server, 'certificate-authority': join(folder, 'ca.crt') } },
    ],
    users: [{ name: 'admin', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  };
  await writeFile(kubeconfig, JSON.stringify(config), { mode: 0o600 });
  for (const name of ['helm', 'kube']) await mkdir(join(folder, name));
  if (hasUsage) await writeFile(join(folder, 'usage.yaml'), usageConfiguration());
  const ground: programs.Ground = { folder, kubeconfig, ports, hasUsage };
  const client = new ApiClient(server, token, authority.ca);
  // One for all nodes; it asks nobody who they are.
  const kubelet = new ApiClient(`https://127.0.0.1:${ports.kubelet}`, '', authority.ca);
  return { ground, client, kubelet };
}

interface Parts {
  readonly ground: programs.Ground;
  readonly client: ApiClient;
  readonly running: ReadonlyMap<string, Launched>;
  readonly stop: () => Promise<void>;
}

function handle({
  ground,
  client,
  running,
  stop,
}: Parts): Omit<ControlPlane, 'startMetricsServer'> {
  const { kubeconfig, folder } = ground;
  // Neither reads or writes what belongs to whoever runs the tests.
  const env = {
    KUBECONFIG: kubeconfig,
    KUBECACHEDIR: join(folder, 'kube'),
    HELM_CACHE_HOME: join(folder, 'helm'),
    HELM_CONFIG_HOME: join(folder, 'helm'),
    HELM_DATA_HOME: join(folder, 'helm'),
  };
  const kubectl = (args: readonly string[], input?: string) =>
    output([serverPath(SERVERS.kubectl), ...args], { env, input });
  return {
    ...{ kubeconfig, api: client, kubectl, stop },
    helm: (args) => output([serverPath(SERVERS.helm), ...args], { env }),
    apply: async (what) => {
      const text =
        typeof what === 'string'
          ? what
          : JSON.stringify({ apiVersion: 'v1', kind: 'List', items: what });
      await kubectl(['apply', '-f', '-'], text);
    },
    said: (program) => running.get(program)?.stderr() ?? '',
  };
}

async function ready(
  { api }: ControlPlane,
  program: string,
  path: string,
  running: ReadonlyMap<string, Launched>,
): Promise<void> {
  const child = running.get(program);
  assert(child !== undefined, () => `${program} was started`);
  const answers = () =>
    api.get(path).then(
      () => true,
      () => false,
    );
  await untilUp(`${program} answers`, child, answers, { withinMs: PART_MS });
}

async function definitions(): Promise<string> {
  const { kedaCrds, prometheusCrds, certificateCrds, gatewayCrds } = SERVERS;
  const files = await Promise.all(
    [kedaCrds, prometheusCrds, certificateCrds, gatewayCrds].map((program) =>
      readFile(serverPath(program), 'utf8'),
    ),
  );
  return files
    .flatMap((text) => text.split(/^---$/m))
    .filter((text) => KINDS.includes(/^ {4}kind: (\w+)$/m.exec(text)?.[1] ?? ''))
    .join('\n---\n');
}

/** Runs a program to its end. */
function output(
  [program = '', ...args]: readonly string[],
  {
    env,
    input = '',
  }: { readonly env: Readonly<Record<string, string>>; readonly input?: string | undefined },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...process.env, ...env } });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`${[program.split('/').at(-1), ...args].join(' ')}\n${stderr}`));
    });
    child.stdin.on('error', () => undefined); // it ended without reading all
    child.stdin.end(input);
  });
}
