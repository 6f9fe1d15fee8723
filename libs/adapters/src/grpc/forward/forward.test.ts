import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError, resourceExhausted } from '@heddle/core';
import {
  type CallContext,
  type ContractHandlers,
  type ContractName,
  type Log,
  TensorCollector,
  tensorParts,
} from '@heddle/ports';
import { tensor } from '@heddle/tensor';
import { type Channel, openChannel } from '../channel.ts';
import { type RunningServer, serve } from '../server.ts';
import { contractOfJob } from './job-contract.ts';
import { Upstreams } from './upstream.ts';

const log: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };
const options = { host: '127.0.0.1', port: 0, log };
type Services = Partial<Record<ContractName, readonly ContractHandlers[]>>;

interface World {
  readonly door: Channel;
  readonly server: RunningServer;
  readonly behind: Readonly<Partial<Record<ContractName, readonly RunningServer[]>>>;
}

/** A front door, and a server behind it for each set of handlers. */
async function withDoor(services: Services, body: (world: World) => Promise<void>): Promise<void> {
  const servers: RunningServer[] = [];
  const behind: Partial<Record<ContractName, RunningServer[]>> = {};
  for (const [contract, replicas] of Object.entries(services)) {
    const started = await Promise.all(replicas.map((handlers) => serve({ ...options, handlers })));
    behind[contract as ContractName] = started;
    servers.push(...started);
  }
  const peers = Object.entries(behind).map(
    ([contract, started]) =>
      [contract as ContractName, started.map(({ port }) => `127.0.0.1:${port}`)] as const,
  );
  const upstreams = new Upstreams(new Map(peers), {});
  const server = await serve(options);
  server.forward(upstreams);
  const door = openChannel(`127.0.0.1:${server.port}`);
  try {
    await body({ door, server, behind });
  } finally {
    door.close();
    await server.close(0);
    upstreams.close();
    await Promise.all(servers.map((each) => each.close(0)));
  }
}

const failure = async (promise: Promise<unknown>): Promise<OperationError> => {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof OperationError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: 'it did not fail' });
};

const aborted = ({ signal }: CallContext) =>
  new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });

test('a call, its answer and its error with all details pass a front door as they are', async () => {
  const details = { limit: 3, estimate: 10 };
  const circuit = {
    StartTrace: async ({ model }: { model: string }) => {
      if (model === 'no') throw resourceExhausted('ten', { field: 'n', details, retryAfterMs: 7 });
      return { job: { id: `circuit-trace-${model}` } };
    },
  };
  await withDoor({ circuit: [{ circuit }] }, async ({ door }) => {
    const { job } = await door.clients.circuit.StartTrace({ model: 'm' });
    assert.equal(job?.id, 'circuit-trace-m');
    const error = await failure(door.clients.circuit.StartTrace({ model: 'no' }));
    assert.equal(error.code, 'resource_exhausted');
    assert.equal(error.field, 'n');
    assert.equal(error.retryAfterMs, 7);
    assert.deepEqual(error.details, details);
  });
});

test('tensors pass in both directions at once, bit by bit, and a stream that fails says why', async () => {
  const sent = tensor(
    'f32',
    [700, 700],
    Float32Array.from({ length: 490_000 }, (_, i) => i),
  );
  const lorsa: ContractHandlers['lorsa'] = {
    async *Apply(requests) {
      const collector = new TensorCollector(1e8);
      for await (const part of requests) {
        const done = collector.add(part);
        if (done) yield* tensorParts(done.tensor, { name: `${done.label.name}!` });
      }
      throw new OperationError({ code: 'data_loss', message: 'at the end' });
    },
  };
  await withDoor({ lorsa: [{ lorsa }] }, async ({ door }) => {
    async function* parts() {
      yield* tensorParts(sent, { name: 'a' });
      yield* tensorParts(sent, { name: 'b' });
    }
    const collector = new TensorCollector(1e8);
    const names: string[] = [];
    const error = await failure(
      (async () => {
        for await (const part of door.clients.lorsa.Apply(parts())) {
          const done = collector.add(part);
          if (done === undefined) continue;
          names.push(done.label.name);
          assert.deepEqual(done.tensor, sent);
        }
      })(),
    );
    assert.deepEqual(names, ['a!', 'b!']);
    assert.equal(error.code, 'data_loss');
    assert.equal(error.message, 'at the end');
  });
});

