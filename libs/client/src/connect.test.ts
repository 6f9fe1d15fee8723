import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { serve } from '@heddle/adapters/grpc';
import { OperationError } from '@heddle/core';
import { type ContractHandlers, type Log, TensorCollector, tensorParts } from '@heddle/ports';
import { tensor } from '@heddle/tensor';
import { connect, type Heddle } from './connect.ts';

const log: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };

async function withHeddle(handlers: ContractHandlers, body: (h: Heddle) => Promise<void>) {
  const server = await serve({ host: '127.0.0.1', port: 0, handlers, log });
  const heddle = connect(`127.0.0.1:${server.port}`);
  try {
    await body(heddle);
  } finally {
    heddle.close();
    await server.close(0);
  }
}

const pattern = tensor('f32', [2, 1], Float32Array.of(1, -0.5));

test('a run is collected into its start, its tensors with their labels, and its end', async () => {
  const handlers: ContractHandlers = {
    activation: {
      async *Run({ hooks }) {
        yield { start: { hooks } };
        yield* tensorParts(pattern, { name: 'a', prompt: 1, axes: ['head', 'pos'] });
        yield { end: { run_ms: 3 } };
      },
    },
  };
  await withHeddle(handlers, async (heddle) => {
    const { start, tensors, end } = await heddle.collectRun({ hooks: ['a'] });
    assert.deepEqual(start.hooks, ['a']);
    assert.deepEqual(tensors, [
      { label: { name: 'a', prompt: 1, axes: ['head', 'pos'] }, tensor: pattern },
    ]);
    assert.equal(end.run_ms, 3);
  });
});

test('a run that is larger than the caller takes is refused before memory is given to it', async () => {
  const handlers: ContractHandlers = {
    activation: {
      async *Run() {
        yield {
          header: {
            name: 'big',
            dtype: 'ELEMENT_TYPE_F32',
            shape: [2 ** 30],
            byte_length: 2 ** 32,
          },
        };
      },
    },
  };
  await withHeddle(handlers, async (heddle) => {
    await assert.rejects(heddle.collectRun({}, { bytesMax: 1e6 }), { code: 'resource_exhausted' });
  });
});

test('a stream that loses a chunk, or its end, is data_loss', async () => {
  const parts = [...tensorParts(tensor('u8', [300_000], new Uint8Array(300_000)), { name: 't' })];
  const handlers: ContractHandlers = {
    activation: {
      async *Run({ gradient }) {
        yield { start: {} };
        if (gradient === 'chunk') yield* [parts[0] ?? {}, parts[2] ?? {}];
        else yield* parts;
      },
    },
  };
  await withHeddle(handlers, async (heddle) => {
    await assert.rejects(heddle.collectRun({ gradient: 'chunk' }), { code: 'data_loss' });
    await assert.rejects(heddle.collectRun({ gradient: 'end' }), { code: 'data_loss' });
  });
});

test('a watched job is followed over a broken stream to its end', async () => {
  let watches = 0;
  const handlers: ContractHandlers = {
    jobs: {
      async *Watch({ id }) {
        watches++;
        yield { job: { id, state: 'JOB_STATE_RUNNING' } };
        if (watches < 3) throw new OperationError({ code: 'unavailable', message: 'restarting' });
        yield { job: { id, state: 'JOB_STATE_SUCCEEDED' } };
      },
    },
  };
  await withHeddle(handlers, async (heddle) => {
    const seen: string[] = [];
    const job = await heddle.waitForJob('j', { onChange: ({ state }) => seen.push(state) });
    assert.equal(job.state, 'JOB_STATE_SUCCEEDED');
    assert.equal(watches, 3);
    assert.equal(seen.filter((state) => state === 'JOB_STATE_RUNNING').length, 3);
  });
});

