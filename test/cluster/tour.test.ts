/** The main job as a user runs it, and three of its numbers computed again through gRPC. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { LocalCluster, TourReport } from '@heddle/cli';
import { connect, type Heddle } from '@heddle/client';
import type { Tensor } from '@heddle/tensor';
import { bringUp, readConfig } from 'heddle';

const HEDDLE = fileURLToPath(new URL('../../services/embedded/bin/heddle.js', import.meta.url));
/** Both sides are the same fp32 computation in batches of another size. */
const TOLERANCE = 1e-4;

let data: string;
let report: TourReport;
let cluster: LocalCluster;
let heddle: Heddle;

before(async () => {
  data = await mkdtemp(join(tmpdir(), 'heddle-tour-'));
  const env = { ...process.env, HEDDLE_DATA: data, HEDDLE_SERVER: '', HEDDLE_HTTP_PORT: '0' };
  const child = spawn(process.execPath, [HEDDLE, 'tour', '--exit', '--json'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  const [status] = await once(child, 'close');
  assert.equal(status, 0, out);
  report = JSON.parse(out) as TourReport;
  cluster = await bringUp({ dataDirectory: data, contracts: ['activation'] }, readConfig({}));
  heddle = connect(cluster.address);
});

after(async () => {
  heddle?.close();
  await cluster?.close(0);
  await rm(data, { recursive: true, force: true });
});

async function capture(text: string, hook: string): Promise<Tensor> {
  const { tensors } = await heddle.collectRun({ prompts: [{ text }], hooks: [hook] });
  assert.equal(tensors.length, 1);
  const [one] = tensors;
  assert.ok(one);
  return one.tensor;
}

/** One row of the last axis. */
function row({ data: values, shape }: Tensor, ...index: readonly number[]): number[] {
  const width = shape.at(-1) ?? 0;
  const start = index.reduce((offset, i, axis) => offset * (shape[axis] ?? 0) + i, 0) * width;
  return [...values.subarray(start, start + width)].map(Number);
}

test('the main job ends, with every chapter, and says how long each took', (t) => {
  assert.deepEqual(Object.keys(report.seconds).sort(), ['a', 'all', 'b', 'c', 'd', 'e', 'f']);
  t.diagnostic(`seconds ${JSON.stringify(report.seconds)}`);
});

test('the strongest look of the tour is what the hook point holds', async () => {
  const [strongest] = report.attention.strongest;
  assert.ok(strongest);
  const [layer = 0, head = 0] = strongest.head.split('.').map(Number);
  const pattern = await capture(report.attention.prompt, `blocks.${layer}.attn.hook_pattern`);
  const weight = row(pattern, head, strongest.query)[strongest.key];
  assert.ok(Math.abs(Number(weight) - strongest.weight) <= TOLERANCE);
});

test('the score that the tour takes apart is the highest of its row, and its terms add up to it', async () => {
  const { head: name, value, sum, terms_abs_sum } = report.why;
  const [layer = 0, head = 0] = name.split('.').map(Number);
  const scores = await capture(report.attention.prompt, `blocks.${layer}.attn.hook_attn_scores`);
  const best = Math.max(...row(scores, head, report.attention.tokens.length - 1));
  assert.ok(Math.abs(best - value) <= TOLERANCE * Math.max(1, Math.abs(best)));
  assert.ok(Math.abs(value - sum) <= 1e-4 * terms_abs_sum);
});

test('the logit difference that the circuit explains is the one that the model gives', async () => {
  const logits = await capture(report.attention.prompt, 'logits');
  const last = row(logits, report.attention.tokens.length - 1);
  const id = async (text: string) => {
    const { tokens } = await heddle.activation.Tokenize({ prompt: { text } });
    assert.equal(tokens.length, 1);
    return tokens[0]?.id ?? -1;
  };
  const difference = Number(last[await id(' Mary')]) - Number(last[await id(' John')]);
  assert.ok(Math.abs(difference - report.circuit.value) <= TOLERANCE * Math.max(1, difference));
});
