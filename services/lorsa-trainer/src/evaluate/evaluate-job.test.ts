import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { OrtEngine } from '@heddle/adapters/ort';
import type { OperationError } from '@heddle/core';
import { applyLorsa, type LorsaLayer } from '@heddle/interp/lorsa';
import { decodeOutcome } from '@heddle/ports';
import type { RunRequest } from '@heddle/ports/proto/activation';
import { tensor } from '@heddle/tensor';
import { trainRequest } from '../training-fixture.ts';
import type { BaselineDeps } from './baseline-request.ts';
import { evaluateKind } from './evaluate-job.ts';
import type { EvaluateRequest } from './evaluate-request.ts';
import {
  dense,
  exactLayer,
  fakeHost,
  lossesOf,
  randomPrompts,
  silentLayer,
  TaskWorld,
  unseenOf,
} from './evaluation-fixture.ts';
import type { EvaluationRow, KPoint } from './evaluation-table.ts';

let engine: OrtEngine;
before(async () => {
  engine = await OrtEngine.start({ threads: 1 });
});
after(() => engine.close());

const prompts = randomPrompts(24, 300);

const request = (changes: Partial<EvaluateRequest> = {}): EvaluateRequest => ({
  checkpoint: '/a/checkpoint',
  model: '',
  data: trainRequest().data,
  top_k: [],
  baseline: false,
  ...changes,
});

interface Options {
  readonly request?: Partial<EvaluateRequest>;
  readonly world?: TaskWorld;
  readonly stop?: (world: TaskWorld) => boolean;
  readonly asked?: RunRequest[];
  readonly reads?: (reads: readonly number[]) => void;
}

async function evaluate(layer: LorsaLayer, options: Options = {}) {
  const world = options.world ?? new TaskWorld();
  const unseen = unseenOf(layer, prompts);
  const kind = evaluateKind({
    engine,
    versions: { heddle: 'test' },
    peers: fakeHost(options.asked),
    baselines: {} as BaselineDeps,
    unseen: async () => unseen,
  });
  const task = { job: 'j', index: 0, count: 1, request: request(options.request), input: null };
  try {
    const output = await kind.run(task, world.context(options.stop));
    assert.ok(output.bytes);
    const { summary } = decodeOutcome(output.bytes);
    const rows = summary['rows'] as unknown as readonly EvaluationRow[];
    const row = (name: string) => rows.find((each) => each.name === name) as EvaluationRow;
    return { summary, row, output };
  } finally {
    options.reads?.(unseen.reads);
  }
}

const near = (actual: number | null | undefined, expected: number, within: number) =>
  assert.ok(Math.abs((actual ?? Number.NaN) - expected) <= within, `${actual}, ${expected}`);

test('the exact layer loses nothing: FVU 0, loss recovered 1, no cross-entropy more', async () => {
  const { row, summary } = await evaluate(exactLayer());
  const own = row('lorsa');
  near(own.fvu, 0, 1e-9);
  near(own.ev, 1, 1e-9);
  near(own.relative_l2, 0, 1e-5);
  near(own.ce_increase, 0, 1e-5);
  near(own.loss_recovered, 1, 1e-5);
  assert.equal(own.l0, 16); // one of each pair
  assert.equal(own.dead, 0);
  assert.deepEqual((summary['text'] as Record<string, unknown>)['documents_left_out'], 3);
});

test('a layer that writes nothing recovers nothing and is the row `zero`', async () => {
  const { row } = await evaluate(silentLayer());
  const [own, zero] = [row('lorsa'), row('zero')];
  near(own.loss_recovered, 0, 1e-9);
  near(own.fvu, zero.fvu ?? 0, 1e-6);
  near(own.ce, zero.ce ?? 0, 1e-9);
  assert.deepEqual([own.l0, own.dead, own.dead_share], [0, 32, 1]);
  near(own.relative_l2, 1, 1e-6);
});

test('the rows beside Lorsa are what they must be: nothing lost, EV 0 for the mean, FVU above 1 for nothing', async () => {
  const { row } = await evaluate(exactLayer());
  assert.deepEqual([row('original').ce_increase, row('original').loss_recovered], [0, 1]);
  assert.deepEqual([row('mean').ev, row('mean').fvu], [0, 1]);
  assert.ok(Math.abs(row('mean').ce_increase ?? 0) > 0.01); // it did replace: this host is random, not trained
  assert.ok((row('zero').fvu ?? 0) > 1);
});

/** A layer that loses something: the exact one with 3 of its 16 pairs. */
const lossy = (): LorsaLayer => {
  const exact = exactLayer();
  return { ...exact, config: { ...exact.config, topK: 3 } };
};

