/** Gradients of a scalar by every hook point of every golden model, through the whole model. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import { readSafetensors } from '@heddle/formats';
import {
  type ForwardPlan,
  type HookPoint,
  hookPoints,
  type Intervention,
  logitGradient,
  type ModelConfig,
  padTokens,
  placeTarget,
  planForward,
  planGradient,
  readTarget,
  resolveTarget,
  sliceHook,
  type TargetTerm,
} from '@heddle/models';
import { elementCount, type Tensor, tensor } from '@heddle/tensor';
import {
  difference,
  GOLDEN,
  GOLDEN_MODELS,
  type GoldenModel,
  interpretPlan,
  openGolden,
  runPlan,
} from './golden-model.ts';

/** A power of two, so that the interventions' f32 feeds hold it exactly. */
const STEP = 2 ** -13;
const TOLERANCE = 1e-6;
const TOLERANCE_AUTOGRAD = 1e-10;
const TOLERANCE_FP32 = 2e-5;
const TOKENS = [3, 17, 42, 8];

let engine: OrtEngine;
before(async () => {
  engine = await OrtEngine.start({ threads: 1 });
});
after(() => engine.close());

/** Reads every kind of segment, entries before and behind each other, the same logit twice. */
const EVERYWHERE =
  'logit[-1, id:5] - 0.5 * logprob[2, id:7] + 0.25*logit[-1, id:5] + blocks.1.attn.hook_attn_scores[1, 3, 2]' +
  ' - 2 * blocks.0.hook_mlp_out[-1, 3] + ln_final.hook_normalized[0, 4] + 3 * blocks.0.hook_resid_post[1, 2]' +
  ' + blocks.1.attn.hook_result[2, 0, 1] + hook_embed[0, 0]';

function termsOf(
  config: ModelConfig,
  expression: string,
  length = TOKENS.length,
): readonly TargetTerm[] {
  return placeTarget(config, resolveTarget(config, readTarget(expression), undefined), length);
}

/** The scalar from values of the forward pass, in fp64. */
function scalarOf(terms: readonly TargetTerm[], values: ReadonlyMap<string, Tensor>): number {
  return terms.reduce((sum, { weight, hook, of, indices }) => {
    const { data, shape } = values.get(hook) as Tensor<'f64'>;
    const own = hook === 'logits' ? shape : shape.slice(1);
    const place = indices.reduce((at, index, axis) => at * (own[axis] as number) + index, 0);
    if (of === 'value') return sum + weight * (data[place] as number);
    const width = own[1] as number;
    const row = data.subarray(place - (place % width), place - (place % width) + width);
    const total = row.reduce((all, x) => all + Math.exp(x), 0);
    return sum + weight * ((data[place] as number) - Math.log(total));
  }, 0);
}

function interpretGradient(
  golden: GoldenModel,
  expression: string,
  hooks: readonly string[],
  prompt: readonly number[] = TOKENS,
): ReadonlyMap<string, Tensor> {
  const { model } = golden;
  const terms = termsOf(model.config, expression, prompt.length);
  const plan = planGradient(model, { hooks, targets: terms.map(({ hook }) => hook) });
  const tokens = padTokens(model.config, [prompt]);
  return interpretPlan(golden, plan, { tokens, targets: [terms] });
}

/** A direction in the space of a hook's values; in f32, which the intervention's feed holds. */
function direction(point: HookPoint, rng: Rng): Float32Array {
  const shape = point.shape.map((n) => (n === 'pos' ? TOKENS.length : n));
  return Float32Array.from({ length: elementCount(shape) }, () => Math.fround(rng.normal()));
}

/** The same numbers as an intervention reads them: [position, head, last axis] even where heads stand first. */
function asChange({ name, axes, shape }: HookPoint, move: Float32Array, by: number): Intervention {
  const value = move.map((x) => x * by);
  if (axes[0] === 'head') {
    const [heads, pos] = [shape[0] as number, TOKENS.length];
    for (let h = 0, i = 0; h < heads; h++) {
      for (let q = 0; q < pos; q++) {
        for (let k = 0; k < pos; k++) value[(q * heads + h) * pos + k] = (move[i++] as number) * by;
      }
    }
  }
  return { prompt: 0, hook: name, kind: 'add', value: tensor('f32', [value.length], value) };
}

