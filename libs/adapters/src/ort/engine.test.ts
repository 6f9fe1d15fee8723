import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { OperationError } from '@heddle/core';
import { encodeModel, GraphBuilder } from '@heddle/onnx';
import type { Outputs, Program } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { OrtEngine, type OrtEngineOptions } from './index.ts';
import { instructionSet } from './instruction-set.ts';
import { SESSION_OVERHEAD_BYTES } from './limits.ts';
import { packPlan } from './pack-plan.ts';

const engines: OrtEngine[] = [];
const folders: string[] = [];
after(async () => {
  for (const engine of engines) await engine.close();
  for (const folder of folders) rmSync(folder, { recursive: true });
});

async function start(options: OrtEngineOptions = {}): Promise<OrtEngine> {
  const engine = await OrtEngine.start(options);
  engines.push(engine);
  return engine;
}

function program(name: string, build: (g: GraphBuilder) => void, residentBytes = 0): Program {
  const g = new GraphBuilder(name);
  build(g);
  return {
    digest: name,
    bytes: encodeModel(g.build()),
    weightsDirectory: undefined,
    residentBytes,
  };
}

/** y = x + 1, for any length. */
const increment = (name = 'increment', residentBytes = 0): Program =>
  program(
    name,
    (g) => g.output('y', g.add(g.input('x', 'f32', ['pos']), g.constant(1))),
    residentBytes,
  );

const vector = (...values: number[]): Tensor =>
  tensor('f32', [values.length], Float32Array.from(values));

const values = (outputs: Outputs | undefined, name = 'y'): number[] =>
  Array.from(outputs?.[name]?.data ?? [], Number);

const failsWith = (code: string, words: RegExp) => (error: OperationError) => {
  assert.equal(error.code, code);
  assert.match(error.message, words);
  return true;
};

test('a chain feeds each step with the output of an earlier one, and only what is kept leaves', async () => {
  const engine = await start();
  const add = increment();

  const outputs = await engine.run({
    steps: [
      { program: add, feeds: { x: vector(1, 2) }, keep: [] },
      { program: add, feeds: { x: { step: 0, output: 'y' } }, keep: [] },
      { program: add, feeds: { x: { step: 0, output: 'y' } }, keep: ['y'] },
    ],
  });

  assert.deepEqual(outputs.slice(0, 2), [{}, {}]);
  assert.deepEqual(values(outputs[2]), [3, 4]);
});

test('an output that is kept and also read later arrives whole, streamed or not', async () => {
  const engine = await start();
  const add = increment();
  const steps = [
    { program: add, feeds: { x: vector(1) }, keep: ['y'] },
    { program: add, feeds: { x: { step: 0, output: 'y' } }, keep: ['y'] },
  ];
  const streamed: number[][] = [];

  const whole = await engine.run({ steps });
  const rest = await engine.run(
    { steps },
    { onStep: (_, outputs) => void streamed.push(values(outputs)) },
  );

  assert.deepEqual(
    whole.map((outputs) => values(outputs)),
    [[2], [3]],
  );
  assert.deepEqual(streamed, [[2], [3]]);
  assert.deepEqual(rest, []);
});

test('every dtype goes in and comes out with its bits', async () => {
  const engine = await start();
  const cases: Tensor[] = [
    tensor('f32', [2], Float32Array.of(1.5, -0)),
    tensor('f64', [2], Float64Array.of(Math.PI, 1e300)),
    tensor('f16', [2], Uint16Array.of(0x3c00, 0xfbff)),
    tensor('i64', [2], BigInt64Array.of(-(2n ** 62n), 5n)),
    tensor('i32', [2], Int32Array.of(-7, 2 ** 30)),
    tensor('bool', [2], Uint8Array.of(0, 1)),
  ];
  for (const x of cases) {
    const copy = program(`copy-${x.dtype}`, (g) => g.output('y', g.input('x', x.dtype, ['pos'])));

    const [outputs] = await engine.run({ steps: [{ program: copy, feeds: { x }, keep: ['y'] }] });

    assert.deepEqual(outputs?.['y'], x);
  }
});

test('a view of a larger buffer crosses as the view', async () => {
  const engine = await start();
  const x = tensor('f32', [2], Float32Array.of(9, 1, 2, 9).subarray(1, 3));

  const [outputs] = await engine.run({
    steps: [{ program: increment(), feeds: { x }, keep: ['y'] }],
  });

  assert.deepEqual(values(outputs), [2, 3]);
});

