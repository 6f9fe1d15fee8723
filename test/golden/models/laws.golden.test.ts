/** Equations between hook points, on every golden model, in the fp64 interpreter; interventions; query blocks; planning. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  buildSegment,
  estimateForward,
  type ForwardPlan,
  hookPoint,
  hookPoints,
  type Intervention,
  padTokens,
  planForward,
  widen,
} from '@heddle/models';
import { type Tensor, tensor } from '@heddle/tensor';
import {
  difference,
  GOLDEN_MODELS,
  type GoldenModel,
  interpretPlan,
  openGolden,
} from './golden-model.ts';

const CLOSE = 1e-12;

function run(
  golden: GoldenModel,
  hooks: readonly string[],
  interventions: readonly Intervention[] = [],
) {
  const { model, prompts } = golden;
  const plan = planForward(model, {
    hooks,
    interventions: [...new Set(interventions.map(({ hook }) => hook))],
  });
  const tokens = padTokens(model.config, [prompts[1]?.tokens ?? []]);
  return interpretPlan(golden, plan, { tokens, interventions });
}

/** Element-wise combination of equally shaped values. */
function combine(f: (...x: number[]) => number, ...tensors: (Tensor | undefined)[]): Tensor {
  const [first] = tensors as Tensor<'f64'>[];
  assert.ok(first);
  const columns = tensors.map((t) => (t as Tensor<'f64'>).data);
  return { ...first, data: first.data.map((_, i) => f(...columns.map((c) => c[i] as number))) };
}

/** Sum over the heads of [batch, pos, head, d_model]. */
function sumHeads(result: Tensor, n_heads: number, d_model: number): Tensor {
  const { shape, data } = result as Tensor<'f64'>;
  const out = new Float64Array(data.length / n_heads);
  data.forEach((x, i) => {
    const row = Math.floor(i / (n_heads * d_model));
    out[row * d_model + (i % d_model)] = (out[row * d_model + (i % d_model)] as number) + x;
  });
  return tensor('f64', [shape[0] as number, shape[1] as number, d_model], out);
}

function close(actual: Tensor, expected: Tensor, what: string, tolerance = CLOSE): void {
  const { error, text } = difference(actual, expected);
  assert.ok(error <= tolerance, `${what}: ${text}`);
}

const add = (...x: number[]) => x.reduce((a, b) => a + b, 0);

