import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_TRACING, type Span, type SpanError, type SpanSpec, type Tracing } from '@heddle/ports';
import { countingKind, JobWorld } from '@heddle/testkit';
import { JOB_LIMITS } from '../limits.ts';
import type { JobKind } from './job-kind.ts';

const REQUEST = { seed: 7, steps: 20, every: 5, stepMs: 1_000 };

interface Begun extends Omit<SpanSpec, 'attributes'> {
  readonly own: string;
  readonly attributes: Record<string, unknown>;
  ended: SpanError | 'well' | undefined;
}

/** Spans that a test reads; each is numbered. */
function recordingTracing(): { readonly tracing: Tracing; readonly spans: Begun[] } {
  const spans: Begun[] = [];
  const begin = (spec: SpanSpec): Span => {
    const own = `00-0af7651916cd43dd8448eb211c80319c-${String(spans.length + 1).padStart(16, '0')}-01`;
    const span: Begun = { ...spec, own, attributes: { ...spec.attributes }, ended: undefined };
    spans.push(span);
    return {
      ...NO_TRACING.begin(spec),
      context: { traceparent: own },
      set: (attributes) => void Object.assign(span.attributes, attributes),
      end: (error) => {
        span.ended = error ?? 'well';
      },
    };
  };
  return { tracing: { begin, prepare: (spec) => () => begin(spec) }, spans };
}

const named = (spans: readonly Begun[], name: string) => spans.filter((span) => span.name === name);

test('an attempt is a part of the trace in which its job was accepted, in another process and after a crash too', async () => {
  const world = new JobWorld();
  const { tracing, spans } = recordingTracing();
  const kind = countingKind();
  const accepts = world.runtime([{ ...kind, limits: { concurrency: 0 } }], { tracing });
  await world.clock.run(accepts.start());
  const { id } = await accepts.submit('count.steps', REQUEST);
  const again = await accepts.submit('count.steps', REQUEST, { key: 'other' });
  await accepts.cancel(again.id);

  // The first worker never comes back: its stores fall silent in the middle.
  let gone = false;
  const dying = <T extends object>(store: T): T =>
    new Proxy(store, {
      get: (target, name, receiver) => {
        const member = Reflect.get(target, name, receiver) as unknown;
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) =>
          gone ? new Promise(() => undefined) : (member.apply(target, args) as unknown);
      },
    });
  const first = world.runtime([kind], {
    tracing,
    ...{ journal: dying(world.journal), queue: dying(world.queue), blobs: dying(world.blobs) },
  });
  await world.clock.run(first.start());
  await world.clock.advance(8_000);
  gone = true;
  const second = await world.started([kind], { tracing });
  await world.clock.run(second.wait(id));

  const [accepted] = named(spans, 'accept count.steps');
  assert.ok(accepted);
  assert.deepEqual(
    [accepted.kind, accepted.ended, accepted.attributes['heddle.job.id']],
    ['producer', 'well', id],
  );
  const attempts = named(spans, 'work count.steps').filter(
    ({ attributes }) => attributes['heddle.job.id'] === id,
  );
  assert.deepEqual(
    attempts.map(({ kind, parent, link, ended, attributes }) => [
      ...[kind, parent?.traceparent, link, ended],
      attributes['heddle.task.outcome'],
    ]),
    [
      ['consumer', accepted.own, undefined, undefined, undefined],
      ['consumer', accepted.own, undefined, 'well', 'done'],
    ],
  );
  assert.ok(Number(attempts[1]?.attributes['heddle.task.delivery']) > 1);
  const ended = named(spans, 'checkpoint').filter((span) => span.ended === 'well');
  const saved = ended.map(({ attributes }) => [
    attributes['heddle.checkpoint.cursor'],
    Number(attributes['heddle.checkpoint.bytes']) > 0,
  ]);
  assert.deepEqual(
    saved,
    [5, 10, 15].map((cursor) => [cursor, true]),
  );
});

test('a job’s id, result and provenance are the same, traced or not', async () => {
  const results = [];
  for (const traced of [true, false]) {
    const world = new JobWorld();
    const { tracing } = recordingTracing();
    const runtime = await world.started([countingKind()], traced ? { tracing } : {});
    const { id } = await runtime.submit('count.steps', REQUEST, { key: 'mine' });
    await world.clock.run(runtime.wait(id));
    results.push({ id, ...(await runtime.result(id)) });
  }
  assert.deepEqual(results[0], results[1]);
});

test('attempts of a job that is old, or large, begin traces that are linked to it', async () => {
  const { tracing, spans } = recordingTracing();
  const pieces = (count: number): JobKind => ({
    kind: 'test.pieces',
    split: () => Array.from({ length: count }, (_, input) => ({ input })),
    run: async () => ({ bytes: new Uint8Array([1]) }),
  });
  const large = new JobWorld();
  const runtime = await large.started([pieces(JOB_LIMITS.tracedTasksMax)], { tracing });
  const { id } = await runtime.submit('test.pieces', {});
  await large.clock.run(runtime.wait(id));
  const old = new JobWorld();
  const accepts = old.runtime([{ ...pieces(1), limits: { concurrency: 0 } }], { tracing });
  await old.clock.run(accepts.start());
  const late = await accepts.submit('test.pieces', {});
  await accepts.stop(0);
  await old.clock.advance(JOB_LIMITS.tracedMs + 1);
  const works = await old.started([pieces(1)], { tracing });
  await old.clock.run(works.wait(late.id));

  const accepted = named(spans, 'accept test.pieces').map(({ own }) => own);
  const attempts = named(spans, 'work test.pieces');
  assert.equal(attempts.length, JOB_LIMITS.tracedTasksMax + 1 + 1, 'with the reduction');
  assert.deepEqual([...new Set(attempts.map(({ parent }) => parent))], [null]);
  assert.deepEqual([...new Set(attempts.map(({ link }) => link?.traceparent))], accepted);
});

test('an attempt that fails says with what, and a job that nobody traced is worked on in a trace of its own', async () => {
  const world = new JobWorld();
  const { tracing, spans } = recordingTracing();
  const kind: JobKind = {
    kind: 'test.kind',
    limits: { attemptsMax: 1 },
    split: () => [{ input: null }],
    run: async () => {
      throw new Error('a slip');
    },
  };
  const accepts = world.runtime([{ ...kind, limits: { concurrency: 0 } }]);
  await world.clock.run(accepts.start());
  const { id } = await accepts.submit('test.kind', {});
  const works = await world.started([kind], { tracing });
  await world.clock.run(works.wait(id));

  const [attempt] = named(spans, 'work test.kind');
  assert.equal(attempt?.parent, null);
  assert.equal(attempt?.link, undefined);
  assert.equal(attempt?.attributes['heddle.task.outcome'], 'failed');
  assert.ok(typeof attempt?.ended === 'object');
  assert.deepEqual([attempt.ended.code, attempt.ended.message], ['internal', 'a slip']);
});
