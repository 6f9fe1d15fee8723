/** Parts of a cluster come up in any order: a service waits for its stores, and can be told to stop meanwhile. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '@heddle/client';
import { OperationError } from '@heddle/core';
import { missingServer, SERVERS, startCluster, startNats } from '@heddle/testkit';

async function failureOf(call: Promise<unknown>): Promise<OperationError> {
  const answer = await call.catch((thrown: unknown) => OperationError.from(thrown));
  assert.ok(answer instanceof OperationError, 'NATS is away');
  return answer;
}

const skip = missingServer(SERVERS.natsCurrent) ?? false;

test('services that were started before NATS wait for it, stop when told to, work once it is there, and say at once that it is gone', {
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
  const up = waiting.log().find(({ msg }) => msg === 'up');
  assert.equal(up?.['journal'], nats.url, 'the log says which stores are used');

  await nats.kill();
  const calls = [
    () => heddle.jobs.List({}),
    () => heddle.activation.ListModels({}),
    () => heddle.attribution.StartWhy({ prompt: { text: 'Mary and John' }, logit: {} }),
  ];
  // Until a process knows that it is away it may be an election, and says nothing of when to come back.
  for (const call of calls) while ((await failureOf(call())).retryAfterMs === undefined);
  const beganMs = performance.now();
  for (const call of calls) {
    const { code, retryAfterMs } = await failureOf(call());
    assert.deepEqual({ code, retryAfterMs }, { code: 'unavailable', retryAfterMs: 5_000 });
  }
  // Each waited 15 s for a NATS that was known to be away, and some of them several times that.
  assert.ok(performance.now() - beganMs < 10_000, `${performance.now() - beganMs} ms`);
  heddle.close();
  await cluster.remove();
  await nats.remove();
});
