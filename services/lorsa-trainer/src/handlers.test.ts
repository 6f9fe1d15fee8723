import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError, Rng } from '@heddle/core';
import { writeLorsaCheckpoint } from '@heddle/formats';
import { initialiseLevelA, type LorsaLayer, layerToCheckpoint } from '@heddle/interp/lorsa';
import {
  type BlobDigest,
  encodeOutcome,
  type ModelFolder,
  TensorCollector,
  tensorParts,
} from '@heddle/ports';
import type { ApplyRequest, ApplyResponse } from '@heddle/ports/proto/lorsa';
import { type Tensor, tensor, zeros } from '@heddle/tensor';
import { CountingMetrics, MemoryBlobs, silentLog, VirtualClock } from '@heddle/testkit';
import { type HandlerDeps, lorsaHandlers } from './handlers.ts';
import { LORSA_METRICS } from './metrics.ts';

const layer: LorsaLayer = (() => {
  const config = {
    d_model: 6,
    n_ov_heads: 8,
    n_qk_heads: 2,
    d_qk_head: 4,
    n_ctx: 16,
    activation: 'topk' as const,
    topK: 3,
    signed: false,
    decoderNormInGate: true,
    useDecoderBias: true,
    attnScale: 2,
    rotary: undefined,
    qkNormEps: undefined,
  };
  return {
    config,
    weights: initialiseLevelA(config, new Rng(1)),
    hookIn: 'blocks.2.ln1.hook_normalized',
    hookOut: 'blocks.2.hook_attn_out',
    normalisation: 'token-wise',
  };
})();

/** A folder in memory. */
function folderOf(files: Readonly<Record<string, Uint8Array>>): ModelFolder {
  return {
    path: '/models/x',
    files: Object.keys(files),
    readText: async (name) => new TextDecoder().decode(files[name]),
    open: async (name) => ({
      path: name,
      bytes: files[name]?.length ?? 0,
      read: async (offset, length) => (files[name] as Uint8Array).slice(offset, offset + length),
      close: async () => {},
    }),
    realLocation: async () => assert.fail('not read as external data'),
  };
}

/** These layers are small: the twin does them. */
const engine: HandlerDeps['engine'] = {
  report: async () => ({ provider: 'cpu', refused: [], threads: 1, version: 'none' }),
  run: async () => assert.fail('the engine is not asked'),
};

async function setUp() {
  const { configText, weights } = writeLorsaCheckpoint(layerToCheckpoint(layer));
  const blobs = new MemoryBlobs(new VirtualClock());
  const metrics = new CountingMetrics();
  metrics.register(LORSA_METRICS);
  const files: Record<string, Uint8Array> = {
    'config.json': new TextEncoder().encode(configText),
    'sae_weights.safetensors': weights,
  };
  const handlers = lorsaHandlers({
    engine,
    blobs,
    metrics,
    versions: { heddle: '0' },
    clock: { now: () => 7 },
    breathe: async () => {},
    hub: { open: async () => folderOf(files) },
    jobResult: async () => encodeOutcome({ summary: {}, artifacts: [] }),
  });
  return { handlers, files, metrics, blobs };
}

const call = { signal: new AbortController().signal, log: silentLog, method: 'test' };

async function applied(
  handlers: Awaited<ReturnType<typeof setUp>>['handlers'],
  requests: readonly object[],
) {
  async function* stream() {
    for (const request of requests) yield request as ApplyRequest;
  }
  assert.ok(handlers.Apply);
  const collector = new TensorCollector(2 ** 20);
  const tensors = new Map<string, Tensor>();
  let end: ApplyResponse['end'];
  for await (const reply of handlers.Apply(stream(), call)) {
    const part = reply as ApplyResponse;
    if (part.end) end = part.end;
    const done = part.end ? undefined : collector.add(part);
    if (done) tensors.set(done.label.name, done.tensor);
  }
  collector.end();
  return { tensors, end };
}

const start = (checkpoint = '/models/x', more: object = {}) => ({
  start: { checkpoint, z_pattern: false, pattern: false, ...more },
});
const input = (t: Tensor, name = 'input') => [...tensorParts(t, { name })];
const rows = (...shape: number[]) => {
  const t = zeros('f32', shape);
  const rng = new Rng(2);
  for (let i = 0; i < t.data.length; i++) t.data[i] = rng.normal();
  return t;
};

test('DescribeCheckpoint tells sizes, hooks and normalisation of a folder', async () => {
  const { handlers } = await setUp();
  const reply = await handlers.DescribeCheckpoint?.({ checkpoint: '/models/x' }, call);
  assert.deepEqual(reply, {
    architecture: { n_ov_heads: 8, n_qk_heads: 2, d_qk_head: 4, top_k: 3, init: '' },
    d_model: 6,
    layer: 2,
    hook_in: 'blocks.2.ln1.hook_normalized',
    hook_out: 'blocks.2.hook_attn_out',
    normalisation: 'token-wise',
    model: '',
  });
});

