import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalJson, type Json, OperationError, resourceExhausted } from '@heddle/core';
import type { Blobs, Clock, WorkQueue } from '@heddle/ports';
import { countingKind, countingResult, JobWorld } from '@heddle/testkit';
import type { JobKind, TaskContext } from './job-kind.ts';

const REQUEST = { seed: 7, steps: 20, every: 5, stepMs: 1_000 };

const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof OperationError, String(error));
  assert.equal(error.code, expected, error.message);
  return true;
};

function kindOf(run: (context: TaskContext) => Promise<void>): JobKind {
  return {
    kind: 'test.kind',
    split: () => [{ input: null }],
    run: async (_task, context) => {
      await run(context);
      return { bytes: new Uint8Array([1]) };
    },
  };
}

test('a job runs to its result, with provenance and progress', async () => {
  const world = new JobWorld();
  const runtime = await world.started([countingKind()]);

  const job = await runtime.submit('count.steps', REQUEST, { key: 'mine' });
  assert.equal(job.status, 'queued');
  const seen: string[] = [];
  const watching = (async () => {
    for await (const view of runtime.watch(job.id, new AbortController().signal)) {
      seen.push(`${view.status} ${view.progress?.done ?? '-'} ${view.cursor ?? '-'}`);
    }
  })();
  await world.clock.run(watching);

  assert.equal(await world.text(runtime, job.id), countingResult(REQUEST));
  const { provenance } = await runtime.result(job.id);
  assert.deepEqual(provenance, {
    job: job.id,
    kind: 'count.steps',
    request: REQUEST,
    seed: 7,
    versions: { heddle: 'test' },
  });
  assert.match(seen[0] ?? '', /^(queued|running) - -$/);
  assert.equal(seen.at(-1), 'completed - 15');
  assert.ok(seen.includes('running 12 10'), seen.join('\n'));
  assert.equal(world.metrics.value('jobs_settled_total', { outcome: 'completed' }), 1);
  const told = world.lines.filter(({ level }) => level === 'info');
  assert.deepEqual(
    told.map(({ message, fields }) => [message, fields['job'], fields['outcome']]),
    [
      ['takes tasks', undefined, undefined],
      ['job accepted', job.id, undefined],
      ['job ended', job.id, 'completed'],
    ],
  );
});

test('a kind says when a request of an earlier version asks the same: its key names the same job', async () => {
  const world = new JobWorld();
  const before = await world.started([countingKind()]);
  const first = await before.submit('count.steps', REQUEST, { key: 'mine' });

  const since = { ...REQUEST, added: '' };
  const sameRequest = (then: Json, now: Json) =>
    canonicalJson({ added: '', ...(then as object) } as Json) === canonicalJson(now);
  const runtime = await world.started([{ ...countingKind(), sameRequest }]);
  assert.equal((await runtime.submit('count.steps', since, { key: 'mine' })).id, first.id);
  await assert.rejects(
    runtime.submit('count.steps', { ...since, added: 'x' }, { key: 'mine' }),
    code('already_exists'),
  );
});

test('the same key and request is the same job, another request under it is refused', async () => {
  const world = new JobWorld();
  const runtime = await world.started([countingKind()]);

  const first = await runtime.submit('count.steps', REQUEST, { key: 'mine' });
  const again = await runtime.submit('count.steps', { ...REQUEST }, { key: 'mine' });

  assert.equal(again.id, first.id);
  await assert.rejects(
    runtime.submit('count.steps', { ...REQUEST, seed: 8 }, { key: 'mine' }),
    code('already_exists'),
  );
  assert.equal((await runtime.list()).jobs.length, 1);
});