test('weights are read in place from a folder, at any offset', async () => {
  const engine = await start();
  const folder = mkdtempSync(join(tmpdir(), 'heddle-'));
  folders.push(folder);
  writeFileSync(
    join(folder, 'w.bin'),
    Buffer.concat([Buffer.from('xyz'), Buffer.from(Float32Array.of(3, 4).buffer)]),
  );
  const g = new GraphBuilder('weights');
  const w = g.weight('w', 'f32', [2], { file: 'w.bin', offset: 3, length: 8 });
  g.output('y', g.mul(g.input('x', 'f32', [2]), w));
  const scaled: Program = {
    digest: 'scaled',
    bytes: encodeModel(g.build()),
    weightsDirectory: folder,
    residentBytes: 8,
  };

  const [outputs] = await engine.run({
    steps: [{ program: scaled, feeds: { x: vector(10, 100) }, keep: ['y'] }],
  });

  assert.deepEqual(values(outputs), [30, 400]);
});

test('the sessions that fit the budget stay open, the least recently used leaves first', async () => {
  const engine = await start({ cacheBytes: 2 * SESSION_OVERHEAD_BYTES + 20 });
  const [a, b, c] = ['a', 'b', 'c'].map((name) => increment(name, 10)) as [
    Program,
    Program,
    Program,
  ];
  const run = (p: Program) =>
    engine.run({ steps: [{ program: p, feeds: { x: vector(1) }, keep: ['y'] }] });

  for (const p of [a, b, a, c, a, b]) await run(p);

  assert.deepEqual(await engine.usage(), {
    sessionsOpen: 2,
    residentBytes: 2 * SESSION_OVERHEAD_BYTES + 20,
    hits: 2,
    misses: 4,
    evictions: 2,
  });
});

test('a program past the whole budget is refused with the estimate, and the engine goes on', async () => {
  const engine = await start({ cacheBytes: SESSION_OVERHEAD_BYTES + 100 });
  const run = (p: Program) =>
    engine.run({ steps: [{ program: p, feeds: { x: vector(1) }, keep: ['y'] }] });

  await assert.rejects(run(increment('big', 101)), (error: OperationError) => {
    assert.equal(error.code, 'resource_exhausted');
    assert.equal(error.details['limitBytes'], SESSION_OVERHEAD_BYTES + 100);
    assert.equal(error.details['estimateBytes'], SESSION_OVERHEAD_BYTES + 101);
    return true;
  });
  assert.deepEqual(values((await run(increment()))[0]), [2]);
});

test('a failing step tells the program and the words of ONNX Runtime', async () => {
  const engine = await start();
  const pair = program('pair', (g) =>
    g.output('y', g.add(g.input('x', 'f32', ['pos']), g.input('z', 'f32', ['pos']))),
  );
  const feeds = { x: vector(1, 2), z: vector(1, 2, 3) };
  const broken = { ...increment('broken'), bytes: new Uint8Array([1, 2, 3]) };

  await assert.rejects(
    engine.run({ steps: [{ program: pair, feeds, keep: ['y'] }] }),
    failsWith('internal', /program pair failed: .*Add/s),
  );
  await assert.rejects(
    engine.run({ steps: [{ program: broken, feeds: {}, keep: ['y'] }] }),
    failsWith('internal', /program broken cannot be opened/),
  );
});

test('what does not fit in memory is resource_exhausted, and the engine goes on', async () => {
  const engine = await start();
  const huge = program('huge', (g) => {
    const x = g.input('x', 'f32', ['pos']);
    const wide = g.expand(x, [1_000_000, 1_000_000, 'pos']);
    g.output('y', g.reduceSum(wide, { axes: [0, 1, 2], keepDims: false }));
  });

  await assert.rejects(
    engine.run({ steps: [{ program: huge, feeds: { x: vector(1) }, keep: ['y'] }] }),
    failsWith('resource_exhausted', /program huge/),
  );
  const [outputs] = await engine.run({
    steps: [{ program: increment(), feeds: { x: vector(1) }, keep: ['y'] }],
  });
  assert.deepEqual(values(outputs), [2]);
});

test('cancelling stops the chain before its next step; a waiting plan never starts', async () => {
  const engine = await start();
  const add = increment();
  const running = new AbortController();
  const waiting = new AbortController();
  const seen: number[] = [];
  const steps = Array.from({ length: 50 }, () => ({
    program: add,
    feeds: { x: vector(1) },
    keep: ['y'],
  }));
  const onStep = (step: number) => {
    seen.push(step);
    if (step === 3) running.abort();
  };

  const first = engine.run({ steps }, { signal: running.signal, onStep });
  const second = engine.run({ steps }, { signal: waiting.signal });
  waiting.abort();

  await assert.rejects(second, failsWith('cancelled', /cancelled/));
  await assert.rejects(first, failsWith('cancelled', /cancelled before step/));
  assert.deepEqual(seen, [0, 1, 2, 3]);
});