function slopeByDifferences(
  golden: GoldenModel,
  expression: string,
  point: HookPoint,
  move: Float32Array,
) {
  const { config } = golden.model;
  const terms = termsOf(config, expression);
  const hooks = [...new Set(terms.map(({ hook }) => hook))];
  const plan = planForward(golden.model, { hooks, interventions: [point.name] });
  const tokens = padTokens(config, [TOKENS]);
  const slotted = plan.steps.some(({ request }) => request.interventions.length > 0);
  const moved = (by: number) => {
    const interventions = slotted ? [asChange(point, move, by * STEP)] : [];
    return scalarOf(terms, interpretPlan(golden, plan, { tokens, interventions }));
  };
  // Fourth order: peaked attention has third derivatives that the plain difference would show.
  return (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * STEP);
}

for (const name of GOLDEN_MODELS) {
  test(`${name}: the gradient by every hook point equals central differences through interventions`, async () => {
    const golden = await openGolden(name);
    const points = hookPoints(golden.model.config).filter((point) => point.name !== 'logits');
    const rng = new Rng(1);

    const all = interpretGradient(
      golden,
      EVERYWHERE,
      points.map((point) => point.name),
    );

    let sizes = 0;
    for (const point of points) {
      const move = direction(point, rng);
      const { data } = all.get(point.name) as Tensor<'f64'>;
      const slope = move.reduce((sum, x, i) => sum + x * (data[i] as number), 0);
      const expected = slopeByDifferences(golden, EVERYWHERE, point, move);
      assert.ok(
        Math.abs(slope - expected) <= TOLERANCE * Math.max(1, Math.abs(expected)),
        `${point.name}: ${slope} for ${expected}`,
      );
      sizes += Math.abs(expected);
    }
    assert.ok(sizes > points.length, 'slopes that are all small would agree with anything');
  });
}

test('gradients equal autograd through transformers', async () => {
  const file = readSafetensors('gradients', readFileSync(join(GOLDEN, 'gradients.safetensors')));
  const header = JSON.parse(file.header.metadata.get('golden') ?? '{}') as { targets: string[] };
  const keys = file.names().filter((key) => key !== 'tokens');
  assert.deepEqual([...(file.tensor('tokens').data as BigInt64Array)].map(Number), TOKENS);
  for (const name of new Set(keys.map((key) => key.split('/')[0] as string))) {
    const golden = await openGolden(name);
    for (const [i, expression] of header.targets.entries()) {
      const prefix = `${name}/${i}/`;
      const hooks = keys.filter((key) => key.startsWith(prefix)).map((k) => k.slice(prefix.length));
      assert.ok(hooks.length >= 12, `${name}: only ${hooks}`);

      const found = interpretGradient(golden, expression, hooks);

      for (const hook of hooks) {
        const own = sliceHook(golden.model.config, hook, found.get(hook) as Tensor, {
          prompt: 0,
          length: TOKENS.length,
        });
        const { error, text } = difference(own, file.tensor(`${prefix}${hook}`));
        assert.ok(error <= TOLERANCE_AUTOGRAD, `${name} ${hook}: ${text}`);
      }
    }
  }
});

/** A plan with attention cut into query blocks, as long prompts have it. */
function inQueryBlocks<P extends ForwardPlan>(plan: P, queryBlocks: number): P {
  const steps = plan.steps.map((step) =>
    step.segment.kind === 'block' ? { ...step, request: { ...step.request, queryBlocks } } : step,
  );
  return { ...plan, steps };
}

