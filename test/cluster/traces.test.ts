/** One trace across gRPC, the queue, a worker in another process and what it asks of others; and what tracing may not cost. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connect, type Heddle, type OpenTracing, openTracing } from '@heddle/client';
import {
  type Cluster,
  freeze,
  launch,
  missingServer,
  type ReceivedSpan,
  SERVERS,
  silentLog,
  startCluster,
  startTraceReceiver,
  type TraceReceiver,
  temporaryFolder,
  thaw,
  until,
} from '@heddle/testkit';

const MAIN = fileURLToPath(new URL('../../services/embedded/src/main.ts', import.meta.url));
const START = 'heddle.attribution.v1.AttributionService/StartWhy';
const WORK = 'work attribution.why';
const WHY = { prompt: { text: 'When Mary and John went to the store' }, logit: {} };
const WORKS = { services: ['attribution'], env: { OTEL_SERVICE_NAME: 'worker' } } as const;

const missing = missingServer(SERVERS.natsCurrent);
const unlessMissing = missing === undefined ? {} : { skip: missing };

const variables = ({ endpoint }: Pick<TraceReceiver, 'endpoint'>) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
  OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20let-me-in',
  OTEL_BSP_SCHEDULE_DELAY: '20',
});

interface World {
  readonly cluster: Cluster;
  readonly receiver: TraceReceiver;
  readonly heddle: Heddle;
  /** Of the program that asks. */
  readonly tracing: OpenTracing;
}

