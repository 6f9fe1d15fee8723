import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { OperationError, resourceExhausted } from '@heddle/core';
import {
  type CallContext,
  type ContractHandlers,
  type Log,
  TensorCollector,
  tensorParts,
} from '@heddle/ports';
import { tensor } from '@heddle/tensor';
import { type Channel, openChannel } from './channel.ts';
import { type RunningServer, serve } from './server.ts';

const log: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };

async function withServer(
  handlers: ContractHandlers,
  body: (channel: Channel, server: RunningServer) => Promise<void>,
): Promise<void> {
  const server = await serve({ host: '127.0.0.1', port: 0, handlers, log });
  const channel = openChannel(`127.0.0.1:${server.port}`);
  try {
    await body(channel, server);
  } finally {
    channel.close();
    await server.close(0);
  }
}

/** Resolves when the signal fires. */
const aborted = ({ signal }: CallContext) =>
  new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });

const failure = async (promise: Promise<unknown>): Promise<OperationError> => {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof OperationError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: 'it did not fail' });
};

const drain = async (stream: AsyncIterable<unknown>) => {
  for await (const _ of stream);
};

test('a handler gets the request with defaults filled in, and its answer arrives', async () => {
  const handlers: ContractHandlers = {
    jobs: {
      Get: async (request) => ({ job: { id: `<${request.id}>`, progress: { done: 2 } } }),
    },
  };
  await withServer(handlers, async ({ clients }) => {
    const { job } = await clients.jobs.Get({});
    assert.equal(job?.id, '<>');
    assert.equal(job?.state, 'JOB_STATE_UNSPECIFIED');
    assert.equal(job?.progress?.done, 2);
    assert.equal(job?.progress?.unit, '');
    assert.equal(job?.error, null);
    assert.equal(job?.ended_ms, undefined);
  });
});

test('an OperationError crosses the wire with code, field, limit, details and delay', async () => {
  const thrown = resourceExhausted('the queue is full (3 waiting): try again', {
    field: 'prompts[2]',
    retryAfterMs: 1500,
    details: { limit: 3, estimate: 10.5, kind: 'qk.fit', urgent: false },
    cause: new Error('not for callers'),
  });
  const handlers: ContractHandlers = { qk: { StartFit: () => Promise.reject(thrown) } };
  await withServer(handlers, async ({ clients }) => {
    const error = await failure(clients.qk.StartFit({}));
    assert.equal(error.code, 'resource_exhausted');
    assert.equal(error.message, thrown.message);
    assert.equal(error.field, 'prompts[2]');
    assert.equal(error.retryAfterMs, 1500);
    assert.deepEqual(error.details, { estimate: 10.5, kind: 'qk.fit', urgent: false, limit: 3 });
  });
});

test('an error whose text is cut inside a character crosses the wire, and the server goes on', async () => {
  const cut = resourceExhausted(`no folder ${'😀'.slice(0, 1)} in /models`);
  const handlers: ContractHandlers = { qk: { StartFit: () => Promise.reject(cut) } };
  await withServer(handlers, async ({ clients }) => {
    for (let again = 0; again < 2; again++) {
      const { code, message } = await failure(clients.qk.StartFit({}));
      assert.deepEqual([code, message], ['resource_exhausted', 'no folder � in /models']);
    }
  });
});

test('a method without a handler, and a contract that is not there, answer UNIMPLEMENTED', async () => {
  await withServer({ jobs: {} }, async ({ clients }) => {
    assert.equal((await failure(clients.jobs.Get({}))).code, 'unimplemented');
    assert.equal((await failure(drain(clients.jobs.Watch({})))).code, 'unimplemented');
    const { code, message } = await failure(clients.lorsa.StartTrain({}));
    assert.equal(code, 'unimplemented');
    assert.match(message, /LorsaService\/StartTrain is not answered there: .* --services/);
  });
});

test('tensors arrive bit by bit as they were sent, whatever their size', async () => {
  const values = Float32Array.from({ length: 200_001 }, (_, i) => Math.sin(i));
  const sent = [
    tensor('f32', [3, 66_667], values),
    tensor('i64', [], BigInt64Array.of(-7n)),
    tensor('f16', [0, 4], new Uint16Array(0)),
  ];
  const handlers: ContractHandlers = {
    activation: {
      async *Run() {
        for (const [i, t] of sent.entries()) yield* tensorParts(t, { name: `t${i}`, prompt: i });
      },
    },
  };
  await withServer(handlers, async ({ clients }) => {
    const collector = new TensorCollector(2 ** 24);
    const got = [];
    for await (const part of clients.activation.Run({})) {
      const done = collector.add(part);
      if (done) got.push(done);
    }
    collector.end();
    assert.deepEqual(
      got.map(({ tensor: t }) => t),
      sent,
    );
    assert.deepEqual(
      got.map(({ label }) => label.name),
      ['t0', 't1', 't2'],
    );
  });
});

