import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import { ioiDataset, repeatedSequence } from '@heddle/interp/tasks';
import { BpeEncoder } from '@heddle/testkit/bundled/bpe';
import { BUNDLED_RECIPE } from '@heddle/testkit/bundled/bundled-recipe';
import { encodeText } from '@heddle/testkit/bundled/corpus';
import { heldOutSets, ioiPrompts } from '@heddle/testkit/bundled/held-out-sets';
import { accuracy, headScores } from '@heddle/testkit/bundled/measure';
import { MeasuredModel } from '@heddle/testkit/bundled/measured-model';
import { configJson } from '@heddle/testkit/bundled/model-files';
import { tokenizerConfigJson, tokenizerJson } from '@heddle/testkit/bundled/tokenizer-file';
import { bundledBpe } from '@heddle/testkit/bundled/vocabulary';

const FOLDER = fileURLToPath(new URL('../../../libs/models/bundled/', import.meta.url));
const bpe = bundledBpe();
const encoder = new BpeEncoder(bpe);
const sizes = { ...BUNDLED_RECIPE.sizes, d_vocab: bpe.vocab.size };
let engine: OrtEngine;
let model: MeasuredModel;

before(async () => {
  engine = await OrtEngine.start({ threads: 1 });
  model = await MeasuredModel.open(engine, FOLDER);
});
after(() => engine.close());

test('config and tokenizer of the bundled folder are what the generator makes', () => {
  const json = (name: string): unknown => JSON.parse(readFileSync(`${FOLDER}${name}`, 'utf8'));
  assert.deepEqual(json('tokenizer.json'), tokenizerJson(bpe));
  assert.deepEqual(json('tokenizer_config.json'), tokenizerConfigJson(sizes.n_ctx));
  assert.deepEqual(json('config.json'), configJson(sizes, bpe.endOfText));
});

test('on text that training never held, repeats, IOI and box facts come out right', async () => {
  // Fewer texts than the card's: a share below a bound here is far below it there.
  const bounds = [
    { sets: /^repeat, period (8|16|32)$/, least: 0.95 },
    { sets: /^ioi/, least: 0.95 },
    { sets: /^box, [23] facts$/, least: 0.9 },
  ];
  const sets = heldOutSets(encoder, 80);
  for (const { sets: names, least } of bounds) {
    const chosen = sets.filter((set) => names.test(set.name));
    assert.ok(chosen.length > 0, `no set is called ${names}`);
    for (const set of chosen) {
      const share = await accuracy(model, set);
      assert.ok(share >= least, `${set.name}: ${share}`);
    }
  }
});

test('the published 256 IOI prompts come out right', async () => {
  const texts = ioiDataset(256, 0).map(({ text }) => {
    const ids = encoder.encode(text);
    return { text, ids, weights: ids.map(() => 1), answers: [ids.length - 1] };
  });
  const share = await accuracy(model, { name: 'ioi, published', texts });
  assert.ok(share >= 0.95, `${share}`);
});

test('the circuits of the card are there: previous token, induction, attention to the indirect object', async () => {
  const rng = new Rng(5);
  const period = 16;
  const repeats = Array.from({ length: 16 }, () =>
    encodeText(encoder, repeatedSequence(rng, 'held-out', { period, length: 2 * period })),
  );
  const scores = await headScores(model, { repeats, period, ioi: ioiPrompts(encoder, 60) });

  assert.ok(Math.max(...scores.previousToken.flat()) >= 0.6);
  assert.ok(Math.max(...scores.induction.flat()) >= 0.6);
  const movers = scores.toIndirectObject.flatMap((heads, layer) =>
    heads.flatMap((share, head) => (share >= 0.4 ? [{ layer, head }] : [])),
  );
  const lowers = ({ layer, head }: { layer: number; head: number }) =>
    scores.ablatedLogitDifference[layer]![head]! < scores.logitDifference - 0.5;
  assert.ok(movers.some(lowers), JSON.stringify(scores.toIndirectObject));
});
