/** KEDA with three NATS servers: only the leader of a consumer knows its lag, and KEDA finds it from any of them. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect, type Heddle } from '@heddle/client';
import {
  type Cluster,
  type ControlPlane,
  missingControlPlane,
  missingServer,
  type NatsServer,
  SERVERS,
  startCluster,
  startControlPlane,
  startNatsCluster,
  until,
} from '@heddle/testkit';
import { startJob } from './fixtures/jobs.ts';
import { leaderOf } from './fixtures/lag.ts';
import { install, QUICK } from './fixtures/releases.ts';
import { Timeline } from './fixtures/timeline.ts';

const skip = missingControlPlane() ?? missingServer(SERVERS.natsCurrent) ?? false;
const NAMESPACE = 'heddle';
const STREAM = 'HEDDLE_WORK_tasks_qk_fit';
const UP_SECONDS = 180;
const DOWN_SECONDS = 240;

let plane: ControlPlane;
let cluster: Cluster;
let servers: readonly NatsServer[] = [];
let heddle: Heddle;
let timeline: Timeline | undefined;

before(async () => {
  if (skip) return;
  [plane, servers] = await Promise.all([
    startControlPlane(),
    startNatsCluster(SERVERS.natsCurrent, 3, { isApart: true }),
  ]);
  const env = { HEDDLE_WORK: 'none', HEDDLE_NATS_REPLICAS: '3' };
  cluster = await startCluster({
    nats: servers,
    processes: [
      { services: ['activation'] },
      { services: ['qk'], env },
      { services: ['explorer'] },
    ],
    env: { HEDDLE_NATS_REPLICAS: '3' },
  });
  heddle = connect(cluster.address);
});

after(async () => {
  await timeline?.stop();
  heddle?.close();
  await cluster?.remove();
  await Promise.all(servers.map((server) => server.remove()));
  await plane?.stop();
});

/** Who leads the consumer, once it is another than before. */
async function leaderAfter(earlier?: string): Promise<string> {
  const monitors = servers.map(({ monitor }) => monitor);
  let leader: string | undefined;
  const isOther = async () => {
    leader = await leaderOf(monitors, STREAM);
    return leader !== undefined && leader !== earlier;
  };
  await until('a leader is elected', isOther, { withinMs: UP_SECONDS * 1000 });
  return leader ?? '';
}

test('the lag is read from the consumer’s leader, also after it has moved', { skip }, async (t) => {
  const leader = await leaderAfter();
  const asked = servers.find((_, i) => `server${i}` !== leader);
  assert.ok(asked !== undefined);
  const set = { 'nats.monitoringEndpoint': new URL(asked.monitor).host, 'nats.replicas': 3 };
  await install(plane, { namespace: NAMESPACE, set: { ...QUICK, ...set } });
  timeline = new Timeline(plane, { namespace: NAMESPACE, fullname: 'heddle' }, asked.monitor);
  await timeline.until('qk', 'idle', ({ replicas }) => replicas === 0, DOWN_SECONDS);

  for (let i = 0; i < 2; i++) await startJob(heddle, 'qk', i);
  await timeline.until('qk', 'at two', ({ replicas }) => replicas === 2, UP_SECONDS);
  t.diagnostic(`${leader} leads the consumer, another server is asked: 2 workers`);

  const index = Number(leader.at(-1));
  await servers[index]?.kill();
  const next = await leaderAfter(leader);
  await startJob(heddle, 'qk', 2);
  await timeline.until('qk', 'at three', ({ replicas }) => replicas === 3, UP_SECONDS);
  t.diagnostic(`${leader} was killed, ${next} leads: 3 workers`);
  for (const line of timeline.lines('qk')) t.diagnostic(line);
});