test('a stream is pulled no faster than its reader takes it', async () => {
  let pulled = 0;
  const data = new Uint8Array(256 * 1024);
  const handlers: ContractHandlers = {
    activation: {
      async *Run() {
        for (; pulled < 1000; pulled++) yield { chunk: { offset: 0, data } };
      },
    },
  };
  await withServer(handlers, async ({ clients }) => {
    const stream = clients.activation.Run({})[Symbol.asyncIterator]();
    await stream.next();
    let before = -1;
    while (before !== pulled) {
      before = pulled;
      await new Promise((resolve) => setTimeout(resolve, 100)); // until the windows are full and nothing moves
    }
    assert.ok(pulled < 200, `${pulled} chunks of 256 KiB were made for a reader that took one`);
    await stream.return?.(undefined);
  });
});

test('a bidirectional stream carries both directions at once', async () => {
  const handlers: ContractHandlers = {
    lorsa: {
      async *Apply(requests) {
        let bytes = 0;
        for await (const { chunk } of requests) bytes += chunk?.data.byteLength ?? 0;
        yield { end: { l0: bytes } };
      },
    },
  };
  await withServer(handlers, async ({ clients }) => {
    async function* requests() {
      for (let i = 0; i < 40; i++) yield { chunk: { offset: 0, data: new Uint8Array(2 ** 18) } };
    }
    for await (const { end } of clients.lorsa.Apply(requests()))
      assert.equal(end?.l0, 40 * 2 ** 18);
  });
});

test('the handler hears of a cancelled call, a passed deadline and a reader that left', async () => {
  let stopped = 0;
  const handlers: ContractHandlers = {
    jobs: {
      Get: async (_, call) => {
        await aborted(call);
        stopped++;
        return {};
      },
      async *Watch(_, call) {
        yield {};
        await aborted(call);
        stopped++;
      },
    },
  };
  await withServer(handlers, async ({ clients }) => {
    const controller = new AbortController();
    const cancelled = failure(clients.jobs.Get({}, { signal: controller.signal }));
    setTimeout(() => controller.abort(), 50);
    assert.equal((await cancelled).code, 'cancelled');
    assert.equal(
      (await failure(clients.jobs.Get({}, { timeoutMs: 100 }))).code,
      'deadline_exceeded',
    );
    for await (const _ of clients.jobs.Watch({})) break;
    while (stopped < 3) await new Promise((resolve) => setTimeout(resolve, 10));
  });
});

test('a message past the limit is refused as resource_exhausted and the server goes on', async () => {
  const handlers: ContractHandlers = { qk: { StartFit: async () => ({ job: { id: 'j' } }) } };
  await withServer(handlers, async ({ clients }) => {
    const error = await failure(clients.qk.StartFit({ model: 'x'.repeat(5 * 1024 * 1024) }));
    assert.equal(error.code, 'resource_exhausted');
    assert.equal((await clients.qk.StartFit({})).job?.id, 'j');
  });
});

test('a drain lets a call finish and ends watchers at once', async () => {
  const release = Promise.withResolvers<void>();
  const opened = { get: Promise.withResolvers<void>(), watch: Promise.withResolvers<void>() };
  const server = await serve({
    host: '127.0.0.1',
    port: 0,
    log,
    handlers: {
      jobs: {
        Get: async () => {
          opened.get.resolve();
          await release.promise;
          return { job: { id: 'done' } };
        },
        async *Watch(_, call) {
          opened.watch.resolve();
          await aborted(call);
          yield {};
        },
      },
    },
  });
  const channel = openChannel(`127.0.0.1:${server.port}`);
  const { jobs } = channel.clients;
  const get = jobs.Get({});
  const watch = failure(drain(jobs.Watch({})));
  await Promise.all([opened.get.promise, opened.watch.promise]);

  const closing = server.close(10_000);
  assert.equal((await watch).code, 'unavailable');
  release.resolve();
  assert.equal((await get).job?.id, 'done');
  await closing;
  channel.close();
});

test('a drain tells calls that are over the grace period to stop', async () => {
  const opened = Promise.withResolvers<void>();
  const handlers: ContractHandlers = {
    qk: {
      StartFit: async (_, call) => {
        opened.resolve();
        await aborted(call);
        return {};
      },
      StartScan: async (_, call) => {
        await aborted(call);
        throw call.signal.reason;
      },
    },
  };
  const server = await serve({ host: '127.0.0.1', port: 0, log, handlers });
  const channel = openChannel(`127.0.0.1:${server.port}`);
  const slow = failure(channel.clients.qk.StartScan({}));
  const obedient = channel.clients.qk.StartFit({});
  await opened.promise;

  await server.close(20);

  assert.equal((await slow).code, 'unavailable');
  assert.deepEqual(await obedient, { job: null });
  channel.close();
});

