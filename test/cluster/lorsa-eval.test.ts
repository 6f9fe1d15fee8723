/** Evaluation from end to end: in the bundled model, against cross-entropies computed here from its logits. */

import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadModel, openModelFolder, openWeights } from '@heddle/adapters/hub';
import type { Heddle } from '@heddle/client';
import { type Json, OperationError, Rng } from '@heddle/core';
import { writeLorsaCheckpoint } from '@heddle/formats';
import {
  copyHostQK,
  type HostAttention,
  type LorsaConfig,
  layerToCheckpoint,
  mapWeights,
  rotaryOfHost,
  toF32,
  zeroWeights,
} from '@heddle/interp/lorsa';
import { drawText, FULL_SIZES, repeatedSequence, wholeText } from '@heddle/interp/tasks';
import { attentionRoles, attentionWeights, weightOf } from '@heddle/models';
import type { Intervention } from '@heddle/ports/proto/activation';
import type { Tensor } from '@heddle/tensor';
import { type LorsaCluster, lorsaCluster } from './fixtures/lorsa-cluster.ts';

const BUNDLED = fileURLToPath(new URL('../../libs/models/bundled/', import.meta.url));
const LAYER = 1;
const TEXTS = (() => {
  const rng = new Rng(17);
  return Array.from({ length: 100 }, (_, at) =>
    wholeText(
      at % 2 === 0
        ? repeatedSequence(rng, 'train', { period: 10, length: 24 })
        : drawText(rng, 'train', 'ioi', FULL_SIZES),
    ),
  );
})();
const prompts = TEXTS.map((text) => ({ text }));
const heldOut = TEXTS.slice(90);

let heddle: Heddle;
let cluster: LorsaCluster;
let run: string;
let training: { readonly [name: string]: Json };

before(async () => {
  cluster = await lorsaCluster();
  ({ heddle } = cluster);
  const { job } = await heddle.lorsa.StartTrain({
    layer: LAYER,
    architecture: { n_ov_heads: 144, top_k: 24 },
    optimiser: { steps: 24, batch: 8, context: 64, learning_rate: 4e-3 },
    data: { prompts },
  });
  ({ summary: training } = await cluster.ended(job));
  run = job?.id ?? '';
});

after(() => cluster?.close());

type Row = Readonly<Record<string, number | null>> & { readonly name: string };

async function evaluate(request: Parameters<Heddle['lorsa']['StartEvaluate']>[0]) {
  const { job } = await heddle.lorsa.StartEvaluate(request);
  const { summary } = await cluster.ended(job);
  const rows = summary['rows'] as unknown as readonly Row[];
  const row = (name: string): Row => rows.find((each) => each.name === name) ?? assert.fail(name);
  return { row, summary, text: summary['text'] as Readonly<Record<string, Json>> };
}

const near = (actual: number | null | undefined, expected: number, within: number) =>
  assert.ok(Math.abs((actual ?? Number.NaN) - expected) <= within, `${actual}, ${expected}`);

/** Mean loss over predictions from positions that are not special, from the logits, in double. */
async function crossEntropy(isZeroed: boolean): Promise<number> {
  let [loss, count] = [0, 0];
  for (const text of heldOut) {
    const { tokens } = await heddle.activation.Tokenize({ prompt: { text } });
    const ids = tokens.map(({ id }) => id);
    assert.ok(ids.length <= 64);
    const positions = [...ids.keys()].filter((t) => !tokens[t]?.special);
    const zero: Partial<Intervention> = {
      hook: `blocks.${LAYER}.hook_attn_out`,
      kind: 'INTERVENTION_KIND_ZERO',
      positions,
    };
    const { tensors } = await heddle.collectRun({
      prompts: [{ tokens: { ids } }],
      hooks: ['logits'],
      interventions: isZeroed ? [zero] : [],
    });
    const logits = tensors[0]?.tensor ?? assert.fail('no logits');
    const vocabulary = logits.shape.at(-1) ?? 0;
    for (const t of positions) {
      if (t + 1 === ids.length) continue;
      const row = Array.from(logits.data as Float32Array).slice(
        t * vocabulary,
        (t + 1) * vocabulary,
      );
      const most = Math.max(...row);
      const all = row.reduce((sum, logit) => sum + Math.exp(logit - most), 0);
      loss += most + Math.log(all) - (row[ids[t + 1] ?? 0] ?? 0);
      count++;
    }
  }
  return loss / count;
}

test('cross-entropies are those of the logits, and FVU on the held-out part is what the training measured', async () => {
  const { row, text, summary } = await evaluate({ checkpoint: run, top_k: [8], baseline: true });
  assert.deepEqual([text['source'], text['trained_on_known']], ['held-out', true]);
  near(row('original').ce, await crossEntropy(false), 2e-5);
  near(row('zero').ce, await crossEntropy(true), 2e-5);
  assert.equal(text['documents_left_out'], 0);
  near(row('lorsa').fvu, training['fvu'] as number, 1e-5);
  near(row('lorsa').l0, training['l0'] as number, 1e-9);
  assert.ok((row('sae').fvu ?? 1) < 1 && (row('sae').l0 ?? 99) <= 24);
  const recovered = row('lorsa').loss_recovered ?? 0;
  assert.ok(recovered > (row('mean').loss_recovered ?? 1) && recovered < 1.1, `${recovered}`);

  // The autoencoder is trained once, whoever asks.
  const again = await evaluate({ checkpoint: run, baseline: true });
  assert.equal(again.summary['baseline'], summary['baseline']);
  assert.deepEqual(again.row('sae'), row('sae'));
  const { job } = await heddle.lorsa.StartBaseline({ checkpoint: run });
  assert.equal(job?.id, summary['baseline']);
});

