import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { OperationError, VERSION } from '@heddle/core';
import type { ContractHandlers, Log } from '@heddle/ports';
import { openChannel } from './channel.ts';
import { methodsOf } from './contracts.ts';
import { requestShape } from './message-shapes.ts';
import { serve } from './server.ts';
import { fromServiceError } from './status.ts';
import { refuseUnknown } from './unknown-fields.ts';

const RUN = '/heddle.activation.v1.ActivationService/Run';
const log: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };

const delimited = (number: number, ...content: number[]) => [
  (number << 3) | 2,
  content.length,
  ...content,
];

/** What is refused, or undefined. */
function refused(path: string, ...bytes: number[]): OperationError | undefined {
  try {
    refuseUnknown(Uint8Array.from(bytes), requestShape(path));
    return undefined;
  } catch (thrown) {
    assert.ok(thrown instanceof OperationError, String(thrown));
    assert.equal(thrown.code, 'invalid_argument');
    return thrown;
  }
}

test('every request that our own writer makes is taken, with all its fields set', () => {
  const [, run] = methodsOf('activation').find(([name]) => name === 'Run') ?? [];
  assert.ok(run);
  const bytes = run.requestSerialize({
    model: 'm',
    prompts: [{ id: 'a', tokens: { ids: [1, 200, 70_000] } }, { text: 'b' }],
    options: { bos: true },
    hooks: ['*', 'logits'],
    positions: [0, 3],
    dtype: 'ELEMENT_TYPE_F16',
    interventions: [
      {
        hook: 'h',
        kind: 'INTERVENTION_KIND_SCALE',
        heads: [1, 2],
        value: { dtype: 'ELEMENT_TYPE_F32', shape: [2], data: new Uint8Array(8) },
        factor: 0.5,
      },
    ],
    gradient: 'logit[1, 2]',
    alone: true,
  });
  refuseUnknown(bytes, requestShape(RUN));
  refuseUnknown(new Uint8Array(), requestShape(RUN));
});

