/**
 * `npm run bench -- capture`: how much of the machine's own matrix-product rate a forward pass keeps while it hands over
 * activations. A GPT-2-small-shaped model with random weights, 4 x 256 tokens, one thread, no unembedding.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadModel, openModelFolder, programOf } from '@heddle/adapters/hub';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import {
  buildSegment,
  estimateForward,
  hookPoints,
  padTokens,
  planForward,
  resolveHooks,
  stepFeeds,
} from '@heddle/models';
import { GraphBuilder } from '@heddle/onnx';
import type { LoadedModel, Plan } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { gpt2Config, writeRandomModel } from '@heddle/testkit/random-model';

const BATCH = 4;
const POS = 256;
/** Odd, and enough for a median on a machine with moods; a minute in all. */
const ROUNDS = 11;
/** Of a round: a pass takes as long as forty of these, so that both see the machine's mood equally often. */
const PRODUCTS_PER_PASS = 5;
export const PRODUCT_FLOPS = 2 * 1024 * 768 * 3072;
const GPT2_SMALL = { n_layer: 12, n_head: 12, n_embd: 768, vocab_size: 50257, n_positions: 1024 };

const ATTENTION = ['q', 'k', 'v', 'z', 'pattern'].map((name) => `blocks.*.attn.hook_${name}`);
const LISTED = ['attn_out', 'mlp_out', 'resid_pre'].map((name) => `blocks.*.hook_${name}`);

export const CASES = {
  none: { hooks: ['blocks.11.hook_resid_post'], target: 0.8 },
  attention: { hooks: ATTENTION, target: 0.74 },
  listed: { hooks: [...ATTENTION, ...LISTED], target: 0.72 },
  everything: { hooks: ['hook_*', 'blocks.*'], target: null },
} as const;

export type Case = keyof typeof CASES;

/** One sample per round. CPU seconds are of the whole process, so that nothing hides in another thread. */
export interface CaptureSamples {
  readonly cpuSeconds: Readonly<Record<Case, readonly number[]>>;
  readonly wallSeconds: Readonly<Record<Case, readonly number[]>>;
  /** Floating-point operations of one pass, attention in full. */
  readonly flops: Readonly<Record<Case, number>>;
  /** Of the product [1024, 768] · [768, 3072], interleaved. */
  readonly productCpuSeconds: readonly number[];
  readonly productWallSeconds: readonly number[];
  readonly productFlops: number;
  readonly tokens: number;
  readonly mib: Readonly<Record<Case, number>>;
}

export interface Timed {
  readonly cpu: number;
  readonly wall: number;
}

export async function measureCapture(): Promise<CaptureSamples> {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-bench-'));
  const engine = await OrtEngine.start({ threads: 1 });
  try {
    await writeRandomModel(folder, gpt2Config(GPT2_SMALL), 1);
    const model = await loadModel(await openModelFolder(folder));
    return await measure(engine, model);
  } finally {
    await engine.close();
    rmSync(folder, { recursive: true });
  }
}

async function measure(engine: OrtEngine, model: LoadedModel): Promise<CaptureSamples> {
  const names = Object.keys(CASES) as Case[];
  const passes = names.map((name) => ({ name, ...capture(model, name) }));
  const product = productPlan();
  const samples = names.map(() => [] as Timed[]);
  const products: Timed[] = [];
  const mib: number[] = [];
  for (let round = -2; round < ROUNDS; round++) {
    for (const [i, { plan }] of passes.entries()) {
      for (let p = 0; p < PRODUCTS_PER_PASS; p++) {
        const once = await timed(() => engine.run(product));
        if (round >= 0) products.push(once);
      }
      let bytes = 0;
      const pass = await timed(() =>
        engine.run(plan, {
          onStep: (_, outputs) => {
            for (const { data } of Object.values(outputs)) {
              bytes += data.byteLength;
              (data.buffer as ArrayBuffer).transfer(0);
            }
          },
        }),
      );
      mib[i] = bytes / 2 ** 20;
      if (round >= 0) samples[i]?.push(pass);
    }
  }
  const byCase = <T>(of: (i: number) => T) =>
    Object.fromEntries(names.map((name, i) => [name, of(i)])) as Record<Case, T>;
  return {
    cpuSeconds: byCase((i) => (samples[i] ?? []).map(({ cpu }) => cpu)),
    wallSeconds: byCase((i) => (samples[i] ?? []).map(({ wall }) => wall)),
    flops: byCase((i) => passes[i]?.flops ?? Number.NaN),
    productCpuSeconds: products.map(({ cpu }) => cpu),
    productWallSeconds: products.map(({ wall }) => wall),
    productFlops: PRODUCT_FLOPS,
    tokens: BATCH * POS,
    mib: byCase((i) => mib[i] ?? 0),
  };
}

export async function timed(run: () => Promise<unknown>): Promise<Timed> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await run();
  const wall = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { cpu: (user + system) / 1e6, wall };
}

function capture(model: LoadedModel, name: Case): { readonly plan: Plan; readonly flops: number } {
  const { config } = model;
  const last = new Set(['ln_final.hook_scale', 'ln_final.hook_normalized', 'logits']);
  const hooks = resolveHooks(config, CASES[name].hooks).filter((hook) => !last.has(hook));
  const forward = planForward(model, { hooks, batch: BATCH, pos: POS });
  const rng = new Rng(2);
  const prompts = Array.from({ length: BATCH }, () =>
    Array.from({ length: POS }, () => rng.below(config.d_vocab)),
  );
  const feeds = stepFeeds(model, forward, { tokens: padTokens(config, prompts) });
  const kept = hookPoints(config).flatMap((point) => forward.outputs.get(point.name) ?? []);
  const steps = forward.steps.map(({ segment, request }, step) => ({
    program: programOf(model, buildSegment(model, segment, request)),
    feeds: feeds[step] ?? {},
    keep: [...new Set(kept.filter((at) => at.step === step).map(({ output }) => output))],
  }));
  return {
    plan: { steps },
    flops: estimateForward(model, forward, { batch: BATCH, pos: POS }).flops,
  };
}

/** The product [1024, 768] · [768, 3072] alone: of its result one element leaves, so that no copy is measured. */
export function productPlan(): Plan {
  const g = new GraphBuilder('product');
  const product = g.matMul(g.input('a', 'f32', [1024, 768]), g.constant(weights()));
  const corner = g.slice(g.slice(product, { axis: 0, end: 1 }), { axis: 1, end: 1 });
  g.output('y', corner);
  const a = tensor('f32', [1024, 768], weights().data.slice(0, 1024 * 768) as Float32Array);
  return { steps: [{ program: programOf(undefined, g.build()), feeds: { a }, keep: ['y'] }] };
}

function weights(): Tensor<'f32'> {
  const rng = new Rng(3);
  return tensor(
    'f32',
    [768, 3072],
    Float32Array.from({ length: 768 * 3072 }, () => rng.uniform() - 0.5),
  );
}