test('a request that is no message of its type is invalid_argument, and the server goes on', async () => {
  const handlers: ContractHandlers = { jobs: { Get: async () => ({ job: { id: 'j' } }) } };
  await withServer(handlers, async ({ clients }, { port }) => {
    const raw = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
    const damaged = Buffer.from([0x0f]); // there is no wire type 7
    const pass = (bytes: Buffer) => bytes;
    const { promise, resolve } = Promise.withResolvers<ServiceError | null>();
    raw.makeUnaryRequest('/heddle.jobs.v1.JobsService/Get', pass, pass, damaged, resolve);
    assert.equal((await promise)?.code, status.INVALID_ARGUMENT);
    raw.close();
    assert.equal((await clients.jobs.Get({})).job?.id, 'j');
  });
});

/** HealthCheckRequest { string service = 1 } → HealthCheckResponse { ServingStatus status = 1 }: 1 SERVING, 2 NOT_SERVING. */
function healthOf(port: number): (service: string) => Promise<number | string> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const encode = (service: string) =>
    Buffer.from(service === '' ? [] : [10, service.length, ...Buffer.from(service)]);
  return (service) =>
    new Promise((resolve) => {
      client.makeUnaryRequest(
        '/grpc.health.v1.Health/Check',
        encode,
        (bytes) => bytes[1] ?? 0,
        service,
        (error: ServiceError | null, serving?: number) =>
          resolve(error ? (status[error.code] ?? '') : (serving ?? 0)),
      );
    });
}

test('health says which contracts are served, when the process is ready, and that it drains', async () => {
  const begun = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  const ListModels = async () => {
    begun.resolve();
    await finish.promise;
    return { models: [] };
  };
  const handlers = { activation: { ListModels } };
  const server = await serve({ host: '127.0.0.1', port: 0, handlers, log, noticeMs: 500 });
  const channel = openChannel(`127.0.0.1:${server.port}`);
  const health = healthOf(server.port);
  assert.equal(await health('heddle.activation.v1.ActivationService'), 1);
  assert.equal(await health('heddle.lorsa.v1.LorsaService'), 'NOT_FOUND');
  assert.equal(await health(''), 2, 'not before all of it stands');
  server.ready();
  assert.equal(await health(''), 1);

  const open = channel.clients.activation.ListModels({});
  await begun.promise;
  const closed = server.close(5000);
  assert.equal(await health(''), 2, 'a load balancer is told while calls still come');
  assert.equal(await health('heddle.activation.v1.ActivationService'), 2);
  finish.resolve();
  assert.deepEqual((await open).models, []);
  await closed;
  channel.close();
});

test('of two servers that are drained in turn, clients of both see no failed call', {
  timeout: 60_000,
}, async () => {
  /** Calls that the server started last has answered. */
  let answered = 0;
  const start = (port = 0) => {
    answered = 0;
    const mine = Symbol('server');
    last = mine;
    const handlers: ContractHandlers = {
      jobs: {
        Get: async ({ id }) => {
          if (last === mine) answered++;
          await new Promise((resolve) => setTimeout(resolve, 5));
          return { job: { id } };
        },
      },
      // Not idempotent by its contract: sent once more only if it was never begun.
      qk: { StartFit: async () => ({ job: { id: 'qk' } }) },
    };
    return serve({ host: '127.0.0.1', port, handlers, log });
  };
  let last: symbol | undefined;
  const servers = [await start(), await start()];
  const channel = openChannel(servers.map(({ port }) => `127.0.0.1:${port}`));
  await channel.ready(5000);
  let [asked, stop] = [0, false];
  const ask = async (): Promise<void> => {
    for (; !stop; asked++) {
      await channel.clients.jobs.Get({ id: 'x' });
      await channel.clients.qk.StartFit({});
    }
  };
  const asking = Array.from({ length: 20 }, ask);
  const all = Promise.all(asking);
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 5))]);
  };
  try {
    for (let turn = 0; turn < 6; turn++) {
      const [first, second] = servers as [RunningServer, RunningServer];
      const before = asked;
      await until(() => asked >= before + 100);
      await first.close(5000);
      servers.splice(0, 2, second, await start(first.port));
      // The other one is drained only when clients have found this one again, which takes them a second at first.
      await until(() => answered >= 20);
    }
  } finally {
    stop = true;
  }
  await all;
  channel.close();
  for (const server of servers) await server.close(0);
});
