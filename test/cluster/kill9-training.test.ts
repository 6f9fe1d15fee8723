/** The serving process of `heddle up` is killed in the middle of a training; the next one goes on with it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connect, type Heddle } from '@heddle/client';
import { type Launched, launch, temporaryFolder } from '@heddle/testkit';

const MAIN = fileURLToPath(new URL('../../services/embedded/src/main.ts', import.meta.url));
const MODEL = fileURLToPath(new URL('../golden/models/gpt2', import.meta.url));
const STEPS = 400;
const INTERVAL = 40;

const PROMPTS = Array.from({ length: 16 }, (_, i) => ({
  tokens: { ids: Array.from({ length: 16 }, (_, j) => (i * 7 + j * 3) % 50) },
}));
const REQUEST = {
  model: MODEL,
  layer: 0,
  optimiser: { steps: STEPS, context: 16 },
  data: { prompts: PROMPTS },
  seed: 3,
  checkpoint_steps: INTERVAL,
  client_key: 'one training',
};

interface Up {
  readonly process: Launched;
  readonly heddle: Heddle;
  /** Optimiser steps that this process has computed, as its metrics say. */
  steps(): Promise<number>;
}

async function up(data: string): Promise<Up> {
  const env = { HEDDLE_DATA: data, HEDDLE_PORT: '0', HEDDLE_HTTP_PORT: '0' };
  const process = launch(MAIN, ['up', '--json'], { env });
  const [line] = await process.line(/^\{"address".*|^\{.*"address":.*"pages".*/);
  const { address, pages } = JSON.parse(line) as { address: string; pages: string };
  const steps = async (): Promise<number> => {
    const text = await (await fetch(`${pages}/metrics`)).text();
    return Number(/^lorsa_trainer_steps_total (\d+)$/m.exec(text)?.[1] ?? 0);
  };
  return { process, heddle: connect(address), steps };
}

async function down({ process, heddle }: Up): Promise<void> {
  heddle.close();
  process.kill('SIGTERM');
  assert.equal((await process.exited).code, 0, process.stderr());
}

/** The digests of everything that the training left: equal digests are equal bits. */
async function digestsOf({ heddle }: Up, id: string): Promise<readonly string[]> {
  const job = await heddle.waitForJob(id);
  assert.equal(job.state, 'JOB_STATE_SUCCEEDED', JSON.stringify(job.error));
  const { artifacts } = await heddle.outcome(id);
  return artifacts.map(({ name, digest }) => `${name} ${digest}`);
}

test('a training whose process is killed goes on from its last checkpoint to the same bits', async (t) => {
  const [data, other] = await Promise.all([temporaryFolder(), temporaryFolder()]);
  const first = await up(data.path);
  const started = await first.heddle.lorsa.StartTrain(REQUEST);
  const id = started.job?.id ?? '';
  let before = 0;
  while (before < STEPS / 3) before = await first.steps();
  first.process.kill('SIGKILL');
  assert.equal((await first.process.exited).signal, 'SIGKILL');
  first.heddle.close();

  const second = await up(data.path);
  const again = await second.heddle.lorsa.StartTrain(REQUEST);
  assert.equal(again.job?.id, id, 'the key still names the same job');
  const resumed = await digestsOf(second, id);
  const after = await second.steps();
  await down(second);

  const whole = await up(other.path);
  const { job } = await whole.heddle.lorsa.StartTrain(REQUEST);
  const uninterrupted = await digestsOf(whole, job?.id ?? '');
  assert.equal(await whole.steps(), STEPS);
  await down(whole);

  t.diagnostic(
    `${before} steps before the kill and ${after} after it: ${before + after} in all for ${STEPS}, at most ${STEPS + INTERVAL}`,
  );
  assert.ok(before < STEPS, 'it was killed in the middle');
  assert.ok(after <= STEPS - before + INTERVAL, `${after} steps after the kill`);
  assert.equal((STEPS - after) % INTERVAL, 0, 'it began at a checkpoint');
  assert.ok(STEPS - after > 0, 'and not from the start');
  assert.ok(resumed.length > 0);
  assert.deepEqual(resumed, uninterrupted);
  await Promise.all([data.remove(), other.remove()]);
});