for (const name of GOLDEN_MODELS) {
  test(`${name}: residual streams, heads and patterns add up`, async () => {
    const golden = await openGolden(name);
    const { config } = golden.model;
    const values = run(
      golden,
      hookPoints(config).map((point) => point.name),
    );
    for (let layer = 0; layer < config.n_layers; layer++) {
      const at = (hook: string) => values.get(`blocks.${layer}.${hook}`) as Tensor;
      const attended = combine(add, at('hook_resid_pre'), at('hook_attn_out'));
      if (!config.parallelResidual) close(at('hook_resid_mid'), attended, 'resid_mid');
      close(at('hook_resid_post'), combine(add, attended, at('hook_mlp_out')), 'resid_post');
      const next = values.get(`blocks.${layer + 1}.hook_resid_pre`);
      if (next) close(next, at('hook_resid_post'), 'resid_pre of the next block');
      const stored = golden.model.weights.get(`blocks.${layer}.attn.O.b`);
      const bias = stored ? widen(golden.weight(stored.name)).data : undefined;
      const heads = sumHeads(
        at('attn.hook_result'),
        config.n_heads,
        config.d_model,
      ) as Tensor<'f64'>;
      const sums = {
        ...heads,
        data: heads.data.map((x, i) => x + (bias?.[i % config.d_model] ?? 0)),
      };
      close(sums, at('hook_attn_out'), 'Σ results + b_O');
      const pattern = at('attn.hook_pattern') as Tensor<'f64'>;
      const pos = pattern.shape[3] as number;
      for (let row = 0; row < pattern.data.length / pos; row++) {
        const weights = pattern.data.subarray(row * pos, (row + 1) * pos);
        assert.ok(
          Math.abs(weights.reduce((a, b) => a + b, 0) - 1) < CLOSE,
          'a row of a pattern sums to 1',
        );
        assert.ok(
          weights.every((w, k) => w === 0 || k <= row % pos),
          'nothing attends to the future',
        );
      }
    }
  });

  test(`${name}: attention in query blocks is attention`, async () => {
    const golden = await openGolden(name);
    const { model, prompts } = golden;
    const hooks = hookPoints(model.config)
      .map((point) => point.name)
      .filter((hook) => !/attn_scores|pattern/.test(hook));
    const tokens = padTokens(model.config, [prompts[1]?.tokens ?? []]);
    const plan = planForward(model, { hooks });
    const whole = interpretPlan(golden, plan, { tokens });
    for (const queryBlocks of [2, 4]) {
      const steps = plan.steps.map((step) =>
        step.segment.kind === 'block'
          ? { ...step, request: { ...step.request, queryBlocks } }
          : step,
      );

      const blocked = interpretPlan(golden, { ...plan, steps } satisfies ForwardPlan, { tokens });

      for (const [hook, value] of whole)
        close(blocked.get(hook) as Tensor, value, `${hook} in ${queryBlocks}`);
    }
  });

  test(`${name}: an intervention at any point that changes nothing changes nothing, and a replacement arrives`, async () => {
    const golden = await openGolden(name);
    const { config } = golden.model;
    const names = hookPoints(config)
      .map((point) => point.name)
      .filter((hook) => hook !== 'logits');
    const before = run(golden, ['logits', ...names]);

    const same = run(
      golden,
      ['logits', ...names],
      names.map((hook) => ({ prompt: 0, hook, kind: 'scale', factor: 1 })),
    );

    for (const [hook, value] of before) close(same.get(hook) as Tensor, value, hook);
    for (const hook of names.filter((one) => !/attn_scores/.test(one))) {
      const width = (before.get(hook) as Tensor).shape.at(-1) as number;
      const value = tensor('f32', [width], new Float32Array(width).fill(0.5));
      const after = run(
        golden,
        [hook, 'logits'],
        [{ prompt: 0, hook, kind: 'replace', positions: [2], value }],
      );
      const changed = (after.get(hook) as Tensor<'f64'>).data.filter((x) => x === 0.5).length;
      assert.ok(changed >= width, `${hook}: ${changed} elements replaced`);
      assert.ok(
        difference(after.get('logits') as Tensor, before.get('logits') as Tensor).error > 1e-9,
        `${hook} reaches the logits`,
      );
    }
  });
}

test('zeroing one head takes exactly its result out of the attention output', async () => {
  for (const name of ['gpt2', 'llama3', 'neox-parallel']) {
    const golden = await openGolden(name);
    const { n_heads, d_model } = golden.model.config;
    const [z, result, out] = ['attn.hook_z', 'attn.hook_result', 'hook_attn_out'].map(
      (h) => `blocks.1.${h}`,
    ) as [string, string, string];
    const before = run(golden, [result, out]);
    const change: Intervention = { prompt: 0, hook: z, kind: 'zero', heads: [1], positions: [4] };

    const after = run(golden, [out], [change]);
    const byResult = run(golden, [out], [{ ...change, hook: result }]);

    const expected = combine((x) => x, before.get(out)) as Tensor<'f64'>;
    for (let m = 0; m < d_model; m++) {
      const head = (before.get(result) as Tensor<'f64'>).data[
        (4 * n_heads + 1) * d_model + m
      ] as number;
      expected.data[4 * d_model + m] = (expected.data[4 * d_model + m] as number) - head;
    }
    close(after.get(out) as Tensor, expected, `${name} by z`);
    close(byResult.get(out) as Tensor, expected, `${name} by result`);
  }
});

test('scores may be changed below the diagonal only', async () => {
  const golden = await openGolden('gpt2');
  const scores = 'blocks.0.attn.hook_attn_scores';

  const values = run(
    golden,
    [scores, 'blocks.0.attn.hook_pattern'],
    [{ prompt: 0, hook: scores, kind: 'zero', heads: [0] }],
  );

  const pattern = values.get('blocks.0.attn.hook_pattern') as Tensor<'f64'>;
  const pos = pattern.shape[3] as number;
  for (let q = 0; q < pos; q++) {
    for (let k = 0; k < pos; k++) {
      const expected = k <= q ? 1 / (q + 1) : 0;
      assert.ok(Math.abs((pattern.data[q * pos + k] as number) - expected) < CLOSE);
    }
  }
  assert.equal((values.get(scores) as Tensor<'f64'>).data[1], -Infinity);
});

