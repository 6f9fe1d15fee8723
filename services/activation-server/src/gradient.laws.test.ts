import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '@heddle/adapters/clock';
import { loadConfig, loadModel, openModelFolder, programOf } from '@heddle/adapters/hub';
import { OrtEngine } from '@heddle/adapters/ort';
import type { RunRequest } from '@heddle/ports/proto/activation';
import type { Prompt } from '@heddle/ports/proto/common';
import { CountingMetrics, temporaryFolder } from '@heddle/testkit';
import { gpt2Config, writeRandomModel } from '@heddle/testkit/random-model';
import { checkRun } from './check-run.ts';
import { ACTIVATION_METRICS } from './metrics.ts';
import type { OpenModel } from './open-model.ts';
import { RunService } from './run-service.ts';

const SIZES = { n_layer: 3, n_head: 4, n_embd: 64, vocab_size: 60, n_positions: 32 };
const LLAMA = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  hidden_size: 48,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 60,
  max_position_embeddings: 32,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: 'silu',
  tie_word_embeddings: false,
};

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let engine: OrtEngine;
let service: RunService;

before(async () => {
  folder = await temporaryFolder();
  engine = await OrtEngine.start();
  const metrics = new CountingMetrics();
  metrics.register(ACTIVATION_METRICS);
  const store = { config: loadConfig, load: loadModel, program: programOf };
  service = new RunService({ engine, store, metrics, clock: systemClock });
});

after(async () => {
  await engine.close();
  await folder.remove();
});

async function openModel(
  name: string,
  config: Readonly<Record<string, unknown>>,
): Promise<OpenModel> {
  const path = join(folder.path, name);
  await writeRandomModel(path, config, 5);
  const model = await loadModel(await openModelFolder(path));
  return { name, bundled: false, importedMs: 0, model, tokenizer: undefined };
}

const PROMPTS: readonly Prompt[] = [
  [3, 14, 15, 9, 2],
  [6, 53, 58, 9, 7, 9, 32],
].map((ids) => ({
  id: '',
  tokens: { ids },
}));

type Values = readonly ReadonlyMap<
  string,
  { readonly data: Float32Array; readonly shape: readonly number[] }
>[];

async function values(open: OpenModel, changes: Partial<RunRequest>): Promise<Values> {
  const request: RunRequest = {
    model: '',
    prompts: PROMPTS,
    options: null,
    hooks: [],
    positions: [],
    dtype: 'ELEMENT_TYPE_F32',
    interventions: [],
    gradient: '',
    alone: false,
    loss_per_token: false,
    ...changes,
  };
  const results: Values[number][] = [];
  const { signal } = new AbortController();
  for await (const { tensors } of service.run(open.model, checkRun(request, open), {
    signal,
    caller: '',
  })) {
    results.push(tensors as unknown as Values[number]);
  }
  return results;
}

/** 2·logits[-1,7] − logits[-2,11] + z[2, 1, 3] of the last block, by hand. */
const OBJECTIVE = (last: number) =>
  `2*logits[-1,7] - logit[-2,id:11] + blocks.${last}.attn.hook_z[2,1,3]`;

async function objectiveOf(
  open: OpenModel,
  last: number,
  changes: Partial<RunRequest>,
): Promise<number[]> {
  const z = `blocks.${last}.attn.hook_z`;
  const prompts = await values(open, { ...changes, hooks: ['logits', z] });
  return prompts.map((tensors) => {
    const logits = tensors.get('logits');
    const mixed = tensors.get(z);
    assert.ok(logits && mixed);
    const [n = 0, vocabulary = 0] = logits.shape;
    const [, heads = 0, width = 0] = mixed.shape;
    const at = (p: number, t: number) => logits.data[p * vocabulary + t] as number;
    const own = mixed.data[(2 * heads + 1) * width + 3] as number;
    return 2 * at(n - 1, 7) - at(n - 2, 11) + own;
  });
}

/** A direction along the last axis that no norm's mean or scale hides. */
const direction = (width: number): number[] =>
  Array.from({ length: width }, (_, j) => Math.cos(1.7 * j));

interface Place {
  readonly hook: string;
  readonly prompt: number;
  readonly position: number;
  readonly width: number;
}

/** The change of the objective when every head of a hook at one position of one prompt moves by ±ε u, over 2ε. */
async function centralDifference(
  open: OpenModel,
  last: number,
  { hook, prompt, position, width }: Place,
): Promise<number> {
  const moved = async (by: number) => {
    const value = {
      dtype: 'ELEMENT_TYPE_F32' as const,
      shape: [width],
      data: new Uint8Array(Float32Array.from(direction(width), (u) => by * u).buffer),
    };
    const change = {
      hook,
      kind: 'INTERVENTION_KIND_ADD' as const,
      positions: [position],
      heads: [],
      prompts: [prompt],
      value,
      factor: 0,
    };
    return (await objectiveOf(open, last, { interventions: [change] }))[prompt] as number;
  };
  const epsilon = 2 ** -9;
  return ((await moved(epsilon)) - (await moved(-epsilon))) / (2 * epsilon);
}