/** A cluster that accepts what it explains in one process and works on it in others, as an autoscaler has it. */
async function withCluster(body: (world: World) => Promise<void>): Promise<void> {
  const receiver = await startTraceReceiver();
  const closers: (() => unknown)[] = [() => receiver.close()];
  try {
    const cluster = await startCluster({
      processes: [
        { services: ['activation'] },
        { services: ['attribution'], name: 'accepts', env: { HEDDLE_WORK: 'none' } },
        { services: ['explorer'] },
      ],
      ackWaitMs: 1_000,
      env: variables(receiver),
    });
    closers.push(() => cluster.remove());
    const environment = variables(receiver);
    const asked = { environment, serviceName: 'notebook', log: silentLog, isCommand: true };
    const tracing = await openTracing(asked);
    assert.ok(tracing);
    closers.push(() => tracing.close());
    const heddle = connect(cluster.address, { tracing });
    closers.push(() => heddle.close());
    await body({ cluster, receiver, heddle, tracing });
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

type Hop = readonly [service: string, kind: ReceivedSpan['kind'], name: string];

/** The spans of a chain, each a part of the one before. */
async function chain(
  { receiver }: World,
  traceId: string | undefined,
  hops: readonly Hop[],
): Promise<readonly ReceivedSpan[]> {
  const found: ReceivedSpan[] = [];
  for (const [service, kind, name] of hops) {
    const parentId = found.at(-1)?.spanId ?? '';
    const is = (span: ReceivedSpan) =>
      span.traceId === traceId &&
      span.parentId === parentId &&
      span.service === service &&
      span.kind === kind &&
      span.name === name;
    found.push(await receiver.span(is, `${service} ${kind} ${name} below ${parentId}`));
  }
  return found;
}

/** From the program that asks to the job that was accepted. */
const ACCEPTED: readonly Hop[] = [
  ['notebook', 'internal', 'an evening'],
  ['notebook', 'client', START],
  ['heddle-explorer', 'server', START],
  ['heddle-explorer', 'client', START],
  ['heddle-attribution', 'server', START],
  ['heddle-attribution', 'producer', 'accept attribution.why'],
];

/** From a call that waits for its answer to the engine. */
const RUN = 'heddle.activation.v1.ActivationService/Run';
const LOOKED: readonly Hop[] = [
  ['notebook', 'internal', 'a look'],
  ['notebook', 'client', RUN],
  ['heddle-explorer', 'server', RUN],
  ['heddle-explorer', 'client', RUN],
  ['heddle-activation', 'server', RUN],
  ['heddle-activation', 'internal', 'engine batch'],
];

async function begun({ heddle, tracing }: World) {
  const root = tracing.begin({ name: 'an evening' });
  const { job } = await root.within(() => heddle.attribution.StartWhy(WHY));
  root.end();
  assert.ok(job);
  return { id: job.id, traceId: root.traceId };
}

/** The trace of a call that waits for its answer. */
async function looked({ heddle, tracing }: World) {
  const look = tracing.begin({ name: 'a look' });
  const hooks = ['blocks.0.hook_resid_pre'];
  await look.within(() => heddle.collectRun({ prompts: [WHY.prompt], hooks }));
  look.end();
  return look.traceId;
}

/** The worker's own call to a peer, and the peer's answer to it. */
async function asksActivation(world: World, { traceId, spanId }: ReceivedSpan): Promise<void> {
  const { receiver } = world;
  const asks = await receiver.span(
    ({ parentId, kind }) => parentId === spanId && kind === 'client',
    'the worker’s call',
  );
  assert.deepEqual([asks.service, asks.traceId], ['worker', traceId]);
  const answers = await receiver.span(({ parentId }) => parentId === asks.spanId, 'its answer');
  assert.deepEqual(
    [answers.service, answers.kind, answers.name, answers.traceId],
    ['heddle-activation', 'server', asks.name, traceId],
  );
}

test(
  'a call, the job that it starts, the worker that takes it and what the worker asks of others are one trace',
  unlessMissing,
  () =>
    withCluster(async (world) => {
      const { cluster, receiver, heddle } = world;
      const [worker] = await cluster.add({ ...WORKS, name: 'works' });
      const { id, traceId } = await begun(world);
      assert.equal((await heddle.waitForJob(id)).state, 'JOB_STATE_SUCCEEDED');

      const spans = await chain(world, traceId, [...ACCEPTED, ['worker', 'consumer', WORK]]);
      const attempt = spans.at(-1);
      assert.ok(attempt);
      const { 'heddle.job.age_ms': age, ...about } = attempt.attributes;
      assert.ok(Number(age) >= 0);
      assert.deepEqual(about, {
        'heddle.job.id': id,
        'heddle.job.kind': 'attribution.why',
        'heddle.task.index': 0,
        'heddle.task.attempt': 1,
        'heddle.task.delivery': 1,
        'heddle.task.outcome': 'done',
        'messaging.system': 'heddle',
        'messaging.destination.name': 'tasks.attribution.why',
        'messaging.operation.type': 'process',
      });
      await asksActivation(world, attempt);
      assert.equal(receiver.headers.authorization, 'Bearer let-me-in');

      // At once: the engine takes the later ones when the first is done, and yet for whoever asked.
      const looks = await Promise.all(Array.from({ length: 4 }, () => looked(world)));
      for (const look of looks) {
        const batch = (await chain(world, look, LOOKED)).at(-1);
        assert.ok(Number(batch?.attributes['heddle.batch.prompts']) >= 1);
      }

      const ended = worker?.log().find(({ msg }) => msg === 'job ended');
      assert.deepEqual([ended?.['trace_id'], ended?.['span_id']], [traceId, attempt.spanId]);

      const refused = await heddle.attribution.StartWhy({}).catch((error: unknown) => error);
      const { details } = refused as { readonly details: Readonly<Record<string, unknown>> };
      const failed = await receiver.span(
        ({ service, isError }) => service === 'notebook' && isError,
        'the refused call',
      );
      assert.equal(details['trace_id'], failed.traceId);
    }),
);

test(
  'a worker is killed and another takes its task: that is in the trace of the same call',
  unlessMissing,
  () =>
    withCluster(async (world) => {
      const { cluster, heddle } = world;
      const { id, traceId } = await begun(world);
      const activation = cluster.process('activation');
      await freeze(activation); // so that the task is in work for as long as we like
      const [killed] = await cluster.add({ ...WORKS, name: 'killed' });
      await until('the task in work', async () => {
        const { job } = await heddle.jobs.Get({ id });
        return job?.state === 'JOB_STATE_RUNNING';
      });
      await killed?.kill('SIGKILL');
      thaw(activation);
      await cluster.add({ ...WORKS, name: 'second' });
      assert.equal((await heddle.waitForJob(id)).state, 'JOB_STATE_SUCCEEDED');

      const spans = await chain(world, traceId, [...ACCEPTED, ['worker', 'consumer', WORK]]);
      const attempt = spans.at(-1);
      assert.ok(attempt);
      assert.equal(attempt.attributes['heddle.task.outcome'], 'done');
      assert.ok(Number(attempt.attributes['heddle.task.delivery']) > 1);
      assert.equal(attempt.attributes['heddle.task.attempt'], 2);
      await asksActivation(world, attempt);
    }),
);

/** What a command says, without what is another each time it is asked. */
function found(document: string): string {
  const { summary, provenance } = JSON.parse(document) as Record<string, object>;
  return JSON.stringify({ summary, provenance: { ...provenance, created_ms: 0 } });
}

/** Tells on stderr what of OpenTelemetry a process loads, but for its API, which prom-client needs too. */
const WATCH = encodeURIComponent(
  `import { registerHooks } from 'node:module';
  registerHooks({ resolve(name, context, next) {
    if (/^@opentelemetry\\/(?!api)/.test(name)) process.stderr.write('loads ' + name + '\\n');
    return next(name, context);
  } });`,
);

test('a command and its job cost nothing without an endpoint, and find the same with one, whoever answers there', async () => {
  const receiver = await startTraceReceiver();
  const folder = await temporaryFolder();
  const why = async (name: string, env: Readonly<Record<string, string>>) => {
    const args = ['why', '--text', WHY.prompt.text, '--next-token', '--json'];
    const data = { HEDDLE_DATA: join(folder.path, name), HEDDLE_SERVER: '' };
    const watch = { NODE_OPTIONS: `--import=data:text/javascript,${WATCH}` };
    const beganMs = performance.now();
    const run = launch(MAIN, args, { env: { ...data, ...watch, ...env } });
    const { code } = await run.exited;
    assert.equal(code, 0, run.stderr());
    const loads = run.stderr().includes('loads @opentelemetry/');
    return { found: found(run.lines.join('')), loads, ms: performance.now() - beganMs };
  };
  try {
    const trace = '0af7651916cd43dd8448eb211c80319c';
    const around = { TRACEPARENT: `00-${trace}-b7ad6b7169203331-01` };
    const untraced = await why('untraced', around);
    assert.equal(untraced.loads, false);
    const off = await why('off', { ...variables(receiver), OTEL_TRACES_EXPORTER: 'none' });
    assert.deepEqual([off.loads, receiver.exports], [false, 0]);

    const traced = await why('traced', { ...variables(receiver), ...around });
    assert.equal(traced.loads, true);
    const command = await receiver.span(({ name }) => name === 'heddle why', 'heddle why');
    assert.deepEqual(
      [command.traceId, command.parentId, command.service],
      [trace, 'b7ad6b7169203331', 'heddle-cli'],
    );
    const attempt = await receiver.span(({ name }) => name === WORK, WORK);
    assert.deepEqual([attempt.traceId, attempt.service], [trace, 'heddle']);

    const away = await why('away', variables({ endpoint: 'http://127.0.0.1:9' }));
    receiver.answer('hang');
    const hangs = await why('hangs', variables(receiver));
    for (const { found, ms } of [off, traced, away, hangs]) {
      assert.ok(found === untraced.found, `${found}\n\n${untraced.found}`);
      assert.ok(ms < 3 * untraced.ms + 60_000, `${ms} ms instead of ${untraced.ms} ms`);
    }
  } finally {
    await receiver.close();
    await folder.remove();
  }
});