test('changes at one point follow each other in the order given', async () => {
  const golden = await openGolden('qwen3');
  const hook = 'blocks.0.hook_resid_pre';
  const one = tensor('f32', [24], new Float32Array(24).fill(1));
  const at = { prompt: 0, hook, positions: [1] };

  const values = run(
    golden,
    [hook],
    [
      { ...at, kind: 'replace', value: one },
      { ...at, kind: 'scale', factor: 3 },
      { ...at, kind: 'add', value: one },
    ],
  );

  assert.deepEqual(
    [...(values.get(hook) as Tensor<'f64'>).data.slice(24, 48)],
    new Array(24).fill(4),
  );
});

test('a plan stops after the last segment that is needed and reads no other weights', async () => {
  const { model } = await openGolden('llama2');

  const plan = planForward(model, {
    hooks: ['blocks.0.attn.hook_q'],
    interventions: ['blocks.1.hook_attn_out'],
  });

  assert.equal(plan.steps.length, 2);
  const [, block] = plan.steps;
  assert.ok(block);
  const graph = buildSegment(model, block.segment, block.request);
  assert.deepEqual(
    graph.weights.map(({ name }) => name),
    ['model.layers.0.input_layernorm.weight', 'model.layers.0.self_attn.q_proj.weight'],
  );
});

test('a residual stream between blocks is taken from the step before, unless it is changed', async () => {
  const { model } = await openGolden('llama2');
  const hook = 'blocks.1.hook_resid_pre';

  const plain = planForward(model, { hooks: [hook] });
  const changed = planForward(model, { hooks: [hook], interventions: [hook] });

  assert.deepEqual(plain.outputs.get(hook), { step: 1, output: 'resid_out' });
  assert.equal(plain.steps.length, 2);
  assert.deepEqual(changed.outputs.get(hook), { step: 2, output: hook });
});

test('estimates of outputs are exact', async () => {
  const golden = await openGolden('qwen3');
  const hooks = hookPoints(golden.model.config).map(({ name }) => name);
  const plan = planForward(golden.model, { hooks });
  const tokens = padTokens(
    golden.model.config,
    golden.prompts.map((p) => p.tokens),
  );

  const values = interpretPlan(golden, plan, { tokens });
  const { outputBytes } = estimateForward(golden.model, plan, { batch: 2, pos: 7 });

  assert.equal(
    outputBytes,
    [...values.values()].reduce((sum, { data }) => sum + 4 * data.length, 0),
  );
});

test('long prompts are cut into query blocks, short ones and asked-for patterns are not', async () => {
  const { model } = await openGolden('llama2');
  const blocks = (pos: number) =>
    planForward(model, { hooks: ['blocks.0.hook_attn_out'], pos }).steps[1]?.request.queryBlocks;

  assert.equal(blocks(1024), 1);
  assert.equal(blocks(8192), 16);
  assert.equal(hookPoint(model.config, 'blocks.0.attn.hook_pattern').axes[1], 'query_pos');
});

const MISTAKES: readonly [Omit<Intervention, 'prompt'> & { prompt?: number }, RegExp][] = [
  [{ hook: 'hook_embed', kind: 'add' }, /interventions\[0\]\.value: add needs a value/],
  [
    { hook: 'hook_embed', kind: 'add', value: tensor('f32', [3], new Float32Array(3)) },
    /shape \[3\]; \[24\] or \[7, 24\]/,
  ],
  [
    {
      hook: 'hook_embed',
      kind: 'add',
      value: tensor('f32', [24], new Float32Array(24).fill(Number.NaN)),
    },
    /element 0 is NaN/,
  ],
  [{ hook: 'hook_embed', kind: 'scale', factor: Infinity }, /factor: a finite number expected/],
  [{ hook: 'hook_embed', kind: 'zero', positions: [7] }, /positions: 7 is outside 0 to 6/],
  [{ hook: 'hook_embed', kind: 'zero', positions: [1, 1] }, /stands twice/],
  [{ hook: 'hook_embed', kind: 'zero', heads: [0] }, /hook_embed has no head axis/],
  [{ hook: 'blocks.0.attn.hook_z', kind: 'zero', heads: [3] }, /heads: 3 is outside 0 to 2/],
  [{ hook: 'hook_embed', kind: 'zero', prompt: 1 }, /prompt: 1; prompts 0 to 0/],
];

test('an intervention that makes no sense is refused by field', async () => {
  const golden = await openGolden('gpt2');
  for (const [change, words] of MISTAKES) {
    assert.throws(() => run(golden, ['logits'], [{ prompt: 0, ...change }]), words);
  }
});
