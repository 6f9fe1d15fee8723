import assert from 'node:assert/strict';
import { test } from 'node:test';
import { notFound, OperationError } from '@heddle/core';
import type { ContractHandlers, Tracing } from '@heddle/ports';
import {
  type LogLine,
  recordingLog,
  silentLog,
  startTraceReceiver,
  type TraceReceiver,
} from '@heddle/testkit';
import { openChannel, serve, Upstreams } from '../grpc/index.ts';
import { type OpenTracing, openTracing } from './index.ts';
import { BATCH_SPANS_MAX, SPANS_PER_ROOT_MAX, SPANS_WAITING_MAX } from './limits.ts';

/** As long as may be: a receiver that is late, as on a machine that does much else, is not away. */
const EXPORT_MS = 60_000;

interface World {
  readonly receiver: TraceReceiver;
  readonly lines: LogLine[];
  /** The spans of one process. */
  open(serviceName: string, more?: Readonly<Record<string, string>>): Promise<OpenTracing>;
}

async function withReceiver(body: (world: World) => Promise<void>): Promise<void> {
  const receiver = await startTraceReceiver();
  const lines: LogLine[] = [];
  const opened: OpenTracing[] = [];
  const open: World['open'] = async (serviceName, more = {}) => {
    const environment = {
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      OTEL_BSP_SCHEDULE_DELAY: '5',
      OTEL_EXPORTER_OTLP_TIMEOUT: `${EXPORT_MS}`,
      ...more,
    };
    const log = recordingLog(lines);
    const tracing = await openTracing({ environment, serviceName, log, isCommand: true });
    assert.ok(tracing);
    opened.push(tracing);
    return tracing;
  };
  try {
    await body({ receiver, lines, open });
  } finally {
    await Promise.all(opened.map((tracing) => tracing.close()));
    await receiver.close();
  }
}

const METHOD = 'heddle.jobs.v1.JobsService/Get';
const here = { host: '127.0.0.1', port: 0, log: silentLog };

interface Line {
  readonly door: Tracing;
  readonly service: Tracing;
  readonly handlers: ContractHandlers;
}

/** A front door, and a service behind it. */
async function withDoor(line: Line, body: (address: string) => Promise<void>): Promise<void> {
  const { door: tracing } = line;
  const server = await serve({ ...here, handlers: line.handlers, tracing: line.service });
  const door = await serve({ ...here, tracing });
  const upstreams = new Upstreams(new Map([['qk', [`127.0.0.1:${server.port}`]]]), { tracing });
  door.forward(upstreams);
  try {
    await body(`127.0.0.1:${door.port}`);
  } finally {
    await door.close(0);
    upstreams.close();
    await server.close(0);
  }
}