test('FVU, L0 and cross-entropies are those of a direct computation on the twin, special tokens and padding left out', async () => {
  const layer = lossy();
  const { row, summary } = await evaluate(layer);
  let [error, active, tokens, predictions] = [0, 0, 0, 0];
  const rows: number[][] = [];
  const ce = { original: 0, lorsa: 0, zero: 0 };
  for (const ids of prompts) {
    const { [dense.host.hookIn]: x, [dense.host.hookOut]: y } = dense.values(ids);
    assert.ok(x && y);
    const made = applyLorsa(layer, tensor('f32', [1, ids.length, 16], x.data));
    const replaced = Float32Array.from(y.data);
    const zeroed = Float32Array.from(y.data);
    for (let t = 1; t < ids.length; t++) {
      tokens++;
      rows.push(Array.from(y.data.subarray(t * 16, (t + 1) * 16)));
      for (let d = t * 16; d < (t + 1) * 16; d++) {
        const value = made.reconstruction.data[d] ?? 0;
        error += ((y.data[d] ?? 0) - value) ** 2;
        replaced[d] = value;
        zeroed[d] = 0;
      }
      active += made.featureActs.data.subarray(t * 32, (t + 1) * 32).filter((z) => z > 0).length;
    }
    const losses = {
      original: lossesOf(ids, y.data as Float32Array),
      lorsa: lossesOf(ids, replaced),
      zero: lossesOf(ids, zeroed),
    };
    for (let t = 1; t < ids.length - 1; t++) {
      predictions++;
      for (const name of ['original', 'lorsa', 'zero'] as const) ce[name] += losses[name][t] ?? 0;
    }
  }
  const mean = Array.from({ length: 16 }, (_, d) => {
    return rows.reduce((sum, each) => sum + (each[d] ?? 0), 0) / tokens;
  });
  const spread = rows.reduce((sum, each) => {
    return sum + each.reduce((square, v, d) => square + (v - (mean[d] ?? 0)) ** 2, 0);
  }, 0);
  near(row('lorsa').fvu, error / spread, 1e-6);
  near(row('lorsa').l0, active / tokens, 1e-12);
  near(row('original').ce, ce.original / predictions, 1e-6);
  near(row('lorsa').ce, ce.lorsa / predictions, 1e-5);
  near(row('zero').ce, ce.zero / predictions, 1e-6);
  const recovered = (ce.zero - ce.lorsa) / (ce.zero - ce.original);
  near(row('lorsa').loss_recovered, recovered, 1e-5);
  assert.ok(recovered > 0.1 && recovered < 0.99, `${recovered}`);
  const { downstream, text } = summary as Record<string, Record<string, unknown>>;
  assert.deepEqual([downstream?.['predictions'], text?.['tokens']], [predictions, tokens]);
  assert.ok((row('lorsa').loss_recovered_error ?? 0) > 0 && (row('lorsa').fvu_error ?? 0) > 0);
});

test('the same weights at other K’s, ascending, the layer’s own among them', async () => {
  const { summary } = await evaluate(lossy(), { request: { top_k: [1, 8, 16] } });
  const points = summary['fvu_at_k'] as unknown as readonly KPoint[];
  assert.deepEqual(
    points.map(({ top_k }) => top_k),
    [1, 3, 8, 16],
  );
  const fvu = points.map((point) => point.fvu);
  assert.deepEqual(
    [...fvu].sort((a, b) => b - a),
    fvu,
  );
  near(fvu.at(-1), 0, 1e-9);
  assert.ok(points.every(({ l0, top_k }) => l0 <= top_k));
});

test('stopped anywhere and resumed, the result is the same to the bit, and no shard is read for nothing', async () => {
  const whole = await evaluate(lossy(), { request: { top_k: [8] } });
  for (const stopAfter of [1, 3, 5, 6]) {
    const world = new TaskWorld();
    const options = { request: { top_k: [8] }, world };
    const stop = ({ saves }: TaskWorld) => saves >= stopAfter;
    await assert.rejects(evaluate(lossy(), { ...options, stop }), /killed/);
    let reads: readonly number[] = [];
    const resumed = await evaluate(lossy(), {
      ...options,
      reads: (all) => {
        reads = all;
      },
    });
    assert.deepEqual(resumed.summary, whole.summary, `stopped after ${stopAfter}`);
    assert.ok(reads.length < 8, `${reads}`);
  }
});

test('a checkpoint of another evaluation is data_loss', async () => {
  const world = new TaskWorld();
  await assert.rejects(evaluate(lossy(), { world, stop: ({ saves }) => saves > 1 }), /killed/);
  await assert.rejects(
    evaluate(lossy(), { world, request: { model: 'other' } }),
    (error: OperationError) => error.code === 'data_loss',
  );
});

test('every replacement is asked of the same prompts alone, and special tokens are not replaced', async () => {
  const asked: RunRequest[] = [];
  await evaluate(lossy(), { asked });
  assert.ok(asked.every(({ alone, loss_per_token }) => alone && loss_per_token));
  const [first, ...others] = asked.slice(0, 4);
  assert.equal(first?.interventions.length, 0);
  for (const other of others) {
    assert.deepEqual(other.prompts, first?.prompts);
    assert.equal(other.interventions.length, other.prompts.length);
    assert.ok(other.interventions.every(({ positions }) => positions[0] === 1));
  }
});

test('K beyond the heads is refused with the limit', async () => {
  await assert.rejects(
    evaluate(exactLayer(), { request: { top_k: [64] } }),
    (error: OperationError) => error.code === 'invalid_argument' && error.details['limit'] === 32,
  );
});
