/** The serving process of `heddle up` is killed several times in the middle of an activation pass; the last one finishes it. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connect, type Heddle } from '@heddle/client';
import { Rng } from '@heddle/core';
import { type Launched, launch, temporaryFolder } from '@heddle/testkit';

const MAIN = fileURLToPath(new URL('../../services/embedded/src/main.ts', import.meta.url));
const MODEL = fileURLToPath(new URL('../golden/models/gpt2', import.meta.url));
const DOCUMENTS = 9000;
const KILLS = 3;
const TRIES_MAX = 5;

interface Up {
  readonly process: Launched;
  readonly heddle: Heddle;
  /** Shards that this process has written, as its metrics say. */
  shards(): Promise<number>;
}

async function up(data: string): Promise<Up> {
  const env = { HEDDLE_DATA: data, HEDDLE_PORT: '0', HEDDLE_HTTP_PORT: '0' };
  const process = launch(MAIN, ['up', '--json'], { env });
  const [line] = await process.line(/^\{"address".*|^\{.*"address":.*"pages".*/);
  const { address, pages } = JSON.parse(line) as { address: string; pages: string };
  const shards = async (): Promise<number> => {
    const text = await (await fetch(`${pages}/metrics`)).text();
    return Number(/^activation_cached_shards_total (\d+)$/m.exec(text)?.[1] ?? 0);
  };
  return { process, heddle: connect(address), shards };
}

async function down({ process, heddle }: Up): Promise<void> {
  heddle.close();
  process.kill('SIGTERM');
  assert.equal((await process.exited).code, 0, process.stderr());
}

/** Documents of token ids that tests of the golden model may hold: 2 to 32 of them. */
async function corpusIn(folder: string): Promise<string> {
  const rng = new Rng(5);
  const lines = Array.from({ length: DOCUMENTS }, () => {
    const tokens = Array.from({ length: 2 + rng.below(31) }, () => rng.below(50));
    return JSON.stringify({ tokens });
  });
  const path = join(folder, 'corpus.jsonl');
  await writeFile(path, lines.join('\n'));
  return path;
}

const start = async ({ heddle }: Up, corpus: string): Promise<string> => {
  const hooks = ['blocks.*.ln1.hook_normalized', 'blocks.*.hook_attn_out'];
  const { job } = await heddle.activation.StartCacheActivations({ model: MODEL, hooks, corpus });
  return job?.id ?? '';
};

/** The manifest's digest, which stands for the bits of every shard. */
async function manifestOf({ heddle }: Up, id: string): Promise<[string, number]> {
  const job = await heddle.waitForJob(id);
  assert.equal(job.state, 'JOB_STATE_SUCCEEDED', JSON.stringify(job.error));
  const { artifacts, summary } = await heddle.outcome(id);
  return [artifacts.map(({ digest }) => digest).join(), Number(summary['shards'])];
}

test('an activation pass whose process is killed again and again ends with the same shards', async (t) => {
  const other = await temporaryFolder();
  const corpus = await corpusIn(other.path);
  const whole = await up(join(other.path, 'data'));
  const [expected, count] = await manifestOf(whole, await start(whole, corpus));
  assert.equal(await whole.shards(), count);
  await down(whole);

  let written = 0;
  // Kills that come when all is written are tried again: of a machine that keeps us from looking nothing else can be expected.
  for (let tries = 0; written === 0 && tries < TRIES_MAX; tries++) {
    const data = await temporaryFolder();
    const ids = new Set<string>();
    for (let kill = 0; kill < KILLS; kill++) ids.add(await oneLife(data.path, corpus));
    const last = await up(data.path);
    ids.add(await start(last, corpus));
    const [found] = await manifestOf(last, [...ids][0] ?? '');
    written = await last.shards();
    await down(last);
    await data.remove();

    t.diagnostic(`${count} shards; after ${KILLS} kills ${written} were still to be written`);
    assert.equal(ids.size, 1, 'asked again, the same job is meant');
    assert.equal(found, expected);
    assert.ok(written <= count - KILLS, 'each process left what it had saved');
  }
  assert.ok(written > 0, 'no kill came before the end');
  await other.remove();
});

/** A process that works on the pass until it has written something, and is killed then. */
async function oneLife(data: string, corpus: string): Promise<string> {
  const one = await up(data);
  const id = await start(one, corpus);
  // What others have written is all, where they were killed too late.
  const isOver = async (): Promise<boolean> =>
    (await one.shards()) > 0 || (await one.heddle.jobs.Get({ id })).job?.ended_ms !== undefined;
  while (!(await isOver()));
  one.process.kill('SIGKILL');
  assert.equal((await one.process.exited).signal, 'SIGKILL');
  one.heddle.close();
  return id;
}
