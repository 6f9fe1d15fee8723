/**
 * Prints the numbers of the bundled model's card, measured on held-out text.
 *
 *   node libs/testkit/src/bundled/evaluate.ts [DIR] [--texts N] [--dump FILE]
 *
 * DIR is a folder that `train.ts` wrote; the bundled one when left out. `--dump` writes the texts, for
 * `test/golden/bundled/transformers-check.py`.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import { repeatedSequence } from '@heddle/interp/tasks';
import { BpeEncoder } from './bpe.ts';
import { encodeText } from './corpus.ts';
import { heldOutSets, ioiPrompts } from './held-out-sets.ts';
import { accuracy, headScores, type PerHead } from './measure.ts';
import { MeasuredModel } from './measured-model.ts';
import { bundledBpe } from './vocabulary.ts';

const BUNDLED = fileURLToPath(new URL('../../../models/bundled/', import.meta.url));
const PERIOD = 32;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { texts: { type: 'string', default: '400' }, dump: { type: 'string' } },
    allowPositionals: true,
  });
  const texts = Number(values.texts);
  const encoder = new BpeEncoder(bundledBpe());
  const engine = await OrtEngine.start({ threads: 1 });
  const model = await MeasuredModel.open(engine, positionals[0] ?? BUNDLED);

  const sets = heldOutSets(encoder, texts);
  if (values.dump !== undefined) writeFileSync(values.dump, JSON.stringify(sets));
  for (const set of sets) {
    const share = await accuracy(model, set);
    print(`${set.name.padEnd(34)} ${share.toFixed(3)}  (${set.texts.length} texts)`);
  }
  const rng = new Rng(20_000_011);
  const size = { period: PERIOD, length: 2 * PERIOD };
  const scores = await headScores(model, {
    repeats: Array.from({ length: 32 }, () =>
      encodeText(encoder, repeatedSequence(rng, 'held-out', size)),
    ),
    period: PERIOD,
    ioi: ioiPrompts(encoder, texts),
  });
  printHeads('previous token', scores.previousToken);
  printHeads('induction', scores.induction);
  printHeads('last token to IO', scores.toIndirectObject);
  print(`\nlogit(IO) - logit(S), no ablation: ${scores.logitDifference.toFixed(3)}`);
  printHeads('the same, head ablated', scores.ablatedLogitDifference);
  await engine.close();
}

function printHeads(name: string, scores: PerHead): void {
  print(`\n${name}`);
  scores.forEach((heads, layer) => {
    print(`  layer ${layer}: ${heads.map((score) => score.toFixed(3).padStart(7)).join(' ')}`);
  });
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

await main();