test('a call through a front door is one trace: each hop is a part of the one before', async () => {
  await withReceiver(async ({ receiver, open }) => {
    const [cli, door, service] = [await open('cli'), await open('door'), await open('service')];
    const handlers: ContractHandlers = {
      jobs: {
        Get: async ({ id }) => {
          if (id === '') throw notFound('no job of no name', { details: { seen: 3 } });
          service.begin({ name: 'inside' }).end();
          return {};
        },
        async *Watch() {
          yield {};
          service.begin({ name: 'inside a stream' }).end();
        },
      },
    };
    await withDoor({ door, service, handlers }, async (address) => {
      const channel = openChannel(address, { tracing: cli });
      const { jobs } = channel.clients;
      const root = cli.begin({ name: 'a command' });
      await root.within(() => jobs.Get({ id: 'a' }));
      // Asked for in the span, and read outside of it.
      const stream = root.within(() => jobs.Watch({ id: 'a' }));
      for await (const _ of stream);
      root.end();

      for (const [name, innermost] of [
        [METHOD, 'inside'],
        ['heddle.jobs.v1.JobsService/Watch', 'inside a stream'],
      ]) {
        const chain = [
          ['cli', 'internal', 'a command'],
          ...[['cli', 'client', name] as const, ['door', 'server', name] as const],
          ...[['door', 'client', name] as const, ['service', 'server', name] as const],
          ['service', 'internal', innermost],
        ] as const;
        let parentId = '';
        for (const [service, kind, is] of chain) {
          const span = await receiver.span(
            (each) => each.service === service && each.kind === kind && each.name === is,
            `${service} ${kind} ${is}`,
          );
          assert.equal(span.parentId, parentId, `${service} ${kind} ${is}`);
          assert.equal(span.traceId, root.traceId);
          parentId = span.spanId;
        }
      }
      const served = await receiver.span(({ kind }) => kind === 'server', 'of a server');
      assert.equal(served.attributes['rpc.status_code'], 'OK');
      assert.equal(served.attributes['rpc.method'], METHOD);

      const failed = await jobs.Get({}).catch((error: unknown) => OperationError.from(error));
      assert.ok(failed instanceof OperationError);
      const client = await receiver.span(({ kind, isError }) => kind === 'client' && isError, '');
      assert.equal(client.attributes['rpc.status_code'], 'NOT_FOUND');
      assert.equal(client.message, 'no job of no name');
      assert.deepEqual(failed.details, { trace_id: client.traceId, seen: 3 });
      const ended = await receiver.span(
        ({ kind, traceId, service }) =>
          kind === 'server' && traceId === client.traceId && service === 'service',
        'of the server of the failed call',
      );
      assert.equal(ended.attributes['error.type'], 'not_found');
      assert.equal(ended.isError, false, 'the caller erred, and not the server');
      channel.close();
    });
  });
});

test('a command goes on in the trace of TRACEPARENT; junk begins a trace, as nothing does', async () => {
  await withReceiver(async ({ receiver, open }) => {
    const trace = '0af7651916cd43dd8448eb211c80319c';
    const traceparent = `00-${trace}-b7ad6b7169203331-01`;
    const variables = { TRACEPARENT: traceparent, TRACESTATE: 'vendor=x' };
    const root = (await open('a', variables)).begin({ name: 'root' });
    assert.equal(root.traceId, trace);
    assert.equal(root.context?.tracestate, 'vendor=x');
    root.end();
    const got = await receiver.span(({ name }) => name === 'root', 'root');
    assert.equal(got.parentId, 'b7ad6b7169203331');

    const tracing = await open('b');
    for (const junk of ['', 'x', traceparent.replace('00-', 'ff-'), `${traceparent}-01`]) {
      const span = tracing.begin({ name: 'n', parent: { traceparent: junk } });
      assert.notEqual(span.traceId, undefined, junk);
      assert.notEqual(span.traceId, trace, junk);
      span.end();
    }
    const linked = tracing.begin({ name: 'linked', parent: null, link: { traceparent } });
    linked.end();
    const { links, parentId } = await receiver.span(({ name }) => name === 'linked', 'linked');
    assert.deepEqual([links, parentId], [['b7ad6b7169203331'], '']);
  });
});

test('log lines name the current span, also after waiting, and none where nothing is recorded', async () => {
  await withReceiver(async ({ open }) => {
    const tracing = await open('a');
    assert.deepEqual(tracing.logFields(), {});
    const span = tracing.begin({ name: 'n' });
    const fields = await span.within(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return tracing.logFields();
    });
    assert.equal(fields['trace_id'], span.traceId);
    assert.ok(span.context?.traceparent.includes(String(fields['span_id'])));
    const off = await open('b', { OTEL_TRACES_SAMPLER: 'always_off' });
    assert.deepEqual(
      off.begin({ name: 'n' }).within(() => off.logFields()),
      {},
    );
  });
});

