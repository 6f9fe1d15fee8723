/**
 * KEDA on a real control plane, the queues of a real NATS server that the services themselves made, jobs that came through gRPC:
 * each service's workers come with the lag of its own queues, and go when it is gone.
 */

import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { connect, type Heddle } from '@heddle/client';
import {
  type Cluster,
  type ControlPlane,
  missingControlPlane,
  missingServer,
  SERVERS,
  startCluster,
  startControlPlane,
} from '@heddle/testkit';
import { startJob } from './fixtures/jobs.ts';
import { lags } from './fixtures/lag.ts';
import { install, QUICK, WORKING, type WorkingService } from './fixtures/releases.ts';
import { type Moment, Timeline } from './fixtures/timeline.ts';
import { blindTriggers, scaledObjects } from './fixtures/triggers.ts';

const skip = missingControlPlane() ?? missingServer(SERVERS.natsCurrent) ?? false;

const NAMESPACE = 'heddle';
/** Jobs that wait at once; the chart is told that one worker is for one task, and three are the most. */
const JOBS = 4;
const MOST = 3;
/** KEDA looks every 2 s and the autoscaler every 2 s; a busy machine is allowed much more. */
const UP_SECONDS = 180;
/** Besides, 5 s of cooling down and 5 s of stabilisation. */
const DOWN_SECONDS = 240;
/** Twice what it takes until idle workers are gone. */
const IN_FLIGHT_SECONDS = 25;

let plane: ControlPlane;
let cluster: Cluster;
let heddle: Heddle;
let timeline: Timeline;
const jobs = new Map<WorkingService, string[]>();

before(async () => {
  if (skip) return;
  const accepting = WORKING.map((service) => ({
    services: [service],
    env: { HEDDLE_WORK: 'none' },
  }));
  [plane, cluster] = await Promise.all([
    startControlPlane(),
    startCluster({ processes: [...accepting, { services: ['explorer'] }] }),
  ]);
  heddle = connect(cluster.address);
  const monitor = new URL(cluster.nats.monitor).host;
  const most = Object.fromEntries(
    WORKING.map((service) => [`services.${service}.workers.max`, MOST]),
  );
  const set = {
    'nats.monitoringEndpoint': monitor,
    'nats.url': cluster.nats.url,
    ...QUICK,
    ...most,
  };
  await install(plane, { namespace: NAMESPACE, set });
  timeline = new Timeline(
    plane,
    { namespace: NAMESPACE, fullname: 'heddle' },
    cluster.nats.monitor,
  );
});

after(async () => {
  await timeline?.stop();
  heddle?.close();
  await cluster?.remove();
  await plane?.stop();
});

const idle = (service: WorkingService): Promise<number> =>
  timeline.until(service, 'idle', ({ replicas }) => replicas === 0, DOWN_SECONDS);

test('every trigger of the chart names a queue and a consumer that the services made', {
  skip,
}, async () => {
  const objects = await scaledObjects(plane, NAMESPACE);
  const known = new Set((await lags(cluster.nats.monitor)).keys());
  assert.deepEqual(blindTriggers(objects, known), []);
  const named = objects.flatMap(({ spec }) =>
    spec.triggers.map(({ metadata }) => metadata['stream']),
  );
  const made = [...known].filter((name) => name.includes('_WORK_tasks_'));
  assert.deepEqual(
    named.map((stream) => `${stream}/workers`).sort(),
    made.sort(),
    'and every queue has a trigger',
  );
});

test('with empty queues nobody works', { skip }, async () => {
  for (const service of WORKING) await idle(service);
});

test('jobs on a service’s queues bring its workers, up to the most, and nobody else’s', {
  skip,
}, async (t) => {
  const quiet = new Set<WorkingService>(WORKING);
  for (const service of WORKING) {
    const from = timeline.seconds;
    const ids = [];
    for (let i = 0; i < JOBS; i++) ids.push(await startJob(heddle, service, i));
    jobs.set(service, ids);
    const seconds = await timeline.until(
      service,
      `at ${MOST} workers`,
      ({ ready }) => ready === MOST,
      UP_SECONDS,
    );
    t.diagnostic(`${service}: 0 → ${MOST} in ${seconds.toFixed(1)} s`);
    assert.equal(timeline.now(service)?.lag, JOBS);
    quiet.delete(service);
    for (const other of quiet) {
      const seen = timeline.since(other, from).map(({ replicas }) => replicas);
      assert.ok(
        seen.every((replicas) => replicas === 0),
        `${other} has workers for the jobs of ${service}`,
      );
    }
  }
});