test('a worker that vanishes is replaced, and the work goes on from the last checkpoint', async () => {
  const world = new JobWorld();
  let steps = 0;
  let dead = false;
  // Nothing ever wakes a dead process: its timers, heartbeats among them, do not come back.
  const clock: Clock = {
    now: () => world.clock.now(),
    monotonic: () => world.clock.monotonic(),
    sleep: async (ms, signal) => {
      await world.clock.sleep(ms, signal);
      if (dead) await new Promise(() => undefined);
    },
  };
  const gone = await world.started([countingKind(() => steps++)], { clock });
  const job = await gone.submit('count.steps', REQUEST);
  await world.clock.advance(12_500);
  dead = true;
  assert.equal(steps, 12);

  const heir = await world.started([countingKind(() => steps++)]);
  await world.clock.run(heir.wait(job.id));

  assert.equal(await world.text(heir, job.id), countingResult(REQUEST));
  assert.equal(steps, REQUEST.steps + 2, 'from the checkpoint at 10');
});

test('two workers too slow for the ack wait do not take a task from each other until it fails', async () => {
  const world = new JobWorld();
  const slow = async () => {
    let busy = false;
    const kind: JobKind<Json, null> = {
      kind: 'long.step',
      limits: { ackWaitMs: 1_000 },
      split: () => [{ input: null }],
      run: async (_task, context) => {
        busy = true; // for six ack waits no heartbeat gets out
        await context.clock.sleep(6_000, context.signal).finally(() => {
          busy = false;
        });
        context.signal.throwIfAborted();
        return { bytes: new TextEncoder().encode('done') };
      },
    };
    const queue: WorkQueue = Object.create(world.queue, {
      pull: {
        value: async (...asked: Parameters<WorkQueue['pull']>) => {
          const delivery = await world.queue.pull(...asked);
          if (delivery === undefined) return undefined;
          const heartbeat = async () => (busy ? false : delivery.heartbeat());
          return Object.create(delivery, { heartbeat: { value: heartbeat } });
        },
      },
    });
    return world.started([kind as unknown as JobKind], { queue });
  };
  const [one] = [await slow(), await slow()];

  const job = await one.submit('long.step', {});
  const view = await world.clock.run(one.wait(job.id));

  assert.equal(view.status, 'completed', view.error?.message);
  assert.ok(view.attempts > 1, 'they did take it from each other');
});

test('cancel reaches a running task, and nothing that it does afterwards counts', async () => {
  const world = new JobWorld();
  let heard: unknown;
  const stubborn = kindOf(async (context) => {
    await context.clock.sleep(60_000, context.signal);
    heard = context.signal.reason;
    // goes on as if it had heard nothing
  });
  const runtime = await world.started([stubborn]);
  const job = await runtime.submit('test.kind', {});
  await world.clock.advance(5_000);
  const startedMs = world.clock.monotonic();

  const view = await runtime.cancel(job.id);
  await world.clock.advance(1);

  assert.equal(view.status, 'cancelled');
  assert.ok(heard instanceof OperationError && heard.code === 'cancelled');
  assert.equal(world.clock.monotonic() - startedMs, 1, 'in the same process at once');
  await world.clock.advance(120_000);
  assert.equal((await runtime.get(job.id)).status, 'cancelled');
  await assert.rejects(runtime.result(job.id), code('failed_precondition'));
});

test('cancel by another replica reaches a running task within the stated bound', async () => {
  const world = new JobWorld();
  let stoppedMs = Number.NaN;
  const kind = kindOf(async (context) => {
    await context.clock.sleep(600_000, context.signal);
    stoppedMs = context.clock.monotonic();
  });
  const runtime = await world.started([kind]);
  const elsewhere = world.runtime([kind]);
  const job = await runtime.submit('test.kind', {});
  await world.clock.advance(5_500);

  const askedMs = world.clock.monotonic();
  await elsewhere.cancel(job.id);
  await world.clock.advance(2_000);

  assert.ok(stoppedMs - askedMs <= 1_000, `${stoppedMs - askedMs} ms`);
});

test('a task that computes on long after it was told to stop is reported once, with the reason', async () => {
  const world = new JobWorld();
  const reports: string[] = [];
  const hanging = kindOf(() => new Promise(() => undefined));
  const onStuck = (job: string, why: string): number => reports.push(`${job}: ${why}`);
  const runtime = await world.started([hanging], { onStuck });
  const { id } = await runtime.submit('test.kind', {});
  await world.clock.advance(1_000);
  await runtime.cancel(id);

  await world.clock.advance(290_000);
  assert.deepEqual(reports, []);
  await world.clock.advance(600_000);

  assert.deepEqual(reports, [`${id}: task 0 was told to stop (ended) and computes on`]);
});

