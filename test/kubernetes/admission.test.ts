/** Every values file of the chart, on a real API server, scheduler and KEDA: admitted strictly, placed, changed and taken away. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  type ControlPlane,
  type KubernetesObject,
  missingControlPlane,
  startControlPlane,
  until,
} from '@heddle/testkit';
import {
  component,
  deployments,
  install,
  isReady,
  nameOf,
  type Pod,
  pods,
  type Release,
  strictNamespace,
  upgrade,
  VALUES_FILES,
  WORKING,
} from './fixtures/releases.ts';
import { scaledObjects } from './fixtures/triggers.ts';

const skip = missingControlPlane() ?? false;
/** kwok makes a pod Ready within a second or two; a busy machine is allowed much more. */
const READY_MS = 240_000;

const EVERYTHING = fileURLToPath(new URL('./fixtures/values-everything.yaml', import.meta.url));
const OPTIONAL = [
  ...['Certificate', 'ConfigMap', 'GRPCRoute', 'HTTPRoute', 'HorizontalPodAutoscaler', 'Ingress'],
  ...['NetworkPolicy', 'PersistentVolumeClaim', 'PrometheusRule', 'ScaledObject', 'ServiceMonitor'],
];

/** What computes, where there are GPUs: who answers with activations, and everybody's workers. */
const ON_GPUS = ['activation', ...WORKING.map((service) => `${service}-workers`)].sort();

let plane: ControlPlane;

before(async () => {
  if (!skip) plane = await startControlPlane();
});

after(() => plane?.stop());

/** Resolves when each Deployment has the pods that it wants, and all are Ready. */
async function settled(namespace: string): Promise<readonly Pod[]> {
  let seen: readonly Pod[] = [];
  await until(
    `pods of ${namespace}`,
    async () => {
      const wanted = await deployments(plane, namespace);
      const live = (await pods(plane, namespace)).filter(
        ({ metadata }) => metadata.deletionTimestamp === undefined,
      );
      seen = live;
      const all = wanted.reduce((sum, { spec }) => sum + spec.replicas, 0);
      return wanted.length > 0 && live.length === all && live.every(isReady);
    },
    { withinMs: READY_MS },
  ).catch(async (error: Error) => {
    const events = await plane.kubectl(['get', 'events', '-n', namespace]);
    throw new Error(`${error.message}\n${events.split('\n').slice(-25).join('\n')}`);
  });
  return seen;
}

/** KEDA holds one worker of each service, whatever the queues say: so that they are scheduled here. */
async function holdOneWorker(namespace: string): Promise<void> {
  const objects = await scaledObjects(plane, namespace);
  for (const { metadata } of objects) {
    const held = 'autoscaling.keda.sh/paused-replicas=1';
    await plane.kubectl(['annotate', 'scaledobject', metadata.name, '-n', namespace, held]);
  }
}

const gpusOf = ({ spec }: Pod): number =>
  spec.containers
    .flatMap(({ resources }) => Object.entries(resources?.limits ?? {}))
    .filter(([name]) => name.startsWith('nvidia.com/'))
    .reduce((sum, [, count]) => sum + Number(count), 0);

/** What a release consists of, of which the server knows every field. */
async function installed(release: Release): Promise<string> {
  await install(plane, release);
  const manifest = await plane.helm(['get', 'manifest', 'heddle', '-n', release.namespace]);
  const strict = ['apply', '--dry-run=server', '--validate=strict', '-f', '-'];
  await plane.kubectl([...strict, '-n', release.namespace], manifest);
  return manifest;
}

const kindsOf = (manifest: string): readonly string[] =>
  [...new Set(manifest.match(/^kind: \w+$/gm))].map((line) => line.slice('kind: '.length)).sort();

for (const file of VALUES_FILES) {
  test(`${nameOf(file)}: every object is admitted, with no field that the server does not know, and runs`, {
    skip,
  }, async (t) => {
    const release: Release = { namespace: nameOf(file), files: [file] };
    const manifest = await installed(release);
    await holdOneWorker(release.namespace);
    const placed = await settled(release.namespace);
    for (const pod of placed) {
      const isGpuNode = pod.spec.nodeName?.startsWith('gpu-');
      assert.equal(isGpuNode, gpusOf(pod) > 0, `${pod.metadata.name} on ${pod.spec.nodeName}`);
    }
    const onGpus = placed.filter((pod) => gpusOf(pod) > 0).map(component);
    assert.deepEqual([...new Set(onGpus)].sort(), nameOf(file).includes('gpu') ? ON_GPUS : []);
    t.diagnostic(
      `${kindsOf(manifest).join(', ')}; ${placed.length} pods, with GPUs: ${onGpus.join(', ') || 'none'}`,
    );

    await plane.helm(['uninstall', 'heddle', '-n', release.namespace, '--wait']);
    assert.deepEqual(await leftIn(release.namespace), []);
  });
}

/** What every namespace has, and what is only told. */
const ALWAYS =
  /^(ConfigMap\/kube-root-ca\.crt|ServiceAccount\/default|Event\/.*|.*\/sh\.helm\..*)$/;