/** Jobs of a service that have been started; those of a training go on for longer than the test. */
const started = (service: WorkingService): readonly string[] => jobs.get(service) ?? [];

const tell = (t: TestContext, service: WorkingService): void => {
  for (const line of timeline.lines(service)) t.diagnostic(line);
};

test('workers stay while there is work, and go once it is done', { skip }, async (t) => {
  const services = ['attribution', 'circuit', 'qk', 'activation'] as const;
  await cluster.add({ services, name: 'works' });
  for (const service of services) {
    for (const id of started(service)) {
      const { state, error } = await heddle.waitForJob(id);
      assert.equal(state, 'JOB_STATE_SUCCEEDED', error?.message);
    }
    const seconds = await idle(service);
    t.diagnostic(`${service}: → 0 in ${seconds.toFixed(1)} s after its last job`);
    tell(t, service);
  }
  assert.equal(timeline.now('lorsa')?.replicas, MOST, 'whose queue is as long as it was');
});

test('a training in flight keeps a worker, with nothing left to wait in the queue', {
  skip,
}, async (t) => {
  // The last one, so that what is cancelled before it is taken from the queue before it.
  const training = started('lorsa').at(-1) ?? '';
  for (const id of started('lorsa').slice(0, -1)) await heddle.jobs.Cancel({ id });
  await cluster.add({ services: ['lorsa'], name: 'trains' });
  const alone: (moment: Moment) => boolean = ({ pending, inFlight, replicas }) =>
    pending === 0 && inFlight === 1 && replicas === 1;
  await timeline.until('lorsa', 'with one worker for one training', alone, DOWN_SECONDS);

  const from = timeline.seconds;
  await timeline.watch(IN_FLIGHT_SECONDS);
  for (const moment of timeline.since('lorsa', from)) {
    assert.deepEqual([moment.inFlight, moment.replicas], [1, 1], `at ${moment.seconds} s`);
  }

  await heddle.jobs.Cancel({ id: training });
  t.diagnostic(`lorsa: → 0 in ${(await idle('lorsa')).toFixed(1)} s after its training`);
  tell(t, 'lorsa');
});

/** Other than the chart has it, for one service. */
async function coolDown(service: WorkingService, cooldownPeriod: number): Promise<void> {
  const patch = JSON.stringify({ spec: { cooldownPeriod } });
  const object = ['scaledobject', `heddle-${service}-workers`, '-n', NAMESPACE];
  await plane.kubectl(['patch', ...object, '--type=merge', '-p', patch]);
}

// Not for ever: KEDA 2.21 forgets an error now and then (a cache of scalers that is being closed counts as no lag,
// `ErrCacheClosed` in its scale_handler.go), so that past the cooldown period the last workers may go. What they worked on goes
// on from its last checkpoint when NATS is back.
test('while NATS is away, for as long as the cooldown period, no worker is taken away', {
  skip,
}, async (t) => {
  await coolDown('attribution', 2 * IN_FLIGHT_SECONDS);
  cluster.process('works').signal('SIGSTOP');
  await startJob(heddle, 'attribution', JOBS);
  const one: (moment: Moment) => boolean = ({ replicas }) => replicas === 1;
  await timeline.until('attribution', 'at one worker', one, UP_SECONDS);

  cluster.nats.pause();
  const from = timeline.seconds;
  await timeline.watch(IN_FLIGHT_SECONDS);
  cluster.nats.resume();
  const story = timeline.lines('attribution').join('\n');
  assert.ok(timeline.since('attribution', from).every(one), story);

  cluster.process('works').signal('SIGCONT');
  await coolDown('attribution', Number(QUICK['autoscaling.cooldownPeriod']));
  await idle('attribution');
  t.diagnostic(`${IN_FLIGHT_SECONDS} s without NATS, one worker all the time`);
});
