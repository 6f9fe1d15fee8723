/**
 * What rules ask of others than us, beside the chart on a real control plane: a real Prometheus scrapes a real kube-state-metrics,
 * KEDA's own operator and a real process of ours, evaluates the rules as they are, and they find our pods, Deployments and scalers.
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { after, before, test } from 'node:test';
import { connect, type Heddle } from '@heddle/client';
import {
  type Cluster,
  type ControlPlane,
  missingControlPlane,
  missingServer,
  SERVERS,
  startCluster,
  startControlPlane,
  until,
} from '@heddle/testkit';
import {
  type KubeStateMetrics,
  startKubeStateMetrics,
} from '@heddle/testkit/kubernetes/kube-state-metrics';
import { type Prometheus, startPrometheus } from '@heddle/testkit/servers/prometheus';
import { OUTSIDE_METRICS } from '../../deploy/observability/outside.ts';
import { ruleFiles } from '../../deploy/observability/rule-files.ts';
import { startJob } from './fixtures/jobs.ts';
import { lags } from './fixtures/lag.ts';
import {
  component,
  deployments,
  install,
  isReady as isPodReady,
  type Pod,
  pods,
  QUICK,
  VALUES_FILES,
  WORKING,
} from './fixtures/releases.ts';
import { blindTriggers, isReady, scaledObjects, withConsumer } from './fixtures/triggers.ts';

const skip =
  missingControlPlane(SERVERS.kubeStateMetrics) ??
  missingServer(SERVERS.natsCurrent) ??
  missingServer(SERVERS.prometheus) ??
  false;

const NAMESPACE = 'heddle';
const EVERY_SECONDS = 2;
/** Each of these comes within some looks of KEDA and Prometheus; a busy machine is allowed ten times that. */
const SOON_MS = 90_000;
/** The most workers of qk, for more jobs. */
const MOST = 2;
/** Less than any process of ours takes. */
const TIGHT = { 'requests.memory': '16Mi', 'limits.memory': '32Mi' };

let plane: ControlPlane;
let cluster: Cluster;
let heddle: Heddle;
let exporter: KubeStateMetrics;
let keda: string;
/** The pod that a process of ours plays. */
let played: string;
let prometheus: Prometheus;

before(async () => {
  if (skip) return;
  [plane, cluster] = await Promise.all([
    startControlPlane(),
    startCluster({
      processes: [
        { services: [...WORKING], name: 'accepts', env: { HEDDLE_WORK: 'none' } },
        { services: ['explorer'] },
      ],
    }),
  ]);
  keda = kedaMetrics();
  heddle = connect(cluster.address);
  exporter = await startKubeStateMetrics(plane);
  const set = {
    'nats.monitoringEndpoint': new URL(cluster.nats.monitor).host,
    'nats.url': cluster.nats.url,
    'services.qk.workers.max': MOST,
    ...Object.fromEntries(
      Object.entries(TIGHT).map(([name, value]) => [`services.qk.resources.${name}`, value]),
    ),
    ...QUICK,
  };
  const files = VALUES_FILES.filter((file) => basename(file) === 'values-gpu.yaml');
  await install(plane, { namespace: NAMESPACE, files, set });
  prometheus = await startPrometheus({
    scrapes: await scrapes(),
    rules: new Map([...ruleFiles()].map(([path, text]) => [basename(path, '.yaml'), text])),
    everySeconds: EVERY_SECONDS,
  });
});

after(async () => {
  await prometheus?.stop();
  await exporter?.stop();
  heddle?.close();
  await cluster?.remove();
  await plane?.stop();
});

/** Where the operator says at its start that it serves its metrics. */
function kedaMetrics(): string {
  const said = plane.said('keda-operator');
  const [, address] = /"Serving metrics server".*"bindAddress":\s*"([\d.:]+)"/.exec(said) ?? [];
  assert.ok(address !== undefined, said);
  return address;
}

/** Resolves with the name of a pod of a component that is so, when there is one. */
async function podOf(name: string, is: (pod: Pod) => boolean = () => true): Promise<string> {
  let found: Pod | undefined;
  const isThere = async () => {
    found = (await pods(plane, NAMESPACE)).find((pod) => component(pod) === name && is(pod));
    return found !== undefined;
  };
  await until(`a pod of ${name}`, isThere, { withinMs: SOON_MS });
  return found?.metadata.name ?? '';
}

