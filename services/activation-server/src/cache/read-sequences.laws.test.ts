import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { systemClock } from '@heddle/adapters/clock';
import { Rng } from '@heddle/core';
import { corpusFormat } from '@heddle/formats';
import type { Hub, ModelFolder } from '@heddle/ports';
import { MemoryBlobs } from '@heddle/testkit';
import { Corpora, type IndexedCorpus } from './corpora.ts';
import { type CacheTask, planTasks } from './plan-tasks.ts';
import { type Position, readSequences, type Sequence } from './read-sequences.ts';

/** A corpus of files in memory. */
async function corpusOf(files: Readonly<Record<string, string>>): Promise<IndexedCorpus> {
  const open = async (name: string) => {
    const bytes = new TextEncoder().encode(files[name]);
    const read = async (offset: number, length: number) => bytes.slice(offset, offset + length);
    return { path: name, bytes: bytes.length, modifiedMs: 1, read, close: async () => {} };
  };
  const folder = { path: '/c', files: Object.keys(files), open } as unknown as ModelFolder;
  const hub: Hub = { open: async () => folder };
  return new Corpora({ hub, blobs: new MemoryBlobs(systemClock) }).open({ path: '/c' });
}

const OPTIONS = {
  context: 8,
  special: new Set([0]),
  encode: ({
    text,
    tokens,
  }: {
    text?: string | undefined;
    tokens?: readonly number[] | undefined;
  }) => tokens ?? [0, ...new TextEncoder().encode(text)],
};

/** Some files of either kind, with documents of one to sixty tokens. */
function wildFiles(rng: Rng): Record<string, string> {
  const files: Record<string, string> = {};
  for (let f = 0; f < 1 + rng.below(5); f++) {
    const name = `${f}.${rng.pick(['txt', 'jsonl'])}`;
    const count = rng.pick([1, 2, 7, 300]);
    const texts = Array.from({ length: count }, (_, i) =>
      `${f}.${i}`.padEnd(1 + rng.below(60), 'x'),
    );
    const jsonl = corpusFormat(name) === 'jsonl';
    const line = (text: string): string =>
      JSON.stringify(
        rng.uniform() < 0.5 ? { text } : { tokens: [7, ...new TextEncoder().encode(text)] },
      );
    files[name] = jsonl ? texts.map(line).join('\n') : texts.join('\n\n');
  }
  return files;
}

async function sequencesOf(corpus: IndexedCorpus, task: CacheTask, from?: Position) {
  const sequences: Sequence[] = [];
  for await (const each of readSequences(corpus, task, OPTIONS, from)) sequences.push(each);
  return sequences;
}

const idsOf = (sequences: readonly Sequence[]) => sequences.map(({ ids }) => ids);

test('however a corpus is cut into tasks, together they give each sequence of each side once and in order', async () => {
  for (let seed = 0; seed < 25; seed++) {
    const corpus = await corpusOf(wildFiles(new Rng(seed)));
    const sides = async (taskTokens: number) => {
      const tasks = planTasks(corpus, { tokens_max: 0, context: 8 }, taskTokens);
      const read = new Map<boolean, (readonly number[])[]>();
      for (const task of tasks) {
        const ids = idsOf(await sequencesOf(corpus, task));
        read.set(task.held_out, [...(read.get(task.held_out) ?? []), ...ids]);
      }
      return { read, tasks: tasks.length };
    };
    const whole = await sides(Number.MAX_SAFE_INTEGER);
    const cut = await sides(100);
    assert.ok(isDeepStrictEqual(cut.read, whole.read), `seed ${seed}: ${cut.tasks} tasks`);
    assert.ok(whole.tasks <= 2);
  }
});

test('from the position of any sequence come exactly those after it', async () => {
  for (let seed = 0; seed < 12; seed++) {
    const rng = new Rng(seed);
    const corpus = await corpusOf(wildFiles(rng));
    const tokens_max = rng.pick([0, 500, 2000]);
    for (const task of planTasks(corpus, { tokens_max, context: 8 }, 1000)) {
      const all = await sequencesOf(corpus, task);
      for (const i of [0, Math.floor(all.length / 2), all.length - 1]) {
        const saved = JSON.parse(JSON.stringify(all[i]?.next ?? null)) as Position | null;
        if (saved === null) continue;
        const rest = await sequencesOf(corpus, task, saved);
        assert.ok(isDeepStrictEqual(rest, all.slice(i + 1)), `seed ${seed}, after sequence ${i}`);
      }
    }
  }
});

test('a budget is never passed, is kept nearly where there is more text, and begins in many places', async () => {
  for (let seed = 0; seed < 12; seed++) {
    const rng = new Rng(seed);
    const texts = Array.from({ length: 3000 }, (_, i) => `${i} `.padEnd(20 + rng.below(40), 'x'));
    const corpus = await corpusOf({ 'a.txt': texts.join('\n\n') });
    const tokens_max = 200 + rng.below(10_000);
    const tasks = planTasks(corpus, { tokens_max, context: 8 }, 2000);
    let tokens = 0;
    for (const task of tasks) {
      const sequences = await sequencesOf(corpus, task);
      tokens += sequences.reduce((sum, { ids }) => sum + ids.length, 0);
    }
    const stretches = tasks.reduce((sum, task) => sum + task.stretches.length, 0);
    assert.ok(
      tokens <= tokens_max && tokens >= tokens_max - stretches,
      `${tokens} of ${tokens_max}`,
    );
    const wanted = Math.min(80, Math.floor((0.8 * tokens_max) / 64));
    assert.ok(stretches >= wanted, `${stretches} stretches, ${wanted} expected`);
  }
});