async function agreesInFp32(golden: GoldenModel, expression: string, queryBlocks: number) {
  const { model, prompts } = golden;
  const { config } = model;
  const names = hookPoints(config).map(({ name }) => name);
  const hooks = names.filter((hook) => queryBlocks === 1 || !/attn_scores|pattern/.test(hook));
  const batch = prompts.map((prompt) => prompt.tokens);
  const lengths = batch.map((tokens) => tokens.length);
  const targets = lengths.map((length) => termsOf(config, expression, length));
  const reads = (targets[0] ?? []).map(({ hook }) => hook);
  const plan = inQueryBlocks(planGradient(model, { hooks, targets: reads }), queryBlocks);

  const values = await runPlan(engine, model, plan, {
    tokens: padTokens(config, batch),
    lengths,
    targets,
  });

  lengths.forEach((length, prompt) => {
    const exact = interpretGradient(golden, expression, hooks, batch[prompt]);
    for (const hook of hooks) {
      const [ours, theirs] = [values.get(hook) as Tensor, exact.get(hook) as Tensor];
      const positions = Array.from({ length }, (_, p) => p);
      const [own, expected] =
        hook === 'logits'
          ? [
              logitGradient(config, ours, targets, { prompt, positions }),
              logitGradient(config, theirs, [targets[prompt] ?? []], { prompt: 0, positions }),
            ]
          : [
              sliceHook(config, hook, ours, { prompt, length }),
              sliceHook(config, hook, theirs, { prompt: 0, length }),
            ];
      const { error, text } = difference(own, expected);
      assert.ok(error <= TOLERANCE_FP32, `${golden.name} p${prompt} ${hook}: ${error}; ${text}`);
    }
  });
}

for (const name of GOLDEN_MODELS) {
  test(`${name}: ONNX Runtime gives the gradients of a padded batch that the interpreter gives of each prompt`, async () => {
    const golden = await openGolden(name);
    await agreesInFp32(golden, EVERYWHERE, 1);
  });
}

test('gradients pass through attention in query blocks', async () => {
  for (const name of ['gpt2', 'llama3', 'neox-parallel']) {
    await agreesInFp32(await openGolden(name), 'logit[-1, id:5] - logprob[2, id:7]', 2);
  }
});

test('the gradient by the logits is the weight of each term, less the probabilities of log probabilities', async () => {
  const golden = await openGolden('llama3');
  const { config } = golden.model;
  const terms = termsOf(config, '2 * logit[1, id:5] - 3 * logprob[1, id:6]');
  const tokens = padTokens(config, [TOKENS]);
  const forward = planForward(golden.model, { hooks: ['logits'] });
  const { data: logits } = interpretPlan(golden, forward, { tokens }).get(
    'logits',
  ) as Tensor<'f64'>;
  const plan = planGradient(golden.model, { hooks: ['logits'], targets: ['logits'] });

  const rows = interpretPlan(golden, plan, { tokens, targets: [terms] }).get('logits') as Tensor;
  const found = logitGradient(config, rows, [terms], { prompt: 0, positions: [0, 1] });

  const row = logits.subarray(config.d_vocab, 2 * config.d_vocab);
  const total = row.reduce((sum, x) => sum + Math.exp(x), 0);
  row.forEach((x, token) => {
    const direct = token === 5 ? 2 : token === 6 ? -3 : 0;
    const expected = direct + (3 * Math.exp(x)) / total;
    assert.ok(Math.abs((found.data[config.d_vocab + token] as number) - expected) < 1e-6);
    assert.equal(found.data[token], 0);
  });
});

test('hooks behind everything that the scalar reads have gradient zero and open no segment', async () => {
  const golden = await openGolden('gpt2');
  const hooks = ['blocks.0.hook_resid_pre', 'blocks.1.hook_mlp_out', 'logits'];

  const plan = planGradient(golden.model, { hooks, targets: ['blocks.0.attn.hook_z'] });

  assert.deepEqual(plan.zeros, ['blocks.1.hook_mlp_out', 'logits']);
  assert.deepEqual(
    plan.steps.map(({ segment, request }) => [segment.kind, request.gradient !== undefined]),
    [
      ['embed', false],
      ['block', true],
    ],
  );
});
