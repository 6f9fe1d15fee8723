import { DRAIN_MS } from '@heddle/cli';
import { VERSION } from '@heddle/core';
import { readConfig } from 'heddle';
import type { IProbe } from 'kubernetes-models/v1/Probe';
import { IMAGES, type ImageName, imageName } from '../../../deploy/docker/images.ts';
import { type Manifest, ofKind, type Workload, workloads } from './manifests.ts';

/** Closing of stores and of what hangs, after the drain. */
const AFTER_DRAIN_S = 10;
const { grpcPort, httpPort } = readConfig({});
/** What a process answers there: `front-door.test.ts` asks a real one. */
export const PAGES = ['/healthz', '/readyz', '/metrics'] as const;
/** Variables that are not ours, and who reads them. */
const FOREIGN = [
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_REGION',
  'HF_ENDPOINT',
  'HF_TOKEN',
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'OTEL_RESOURCE_ATTRIBUTES',
  'OTEL_TRACES_SAMPLER',
  'OTEL_TRACES_SAMPLER_ARG',
];
/** For OTEL_RESOURCE_ATTRIBUTES, which names them. */
const DOWNWARD = ['POD_NAMESPACE', 'POD_NAME', 'NODE_NAME'];

export interface Context {
  /** Variables that the values file itself adds, which are the operator's. */
  readonly extraEnv?: readonly string[];
}

/** Ports, probes, variables, image, grace and walls of every pod against what the code says. */
export function containerComplaints(
  manifests: readonly Manifest[],
  { extraEnv = [] }: Context = {},
): readonly string[] {
  return workloads(manifests).flatMap((workload) =>
    [
      ...ports(workload),
      ...probes(workload),
      ...variables(workload, [...FOREIGN, ...DOWNWARD, ...extraEnv]),
      ...program(workload),
      ...ending(workload),
      ...walls(workload),
      ...files(workload, manifests),
    ].map((complaint) => `${workload.name}: ${complaint}`),
  );
}

function ports({ container, env }: Workload): string[] {
  const found = Object.fromEntries(
    (container.ports ?? []).map(({ name = '', containerPort }) => [name, containerPort]),
  );
  const config = { grpc: grpcPort, http: httpPort };
  return [
    ...Object.entries(config)
      .filter(([name, port]) => found[name] !== port)
      .map(([name, port]) => `port ${name} is ${found[name]}, and the process listens on ${port}`),
    ...(['HEDDLE_PORT', 'HEDDLE_HTTP_PORT'] as const)
      .filter((name) => env[name] !== undefined)
      .map((name) => `${name} is set: the process would listen elsewhere`),
  ];
}

function probes({ container, env }: Workload): string[] {
  const scheme = env['HEDDLE_TLS_DIR'] === undefined ? 'HTTP' : 'HTTPS';
  const { startupProbe, livenessProbe, readinessProbe } = container;
  const named = { startupProbe, livenessProbe, readinessProbe };
  return Object.entries(named).flatMap(([name, probe]) =>
    probeComplaints(name, probe, scheme).map((complaint) => `${name}: ${complaint}`),
  );
}

function probeComplaints(name: string, probe: IProbe | undefined, scheme: string): string[] {
  if (probe?.grpc !== undefined) {
    return [
      ...(probe.grpc.port === grpcPort ? [] : [`gRPC port ${probe.grpc.port}`]),
      ...(scheme === 'HTTP' ? [] : ['Kubernetes’ gRPC probe speaks no TLS']),
      // NATS away is NOT_SERVING: a restart brings nothing back.
      ...(name === 'readinessProbe' ? [] : ['health decides over life']),
    ];
  }
  const get = probe?.httpGet;
  if (get === undefined) return ['there is none'];
  const path = name === 'readinessProbe' ? '/readyz' : '/healthz';
  return [
    ...(get.path === path && PAGES.includes(path) ? [] : [`asks ${get.path}, not ${path}`]),
    ...(get.port === 'http' || get.port === httpPort ? [] : [`port ${get.port}`]),
    ...(get.scheme === scheme ? [] : [`by ${get.scheme}, and the process speaks ${scheme}`]),
  ];
}

function variables({ container, env, isWorker, isDoor, service }: Workload, known: string[]) {
  const complaints = (container.env ?? [])
    .map(({ name }) => name)
    .filter((name) => !name.startsWith('HEDDLE_') && !known.includes(name))
    .map((name) => `nothing reads ${name}`);
  try {
    const config = readConfig(env);
    complaints.push(...config.unread.map((name) => `no process reads ${name}`));
    if (isWorker && !config.works) complaints.push('workers that do not work');
    if (!isDoor && config.stores.nats === undefined) complaints.push('no NATS: a cluster of one');
    if (isDoor && config.stores.nats !== undefined) complaints.push('the front door knows NATS');
    const user = config.stores.nats?.user;
    if (user !== undefined && user !== service) complaints.push(`is ${user} to NATS`);
    const hasGpu = gpus(container) > 0;
    if (hasGpu !== config.providers.includes('cuda'))
      complaints.push(`providers ${config.providers} with ${gpus(container)} GPUs`);
  } catch (thrown) {
    complaints.push((thrown as Error).message);
  }
  return complaints;
}