test('what a caller does not record is not recorded here, and who chooses by ratio begins few', async () => {
  await withReceiver(async ({ receiver, open }) => {
    const tracing = await open('a', {
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0',
    });
    const parent = (flags: string) => ({
      traceparent: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-${flags}`,
    });
    const unrecorded = tracing.begin({ name: 'unrecorded', parent: parent('00') });
    assert.match(
      unrecorded.context?.traceparent ?? '',
      /^00-0af7651916cd43dd8448eb211c80319c-.*-00$/,
    );
    unrecorded.end();
    tracing.begin({ name: 'own', parent: null }).end();
    tracing.begin({ name: 'recorded', parent: parent('01') }).end();
    await receiver.span(({ name }) => name === 'recorded', 'recorded');
    assert.deepEqual(
      receiver.spans.map(({ name }) => name),
      ['recorded'],
    );
  });
});

test('below one root so many spans are recorded, the rest is counted, and others’ traces go on', async () => {
  await withReceiver(async ({ receiver, open }) => {
    const tracing = await open('a');
    const root = tracing.begin({ name: 'root' });
    root.within(() => {
      for (let i = 0; i < SPANS_PER_ROOT_MAX - 1; i++) tracing.begin({ name: 'part' }).end();
      const late = tracing.begin({ name: 'late' });
      assert.equal(late.traceId, undefined);
      assert.match(
        late.context?.traceparent ?? '',
        /-00$/,
        'who is called does not record it either',
      );
      late.within(() => tracing.begin({ name: 'later' }).end());
      late.end();
    });
    root.end();
    const got = await receiver.span(({ name }) => name === 'root', 'root');
    assert.equal(got.attributes['heddle.spans_not_recorded'], 2);
    assert.equal(receiver.spans.length, SPANS_PER_ROOT_MAX);
    tracing.begin({ name: 'another' }).end();
    await receiver.span(({ name }) => name === 'another', 'another');
  });
});

test('a receiver that is away costs spans and one line, and its return is told', async () => {
  await withReceiver(async ({ receiver, lines, open }) => {
    receiver.answer('refuse');
    const tracing = await open('a');
    const levels = () => lines.map(({ level }) => level).join();
    for (let i = 1; i <= 3; i++) {
      tracing.begin({ name: 'lost' }).end();
      while (receiver.exports < i) await new Promise((resolve) => setImmediate(resolve));
    }
    receiver.answer('ok');
    while (levels() !== 'warn,info') {
      tracing.begin({ name: 'sent' }).end();
      await new Promise((resolve) => setTimeout(resolve, 5));
      assert.ok(lines.length < 3, JSON.stringify(lines));
    }
    assert.equal(lines[0]?.fields['to'], `${receiver.endpoint}/v1/traces`);
    assert.equal(lines[1]?.fields['spansLost'], 3);
    assert.equal(tracing.spans.lost, 3);
    assert.ok(tracing.spans.sent > 0 && tracing.spans.sent <= receiver.spans.length);
    assert.equal(tracing.spans.dropped, 0);
  });
});

test('a receiver that never answers, or is not there, does not keep a process from its end', async () => {
  await withReceiver(async ({ receiver, open }) => {
    receiver.answer('hang');
    const nobody = {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
      OTEL_EXPORTER_OTLP_TIMEOUT: '200',
    };
    for (const tracing of [await open('a'), await open('b', nobody)]) {
      for (let i = 0; i < 5000; i++) tracing.begin({ name: 'n', parent: null }).end();
      // The first batch is on its way, and as many wait as may.
      assert.equal(tracing.spans.dropped, 5000 - BATCH_SPANS_MAX - SPANS_WAITING_MAX);
      const beganMs = performance.now();
      await tracing.close();
      // Not when its export ends, which nobody waits for.
      assert.ok(performance.now() - beganMs < EXPORT_MS / 2);
    }
  });
});

test('what OpenTelemetry cannot use leaves a process without traces, and says so', async () => {
  const lines: LogLine[] = [];
  const environment = {
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
  };
  const log = recordingLog(lines);
  assert.equal(await openTracing({ environment, serviceName: 'x', log }), undefined);
  assert.equal(lines.length, 1);
});