/** ⟨gradient, u⟩ over all heads at one position: heads stand before or behind it. */
function alongDirection(
  { data, shape }: { data: Float32Array; shape: readonly number[] },
  position: number,
  headFirst: boolean,
): number {
  const [a = 1, b = 1, c = 1] = shape.length === 2 ? [shape[0], 1, shape[1]] : shape;
  const u = direction(c);
  return data.reduce((sum, x, i) => {
    const at = headFirst ? Math.floor(i / c) % b : Math.floor(i / (b * c));
    return at === position && a > 0 ? sum + x * (u[i % c] as number) : sum;
  }, 0);
}

const CASES = [
  {
    family: 'gpt2',
    config: gpt2Config(SIZES),
    last: 2,
    hooks: [
      'hook_embed',
      'blocks.0.hook_resid_pre',
      'blocks.0.attn.hook_pattern',
      'blocks.1.attn.hook_q',
      'blocks.1.hook_mlp_out',
      'blocks.1.hook_resid_post',
      'blocks.2.mlp.hook_post',
      'ln_final.hook_normalized',
    ],
  },
  {
    family: 'llama',
    config: LLAMA,
    last: 1,
    hooks: [
      'hook_embed',
      'blocks.0.attn.hook_rot_k',
      'blocks.0.attn.hook_v',
      'blocks.0.mlp.hook_pre_linear',
      'blocks.1.ln1.hook_normalized',
      'blocks.1.attn.hook_z',
    ],
  },
] as const;

for (const { family, config, last, hooks } of CASES) {
  test(`gradients through a ${family} model are the central differences of its objective`, async () => {
    const open = await openModel(family, config);

    const gradients = await values(open, { hooks: [...hooks], gradient: OBJECTIVE(last) });

    let largest = 0;
    for (const hook of hooks) {
      for (const [prompt, position] of [
        [0, 2],
        [1, 2],
        [1, 6],
      ] as const) {
        const gradient = gradients[prompt]?.get(hook);
        assert.ok(gradient, hook);
        const ours = alongDirection(gradient, position, hook.endsWith('pattern'));
        const width = gradient.shape.at(-1) as number;
        const place = { hook, prompt, position, width };
        const measured = await centralDifference(open, last, place);
        largest = Math.max(largest, Math.abs(ours));
        const error = Math.abs(ours - measured);
        assert.ok(
          error <= 2e-3 + 0.01 * Math.abs(measured),
          `${hook} ${prompt} ${position}: ${ours}, measured ${measured}`,
        );
      }
    }
    assert.ok(largest > 0.05, `the largest of the gradients is ${largest}: nothing was compared`);
  });
}

test('a hook behind the objective has gradient zero, and logits have its coefficients', async () => {
  const open = await openModel('behind', gpt2Config(SIZES));

  const [first] = await values(open, {
    hooks: ['blocks.2.hook_mlp_out', 'logits'],
    gradient: 'blocks.1.attn.hook_attn_scores[0,3,1]',
  });
  const [, second] = await values(open, { hooks: ['logits'], gradient: '3*logits[-1,4]' });

  assert.ok(first?.get('blocks.2.hook_mlp_out')?.data.every((x) => x === 0));
  assert.ok(first?.get('logits')?.data.every((x) => x === 0));
  const coefficients = [...(second?.get('logits')?.data ?? [])].entries();
  assert.deepEqual(
    [...coefficients].filter(([, x]) => x !== 0),
    [[6 * 60 + 4, 3]],
  );
});

test('a gradient opens the segments up to its target and no other, and a new target opens none', async () => {
  const open = await openModel('few', gpt2Config({ ...SIZES, vocab_size: 61 }));
  const hooks = ['blocks.0.attn.hook_z'];
  const before = (await engine.usage()).misses;

  await values(open, { hooks, gradient: 'blocks.1.hook_mlp_out[-1, 3]' });
  const first = (await engine.usage()).misses;
  for (let p = 0; p < 5; p++) {
    await values(open, { hooks, gradient: `${p} * blocks.1.hook_mlp_out[${p}, ${9 * p}]` });
  }

  assert.equal(first - before, 4, 'forward: embedding and block 0; backward: blocks 1 and 0');
  assert.equal((await engine.usage()).misses, first);
});