test('a baseline that was cancelled does not stand in the way of the next', async () => {
  const asked = { checkpoint: run, seed: 5 };
  const { job: first } = await heddle.lorsa.StartBaseline(asked);
  await heddle.jobs.Cancel({ id: first?.id ?? '' });
  assert.equal((await heddle.waitForJob(first?.id ?? '')).state, 'JOB_STATE_CANCELLED');
  const { job: second } = await heddle.lorsa.StartBaseline(asked);
  assert.notEqual(second?.id, first?.id);
  const { summary } = await cluster.ended(second);
  assert.equal(summary['training'], run);
});

test('documents that the training saw are left out and counted; when no other is left it says so', async () => {
  const fresh = ['A text that is nowhere else.', 'And one more of the kind.'];
  const mixed = [...TEXTS.slice(0, 5), ...fresh].map((text) => ({ text }));
  const { text } = await evaluate({ checkpoint: run, data: { prompts: mixed } });
  assert.deepEqual(
    [text['source'], text['documents'], text['documents_left_out']],
    ['given', 2, 5],
  );
  const { job } = await heddle.lorsa.StartEvaluate({
    checkpoint: run,
    data: { prompts: prompts.slice(0, 5) },
  });
  const { error } = await heddle.waitForJob(job?.id ?? '');
  assert.equal(error?.code, 'failed_precondition');
  assert.match(error?.message ?? '', /5 documents/);
});

/** The exact rank-one form of the bundled model's layer (methods 1.14.7), as a folder in the published format. */
async function exactCheckpoint(): Promise<string> {
  const source = await openModelFolder(BUNDLED);
  const model = await loadModel(source);
  const { config } = model;
  const reader = openWeights(source, model);
  const read = new Map<string, Tensor<'f32'>>();
  for (const role of attentionRoles(model, LAYER)) {
    read.set(weightOf(model, role).name, await reader.read(role));
  }
  await reader.close();
  const host: HostAttention = attentionWeights(
    model,
    LAYER,
    ({ name }) => read.get(name) ?? assert.fail(name),
  );
  const { n_heads, d_head, d_model, positions } = config;
  const units = 2 * n_heads * d_head;
  const json = JSON.parse(await readFile(join(BUNDLED, 'config.json'), 'utf8')) as Json;
  const lorsa: LorsaConfig = {
    ...{ d_model, n_ov_heads: units, n_qk_heads: n_heads, d_qk_head: d_head, n_ctx: 64 },
    ...{ activation: 'topk', topK: units, signed: false, decoderNormInGate: true },
    ...{ useDecoderBias: true, attnScale: config.attn_scale[LAYER] ?? Math.sqrt(d_head) },
    rotary: positions.kind === 'rotary' ? rotaryOfHost(positions, json) : undefined,
    qkNormEps: undefined,
  };
  const weights = copyHostQK(lorsa, zeroWeights(lorsa), host, 1);
  for (let i = 0; i < units; i++) {
    const [h, j] = [Math.floor(i / (2 * d_head)), Math.floor(i / 2) % d_head];
    const sign = i % 2 === 0 ? 1 : -1;
    weights.b_V.data[i] = sign * (host.b_V?.data[h * d_head + j] ?? 0);
    for (let d = 0; d < d_model; d++) {
      const write = host.W_O.data[(h * d_head + j) * d_model + d] ?? 0;
      weights.W_V.data[i * d_model + d] =
        sign * (host.W_V.data[(h * d_model + d) * d_head + j] ?? 0);
      weights.W_O.data[i * d_model + d] = sign * write;
    }
  }
  weights.b_D.data.set(host.b_O?.data ?? []);
  const parts = layerToCheckpoint({
    config: lorsa,
    weights: mapWeights(weights, toF32),
    hookIn: `blocks.${LAYER}.ln1.hook_normalized`,
    hookOut: `blocks.${LAYER}.hook_attn_out`,
    normalisation: 'inference',
  });
  const files = writeLorsaCheckpoint(parts);
  const path = join(cluster.path, 'exact');
  await mkdir(path);
  await writeFile(join(path, 'config.json'), files.configText);
  await writeFile(join(path, 'sae_weights.safetensors'), files.weights);
  return path;
}

test('the exact form of the layer loses nothing in the model, and a file has no baseline', async () => {
  const checkpoint = await exactCheckpoint();
  const data = { prompts: heldOut.map((text) => ({ text })) };
  const { row, text } = await evaluate({ checkpoint, data });
  assert.equal(text['trained_on_known'], false);
  near(row('lorsa').fvu, 0, 1e-8);
  near(row('lorsa').ce_increase, 0, 1e-5);
  near(row('lorsa').loss_recovered, 1, 1e-4);
  assert.equal(row('lorsa').l0, 144);
  await assert.rejects(heddle.lorsa.StartEvaluate({ checkpoint, baseline: true }), (thrown) => {
    const { code, message } = OperationError.from(thrown);
    return code === 'failed_precondition' && /heddle lorsa train/.test(message);
  });
});
