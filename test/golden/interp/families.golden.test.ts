/**
 * Every family through our own weight maps, on the values of HuggingFace transformers in fp64
 * (`test/golden/models`): sums are sums, scores come back from the weights, and a trace accepts the
 * activations.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whyLogit, whyScore } from '@heddle/interp/attribution';
import { augmentedPair, traceAccpp, traceSad } from '@heddle/interp/circuit';
import {
  activationsFromHooks,
  HostRun,
  hooksOf,
  hostFromModel,
  hostRoles,
  ProcessedHost,
} from '@heddle/interp/host';
import { type StoredWeight, weightOf, widen } from '@heddle/models';
import type { Tensor } from '@heddle/tensor';
import { GOLDEN_MODELS, type GoldenModel, openGolden } from '../models/golden-model.ts';

/** fp64 on both sides; transformers rounds nothing to fp32 here. */
const TOLERANCE = 1e-9;

function openRun({ model, prompts, weight }: GoldenModel, prompt: number, roles: Set<string>) {
  const read = (stored: StoredWeight): Tensor<'f32'> => {
    roles.add(stored.role);
    return widen(weight(stored.name));
  };
  const host = new ProcessedHost(hostFromModel(model, read));
  const scope = { layers: model.config.n_layers, scoresOf: 1, logits: true };
  const golden = prompts[prompt];
  assert.ok(golden !== undefined);
  const asked: string[] = [];
  const activations = activationsFromHooks(host.shape, scope, golden.tokens, (hook) => {
    asked.push(hook);
    const value = golden.values.get(hook);
    assert.ok(value !== undefined, `${hook} has no golden value`);
    return value;
  });
  assert.deepEqual(asked.toSorted(), hooksOf(host.shape, scope).toSorted());
  return new HostRun(host, activations);
}

for (const name of GOLDEN_MODELS) {
  test(`${name}: scores and logits of transformers are the sums of sources from our weights; traces accept them`, async () => {
    const golden = await openGolden(name);
    const roles = new Set<string>();
    for (const prompt of [0, 1]) {
      const run = openRun(golden, prompt, roles);
      const { n_heads, n_layers } = run.host.shape;
      const last = run.length - 1;
      for (let head = 0; head < n_heads; head++) {
        const { sides } = whyScore(run, { layer: 1, head, query: last, key: null });
        for (const { check } of [sides.query, sides.key]) {
          assert.ok(
            Math.abs(check.residual) <= TOLERANCE * Math.max(1, check.termsAbsSum),
            `score of 1.${head}: ${check.value} against ${check.sum}`,
          );
        }
        const { contributions } = augmentedPair(run, { layer: 1, head, dest: last, src: 1 });
        const score = whyScore(run, { layer: 1, head, query: last, key: 1 });
        const unscaled = score.sides.query.check.value * run.head(1, head).attnScale;
        const sum = contributions.reduce((a, b) => a + b, 0);
        assert.ok(Math.abs(sum - unscaled) <= TOLERANCE * Math.max(1, Math.abs(sum)), 'slices');
      }
      const logit = whyLogit(run, { token: null, position: last });
      const { check } = logit;
      assert.ok(
        Math.abs(check.residual) <= TOLERANCE * check.termsAbsSum,
        `logit ${check.value} against ${check.sum}`,
      );
      const question = { targets: [logit.token], versus: [], position: last } as const;
      for (const objective of ['logit', 'probability'] as const) {
        const { graph, seeding } = traceAccpp(run, { ...question, objective }, { threshold: 0.2 });
        assert.ok(graph.nodes.length > 1);
        assert.ok(Math.abs(seeding.value - seeding.sum) <= 1e-3 * seeding.termsAbsSum, objective);
      }
      traceSad(run, { ...question, objective: 'logit' });
      assert.equal(n_layers, 2);
    }
    const listed = hostRoles(golden.model, 2, true);
    assert.deepEqual([...roles].sort(), listed.toSorted(), 'hostRoles names what is read');
    for (const role of listed) assert.ok(weightOf(golden.model, role));
  });
}