test('pause saves at once and resume goes on from there, no step twice', async () => {
  const world = new JobWorld();
  let steps = 0;
  const runtime = await world.started([countingKind(() => steps++)]);
  const job = await runtime.submit('count.steps', REQUEST);
  await world.clock.advance(7_500);

  await runtime.pause(job.id);
  await world.clock.advance(60_000);
  const paused = await runtime.get(job.id);
  assert.deepEqual([paused.status, paused.cursor, steps], ['paused', 7, 7]);

  await runtime.resume(job.id);
  await world.clock.run(runtime.wait(job.id));
  assert.equal(await world.text(runtime, job.id), countingResult(REQUEST));
  assert.equal(steps, REQUEST.steps);
});

test('a drain saves, hands the task back, and the next process goes on, no step twice', async () => {
  const world = new JobWorld();
  let steps = 0;
  const first = await world.started([countingKind(() => steps++)]);
  const job = await first.submit('count.steps', REQUEST);
  await world.clock.advance(8_500);

  const report = await world.clock.run(first.stop(10_000));
  assert.deepEqual(report, { handedBack: 1, abandoned: 0 });

  const second = await world.started([countingKind(() => steps++)]);
  await world.clock.run(second.wait(job.id));
  assert.equal(await world.text(second, job.id), countingResult(REQUEST));
  assert.equal(steps, REQUEST.steps);
});

test('a task that ignores a drain is abandoned after the grace', async () => {
  const world = new JobWorld();
  const runtime = await world.started([kindOf(() => new Promise(() => undefined))]);
  await runtime.submit('test.kind', {});
  await world.clock.advance(1_000);

  const report = await world.clock.run(runtime.stop(10_000), 10_001);

  assert.deepEqual(report, { handedBack: 0, abandoned: 1 });
});

test('a job of several tasks is reduced in the order of its split', async () => {
  const world = new JobWorld();
  const kind: JobKind<{ words: string[] }, string> = {
    kind: 'join.words',
    limits: { concurrency: 4 },
    split: ({ words }) => words.map((input) => ({ input })),
    run: async ({ input, index }, context) => {
      await context.clock.sleep(10_000 - index * 1_000); // the last is the first to finish
      return { bytes: new TextEncoder().encode(input) };
    },
    reduce: async (_task, results, context) => {
      const texts = [];
      for (const { blob } of results) {
        texts.push(new TextDecoder().decode(await context.blobs.read(blob)));
      }
      return { bytes: new TextEncoder().encode(texts.join(' ')) };
    },
  };
  const runtime = await world.started([kind as unknown as JobKind]);

  const job = await runtime.submit('join.words', { words: ['lift', 'one', 'warp', 'thread'] });
  const view = await world.clock.run(runtime.wait(job.id));

  assert.deepEqual(view.tasks, { count: 5, done: 5, running: 0 });
  assert.equal(await world.text(runtime, job.id), 'lift one warp thread');
});

test('a reduction sees provenance as the journal has it, whoever did the pieces', async () => {
  const world = new JobWorld();
  const kind: JobKind<Json, null> = {
    kind: 'join.words',
    split: () => [{ input: null }],
    run: async () => ({ bytes: new Uint8Array(1), provenance: { seed: 3, model: 'a' } }),
    reduce: async (_task, results) => ({
      bytes: new TextEncoder().encode(JSON.stringify(results.map((one) => one.provenance))),
    }),
  };
  const runtime = await world.started([kind as unknown as JobKind]);

  const job = await runtime.submit('join.words', {});
  await world.clock.run(runtime.wait(job.id));

  const text = await world.text(runtime, job.id);
  assert.equal(text, canonicalJson(JSON.parse(text)));
});

