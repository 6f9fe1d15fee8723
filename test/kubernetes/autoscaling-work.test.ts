/**
 * From a job that nobody works on to its result, by workers that KEDA made: their pods are played by processes with the arguments
 * and the environment that the chart gave them.
 */

import assert from 'node:assert/strict';
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
import { startJob, startTraining } from './fixtures/jobs.ts';
import { Kubelet } from './fixtures/kubelet.ts';
import {
  install,
  nobodyWorks,
  pods,
  QUICK,
  WORKING,
  type WorkingService,
} from './fixtures/releases.ts';
import { Timeline } from './fixtures/timeline.ts';

const skip = missingControlPlane() ?? missingServer(SERVERS.natsCurrent) ?? false;
const NAMESPACE = 'heddle';
const STEPS = 3_000;
const DOWN_SECONDS = 240;
/** Workers start as processes do, and share two cores with all the rest. */
const WORKS_MS = 300_000;

let plane: ControlPlane;
let cluster: Cluster;
let heddle: Heddle;
let kubelet: Kubelet | undefined;
let timeline: Timeline | undefined;

before(async () => {
  if (skip) return;
  const accepting = WORKING.map((service) => ({
    services: [service],
    env: { HEDDLE_WORK: 'none' },
  }));
  // Blobs are where the chart has them by default.
  [plane, cluster] = await Promise.all([
    startControlPlane(),
    startCluster({ blobs: 'nats', processes: [...accepting, { services: ['explorer'] }] }),
  ]);
  heddle = connect(cluster.address);
  const { url, monitor } = cluster.nats;
  const nats = { 'nats.url': url, 'nats.monitoringEndpoint': new URL(monitor).host };
  const set = { ...QUICK, ...nats, 'defaults.workers.max': 1 };
  await install(plane, { namespace: NAMESPACE, set });
  timeline = new Timeline(plane, { namespace: NAMESPACE, fullname: 'heddle' }, monitor);
  // The one pod that a new Deployment has until KEDA has looked.
  await until('nobody works', () => nobodyWorks(plane, NAMESPACE), { withinMs: WORKS_MS });
  kubelet = await Kubelet.start(plane, cluster, NAMESPACE);
});

after(async () => {
  await timeline?.stop();
  heddle?.close();
  await kubelet?.close();
  await cluster?.remove();
  await plane?.stop();
});

async function idle(service: WorkingService): Promise<number> {
  assert.ok(timeline !== undefined);
  return timeline.until(service, 'idle', ({ replicas }) => replicas === 0, DOWN_SECONDS);
}

test('a trace that nobody works on is traced by a worker that comes for it, and then goes', {
  skip,
}, async (t) => {
  assert.ok(kubelet && timeline);
  const started = performance.now();
  const { state, error } = await heddle.waitForJob(await startJob(heddle, 'circuit', 0));
  assert.equal(state, 'JOB_STATE_SUCCEEDED', error?.message);
  t.diagnostic(
    `traced ${((performance.now() - started) / 1000).toFixed(1)} s after it was asked for`,
  );
  await idle('circuit');
  const { exits } = kubelet;
  const tracers = () => [...exits].filter(([name]) => /^heddle-circuit-workers-/.test(name));
  await until('it has ended', async () => tracers().length > 0);
  t.diagnostic(`ended: ${[...exits.keys()].join(' ')}`);
  const codes = tracers().map(([, { code }]) => code);
  assert.deepEqual(codes, [0], 'the one worker, told to stop, drained');
  for (const line of timeline.lines('circuit')) t.diagnostic(line);
});

test('a training whose node is drained goes on from its checkpoint on another, and brings what it needs', {
  skip,
}, async (t) => {
  assert.ok(kubelet && timeline);
  const { job } = await startTraining(heddle, 0, STEPS);
  const steps = async (): Promise<number> => {
    const [worker] = kubelet?.workers('lorsa') ?? [];
    return (await worker?.metric('lorsa_trainer_steps_total').catch(() => 0)) || 0;
  };
  let before = 0;
  const isUnderWay = async (): Promise<boolean> => {
    before = await steps();
    return before > STEPS / 10;
  };
  await until('it trains', isUnderWay, { withinMs: WORKS_MS });
  const [first] = kubelet.workers('lorsa');
  const pod = (await pods(plane, NAMESPACE)).find(({ metadata }) => metadata.name === first?.name);
  const node = pod?.spec.nodeName ?? '';
  await plane.kubectl([
    'drain',
    node,
    '--ignore-daemonsets',
    '--delete-emptydir-data',
    '--timeout=240s',
  ]);

  const { state, error } = await heddle.waitForJob(job?.id ?? '');
  assert.equal(state, 'JOB_STATE_SUCCEEDED', error?.message);
  const [second] = kubelet.workers('lorsa');
  assert.notEqual(second?.name, first?.name);
  const own = await steps();
  t.diagnostic(`${before} steps or more on ${node}, the last ${own} of ${STEPS} elsewhere`);
  assert.ok(own > 0 && own <= STEPS - before, 'what was saved is not computed again');
  assert.equal(kubelet.exits.get(first?.name ?? '')?.code, 0, 'it saved and handed back');
  await plane.kubectl(['uncordon', node]);
  for (const service of ['lorsa', 'activation'] as const) {
    await idle(service);
    for (const line of timeline.lines(service)) t.diagnostic(line);
  }
});