test('a server that is away longer than a few tries is waited for, which the caller is told; without patience it is his error', async () => {
  let watches = 0;
  const handlers: ContractHandlers = {
    jobs: {
      async *Watch({ id }) {
        watches++;
        yield {}; // a stream that has begun is not repeated by the channel
        if (watches < 6) throw new OperationError({ code: 'unavailable', message: 'restarting' });
        yield { job: { id, state: 'JOB_STATE_SUCCEEDED' } };
      },
    },
  };
  await withHeddle(handlers, async (heddle) => {
    const told: string[] = [];
    const job = await heddle.waitForJob('j', { onSilence: ({ message }) => told.push(message) });
    assert.equal(job.state, 'JOB_STATE_SUCCEEDED');
    assert.ok(told.length > 0 && told.every((message) => message === 'restarting'));
    watches = Number.NEGATIVE_INFINITY;
    await assert.rejects(heddle.waitForJob('j', { patienceMs: 0 }), { code: 'unavailable' });
    await assert.rejects(heddle.waitForJob('j', { patienceMs: 1 }), { message: 'restarting' });
  });
});

test('who waits for a server that is away can stop waiting at once', async () => {
  const handlers: ContractHandlers = {
    jobs: {
      async *Watch() {
        yield {};
        throw new OperationError({ code: 'unavailable', message: 'restarting' });
      },
    },
  };
  await withHeddle(handlers, async (heddle) => {
    const leave = new AbortController();
    const onSilence = () => leave.abort(new OperationError({ code: 'cancelled', message: 'left' }));
    const waiting = heddle.waitForJob('j', { signal: leave.signal, onSilence });
    await assert.rejects(waiting, { code: 'cancelled' });
  });
});

test('an artifact arrives whole, and tensors go to a checkpoint and come back', async () => {
  const bytes = Uint8Array.from({ length: 700_000 }, (_, i) => i % 251);
  const handlers: ContractHandlers = {
    jobs: {
      async *ReadArtifact({ name }) {
        yield { artifact: { name, bytes: bytes.byteLength } };
        yield { data: bytes.subarray(0, 400_000) };
        yield { data: bytes.subarray(400_000) };
      },
    },
    lorsa: {
      async *Apply(requests) {
        const collector = new TensorCollector(1e6);
        for await (const part of requests) {
          const done = collector.add(part);
          if (done) yield* tensorParts(done.tensor, { name: `${done.label.name}!` });
        }
        yield { end: { l0: 2 } };
      },
    },
  };
  await withHeddle(handlers, async (heddle) => {
    assert.deepEqual(new Uint8Array(await heddle.artifactBytes('j', 'x')), bytes);
    const input = { label: { name: 'input', prompt: 0, axes: [] }, tensor: pattern };
    const { tensors, end } = await heddle.applyLorsa({ checkpoint: 'c' }, [input]);
    assert.deepEqual(
      tensors.map(({ label }) => label.name),
      ['input!'],
    );
    assert.deepEqual(tensors[0]?.tensor, pattern);
    assert.equal(end.fvu, undefined);
  });
});

test('what answers without being a gRPC server of this kind is told apart, with what is likely meant', async () => {
  const page = createServer((socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve));
  const { port } = page.address() as AddressInfo;
  const heddle = connect(`127.0.0.1:${port}`);
  await assert.rejects(heddle.ready(300), /with TLS it is https:\/\/HOST:PORT/);
  heddle.close();
  page.close();
});

test('a call that is not answered in time says after how long, in words', async () => {
  const handlers: ContractHandlers = {
    jobs: { Get: () => new Promise(() => undefined) },
  };
  await withHeddle(handlers, async (heddle) => {
    await assert.rejects(heddle.jobs.Get({ id: 'j' }, { timeoutMs: 50 }), {
      code: 'deadline_exceeded',
      message: 'no answer came within 1 s: ask again later',
    });
  });
});

test('an address where nobody listens is unavailable and says so', async () => {
  const heddle = connect('127.0.0.1:1');
  await assert.rejects(heddle.ready(300), /no heddle answers at 127\.0\.0\.1:1/);
  heddle.close();
});