test('an unknown field is refused with where it is, what lacks it, and the server’s version', () => {
  const known = delimited(2, ...delimited(1, 97));
  const unknown = delimited(2, ...delimited(3, ...delimited(1, 5, 6)), 0x98, 0x06, 1); // #99
  const error = refused(RUN, ...known, ...known, ...unknown);
  assert.equal(error?.field, 'prompts[2].#99');
  assert.deepEqual(error.details, {
    kind: 'field',
    type: 'heddle.common.v1.Prompt',
    number: 99,
    server_version: VERSION,
  });
  assert.match(error.message, /prompts\[2\]\.#99: .* update the server, or leave it out/);
  assert.equal(refused('/heddle.jobs.v1.JobsService/Get', 0xd2, 0x01, 0)?.field, '#26');
});

test('an unknown value of an enum is refused, alone and among numbers packed into one field', () => {
  const dtype = refused(RUN, 6 << 3, 99);
  assert.equal(dtype?.field, 'dtype');
  assert.deepEqual(
    [dtype.details['type'], dtype.details['number']],
    ['heddle.common.v1.ElementType', 99],
  );
  const list = '/heddle.jobs.v1.JobsService/List';
  assert.equal(refused(list, ...delimited(4, 1, 2, 3)), undefined);
  assert.equal(refused(list, 4 << 3, 1, 4 << 3, 2), undefined, 'a list that is not packed');
  assert.equal(refused(list, ...delimited(4, 1, 2, 77))?.field, 'states[2]');
  assert.equal(refused(list, 4 << 3, 1, 4 << 3, 77)?.field, 'states[1]');
  const negative = [255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
  assert.equal(refused(list, 4 << 3, ...negative)?.details['number'], -1);
});

test('a field in another wire type, a group, and what breaks off are refused', () => {
  assert.equal(refused(RUN, (1 << 3) | 0, 5)?.details['kind'], 'wire');
  assert.equal(refused(RUN, (9 << 3) | 2, 1, 1)?.details['kind'], 'wire', 'no list, so not packed');
  assert.equal(refused(RUN, (2 << 3) | 3, (2 << 3) | 4)?.details['kind'], 'wire');
  for (const bytes of [
    [0],
    [10],
    [10, 2, 97],
    [0x80],
    delimited(2, 10, 5),
    [...delimited(1, 97), 18, 255, 255, 255, 255, 15],
    new Array(11).fill(255),
  ]) {
    assert.equal(refused(RUN, ...bytes)?.details['kind'], 'broken', String(bytes));
  }
});

test('a field of a megabyte is stepped over: as many bytes are looked at as in a small one', () => {
  const lookedAt = (size: number) => {
    const [, apply] = methodsOf('lorsa').find(([name]) => name === 'Apply') ?? [];
    assert.ok(apply);
    const bytes = apply.requestSerialize({ chunk: { offset: 7, data: new Uint8Array(size) } });
    let reads = 0;
    const counting = new Proxy(new Uint8Array(bytes), {
      get: (target, name) => {
        if (/^\d/.test(String(name))) reads++;
        return Reflect.get(target, name, target);
      },
    });
    refuseUnknown(counting, requestShape(apply.path));
    return reads;
  };
  assert.ok(lookedAt(100) > 0);
  assert.ok(lookedAt(2 ** 20) <= lookedAt(100) + 4, 'but for the longer lengths');
});

async function withServer(
  handlers: ContractHandlers,
  body: (address: string, raw: Client) => Promise<void>,
): Promise<void> {
  const server = await serve({ host: '127.0.0.1', port: 0, handlers, log });
  const address = `127.0.0.1:${server.port}`;
  const raw = new Client(address, credentials.createInsecure());
  try {
    await body(address, raw);
  } finally {
    raw.close();
    await server.close(0);
  }
}

const pass = (bytes: Buffer) => bytes;

/** The answer to raw bytes: the first message, or the error as a client of ours reads it. */
function ask(raw: Client, path: string, ...bytes: number[]): Promise<Buffer | OperationError> {
  return new Promise((resolve) => {
    raw.makeUnaryRequest(path, pass, pass, Buffer.from(bytes), (error, answer) =>
      resolve(error ? fromServiceError(error) : (answer ?? Buffer.alloc(0))),
    );
  });
}

/** The error that a stream of raw requests ends with. */
function streamError(raw: Client, path: string, ...requests: number[][]): Promise<OperationError> {
  return new Promise((resolve) => {
    const call = raw.makeBidiStreamRequest(path, pass, pass);
    call.on('error', (error: Parameters<typeof fromServiceError>[0]) =>
      resolve(fromServiceError(error)),
    );
    call.resume();
    for (const request of requests) call.write(Buffer.from(request));
  });
}

test('over the wire: an unknown field is a typed error in unary calls and in the middle of streams', async () => {
  const handlers: ContractHandlers = {
    jobs: { Get: async () => ({ job: { id: 'j' } }) },
    lorsa: {
      async *Apply(requests) {
        for await (const _ of requests);
        yield {};
      },
    },
  };
  await withServer(handlers, async (_, raw) => {
    const unary = await ask(raw, '/heddle.jobs.v1.JobsService/Get', ...delimited(9, 1));
    assert.ok(unary instanceof OperationError);
    assert.deepEqual([unary.code, unary.field], ['invalid_argument', '#9']);
    assert.equal(unary.details['server_version'], VERSION);

    const path = '/heddle.lorsa.v1.LorsaService/Apply';
    const chunk = delimited(3, ...delimited(2, 1, 2));
    const stream = await streamError(raw, path, chunk, delimited(3, ...delimited(8, 1)));
    assert.deepEqual([stream.code, stream.field], ['invalid_argument', 'chunk.#8']);
  });
});

test('an unknown method, an unknown service and one that is not served are typed errors with the version', async () => {
  await withServer({ jobs: {} }, async (_, raw) => {
    for (const [path, says] of [
      ['/heddle.jobs.v1.JobsService/Clone', /has no method Clone .* update the server/],
      ['/heddle.nn.v1.NnService/Find', /no service heddle\.nn\.v1\.NnService .* update the server/],
      ['/heddle.lorsa.v1.LorsaService/Export', /not answered there: .* --services/],
      ['/nothing', /no service nothing/],
    ] as const) {
      for (const error of [await ask(raw, path), await streamError(raw, path)]) {
        assert.ok(error instanceof OperationError);
        assert.equal(error.code, 'unimplemented');
        assert.match(error.message, says);
        assert.equal(error.details['server_version'], VERSION, 'typed, not only a status');
      }
    }
  });
});

test('a client reads the answer of a newer server: fields that it does not know are left out', async () => {
  const [, get] = methodsOf('jobs').find(([name]) => name === 'Get') ?? [];
  assert.ok(get);
  const answer = Buffer.concat([
    get.responseSerialize({ job: { id: 'j' } }),
    Buffer.from(delimited(13, 1)),
  ]);
  const newer = { ...get, responseSerialize: () => answer };
  const server = new Server();
  server.addService(
    { Get: newer },
    { Get: (_: unknown, done: (e: null, v: object) => void) => done(null, {}) },
  );
  const port = await new Promise<number>((resolve) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (_, bound) =>
      resolve(bound),
    );
  });
  const channel = openChannel(`127.0.0.1:${port}`);
  assert.equal((await channel.clients.jobs.Get({ id: 'j' })).job?.id, 'j');
  channel.close();
  server.forceShutdown();
});
