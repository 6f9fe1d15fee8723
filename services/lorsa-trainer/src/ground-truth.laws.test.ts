import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WasmKernels } from '@heddle/adapters/kernels';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import { readSafetensors } from '@heddle/formats';
import { type BlobDigest, decodeOutcome, type Engine } from '@heddle/ports';
import { CountingMetrics, MemoryBlobs, silentLog, VirtualClock } from '@heddle/testkit';
import { FixedActivations } from './fixed-activations.ts';
import { KNOWN_POS, knownLayer, recoveredShare, unitVectors } from './known-layer.ts';
import { LORSA_METRICS } from './metrics.ts';
import { trainKind } from './train-job.ts';
import { asJson } from './train-request.ts';
import { trainRequest } from './training-fixture.ts';

const HEADS = 128;
const STEPS = 1500;

let engine: Engine;
before(async () => {
  engine = await OrtEngine.start({ threads: 1 });
});
after(() => engine.close());

interface Trial {
  readonly seed: number;
  readonly topK: number;
  readonly features: number;
  readonly sharpness: number;
}

/** Trains on a known layer and says what came of it, beside what random and the layer's own directions would. */
async function trial({ seed, topK, features, sharpness }: Trial) {
  const layer = knownLayer({ seed, features, sharpness });
  const { host, values, writes, singular } = layer;
  const clock = new VirtualClock();
  const blobs = new MemoryBlobs(clock);
  const metrics = new CountingMetrics();
  metrics.register(LORSA_METRICS);
  const kind = trainKind({
    engine,
    kernels: async () => new WasmKernels({ threads: 1 }),
    activations: new FixedActivations({ blobs, values, modelDigest: host.modelDigest }),
    metrics,
    versions: {},
    host: async () => host,
    sizes: async () => host,
  });
  const sequences = Array.from({ length: STEPS }, (_, i) =>
    Array.from({ length: KNOWN_POS }, (_, t) => i * KNOWN_POS + t),
  );
  const request = trainRequest({
    architecture: { n_ov_heads: HEADS, n_qk_heads: 4, d_qk_head: 16, top_k: topK },
    optimiser: {
      steps: STEPS,
      batch: 16,
      context: KNOWN_POS,
      learning_rate: 2e-3,
      warmup_steps: 20,
    },
    data: { prompts: sequences.map((tokens) => ({ tokens })) },
    seed,
    checkpoint_steps: STEPS,
  });
  const context = {
    signal: new AbortController().signal,
    attempt: 1,
    blobs,
    clock,
    log: silentLog,
    load: async () => undefined,
    save: async () => {},
    progress: () => {},
    pulse: async () => {},
  };
  const task = { job: 'j', index: 0, count: 1, request: asJson(request), input: null };
  const { bytes } = await kind.run(task, context);
  const { summary, artifacts } = decodeOutcome(bytes as Uint8Array);
  const file = readSafetensors('x', await blobs.read(artifacts[0]?.digest as BlobDigest));
  const W_O = file.tensor('W_O').data as Float32Array;
  const rows = Array.from({ length: HEADS }, (_, i) => W_O.subarray(i * 64, (i + 1) * 64));
  return {
    fvu: Number(summary['fvu']),
    recovered: recoveredShare(writes, rows),
    random: recoveredShare(writes, unitVectors(new Rng(seed + 100), HEADS, 64)),
    svd: recoveredShare(writes, singular),
    largest: layer.meanLargestAttention(sequences.slice(0, 20)),
  };
}

const percent = (share: number) => `${(100 * share).toFixed(0)} %`;

test('the units that sharp heads mix are found, and neither random nor singular directions are them', async (t) => {
  for (const seed of [1, 2, 3]) {
    const found = await trial({ seed, topK: 8, features: 64, sharpness: 2.5 });
    const { fvu, recovered, random, svd, largest } = found;
    t.diagnostic(
      `seed ${seed}, K 8: FVU ${fvu.toFixed(5)}, recovered ${percent(recovered)}; random directions ${percent(random)}, the layer's SVD ${percent(svd)}; mean largest attention ${largest.toFixed(3)}`,
    );
    assert.ok(largest >= 0.9, `the heads are not sharp: ${largest}`);
    assert.ok(fvu < 0.01, `FVU ${fvu}`);
    assert.ok(recovered >= 0.95, `recovered ${recovered}`);
    assert.ok(random < 0.05 && svd < 0.05, `random ${random}, SVD ${svd}`);
  }
});

test("the method's honest limits: more active heads than needed, and crowded features under diffuse heads", async (t) => {
  const wide = await trial({ seed: 1, topK: 12, features: 64, sharpness: 2.5 });
  const crowded = await trial({ seed: 1, topK: 8, features: 96, sharpness: 0.7 });
  for (const [name, { fvu, recovered, largest }] of [
    ['K 12', wide] as const,
    ['96 non-orthogonal features, diffuse heads', crowded] as const,
  ]) {
    t.diagnostic(
      `${name}: FVU ${fvu.toFixed(4)}, recovered ${percent(recovered)}, mean largest attention ${largest.toFixed(3)}`,
    );
  }
  assert.ok(
    wide.fvu < 0.01 && crowded.fvu < 1,
    'both still explain the layer better than its mean',
  );
  assert.ok(crowded.recovered < wide.recovered, 'the crowded layer gives up fewer units');
});
