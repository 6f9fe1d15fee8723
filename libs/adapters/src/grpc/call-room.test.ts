import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import type { ContractHandlers } from '@heddle/ports';
import { silentLog } from '@heddle/testkit';
import { CallRoom } from './call-room.ts';
import { type Channel, openChannel } from './channel.ts';
import { serve } from './server.ts';

const RUN = 'heddle.activation.v1.ActivationService/Run';
const CANCEL = 'heddle.jobs.v1.JobsService/Cancel';
const WATCH = 'heddle.jobs.v1.JobsService/Watch';
const limits = { calls: 3, steering: 1, watches: 2, requestBytes: 1000 };

test('calls, what steers jobs and what watches them have room of their own, and give it back', () => {
  const room = new CallRoom(limits);
  const leave = [RUN, RUN, RUN].map((method) => room.enter(method, 0));

  assert.equal(room.refusal(RUN)?.code, 'resource_exhausted');
  assert.equal(room.refusal(RUN)?.retryAfterMs, 1000);
  assert.equal(room.refusal(CANCEL), undefined);
  assert.equal(room.refusal(WATCH), undefined);
  leave[0]?.();
  assert.equal(room.refusal(RUN), undefined);
});

test('requests that are large together are refused; one alone never is', () => {
  const room = new CallRoom(limits);
  assert.equal(room.refusal(RUN, 5000), undefined);
  const leave = room.enter(RUN, 600);

  assert.equal(room.refusal(RUN, 401)?.code, 'resource_exhausted');
  assert.equal(room.refusal(RUN, 400), undefined);
  leave();
  assert.equal(room.refusal(RUN, 401), undefined);
});

test('a full server refuses over any connection, keeps what it took, and still cancels jobs', async () => {
  const release = Promise.withResolvers<void>();
  let begun = 0;
  const handlers: ContractHandlers = {
    activation: {
      async *Run() {
        begun += 1;
        await release.promise;
        yield { end: {} };
      },
      Tokenize: async () => assert.fail('it was let in'),
    },
    jobs: { Cancel: async ({ id }) => ({ job: { id } }) },
  };
  const host = '127.0.0.1';
  const server = await serve({ host, port: 0, handlers, log: silentLog, callLimits: limits });
  const channels = Array.from({ length: 4 }, () =>
    openChannel(`${host}:${server.port}`, { ownConnection: true }),
  );
  const run = async ({ clients }: Channel): Promise<string> => {
    for await (const _ of clients.activation.Run({}));
    return 'answered';
  };
  try {
    const kept = channels.slice(0, 3).map(run);
    while (begun < 3) await new Promise((resolve) => setImmediate(resolve));
    const [, , , last] = channels as [Channel, Channel, Channel, Channel];
    for (const refused of [run(last), last.clients.activation.Tokenize({})]) {
      const error = await refused.then(
        () => assert.fail('it was let in'),
        (thrown) => OperationError.from(thrown),
      );
      assert.deepEqual([error.code, error.retryAfterMs], ['resource_exhausted', 1000]);
      assert.equal(error.details['limit'], 3);
    }
    assert.equal((await last.clients.jobs.Cancel({ id: 'x' })).job?.id, 'x');

    release.resolve();
    assert.deepEqual(await Promise.all(kept), ['answered', 'answered', 'answered']);
    assert.equal(await run(last), 'answered');
  } finally {
    release.resolve();
    for (const channel of channels) channel.close();
    await server.close(0);
  }
});