function gpus({ resources }: Workload['container']): number {
  const amounts = Object.entries(resources?.limits ?? {});
  return Number(amounts.find(([name]) => name.includes('/'))?.[1] ?? 0);
}

function program({ container, service }: Workload): string[] {
  const args = (container.args ?? []).join(' ');
  const complaints = args === `up --services ${service}` ? [] : [`is told ${args}`];
  if (!IMAGES.includes(service as ImageName)) return [...complaints, `no image of ${service}`];
  const [, registry = '', tag = VERSION] =
    /^(.*\/)?[^:]+:(.*?)(-cuda)?$/.exec(container.image ?? '') ?? [];
  const variant = gpus(container) > 0 ? 'cuda' : 'cpu';
  const image = imageName(service as ImageName, { registry, tag, variant });
  if (container.image !== image) complaints.push(`image ${container.image}, not ${image}`);
  if (container.command !== undefined) complaints.push('command replaces the entry point');
  return complaints;
}

/** Killed while it drains, a process hands nothing back: others wait for the ack wait, and repeat what was not saved. */
function ending({ pod, container }: Workload): string[] {
  const grace = pod.terminationGracePeriodSeconds ?? 30;
  const sleep = container.lifecycle?.preStop?.sleep?.seconds ?? 0;
  const needed = sleep + DRAIN_MS / 1000 + AFTER_DRAIN_S;
  return grace >= needed ? [] : [`killed after ${grace} s, and needs ${needed}`];
}

/** Nothing runs as root, nothing writes but to scratch, nobody has a token of the API server. */
function walls({ pod, container }: Workload): string[] {
  const { securityContext: own, resources } = container;
  const has: Readonly<Record<string, boolean>> = {
    'not root': pod.securityContext?.runAsNonRoot === true,
    'a user that is a number': (pod.securityContext?.runAsUser ?? 0) > 0,
    'a seccomp profile': pod.securityContext?.seccompProfile?.type === 'RuntimeDefault',
    'a read-only root': own?.readOnlyRootFilesystem === true,
    'no escalation': own?.allowPrivilegeEscalation === false,
    'no capabilities': own?.capabilities?.drop?.includes('ALL') === true,
    'no token': pod.automountServiceAccountToken === false,
    'no variables of Services': pod.enableServiceLinks === false,
    'a memory limit': resources?.limits?.['memory'] !== undefined,
    requests: resources?.requests?.['cpu'] !== undefined,
  };
  return Object.keys(has)
    .filter((wall) => !has[wall])
    .map((wall) => `lacks ${wall}`);
}

/** Every file that a variable names lies under a mount, and every mount has its volume. */
function files({ pod, container, env }: Workload, manifests: readonly Manifest[]): string[] {
  const mounts = container.volumeMounts ?? [];
  const volumes = pod.volumes ?? [];
  const under = (path: string) =>
    mounts.some(({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`));
  // The folder of models may be absent; an address is no file.
  const named = Object.entries(env).filter(
    ([name, value]) => value.startsWith('/') && name !== 'HEDDLE_MODEL_ROOTS',
  );
  const configMaps = ofKind(manifests, 'ConfigMap').map(({ metadata }) => metadata.name);
  return [
    ...named
      .filter(([, path]) => !under(path))
      .map(([name, path]) => `${name}=${path} is on no volume`),
    ...mounts
      .filter(({ name }) => !volumes.some((volume) => volume.name === name))
      .map(({ name }) => `no volume ${name}`),
    ...volumes
      .filter(({ emptyDir }) => emptyDir !== undefined && emptyDir.sizeLimit === undefined)
      .map(({ name }) => `${name} may fill the node's disk`),
    ...volumes
      .flatMap(({ configMap }) => configMap?.name ?? [])
      .filter((name) => /-quotas$/.test(name) && !configMaps.includes(name))
      .map((name) => `no ConfigMap ${name}`),
    ...budgets(env, pod),
  ];
}

/** Caches that outgrow their volume end in an eviction; weights that outgrow the limit in a kill. */
function budgets(env: Workload['env'], { volumes = [], containers }: Workload['pod']): string[] {
  const data = volumes.find(({ name }) => name === 'data');
  const claim = data?.ephemeral?.volumeClaimTemplate?.spec.resources?.requests?.['storage'];
  const scratch = gib(data?.emptyDir?.sizeLimit ?? claim);
  const caches = Number(env['HEDDLE_MODELS_GIB'] ?? 0) + Number(env['HEDDLE_BLOBS_CACHE_GIB'] ?? 0);
  const limit = gib(containers[0]?.resources?.limits?.['memory']);
  const weights = Number(env['HEDDLE_CACHE_GIB'] ?? 0);
  return [
    ...(scratch > caches ? [] : [`caches of ${caches} GiB in ${scratch} GiB of scratch`]),
    ...(limit > weights ? [] : [`${weights} GiB of weights in ${limit} GiB of memory`]),
  ];
}

function gib(quantity: string | number | undefined): number {
  const [, number = '0', unit = ''] = /^([\d.]+)(Gi|Mi|Ti)$/.exec(`${quantity}`) ?? [];
  return Number(number) * ({ Mi: 1 / 1024, Gi: 1, Ti: 1024 }[unit] ?? 0);
}
