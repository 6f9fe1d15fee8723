/** Parts of a cluster come up in any order: a service waits for its stores, and can be told to stop meanwhile. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '@heddle/client';
import { missingServer, SERVERS, startCluster, startNats } from '@heddle/testkit';

const skip = missingServer(SERVERS.natsCurrent) ?? false;

test('services that were started before NATS wait for it, stop when told to, and work once it is there', {
  skip,
}, async () => {
  const nats = await startNats(SERVERS.natsCurrent);
  await nats.kill();
  const services = ['activation', 'attribution', 'explorer'] as const;
  const processes = services.map((service) => ({ services: [service] }));
  const cluster = await startCluster({ nats, processes, ready: false });
  const waiting = cluster.process('attribution');
  const isWaiting = () => /NATS does not answer; trying again/.test(waiting.stderr());
  while (!isWaiting()) {
    assert.ok(waiting.alive, waiting.stderr());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const stopped = await waiting.stop();
  assert.equal(stopped.code, 0, waiting.stderr());

  waiting.launch();
  await nats.restart();
  await cluster.ready();
  const heddle = connect(cluster.address);
  const { job } = await heddle.attribution.StartWhy({
    prompt: { text: 'Mary and John' },
    logit: {},
  });
  assert.equal((await heddle.waitForJob(job?.id ?? '')).state, 'JOB_STATE_SUCCEEDED');
  heddle.close();
  await cluster.remove();
  await nats.remove();
});