test('a signal that outlives its plans keeps nothing of them', async () => {
  const engine = await start();
  const { signal } = new AbortController();
  const steps = [{ program: increment(), feeds: { x: vector(1) }, keep: ['y'] }];

  for (let i = 0; i < 5; i++) await engine.run({ steps }, { signal });

  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('a slow caller holds the worker back: at most two steps are ahead of it', async () => {
  const engine = await start();
  const add = increment();
  const feeds = { x: vector(1) };
  const steps = Array.from({ length: 8 }, () => ({ program: add, feeds, keep: ['y'] }));
  const handed: (() => void)[] = [];
  let calls = 0;
  let reached: () => void = () => {};
  const first = new Promise<void>((resolve) => {
    reached = resolve;
  });
  const run = engine.run(
    { steps },
    {
      onStep: async () => {
        calls++;
        reached();
        await new Promise<void>((resolve) => handed.push(resolve));
      },
    },
  );
  await first;
  // Another engine's whole plan is time enough for this worker to run ahead, if it did.
  const other = await start();
  await other.run({ steps });

  assert.equal(calls, 1);
  const drain = setInterval(() => handed.shift()?.(), 1);
  await run;
  clearInterval(drain);
  assert.equal(calls, 8);
});

test('a step that waits reads what onStep wrote into shared memory after the step before', async () => {
  const engine = await start();
  const add = increment();
  const shared = (...of: number[]) => {
    const data = new Float32Array(new SharedArrayBuffer(4 * of.length));
    data.set(of);
    return tensor('f32', [of.length], data);
  };
  const x = shared(0, 0);
  const y = shared(0, 0);
  const z = shared(0, 0);
  const steps = [
    { program: add, feeds: { x: vector(1, 2) }, keep: ['y'] },
    { program: add, feeds: { x }, keep: [], into: { y }, waits: true },
    { program: add, feeds: { x: y }, keep: [], into: { y: z }, waits: true }, // the one before keeps nothing
  ];

  await engine.run(
    { steps },
    {
      onStep: async (step, outputs) => {
        await new Promise((resolve) => setImmediate(resolve));
        if (step === 0) x.data.set(values(outputs).map((value) => value * 10));
        else assert.deepEqual(outputs, {}, 'what is written in place stays');
        if (step === 1) y.data.set(y.data.map((value) => value * 10));
      },
    },
  );

  assert.deepEqual(Array.from(z.data), [211, 311]);
  const unshared = { program: add, feeds: { x }, keep: [], into: { y: vector(0, 0) } };
  assert.throws(() => packPlan({ steps: [unshared] }), /not shared/);
});

test('what onStep throws is what the caller of run hears', async () => {
  const engine = await start();
  const steps = Array.from({ length: 5 }, () => ({
    program: increment(),
    feeds: { x: vector(1) },
    keep: ['y'],
  }));

  const run = engine.run(
    { steps },
    {
      onStep: () => {
        throw new RangeError('no room');
      },
    },
  );

  await assert.rejects(run, /no room/);
  assert.equal((await engine.run({ steps })).length, 5);
});

test('a worker that dies fails what ran with unavailable, and the next plan gets a new one', async () => {
  const workers: Worker[] = [];
  const engine = await start({
    startWorker: (setup) => {
      const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: setup });
      workers.push(worker);
      return worker;
    },
  });
  const steps = [{ program: increment(), feeds: { x: vector(1) }, keep: ['y'] }];
  const endless = Array.from({ length: 1000 }, () => steps[0] as (typeof steps)[0]);

  const doomed = engine.run(
    { steps: endless },
    { onStep: (step) => void (step === 0 && workers[0]?.terminate()) },
  );
  const next = engine.run({ steps });

  await assert.rejects(doomed, failsWith('unavailable', /worker died/));
  assert.deepEqual(values((await next)[0]), [2]);
  assert.equal(workers.length, 2);
});

test('a demanded provider that is missing is an error; one that is preferred is reported as refused', async () => {
  const preferring = await start({ providers: ['cuda', 'cpu'] });
  const report = await preferring.report();
  const demanding = () => OrtEngine.start({ providers: ['cuda'] });

  if (report.provider === 'cuda') return; // a machine with CUDA has nothing to refuse
  assert.equal(report.provider, 'cpu');
  assert.deepEqual(
    report.refused.map((refusal) => refusal.provider),
    ['cuda'],
  );
  assert.match(report.version, /^onnxruntime-node \d+\.\d+\.\d+ /);
  assert.ok(report.version.endsWith(` ${instructionSet()}`), report.version);
  await assert.rejects(demanding(), failsWith('failed_precondition', /cuda: /));
});

test('a closed engine refuses plans and ends those that wait', async () => {
  const engine = await OrtEngine.start();
  const steps = [{ program: increment(), feeds: { x: vector(1) }, keep: ['y'] }];
  const waiting = [engine.run({ steps }), engine.run({ steps })].map((run) =>
    run.then(
      () => 'done',
      (error: OperationError) => error.code,
    ),
  );

  await engine.close();

  const [running, behind] = await Promise.all(waiting);
  assert.ok(running === 'cancelled' || running === 'done', running); // its one step may have begun
  assert.equal(behind, 'unavailable');
  await assert.rejects(engine.run({ steps }), failsWith('unavailable', /closed/));
});