test('a service behind the door is pulled no faster than the caller reads, and pulls no faster than it is sent', async () => {
  const bytes = new Uint8Array(1024 * 1024);
  const ALL = 250;
  let made = 0;
  let taken = 0;
  const hold = Promise.withResolvers<void>();
  const services: Services = {
    jobs: [
      {
        jobs: {
          async *ReadArtifact() {
            for (; made < ALL; made++) yield { data: bytes };
          },
        },
      },
    ],
    lorsa: [
      {
        lorsa: {
          async *Apply(requests) {
            await hold.promise;
            for await (const _ of requests);
            yield { end: {} };
          },
        },
      },
    ],
  };
  await withDoor(services, async ({ door }) => {
    const reader = door.clients.jobs.ReadArtifact({ id: 'x' })[Symbol.asyncIterator]();
    await reader.next();
    async function* many() {
      for (; taken < ALL; taken++) yield { chunk: { data: bytes } } as object;
    }
    const sending = (async () => {
      for await (const _ of door.clients.lorsa.Apply(many()));
    })();
    const settle = () => new Promise((resolve) => setTimeout(resolve, 150));
    for (let before = -1; before !== made + taken; ) {
      before = made + taken;
      await settle();
    }
    assert.ok(made < ALL / 2, `${made} MiB of ${ALL} were made for a reader who took one`);
    assert.ok(taken < ALL / 2, `${taken} MiB of ${ALL} were taken from a caller whom nobody reads`);
    for (let done = false; !done; ) done = (await reader.next()).done === true;
    assert.equal(made, ALL);
    hold.resolve();
    await sending;
    assert.equal(taken, ALL);
  });
});

