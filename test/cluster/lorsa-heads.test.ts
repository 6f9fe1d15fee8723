/** Looking at heads from end to end: a training on the bundled model, its analysis, lists and cards over the wire. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Heddle } from '@heddle/client';
import { OperationError, Rng } from '@heddle/core';
import { drawText, FULL_SIZES, repeatedSequence, wholeText } from '@heddle/interp/tasks';
import { type LorsaCluster, lorsaCluster } from './fixtures/lorsa-cluster.ts';

/** Repeats and sentences about names; the last tenth is held out by the training. */
const TEXTS = (() => {
  const rng = new Rng(3);
  return Array.from({ length: 240 }, (_, at) =>
    wholeText(
      at % 2 === 0
        ? repeatedSequence(rng, 'train', { period: 12, length: 30 })
        : drawText(rng, 'train', 'ioi', FULL_SIZES),
    ),
  );
})();
const HELD_OUT = 24;
const HEADS = 144;
const prompts = TEXTS.map((text) => ({ text }));

let heddle: Heddle;
let cluster: LorsaCluster;
let run: string;

before(async () => {
  cluster = await lorsaCluster();
  ({ heddle } = cluster);
  const { job } = await heddle.lorsa.StartTrain({
    layer: 1,
    architecture: { n_ov_heads: HEADS, top_k: 24 },
    optimiser: { steps: 60, batch: 8, context: 64, learning_rate: 4e-3 },
    data: { prompts },
  });
  await cluster.ended(job);
  run = job?.id ?? '';
});

after(() => cluster?.close());

const refusal = async (call: Promise<unknown>): Promise<OperationError> =>
  call.then(() => assert.fail('it was answered'), OperationError.from);

test('before anybody has looked, lists and cards say who does', async () => {
  for (const ask of [
    () => heddle.lorsa.ListHeads({ checkpoints: [run] }),
    () => heddle.lorsa.DescribeHead({ checkpoint: run, head: 0 }),
  ]) {
    const error = await refusal(ask());
    assert.equal(error.code, 'not_found');
    assert.match(error.message, /StartAnalysis/);
    assert.equal(error.details['missing'], 'analysis');
  }
  assert.deepEqual((await heddle.lorsa.ListHeads({})).heads, []);
});

test('an analysis looks at the held-out part of the training’s text, and asking again is the same job', async () => {
  const { job } = await heddle.lorsa.StartAnalysis({ checkpoint: run });
  const { summary } = await cluster.ended(job);
  assert.equal(summary['text'], 'held-out');
  assert.ok(Number(summary['documents']) <= HELD_OUT);
  const { auroc_lorsa: own, auroc_shuffled: dealt } = summary;
  assert.ok(Number(own) > Number(dealt) && Number(own) > 0.5, `${own} against ${dealt}`);
  const again = await heddle.lorsa.StartAnalysis({ checkpoint: run });
  assert.equal(again.job?.id, job?.id);

  const { heads, next_page_token } = await heddle.lorsa.ListHeads({ page_size: 100 });
  assert.equal(heads.length, 100);
  const rest = await heddle.lorsa.ListHeads({ page_size: 100, page_token: next_page_token });
  const numbers = [...heads, ...rest.heads].map(({ head }) => head).sort((a, b) => a - b);
  assert.deepEqual(
    numbers,
    Array.from({ length: HEADS }, (_, head) => head),
  );
  const trained = new Set(TEXTS.slice(0, -HELD_OUT));
  for (const { head } of heads.slice(0, 5)) {
    const { samples } = await heddle.lorsa.DescribeHead({ checkpoint: run, head });
    for (const { tokens } of samples) {
      const text = tokens.join('').replace(/^<\|endoftext\|>/, '');
      assert.ok(![...trained].some((each) => each.startsWith(text)), 'text that trained');
    }
  }
});

test('on a card the z-patterns sum to the activations, and the patterns to 1', async () => {
  const { heads } = await heddle.lorsa.ListHeads({ checkpoints: [run], page_size: 3 });
  for (const { head, activation_max } of heads) {
    const card = await heddle.lorsa.DescribeHead({ checkpoint: run, head });
    assert.ok(card.samples.length > 1);
    assert.equal(card.samples[0]?.activation, activation_max);
    for (const { activation, position, z_pattern, pattern, tokens } of card.samples) {
      assert.equal(z_pattern.length, position + 1);
      assert.ok(tokens.length > position);
      const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
      const largest = Math.max(...z_pattern.map(Math.abs));
      // The activation was computed in fp32 with others in the batch, the pattern now, alone, in fp64.
      assert.ok(Math.abs(sum(z_pattern) - activation) < 2e-5 * Math.max(largest, activation));
      assert.ok(Math.abs(sum(pattern) - 1) < 1e-9);
    }
    assert.equal(card.provenance?.method, 'lorsa.analyse');
  }
  const error = await refusal(heddle.lorsa.DescribeHead({ checkpoint: run, head: HEADS }));
  assert.deepEqual([error.code, error.field], ['invalid_argument', 'head']);
});

test('of given text the documents that trained are left out', async () => {
  const fresh = wholeText(drawText(new Rng(99), 'train', 'succession', FULL_SIZES));
  const data = { prompts: [...prompts.slice(0, 40), { text: fresh }, ...prompts.slice(-10)] };
  const { job } = await heddle.lorsa.StartAnalysis({ checkpoint: run, data, seed: 1 });
  const { summary } = await cluster.ended(job);
  assert.equal(summary['text'], 'given');
  assert.ok(Number(summary['documents_left_out']) >= 39, `${summary['documents_left_out']}`);
  assert.ok(Number(summary['documents']) <= 11);
  const trained = { checkpoint: run, data: { prompts: prompts.slice(0, 5) } };
  const { job: refused } = await heddle.lorsa.StartAnalysis(trained);
  const { error } = await heddle.waitForJob(refused?.id ?? '');
  assert.equal(error?.code, 'failed_precondition');
});
