/** A training whose process is killed again and again, also while it writes a checkpoint, ends with the same bits. */

import assert from 'node:assert/strict';
import { open, stat, truncate } from 'node:fs/promises';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { temporaryFolder } from '@heddle/testkit';
import {
  digestsOf,
  down,
  killed,
  killedWriting,
  newestCheckpoint,
  stepsReached,
  type Torn,
  type Up,
  up,
} from './fixtures/served-training.ts';

const SEED = Number(process.env['HEDDLE_KILL_SEED'] ?? 20261122);
const RANDOM_KILLS = 16;
const WRITE_KILLS = 6;
/** Kills that come too late for their write are kills too, but others are tried for them. */
const LATE_MAX = 20;
const INTERVAL = 30;
const STEPS = 900;

/** The bundled model's layer 1; 576 heads, so that a checkpoint has megabytes and writing it takes milliseconds. */
const REQUEST = {
  model: '',
  layer: 1,
  architecture: { n_ov_heads: 576, top_k: 16 },
  optimiser: { steps: STEPS, batch: 2, context: 16 },
  data: {
    prompts: Array.from({ length: 20 }, (_, i) => ({
      tokens: { ids: Array.from({ length: 16 }, (_unused, j) => (i * 7 + j * 3) % 50) },
    })),
  },
  seed: 3,
  checkpoint_steps: INTERVAL,
  client_key: 'one training',
};

const started = async ({ heddle }: Up): Promise<string> =>
  (await heddle.lorsa.StartTrain(REQUEST)).job?.id ?? '';

let undisturbed: Promise<readonly string[]> | undefined;

/** What the training leaves when nothing happens to it. */
function whole(): Promise<readonly string[]> {
  undisturbed ??= (async () => {
    const data = await temporaryFolder();
    const one = await up(data.path);
    const digests = await digestsOf(one, await started(one));
    assert.equal(await one.steps(), STEPS);
    await down(one);
    await data.remove();
    return digests;
  })();
  return undisturbed;
}

/** How a process ends: after some of its own steps, or in the first write of a checkpoint after them. */
interface Death {
  readonly how: 'random' | 'write';
  readonly steps: number;
}

/**
 * Deaths in a drawn order. After two that may come before a new checkpoint, one that comes after: a task that is started
 * five times without getting further is given up, as it should be.
 */
function drawDeaths(rng: Rng): Death[] {
  const kinds = [
    ...Array.from({ length: RANDOM_KILLS }, () => 'random' as const),
    ...Array.from({ length: WRITE_KILLS }, () => 'write' as const),
  ];
  let short = 0;
  return Array.from({ length: kinds.length }, () => {
    const [how = 'random'] = kinds.splice(Math.floor(rng.uniform() * kinds.length), 1);
    const least = short >= 2 ? INTERVAL + 1 : 0;
    const steps = least + Math.floor(rng.uniform() * INTERVAL * (how === 'random' ? 2 : 1));
    short = steps <= INTERVAL ? short + 1 : 0;
    return { how, steps };
  });
}

/** What became of one process. */
interface Life {
  /** Steps that it had computed: as it said just before the kill, or as the torn checkpoint says. */
  readonly steps: number;
  /** The newest checkpoint when it was dead. */
  readonly to: number;
  readonly torn: Torn | undefined;
}

/** One process from its start, at checkpoint `from`, to its death. */
async function oneLife(data: string, from: number, { how, steps }: Death): Promise<Life> {
  const one = await up(data);
  const id = await started(one);
  const computed = await stepsReached(one, id, steps);
  const torn = how === 'write' ? await killedWriting(one, data, id) : await killed(one);
  const to = (await newestCheckpoint(data, id))?.cursor ?? 0;
  return { steps: torn ? torn.cursor - from : computed, to, torn };
}

/** The process that is not killed: what it leaves, and how many steps it took. */
async function lastLife(data: string) {
  const one = await up(data);
  const id = await started(one);
  const digests = await digestsOf(one, id);
  const steps = await one.steps();
  const { job } = await one.heddle.jobs.Get({ id });
  await down(one);
  return { digests, steps, lost: job?.checkpoints_lost };
}

test('killed at 22 moments, six of them in the write of a checkpoint, a training ends with the same bits', async (t) => {
  const data = await temporaryFolder();
  const deaths = drawDeaths(new Rng(SEED));
  const torn: Torn[] = [];
  let [at, steps, kills, late] = [0, 0, 0, 0];
  for (let death = deaths.shift(); death !== undefined; death = deaths.shift()) {
    const life = await oneLife(data.path, at, death);
    // It began at the checkpoint, and lost less than one interval when it died.
    assert.ok(
      life.steps <= life.to - at + INTERVAL,
      `${life.steps} steps from ${at} to ${life.to}`,
    );
    [at, steps, kills] = [life.to, steps + life.steps, kills + 1];
    if (life.torn) torn.push(life.torn);
    else if (death.how === 'write') {
      late++;
      assert.ok(late <= LATE_MAX, 'no kill hits a write');
      deaths.push({ how: 'write', steps: INTERVAL });
    }
  }
  const { digests, steps: rest } = await lastLife(data.path);
  steps += rest;

  t.diagnostic(
    `seed ${SEED}: ${kills} kills; ${torn.length} in the write of a checkpoint (unfinished files found: ${torn
      .map(({ cursor, bytes }) => `step ${cursor}, ${bytes} bytes`)
      .join('; ')}), ${late} too late for it`,
  );
  const most = STEPS + kills * INTERVAL;
  t.diagnostic(`${steps} steps in all for ${STEPS}, at most ${most}`);
  assert.ok(kills >= 20 && torn.length >= 5);
  assert.equal(rest, STEPS - at, 'the last process did what was left and nothing twice');
  assert.ok(steps >= STEPS && steps <= most, `${steps} steps`);
  assert.deepEqual(digests, await whole());
  await data.remove();
});

test('a newest checkpoint that is damaged while the process is down falls back to the one before, to the same bits', async (t) => {
  const data = await temporaryFolder();
  const flipBit = async (path: string): Promise<void> => {
    const file = await open(path, 'r+');
    const at = Math.floor((await file.stat()).size / 2);
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at);
    await file.write(Uint8Array.of((buffer[0] ?? 0) ^ 1), 0, 1, at);
    await file.close();
  };
  const cutShort = async (path: string): Promise<void> =>
    truncate(path, Math.floor((await stat(path)).size / 2));

  let [from, steps] = [0, 0];
  for (const damage of [flipBit, cutShort]) {
    const one = await up(data.path);
    const id = await started(one);
    steps += await stepsReached(one, id, 3 * INTERVAL + 5);
    await killed(one);
    const newest = await newestCheckpoint(data.path, id);
    assert.ok(newest && newest.cursor >= from + 2 * INTERVAL, 'there is one before it');
    await damage(newest.path);
    from = newest.cursor - INTERVAL;
  }
  const { digests, steps: rest, lost } = await lastLife(data.path);
  steps += rest;

  t.diagnostic(`a flipped bit and a cut: ${steps} steps in all, ${lost} checkpoints given up`);
  assert.equal(rest, STEPS - from, 'from the checkpoint before the damaged one');
  assert.equal(lost, 2, 'the job says so');
  assert.ok(steps <= STEPS + 4 * INTERVAL, 'two kills and two lost checkpoints');
  assert.deepEqual(digests, await whole());
  await data.remove();
});