test('Apply answers activations and reconstruction, with a batch axis where the input has one', async () => {
  const { handlers, metrics } = await setUp();
  const x = rows(2, 5, 6);
  const y = rows(2, 5, 6);
  const { tensors, end } = await applied(handlers, [
    start('/models/x', { z_pattern: true }),
    ...input(x),
    ...input(y, 'target'),
  ]);
  assert.deepEqual(
    [...tensors].map(([name, t]) => [name, t.shape]),
    [
      ['feature_acts', [2, 5, 8]],
      ['reconstruction', [2, 5, 6]],
      ['z_pattern', [2, 8, 5, 5]],
    ],
  );
  const active = tensors.get('feature_acts')?.data as Float32Array;
  assert.ok(end && Math.abs(end.l0 - active.filter((z) => z > 0).length / 10) < 1e-12);
  assert.ok(end.fvu !== undefined && Number.isFinite(end.fvu));
  assert.equal(metrics.value('lorsa_trainer_applied_tokens_total'), 10);

  const { provenance } = end;
  assert.match(provenance?.program_digest ?? '', /^sha256:[0-9a-f]{64}$/);
  assert.deepEqual([provenance?.precision, provenance?.created_ms], ['fp64', 7]);
  y.data[0] = 9;
  const changed = [start('/models/x', {}), ...input(x), ...input(y, 'target')];
  const again = await applied(handlers, changed);
  assert.equal(again.end?.provenance?.program_digest, provenance?.program_digest);
  assert.notEqual(again.end?.provenance?.data_digest, provenance?.data_digest, 'other data');
});

test('Apply refuses what it cannot take, by field', async () => {
  const { handlers, files } = await setUp();
  const bad = rows(5, 6);
  bad.data[7] = Number.NaN;
  const cases: readonly (readonly [readonly object[], string, string])[] = [
    [[start()], 'invalid_argument', 'input'],
    [input(rows(5, 6)), 'invalid_argument', 'start'],
    [[start(), ...input(rows(5, 6))], 'invalid_argument', 'target'], // token-wise needs it
    [[start(), ...input(rows(5, 7))], 'invalid_argument', 'input'],
    [[start(), ...input(rows(17, 6))], 'invalid_argument', 'input'],
    [[start(), ...input(bad)], 'invalid_argument', 'input'],
    [[start(), ...input(tensor('i32', [5, 6], new Int32Array(30)))], 'invalid_argument', 'input'],
    [[start(), ...input(rows(5, 6), 'x')], 'invalid_argument', 'header.name'],
    [[start(), ...input(rows(5, 6)), ...input(rows(4, 6), 'target')], 'invalid_argument', 'target'],
    [[start(''), ...input(rows(5, 6))], 'invalid_argument', 'checkpoint'],
    [[start('some-job'), ...input(rows(5, 6))], 'failed_precondition', 'checkpoint'],
  ];
  const refusedWith = async (requests: readonly object[]) => {
    try {
      await applied(handlers, requests);
    } catch (error) {
      assert.ok(error instanceof OperationError, String(error));
      return error;
    }
    assert.fail(`accepted: ${JSON.stringify(requests[0])}`);
  };
  for (const [requests, code, field] of cases) {
    const error = await refusedWith(requests);
    assert.deepEqual([error.code, error.field], [code, field], error.message);
  }
  delete files['sae_weights.safetensors'];
  files['sae_weights.pt'] = new Uint8Array(4);
  const error = await refusedWith([start(), ...input(rows(5, 6))]);
  assert.match(error.message, /sae_weights\.pt is a pickled PyTorch file/);
});

test('a result whose blob is a single file with its config inside opens by job id', async () => {
  const { handlers, blobs } = await setUp();
  const parts = layerToCheckpoint(layer);
  const { configText } = writeLorsaCheckpoint(parts);
  const { weights } = writeLorsaCheckpoint({ ...parts, metadata: { 'heddle.config': configText } });
  const { digest, bytes } = await blobs.put(weights);
  const named = encodeOutcome({
    summary: {},
    artifacts: [
      { name: 'checkpoint.safetensors', digest, bytes, mediaType: 'application/x-safetensors' },
    ],
  });
  const result = (await blobs.put(named)).digest as BlobDigest;
  const own = lorsaHandlers({
    engine,
    blobs,
    metrics: new CountingMetrics(),
    versions: { heddle: '0' },
    clock: { now: () => 7 },
    breathe: async () => {},
    hub: { open: async () => assert.fail('no folder') },
    jobResult: () => blobs.read(result),
  });
  const reply = await own.DescribeCheckpoint?.({ checkpoint: 'job-7' }, call);
  assert.equal(reply?.d_model, 6);
  assert.ok(handlers);
});