test('a cancelled call, a passed deadline and a reader that left are heard behind the door', async () => {
  const heard: string[] = [];
  const attribution: ContractHandlers['attribution'] = {
    StartWhy: async (_, call) => {
      await aborted(call);
      heard.push('call');
      return {};
    },
  };
  const jobs: ContractHandlers['jobs'] = {
    async *Watch(_, call) {
      yield { job: { id: 'one' } };
      await aborted(call);
      heard.push('stream');
      yield {};
    },
  };
  await withDoor({ attribution: [{ attribution, jobs }] }, async ({ door }) => {
    const call = door.clients.attribution.StartWhy({}, { signal: AbortSignal.timeout(50) });
    assert.equal((await failure(call)).code, 'cancelled');
    const late = door.clients.attribution.StartWhy({}, { timeoutMs: 100 });
    assert.equal((await failure(late)).code, 'deadline_exceeded');
    for await (const { job } of door.clients.jobs.Watch({ id: 'attribution-why-1' })) {
      assert.equal(job?.id, 'one');
      break;
    }
    while (heard.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(heard.sort(), ['call', 'call', 'stream']);
  });
});

test('calls take turns over the replicas, and what may be sent twice survives the loss of one', async () => {
  const counts = [0, 0];
  const replica = (i: number): ContractHandlers => ({
    activation: {
      ListModels: async () => {
        counts[i] = (counts[i] ?? 0) + 1;
        return {};
      },
    },
  });
  await withDoor({ activation: [replica(0), replica(1)] }, async ({ door, behind }) => {
    while (Math.min(...counts) === 0) await door.clients.activation.ListModels({});
    counts.fill(0);
    for (let i = 0; i < 10; i++) await door.clients.activation.ListModels({});
    assert.deepEqual(counts, [5, 5]);
    await behind.activation?.[0]?.close(0);
    for (let i = 0; i < 10; i++) await door.clients.activation.ListModels({});
    assert.equal(counts[0], 5);
    assert.equal(counts[1], 15);
  });
});

test('a service that is down is named, with when to come back; the others answer', async () => {
  const qk = { StartFit: async () => ({ job: { id: 'qk-fit-1' } }) };
  const circuit = { StartTrace: async () => ({}) };
  await withDoor({ qk: [{ qk }], circuit: [{ circuit }] }, async ({ door, behind }) => {
    await behind.circuit?.[0]?.close(0);
    const error = await failure(door.clients.circuit.StartTrace({}));
    assert.equal(error.code, 'unavailable');
    assert.match(error.message, /^the circuit service does not answer at 127\.0\.0\.1:\d+/);
    assert.equal(error.details['service'], 'circuit');
    assert.ok((error.retryAfterMs ?? 0) > 0);
    assert.equal((await door.clients.qk.StartFit({})).job?.id, 'qk-fit-1');
    assert.equal((await failure(door.clients.lorsa.StartTrain({}))).code, 'unimplemented');
  });
});

test('a service that is being started again is waited for, also with what may not be sent twice', async () => {
  const circuit = { StartTrace: async () => ({ job: { id: 'circuit-trace-1' } }) };
  await withDoor({ circuit: [{ circuit }] }, async ({ door, behind }) => {
    const [first] = behind.circuit ?? [];
    await door.clients.circuit.StartTrace({});
    await first?.close(0);
    const asked = door.clients.circuit.StartTrace({});
    const again = await serve({ ...options, port: first?.port ?? 0, handlers: { circuit } });
    assert.equal((await asked).job?.id, 'circuit-trace-1');
    await again.close(0);
  });
});

test('what is asked about a job goes to the service of its kind; what names none, to one that answers', async () => {
  const jobsOf = (service: string): NonNullable<ContractHandlers['jobs']> => ({
    Get: async ({ id }) => ({ job: { id, kind: service } }),
    Rerun: async ({ id }) => ({ job: { id, kind: service } }),
    List: async () => ({ jobs: [{ kind: service }] }),
  });
  const services: Services = {
    lorsa: [{ jobs: jobsOf('lorsa') }],
    activation: [{ jobs: jobsOf('activation') }],
    attribution: [{ jobs: jobsOf('attribution') }],
  };
  await withDoor(services, async ({ door, behind }) => {
    const { jobs } = door.clients;
    const answerer = async (id: string) => (await jobs.Get({ id })).job?.kind;
    assert.equal(await answerer('lorsa-train-0011'), 'lorsa');
    assert.equal(await answerer('attr'), 'attribution');
    assert.equal(await answerer('activation-cache-1'), 'activation');
    assert.equal((await jobs.Rerun({ id: 'attribution-why-1' })).job?.kind, 'attribution');
    await behind.lorsa?.[0]?.close(0);
    await behind.activation?.[0]?.close(0);
    for (let i = 0; i < 5; i++) {
      assert.deepEqual((await jobs.List({})).jobs[0]?.kind, 'attribution');
    }
    assert.equal(await answerer('lorsa-train-0011'), 'attribution', 'others can read it too');
    const error = await failure(jobs.Rerun({ id: 'lorsa-train-0011' }));
    assert.match(error.message, /^the lorsa service does not answer/);
  });
});

test('the beginning of an id says whose job it is, from four characters on', () => {
  assert.equal(contractOfJob('lorsa-train-3f9c'), 'lorsa');
  assert.equal(contractOfJob('qk-fit-3f9c'), 'qk');
  assert.equal(contractOfJob('qk-f'), 'qk');
  assert.equal(contractOfJob('acti'), 'activation');
  assert.equal(contractOfJob('attr'), 'attribution');
  assert.equal(contractOfJob('act'), undefined);
  assert.equal(contractOfJob('else-1'), undefined);
  assert.equal(contractOfJob(''), undefined);
});

test('a front door that drains ends watchers at once and lets calls finish', async () => {
  const go = Promise.withResolvers<void>();
  const qk: ContractHandlers['qk'] = {
    StartFit: async () => {
      await go.promise;
      return { job: { id: 'qk-fit-1' } };
    },
  };
  const jobs: ContractHandlers['jobs'] = {
    async *Watch(_, call) {
      yield {};
      await aborted(call);
    },
  };
  await withDoor({ qk: [{ qk, jobs }] }, async ({ door, server }) => {
    const call = door.clients.qk.StartFit({});
    const watch = door.clients.jobs.Watch({ id: 'qk-fit-1' })[Symbol.asyncIterator]();
    await watch.next();
    const closing = server.close(5_000);
    const rest = (async () => {
      while ((await watch.next()).done !== true);
    })();
    assert.equal((await failure(rest)).code, 'unavailable');
    go.resolve();
    assert.equal((await call).job?.id, 'qk-fit-1');
    await closing;
  });
});