/** Each as its chart has it scraped. The process of ours plays qk's pod, to the memory that it takes. */
async function scrapes(): Promise<readonly object[]> {
  played = await podOf('qk');
  const ours = {
    targets: [new URL(cluster.process('accepts').pages).host],
    labels: { namespace: NAMESPACE, service: 'qk', role: 'service', instance: played },
  };
  return [
    { job_name: 'heddle', static_configs: [ours] },
    ...[exporter.address, keda].map((address, i) => ({
      ...{ job_name: `outside-${i}`, honor_labels: true },
      static_configs: [{ targets: [address] }],
    })),
  ];
}

type Labels = Readonly<Record<string, string>>;

/** What an alert tells of, also where it has not held for long enough yet to wake anybody. */
const told = (alert: string): Promise<readonly Labels[]> =>
  prometheus.labelsOf(`ALERTS{alertname="${alert}"}`);

/** Resolves when the alert tells of something with these labels; with whatever else it tells of. */
async function tells(alert: string, labels: Labels): Promise<readonly Labels[]> {
  let seen: readonly Labels[] = [];
  const isThere = async () => {
    seen = await told(alert);
    return seen.some((each) =>
      Object.entries({ namespace: NAMESPACE, ...labels }).every(([name, is]) => each[name] === is),
    );
  };
  await until(alert, isThere, { withinMs: SOON_MS }).catch((error: Error) => {
    throw new Error(`${error.message}: ${JSON.stringify(labels)}, of ${JSON.stringify(seen)}`);
  });
  return seen;
}

test('as many workers as there may be, and tasks wait: told of the autoscaler that KEDA made for us', {
  skip,
}, async () => {
  for (let i = 0; i <= MOST; i++) await startJob(heddle, 'qk', i);
  const horizontalpodautoscaler = 'keda-hpa-heddle-qk-workers';
  const all = await tells('HeddleWorkersAtMaximum', { horizontalpodautoscaler });
  assert.deepEqual(
    all.map((each) => each['horizontalpodautoscaler']),
    [horizontalpodautoscaler],
  );
});

test('a pod that no node takes, and the rollout that it holds up, are told of', {
  skip,
}, async () => {
  const spec = {
    progressDeadlineSeconds: 2,
    template: { spec: { nodeSelector: { 'kubernetes.io/hostname': 'nowhere' } } },
  };
  const patch = ['patch', 'deployment', 'heddle-explorer', '-n', NAMESPACE];
  await plane.kubectl([...patch, '-p', JSON.stringify({ spec })]);
  await tells('HeddleRolloutStuck', { deployment: 'heddle-explorer' });
  const waiting = await podOf('explorer', ({ spec: { nodeName } }) => nodeName === undefined);
  await tells('HeddlePodPending', { pod: waiting });
});

test('a container that was killed for its memory, and one that takes nearly all that it may, are told of', {
  skip,
}, async () => {
  await tells('HeddleMemoryNearLimit', { pod: played });
  const pod = await podOf('qk-workers', isPodReady);
  const never = `kube_pod_container_status_restarts_total{pod="${pod}"} == 0`;
  const isSeen = async () => (await prometheus.labelsOf(never)).length > 0;
  await until('its container is seen before', isSeen, { withinMs: SOON_MS });
  const patch = ['patch', 'pod', pod, '-n', NAMESPACE, '--subresource=status', '--type=json', '-p'];
  const terminated = { reason: 'OOMKilled', exitCode: 137 };
  const at = '/status/containerStatuses/0';
  const killed = [
    { op: 'add', path: `${at}/lastState`, value: { terminated } },
    { op: 'replace', path: `${at}/restartCount`, value: 1 },
  ];
  await plane.kubectl([...patch, JSON.stringify(killed)]);
  const all = await tells('HeddleOutOfMemory', { pod });
  assert.deepEqual(
    all.map((each) => each['pod']),
    [pod],
  );
});

