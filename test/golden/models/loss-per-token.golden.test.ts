/** The loss of each next token as Run computes it beside the logits, against the logits of transformers. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createService } from '@heddle/activation-server';
import { systemClock } from '@heddle/adapters/clock';
import { folderHub, loadConfig, loadModel, programOf } from '@heddle/adapters/hub';
import { OrtEngine } from '@heddle/adapters/ort';
import { type Handlers, TensorCollector } from '@heddle/ports';
import type { ActivationService, RunRequest, RunResponse } from '@heddle/ports/proto/activation';
import { CountingMetrics, MemoryJournal, silentLog } from '@heddle/testkit';
import { GOLDEN, GOLDEN_MODELS, openGolden } from './golden-model.ts';

/** A whole forward in fp32: what TransformerLens measured. */
const TOLERANCE = 5e-5;

let engine: OrtEngine;
let activation: Handlers<ActivationService>;

before(async () => {
  engine = await OrtEngine.start({ threads: 1 });
  const service = await createService({
    engine,
    hub: folderHub({ roots: [GOLDEN] }),
    store: { config: loadConfig, load: loadModel, program: programOf },
    openTokenizer: async () => undefined,
    journal: new MemoryJournal({ clock: systemClock }),
    blobs: {} as never, // nothing is cached here
    jobs: {} as never,
    clock: systemClock,
    log: silentLog,
    metrics: new CountingMetrics(),
    bundledModel: join(GOLDEN, 'gpt2'),
    versions: {},
  });
  activation = service.handlers.activation ?? {};
});

after(() => engine.close());

async function lossesOf(model: string, prompts: readonly (readonly number[])[]) {
  const request = {
    ...{ model, options: null, hooks: [], positions: [], dtype: 'ELEMENT_TYPE_F32' },
    ...{ interventions: [], gradient: '', alone: true, loss_per_token: true },
    prompts: prompts.map((ids) => ({ id: '', tokens: { ids } })),
  } as unknown as RunRequest;
  const call = { signal: new AbortController().signal, log: silentLog, method: 'test' };
  const collector = new TensorCollector(2 ** 20);
  const losses: Float32Array[] = [];
  for await (const part of activation.Run?.(request, call) ?? []) {
    const done = collector.add(part as RunResponse);
    if (done) losses.push(done.tensor.data as Float32Array);
  }
  return losses;
}

for (const name of GOLDEN_MODELS) {
  test(`${name}: the loss of each next token is −log softmax of transformers' logits`, async () => {
    const { model, prompts } = await openGolden(name);
    const { d_vocab } = model.config;
    const losses = await lossesOf(
      join(GOLDEN, name),
      prompts.map(({ tokens }) => tokens),
    );
    prompts.forEach(({ tokens, values }, i) => {
      const logits = values.get('logits')?.data as Float32Array;
      assert.equal(losses[i]?.length, tokens.length - 1);
      for (const [t, next] of tokens.slice(1).entries()) {
        const row = logits.subarray(t * d_vocab, (t + 1) * d_vocab);
        const largest = Math.max(...row);
        const sum = row.reduce((total, x) => total + Math.exp(x - largest), 0);
        const expected = largest + Math.log(sum) - (row[next] as number);
        const difference = Math.abs(expected - (losses[i]?.[t] ?? Number.NaN));
        assert.ok(difference <= TOLERANCE, `prompt ${i}, token ${t}: off by ${difference}`);
      }
    });
  });
}
