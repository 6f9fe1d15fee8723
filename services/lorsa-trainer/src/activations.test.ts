import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationError } from '@heddle/core';
import { type Clients, tensorParts } from '@heddle/ports';
import type { RunRequest } from '@heddle/ports/proto/activation';
import { tensor } from '@heddle/tensor';
import { remoteActivations } from './activations.ts';
import {
  checkSize,
  decodeShard,
  encodeShard,
  joined,
  measureNorms,
  normalised,
  padded,
  split,
  taken,
  windows,
} from './training-data.ts';

const signal = AbortSignal.timeout(60_000);
const hooks = { hookIn: 'blocks.0.ln1.hook_normalized', hookOut: 'blocks.0.hook_attn_out' };
const row = (...values: number[]) =>
  tensor('f32', [values.length / 2, 2], Float32Array.from(values));

/** An activation server whose input at a token is (id, 1) and whose target is (−id, 2). */
function server(change: { readonly nan?: boolean; readonly forget?: string } = {}) {
  const asked: Partial<RunRequest>[] = [];
  const activation = {
    async *Run(request: RunRequest) {
      asked.push(request);
      yield { start: { prompts: [], hooks: [], byte_length: 0 } };
      for (const [prompt, { tokens }] of request.prompts.entries()) {
        const ids = tokens?.ids ?? [];
        const x = row(...ids.flatMap((id) => [change.nan ? Number.NaN : id, 1]));
        const y = row(...ids.flatMap((id) => [-id, 2]));
        if (change.forget !== hooks.hookIn) yield* tensorParts(x, { name: hooks.hookIn, prompt });
        if (change.forget !== hooks.hookOut) yield* tensorParts(y, { name: hooks.hookOut, prompt });
      }
      yield { end: { provenance: null, run_ms: 1 } };
    },
    Tokenize: async () => ({
      tokens: [
        { id: 0, text: '<s>', special: true },
        { id: 7, text: 'a', special: false },
      ],
    }),
  };
  return { asked, activations: remoteActivations({ activation } as unknown as Clients) };
}

test('input and target come back per sequence, as a pass that nobody else joins', async () => {
  const { activations, asked } = server();
  const captured = await activations.capture('m', hooks, [[3, 4], [5]], signal);
  assert.deepEqual(captured, [
    { x: row(3, 1, 4, 1), y: row(-3, 2, -4, 2) },
    { x: row(5, 1), y: row(-5, 2) },
  ]);
  assert.equal(asked[0]?.alone, true);
  assert.deepEqual(asked[0]?.hooks, [hooks.hookIn, hooks.hookOut]);
});

test('special tokens of a text are known; given ids have none', async () => {
  const { activations } = server();
  assert.deepEqual(await activations.tokenize('m', { text: 'a' }, signal), {
    ids: [0, 7],
    special: [true, false],
  });
  assert.deepEqual((await activations.tokenize('m', { tokens: [1, 2] }, signal)).special, [
    false,
    false,
  ]);
});

test('a value that is not finite, or missing, stops the training before it starts', async () => {
  await assert.rejects(
    server({ nan: true }).activations.capture('m', hooks, [[1]], signal),
    (error: OperationError) => error.code === 'invalid_argument' && error.details['index'] === 0,
  );
  await assert.rejects(
    server({ forget: hooks.hookOut }).activations.capture('m', hooks, [[1]], signal),
    /sent no blocks\.0\.hook_attn_out/,
  );
});

test('long prompts are cut into windows, and a window of one token is dropped', () => {
  const prompt = { ids: [1, 2, 3, 4, 5], special: [true, false, false, false, false] };
  assert.deepEqual(
    windows([prompt], 2).map(({ ids }) => ids),
    [
      [1, 2],
      [3, 4],
    ],
  );
  assert.deepEqual(windows([prompt], 3)[0]?.special, [true, false, false]);
  assert.throws(() => checkSize(windows([prompt], 5), 8), /1 sequences/);
  const many = Array.from({ length: 1000 }, () => prompt);
  assert.throws(() => checkSize(many, 30_000), /take 1200000000 bytes; at most/);
});

test('padding and special tokens are not valid, shards survive their bytes, the last tenth is held out', async () => {
  const { activations } = server();
  const tokens = Array.from({ length: 20 }, (_, i) => ({
    ids: i % 2 ? [i, i, i] : [i, i],
    special: i % 2 ? [true, false, false] : [false, false],
  }));
  const captured = await activations.capture(
    'm',
    hooks,
    tokens.map(({ ids }) => ids),
    signal,
  );
  const halves = [tokens.slice(0, 12), tokens.slice(12)].map((part, i) =>
    padded(part, captured.slice(i * 12, i * 12 + part.length), 3),
  );
  const all = joined(halves.map((half) => decodeShard(encodeShard(half))));
  assert.deepEqual(all.x.shape, [20, 3, 2]);
  assert.deepEqual([...all.valid.data.slice(0, 6)], [1, 1, 0, 0, 1, 1]);
  const { train, heldOut } = split(all);
  assert.deepEqual([heldOut.x.shape[0], ...heldOut.x.data.slice(0, 4)], [2, 18, 1, 18, 1]);
  assert.deepEqual([...taken(train, [3, 1]).x.data.slice(0, 2)], [3, 1]);
  const norms = measureNorms(taken(all, [4])); // (4, 1) twice, then padding
  assert.ok(Math.abs(norms.input - Math.sqrt(17)) < 1e-6);
  const scaled = normalised(taken(all, [4]), norms);
  assert.ok(Math.abs(Math.hypot(...scaled.x.data.slice(0, 2)) - Math.SQRT2) < 1e-6);
  assert.throws(() => decodeShard(encodeShard(all).subarray(9)), /damaged/);
});