test('a trigger with a wrong consumer: its work waits, KEDA says that it is not ready, and its metrics that it is misled', {
  skip,
}, async () => {
  const name = 'heddle-circuit-workers';
  const [chart] = (await scaledObjects(plane, NAMESPACE)).filter(
    ({ metadata }) => metadata.name === name,
  );
  assert.ok(chart !== undefined);
  const wrong = withConsumer(chart, 'worker');
  const known = new Set((await lags(cluster.nats.monitor)).keys());
  assert.deepEqual(blindTriggers([wrong], known), [
    `${name}: no HEDDLE_WORK_tasks_circuit_trace/worker`,
  ]);

  await until('nobody works', async () => (await replicasOf(name)) === 0, { withinMs: SOON_MS });
  await plane.apply([wrong]);
  await until('KEDA complains', async () => !(await isReady(plane, NAMESPACE, name)), {
    withinMs: SOON_MS,
  });
  await startJob(heddle, 'circuit', 0);
  await looks(name, 3);
  await tells('HeddleScalerMisled', { scaledObject: name });
  assert.equal(await isTold('HeddleScalerCutOff', name), false);
  assert.equal(await replicasOf(name), 0, 'however long it waits');

  await plane.apply([withConsumer(chart, 'workers')]);
  await until('a worker comes', async () => (await replicasOf(name)) === 1, { withinMs: SOON_MS });
  assert.ok(await isReady(plane, NAMESPACE, name));
});

const isTold = async (alert: string, name: string): Promise<boolean> =>
  (await told(alert)).some(({ scaledObject }) => scaledObject === name);

const replicasOf = async (name: string): Promise<number | undefined> =>
  (await deployments(plane, NAMESPACE)).find(({ metadata }) => metadata.name === name)?.spec
    .replicas;

const expositionOf = async (address: string): Promise<string> =>
  (await fetch(`http://${address}/metrics`)).text();

/** Resolves when KEDA has looked so many times more at what it is told to scale by, and failed. */
async function looks(name: string, count: number): Promise<void> {
  const failures = async (): Promise<number> => {
    const line = new RegExp(
      `^keda_scaled_object_errors_total\\{.*scaledObject="${name}"\\} (\\d+)$`,
      'm',
    );
    return Number((await expositionOf(keda)).match(line)?.[1] ?? 0);
  };
  const from = await failures();
  await until(`${count} looks`, async () => (await failures()) >= from + count, {
    withinMs: SOON_MS,
  });
}

const HOME = new URL('../../deploy/observability/expositions/', import.meta.url);

/** Names of the labels of each sample, once each. */
const labelsIn = (text: string, name: string): readonly string[] => {
  const samples = text.split('\n').filter((line) => line.startsWith(`${name}{`));
  const names = samples.map((line) =>
    [...line.matchAll(/(\w+)="/g)].map(([, label]) => label).join(),
  );
  return [...new Set(names)];
};

test('what the rules’ tests are served for kube-state-metrics and KEDA is what these export', {
  skip,
}, async () => {
  const running = {
    'kube-state-metrics': await expositionOf(exporter.address),
    'keda-operator': await expositionOf(keda),
  };
  for (const [source, text] of Object.entries(running)) {
    const recorded = readFileSync(new URL(`${source}.prom`, HOME), 'utf8');
    const lines = new Set(text.split('\n'));
    for (const line of recorded.split('\n').filter((each) => /^# (HELP|TYPE)/.test(each))) {
      assert.ok(lines.has(line), `${source} has not: ${line}`);
    }
    for (const { name } of OUTSIDE_METRICS.filter((each) => each.source === source)) {
      const labels = labelsIn(recorded, name);
      assert.ok(labels.length > 0, name);
      assert.deepEqual(labelsIn(text, name), labels, name);
    }
  }
  const gpu =
    /^kube_pod_container_resource_limits\{.*container="heddle".*resource="nvidia_com_gpu",unit="integer"\} 1$/m;
  assert.match(running['kube-state-metrics'], gpu, 'a pod on a node with GPUs');
});

test('NATS away is told apart from a queue that it does not have', { skip }, async () => {
  const name = 'heddle-attribution-workers';
  cluster.nats.pause();
  await tells('HeddleScalerCutOff', { scaledObject: name });
  const isOne = async () => !(await isTold('HeddleScalerMisled', name));
  await until('only one of both', isOne, { withinMs: SOON_MS });
  cluster.nats.resume();
});