test('a retryable error is tried again and then succeeds', async () => {
  const world = new JobWorld();
  let tries = 0;
  const flaky = kindOf(async () => {
    tries += 1;
    if (tries < 3) throw new OperationError({ code: 'unavailable', message: 'not yet' });
  });
  const runtime = await world.started([flaky]);

  const job = await runtime.submit('test.kind', {});
  const view = await world.clock.run(runtime.wait(job.id));

  assert.deepEqual([view.status, view.attempts, tries], ['completed', 3, 3]);
});

test('what a task throws by mistake fails its job with the message, and the worker lives on', async () => {
  const world = new JobWorld();
  let broken = true;
  const kind = kindOf(async () => {
    if (broken) throw new TypeError('x is not a function');
  });
  const runtime = await world.started([kind]);

  const first = await runtime.submit('test.kind', {});
  const view = await world.clock.run(runtime.wait(first.id));
  assert.deepEqual([view.status, view.error?.code], ['failed', 'internal']);
  assert.equal(view.error?.message, 'x is not a function');

  broken = false;
  const second = await runtime.submit('test.kind', {});
  assert.equal((await world.clock.run(runtime.wait(second.id))).status, 'completed');
});

test('a full disk is a typed error; after room is made the job is resumed and loses nothing', async () => {
  const world = new JobWorld();
  let full = true;
  let steps = 0;
  const blobs = new Proxy(world.blobs, {
    get(target, name: keyof Blobs) {
      if (name === 'put' && full && steps >= 10) {
        return () => Promise.reject(resourceExhausted('the disk is full'));
      }
      const value = target[name];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const runtime = await world.started([countingKind(() => steps++)], { blobs });

  const job = await runtime.submit('count.steps', REQUEST);
  const failed = await world.clock.run(runtime.wait(job.id));
  assert.deepEqual([failed.status, failed.error?.code], ['failed', 'resource_exhausted']);
  assert.equal(failed.cursor, 5);

  full = false;
  await runtime.resume(job.id);
  await world.clock.run(runtime.wait(job.id));
  assert.equal(await world.text(runtime, job.id), countingResult(REQUEST));
});

test('a job past its budget or past the queue is refused before anything is stored', async () => {
  const world = new JobWorld();
  const kind: JobKind = {
    ...kindOf(() => new Promise(() => undefined)),
    limits: { queuedMax: 3 },
    estimate: () => ({ seconds: 90, bytes: 5_000 }),
  };
  const runtime = await world.started([kind], { budgetMax: { bytes: 6_000 } });

  await assert.rejects(runtime.submit('test.kind', {}, { budget: { seconds: 60 } }), (error) => {
    assert.ok(error instanceof OperationError);
    assert.equal(error.code, 'resource_exhausted');
    assert.deepEqual(error.details, { seconds: 90, bytes: 5_000, budget: 60 });
    return true;
  });
  assert.deepEqual((await runtime.list()).jobs, []);

  for (let i = 0; i < 4; i++) {
    await runtime.submit('test.kind', { i }, { key: `k${i}`, budget: { seconds: 100 } });
    await world.clock.advance(10);
  }
  await assert.rejects(runtime.submit('test.kind', { i: 4 }), (error) => {
    assert.ok(error instanceof OperationError && error.code === 'resource_exhausted');
    assert.ok((error.retryAfterMs ?? 0) > 0);
    return true;
  });
  const known = await runtime.submit('test.kind', { i: 1 }, { key: 'k1' });
  assert.equal(known.status, 'queued', 'a repeated submission is not refused');
});

test('a task that was never enqueued is enqueued by the reconciler', async () => {
  const world = new JobWorld();
  let lose = true;
  const queue = new Proxy(world.queue, {
    get(target, name: keyof WorkQueue) {
      if (name === 'push' && lose) return () => Promise.reject(new Error('crashed in between'));
      const value = target[name];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const runtime = await world.started([countingKind()], { queue });
  const job = await runtime.submit('count.steps', REQUEST);
  await world.clock.advance(20_000);
  assert.equal((await runtime.get(job.id)).status, 'queued');

  lose = false;
  await world.clock.run(runtime.wait(job.id), 60_000);
  assert.equal(await world.text(runtime, job.id), countingResult(REQUEST));
});