/** Everything in a namespace but that, once what is being deleted is gone and what is kept is alone. */
async function leftIn(namespace: string, kept: readonly string[] = []): Promise<readonly string[]> {
  const resources = await plane.kubectl([
    'api-resources',
    '--verbs=list',
    '--namespaced',
    '-o',
    'name',
  ]);
  const names = resources
    .trim()
    .split('\n')
    .filter((name) => !name.includes('external.metrics'));
  let left: readonly string[] = [];
  await until(
    'nothing left',
    async () => {
      const all = await plane.kubectl(['get', names.join(','), '-n', namespace, '-o', 'json']);
      left = (JSON.parse(all) as { readonly items: readonly KubernetesObject[] }).items
        .map(({ kind, metadata }) => `${kind}/${metadata.name}`)
        .filter((name) => !ALWAYS.test(name));
      return left.join() === kept.join();
    },
    { withinMs: READY_MS },
  ).catch(() => undefined);
  return left;
}

test('every optional object is admitted, and only results outlive the release', {
  skip,
}, async (t) => {
  const namespace = 'everything';
  const disk = {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: 'shared' },
    spec: {
      ...{ accessModes: ['ReadWriteMany'], capacity: { storage: '100Gi' } },
      nfs: { server: 'nfs.heddle.test', path: '/shared' },
    },
  };
  await plane.apply([disk]);
  const manifest = await installed({ namespace, files: [EVERYTHING] });
  t.diagnostic(kindsOf(manifest).join(', '));
  for (const kind of OPTIONAL) assert.ok(kindsOf(manifest).includes(kind), kind);
  await holdOneWorker(namespace);
  await settled(namespace);

  await plane.helm(['uninstall', 'heddle', '-n', namespace, '--wait']);
  const results = ['PersistentVolumeClaim/heddle-blobs'];
  assert.deepEqual(await leftIn(namespace, results), results);
});

/** Whom the autoscalers of a namespace scale. */
async function scaled(namespace: string): Promise<readonly string[]> {
  const scalers = await plane.api.list<{
    readonly spec: { readonly scaleTargetRef: { readonly name: string } };
  }>(`/apis/autoscaling/v2/namespaces/${namespace}/horizontalpodautoscalers`);
  return scalers.map(({ spec }) => spec.scaleTargetRef.name).sort();
}

const called = [...WORKING, 'explorer'].map((service) => `heddle-${service}`);
const workers = WORKING.map((service) => `heddle-${service}-workers`);

for (const [mode, expected] of [
  ['keda', { deployments: [...called, ...workers], scaled: workers }],
  ['hpa', { deployments: called, scaled: WORKING.map((service) => `heddle-${service}`) }],
  ['off', { deployments: called, scaled: [] }],
] as const) {
  test(`autoscaling.mode=${mode}: who works, and who scales whom`, { skip }, async () => {
    const namespace = `mode-${mode}`;
    await install(plane, { namespace, set: { 'autoscaling.mode': mode } });

    const names = (await deployments(plane, namespace)).map(({ metadata }) => metadata.name);
    assert.deepEqual(names.sort(), [...expected.deployments].sort());
    const wanted = [...expected.scaled].sort().join();
    const asWanted = async () => (await scaled(namespace)).join() === wanted;
    await until(`autoscalers of ${wanted}`, asWanted, { withinMs: READY_MS });
    await holdOneWorker(namespace);
    await settled(namespace);

    await plane.helm(['uninstall', 'heddle', '-n', namespace, '--wait']);
  });
}

test('two releases in two namespaces, and two in one, do not touch each other', {
  skip,
}, async () => {
  await install(plane, { namespace: 'first' });
  await install(plane, { namespace: 'second' });
  await install(plane, { namespace: 'first', name: 'beside', set: { 'nats.prefix': 'beside' } });
  const before = await deployments(plane, 'first');
  await plane.helm(['uninstall', 'beside', '-n', 'first', '--wait']);
  await plane.helm(['uninstall', 'heddle', '-n', 'second', '--wait']);

  assert.deepEqual(await leftIn('second'), []);
  const left = (await deployments(plane, 'first')).map(({ metadata }) => metadata.name);
  const own = before.map(({ metadata }) => metadata.name);
  assert.deepEqual(
    left,
    own.filter((name) => name.startsWith('heddle-')),
  );
  assert.ok(own.some((name) => name.startsWith('beside-heddle-')));
  await settled('first');
  await plane.helm(['uninstall', 'heddle', '-n', 'first', '--wait']);
});

test('an upgrade from one mode to another leaves nothing of the first, and one that is refused changes nothing', {
  skip,
}, async () => {
  const namespace = 'upgraded';
  await install(plane, { namespace });
  await upgrade(plane, { namespace, set: { 'autoscaling.mode': 'off' } });
  const unscaled = async () => (await scaledObjects(plane, namespace)).length === 0;
  await until('KEDA has let go of them', unscaled, { withinMs: READY_MS });
  const names = (await deployments(plane, namespace)).map(({ metadata }) => metadata.name);
  assert.ok(!names.some((name) => name.endsWith('-workers')), names.join(' '));

  const wrong = upgrade(plane, { namespace, set: { 'autoscaling.mode': 'sometimes' } });
  await assert.rejects(wrong, /autoscaling/, 'the values’ schema names what is wrong');
  assert.deepEqual(
    (await deployments(plane, namespace)).map(({ metadata }) => metadata.name),
    names,
  );
  await plane.helm(['uninstall', 'heddle', '-n', namespace, '--wait']);
  assert.deepEqual(await leftIn(namespace), []);
});

test('a pod that would run as root is refused', { skip }, async () => {
  await plane.apply([strictNamespace('strict')]);
  const root = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'root', namespace: 'strict' },
    spec: { containers: [{ name: 'root', image: 'root' }] },
  };
  await assert.rejects(plane.apply([root]), /violates PodSecurity "restricted/);
});
