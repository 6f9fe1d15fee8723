/**
 * `autoscaling.mode=hpa` on a real control plane: the autoscaler asks a real metrics server, which asks nodes that say of their
 * pods what the test wants to be used.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  type ControlPlane,
  missingControlPlane,
  SERVERS,
  startControlPlane,
  until,
} from '@heddle/testkit';
import {
  type Autoscaler,
  Autoscalers,
  autoscalersPath,
  type Scaled,
  use,
} from './fixtures/autoscalers.ts';
import {
  component,
  install,
  isReady,
  pods,
  upgrade,
  WORKING,
  type WorkingService,
} from './fixtures/releases.ts';

const skip = missingControlPlane(SERVERS.metricsServer) ?? false;
const NAMESPACE = 'heddle';
const VALUES = fileURLToPath(new URL('./fixtures/values-hpa.yaml', import.meta.url));
const RELEASE = { namespace: NAMESPACE, files: [VALUES] };
/** The metrics server looks every 10 s and the autoscaler every 2 s; a busy machine is allowed several times both. */
const WITHIN_MS = 90_000;

let plane: ControlPlane;
let seen: Autoscalers;

before(async () => {
  if (skip) return;
  plane = await startControlPlane({ keda: false, usage: true });
  await install(plane, RELEASE);
  seen = await Autoscalers.watch(plane, NAMESPACE);
  // One of each, the front door's, and the second that `min` of circuit wants.
  const areReady = async () =>
    (await pods(plane, NAMESPACE)).filter(isReady).length === WORKING.length + 2;
  await until('pods are ready', areReady, { withinMs: WITHIN_MS });
});

after(async () => {
  seen?.stop();
  await plane?.stop();
});

const CPU = {
  type: 'Resource',
  resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 60 } },
};
const MEMORY = {
  type: 'Resource',
  resource: { name: 'memory', target: { type: 'AverageValue', averageValue: '4Gi' } },
};

test('each service has an autoscaler as values say, before anybody knows what its pods use', {
  skip,
}, async () => {
  const all = await plane.api.list<Autoscaler>(autoscalersPath(NAMESPACE));
  const told = Object.fromEntries(
    all.map((each) => {
      const { minReplicas, maxReplicas, metrics } = each.spec;
      return [component(each), [minReplicas, maxReplicas, ...metrics]];
    }),
  );
  assert.deepEqual(told, {
    activation: [1, 3, CPU],
    attribution: [1, 3, MEMORY],
    circuit: [2, 3, CPU],
    lorsa: [1, 3, CPU],
    qk: [1, 2, CPU],
  });
  for (const { spec } of all) {
    assert.deepEqual(spec.behavior.scaleDown, {
      stabilizationWindowSeconds: 2,
      selectPolicy: 'Max',
      policies: [{ type: 'Pods', value: 1, periodSeconds: 1 }],
    });
  }
  await seen.until('circuit', 'at its least', ({ ready }) => ready === 2, WITHIN_MS);
});

/** Those who use less than the target are where they began, all the time. */
function notScaled(): void {
  assert.deepEqual(seen.replicas('lorsa'), [1]);
  const circuit = seen.replicas('circuit');
  assert.deepEqual(circuit.slice(circuit[0] === 1 ? 1 : 0), [2], 'one, until it was seen');
}

test('pods come where more is used than the target, as many as bring it there, up to the most', {
  skip,
}, async (t) => {
  const from = performance.now();
  const say = (service: WorkingService, used: Parameters<typeof use>[3]) =>
    use(plane, NAMESPACE, service, used);
  // What is read differs from it by how late nodes answer on a busy machine: nothing here is near an edge.
  await Promise.all([
    say('qk', { cpu: '1500m' }), // 300 %: five would be 60 %
    say('activation', { cpu: '450m' }), // 90 %: two are 45 %
    say('lorsa', { cpu: '200m' }), // 40 %
    say('attribution', { memory: '6Gi' }), // two are 3Gi each
    plane.startMetricsServer(),
  ]);

  const isLimited: (scaled: Scaled) => boolean = ({ ready, limited }) =>
    ready === 2 && limited === 'TooManyReplicas';
  await seen.until('qk', 'at two, with more wanted', isLimited, WITHIN_MS);
  await seen.until('activation', 'at two', ({ ready }) => ready === 2, WITHIN_MS);
  await seen.until('attribution', 'at two', ({ ready }) => ready === 2, WITHIN_MS);
  t.diagnostic(`pods came within ${((performance.now() - from) / 1000).toFixed(1)} s`);

  for (const service of ['lorsa', 'circuit'] as const) {
    await seen.until(service, 'known', ({ used }) => used.endsWith('%'), WITHIN_MS);
  }
  notScaled();
});

test('an upgrade leaves what autoscalers made, and where it allows more, more come', {
  skip,
}, async () => {
  await upgrade(plane, { ...RELEASE, set: { 'services.qk.hpa.max': 3 } });
  await seen.until('qk', 'three', ({ ready }) => ready === 3, WITHIN_MS);
  assert.deepEqual(seen.replicas('qk'), [1, 2, 3]);
  for (const service of ['activation', 'attribution'] as const) {
    assert.deepEqual(seen.replicas(service), [1, 2], service);
  }
});

test('once little is used, pods go one at a time as scaleDown says, to the least', {
  skip,
}, async (t) => {
  const little = { cpu: '5m', memory: '100Mi' };
  const services = ['qk', 'activation', 'attribution'] as const;
  await Promise.all(services.map((service) => use(plane, NAMESPACE, service, little)));
  for (const service of WORKING) {
    const least = service === 'circuit' ? 2 : 1;
    const isLeast: (scaled: Scaled) => boolean = ({ replicas, ready }) =>
      replicas === least && ready === least;
    const seconds = await seen.until(service, `at ${least}`, isLeast, WITHIN_MS);
    t.diagnostic(`${service}: → ${least} in ${seconds.toFixed(1)} s`);
  }
  assert.deepEqual(seen.replicas('qk'), [1, 2, 3, 2, 1]);
  for (const service of ['activation', 'attribution'] as const) {
    assert.deepEqual(seen.replicas(service), [1, 2, 1], service);
  }
  notScaled();
  for (const service of WORKING) for (const line of seen.lines(service)) t.diagnostic(line);
});
