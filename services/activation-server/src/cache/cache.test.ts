import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type JobKind, JobRuntime } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { LocalEvents } from '@heddle/adapters/events';
import { DirectoryBlobs } from '@heddle/adapters/fs';
import { folderHub, loadConfig, loadModel, programOf } from '@heddle/adapters/hub';
import { OrtEngine } from '@heddle/adapters/ort';
import { openSqlite } from '@heddle/adapters/sqlite';
import { Rng } from '@heddle/core';
import {
  type ActivationManifest,
  decodeHookShard,
  decodeTokensShard,
  readActivationManifest,
  shardBlobs,
} from '@heddle/formats';
import {
  type BlobDigest,
  type Blobs,
  decodeOutcome,
  type Handlers,
  type Init,
  TensorCollector,
  type Tokenizer,
} from '@heddle/ports';
import type {
  ActivationService,
  RunRequest,
  RunResponse,
  StartCacheActivationsRequest,
} from '@heddle/ports/proto/activation';
import type { Tensor } from '@heddle/tensor';
import { CountingMetrics, silentLog, temporaryFolder } from '@heddle/testkit';
import { gpt2Config, writeRandomModel } from '@heddle/testkit/random-model';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { ACTIVATION_METRICS, createService } from '../index.ts';

const HOOKS = ['blocks.0.ln1.hook_normalized', 'blocks.0.hook_attn_out', 'blocks.1.attn.hook_z'];
const BOS = 0;

/** A token for every letter, after one for the beginning. */
const LETTERS: Tokenizer = {
  encode: (text, { addSpecialTokens }) => [
    ...(addSpecialTokens ? [BOS] : []),
    ...[...text].map((letter) => 2 + ((letter.codePointAt(0) ?? 0) % 90)),
  ],
  decode: () => '',
  token: String,
  bosId: BOS,
  eosId: 1,
  vocabularySize: 100,
};

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let engine: OrtEngine;
const closers: (() => Promise<void>)[] = [];

before(async () => {
  folder = await temporaryFolder();
  engine = await OrtEngine.start();
  const sizes = { n_layer: 2, n_head: 2, n_embd: 16, vocab_size: 100, n_positions: 64 };
  await writeRandomModel(join(folder.path, 'model'), gpt2Config(sizes), 1);
});

after(async () => {
  for (const close of closers.reverse()) await close();
  await engine.close();
  await folder.remove();
});

interface World {
  readonly activation: Handlers<ActivationService>;
  readonly jobs: JobRuntime;
  readonly blobs: Blobs;
  readonly metrics: CountingMetrics;
}

/** One worker of a data folder: the service, its jobs and its stores. */
async function open(
  data: string,
  options: {
    readonly watched?: (blobs: Blobs) => Blobs;
    readonly retainedBytesMax?: number;
    readonly more?: readonly JobKind[];
  } = {},
): Promise<World> {
  const path = join(folder.path, data);
  await mkdir(path, { recursive: true });
  const clock = systemClock;
  const { journal, queue, close } = openSqlite(join(path, 'heddle.sqlite'), { clock });
  const directory = await DirectoryBlobs.open(join(path, 'blobs'));
  const blobs = options.watched?.(directory) ?? directory;
  const metrics = new CountingMetrics();
  const versions = { heddle: '0' };
  const ports = { journal, queue, blobs, clock, log: silentLog, metrics };
  const jobs = new JobRuntime({ ...ports, versions, events: new LocalEvents() });
  const service = await createService({
    ...ports,
    engine,
    hub: folderHub({ roots: [folder.path] }),
    store: { config: loadConfig, load: loadModel, program: programOf },
    openTokenizer: async () => LETTERS,
    jobs,
    bundledModel: join(folder.path, 'model'),
    versions,
    cacheSizes: { shardTokens: 160, taskTokens: 200 },
  });
  for (const kind of [...service.jobKinds, ...(options.more ?? [])]) {
    const { retainedBytesMax = 2 ** 30 } = options;
    jobs.register({ ...kind, limits: { ...kind.limits, retainedBytesMax } });
  }
  await jobs.start();
  closers.push(async () => {
    await jobs.stop(0);
    await close();
  });
  return { activation: service.handlers.activation ?? {}, jobs, blobs, metrics };
}

const call = { signal: new AbortController().signal, log: silentLog, method: 'test' };

async function start(
  { activation }: World,
  changes: Partial<Init<StartCacheActivationsRequest>>,
): Promise<string> {
  const request = {
    model: '',
    hooks: HOOKS,
    corpus: '',
    tokens_max: 0,
    dtype: 'ELEMENT_TYPE_UNSPECIFIED',
    client_key: '',
    context: 16,
    prompts: [],
    options: null,
    ...changes,
  } as StartCacheActivationsRequest;
  const reply = await activation.StartCacheActivations?.(request, call);
  return reply?.job?.id ?? '';
}

interface Pass {
  readonly id: string;
  readonly digest: BlobDigest;
  readonly manifest: ActivationManifest;
  readonly references: readonly BlobDigest[];
}

async function finished({ jobs, blobs }: World, id: string): Promise<Pass> {
  const view = await jobs.wait(id, call.signal);
  assert.equal(view.status, 'completed', view.error?.message);
  const { digest: result, references } = await jobs.result(id);
  const { artifacts } = decodeOutcome(await blobs.read(result));
  const { digest } = artifacts.find(({ name }) => name === 'activations.json') ?? assert.fail();
  return { id, digest, manifest: readActivationManifest(await blobs.read(digest)), references };
}

const pass = async (world: World, changes: Partial<Init<StartCacheActivationsRequest>>) =>
  finished(world, await start(world, changes));

/** Paragraphs of letters, as many and as long as the seed says. */
function paragraphs(count: number, seed = 1): readonly string[] {
  const rng = new Rng(seed);
  const letters = 'abcdefghijklmnopqrstuvwxyz '.split('');
  return Array.from({ length: count }, (_, i) =>
    `${i} ${Array.from({ length: 3 + rng.below(40) }, () => rng.pick(letters)).join('')}`.trim(),
  );
}

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder.path, name);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, content);
  return path;
}

const textFile = (name: string, count: number, seed = 1) =>
  file(name, paragraphs(count, seed).join('\n\n'));

/** What a plain run gives at a hook for each of these sequences. */
async function plainRun({ activation }: World, hooks: readonly string[], ids: readonly number[][]) {
  const request = {
    ...{ model: '', options: null, positions: [], interventions: [], gradient: '' },
    prompts: ids.map((tokens) => ({ id: '', tokens: { ids: tokens } })),
    hooks,
    dtype: 'ELEMENT_TYPE_F32',
    alone: true,
    loss_per_token: false,
  } as unknown as RunRequest;
  const collector = new TensorCollector(2 ** 28);
  const found = new Map<string, Tensor>();
  for await (const part of activation.Run?.(request, call) ?? []) {
    const done = collector.add(part as RunResponse);
    if (done) found.set(`${done.label.prompt} ${done.label.name}`, done.tensor);
  }
  return found;
}

/** Sequences of a pass, without their padding, each with its side. */
async function sequencesOf({ blobs }: World, { manifest }: Pass) {
  const out: { held_out: boolean; ids: number[]; valid: number[]; document: string }[] = [];
  for (const { blobs: named, held_out, pos } of manifest.shards) {
    const { tokens, valid, length, document } = decodeTokensShard(
      await blobs.read(named['tokens'] as BlobDigest),
    );
    [...length.data].forEach((count, b) => {
      out.push({
        held_out,
        ids: [...tokens.data.subarray(b * pos, b * pos + count)],
        valid: [...valid.data.subarray(b * pos, (b + 1) * pos)],
        document: Buffer.from(document.data.subarray(8 * b, 8 * b + 8)).toString('hex'),
      });
    });
  }
  return out;
}

test('shards hold the very bits that a run of their sequences gives, padded with zeros', async () => {
  const world = await open('bits');
  const made = await pass(world, { corpus: await textFile('bits.txt', 60) });
  const { manifest } = made;

  assert.ok(manifest.shards.length >= 6, `${manifest.shards.length} shards`);
  assert.deepEqual(manifest.hooks[2], { name: HOOKS[2], axes: ['head', 'd_head'], shape: [2, 8] });
  for (const shard of manifest.shards) {
    const blob = async (name: string) => world.blobs.read(shard.blobs[name] as BlobDigest);
    const { tokens, length, valid } = decodeTokensShard(await blob('tokens'));
    const ids = [...length.data].map((count, b) => [
      ...tokens.data.subarray(b * shard.pos, b * shard.pos + count),
    ]);
    const expected = await plainRun(world, HOOKS, ids);
    for (const hook of HOOKS) {
      const values = decodeHookShard(await blob(hook));
      const each = values.data.length / shard.sequences;
      ids.forEach((_, b) => {
        const own = values.data.subarray(b * each, (b + 1) * each);
        const plain = expected.get(`${b} ${hook}`)?.data as Float32Array;
        assert.deepEqual(own.subarray(0, plain.length), plain, hook);
        assert.ok(own.subarray(plain.length).every((value) => value === 0));
      });
    }
    assert.equal(valid.data.filter(Boolean).length, shard.valid);
    assert.ok(shard.sequences * shard.pos <= 160);
  }
});

test('sequences are the windows of each document in order; special tokens and padding count in nothing', async () => {
  const world = await open('windows');
  const texts = paragraphs(30, 3);
  const lines = texts.map((text) => JSON.stringify({ text }));
  const made = await pass(world, { corpus: await file('windows.jsonl', lines.join('\n')) });

  const sequences = await sequencesOf(world, made);
  const expected = texts.flatMap((text) => {
    const ids = LETTERS.encode(text, { addSpecialTokens: true });
    return Array.from({ length: Math.ceil(ids.length / 16) }, (_, i) =>
      ids.slice(16 * i, 16 * i + 16),
    ).filter(({ length }) => length > 1);
  });
  assert.deepEqual(
    sequences.map(({ ids }) => ids),
    expected,
  );
  for (const { ids, valid } of sequences) {
    assert.deepEqual(
      valid,
      Array.from(valid, (_, t) => Number(t < ids.length && ids[t] !== BOS)),
    );
  }
  const tokens = expected.reduce((sum, { length }) => sum + length, 0);
  assert.equal(made.manifest.train.tokens + made.manifest.held_out.tokens, tokens);
  assert.equal(made.manifest.train.documents + made.manifest.held_out.documents, texts.length);
});

test('the last tenth is held out in shards of its own, and shares no document with the rest', async () => {
  const world = await open('sides');
  const prompts = paragraphs(50, 4).map((text) => ({ id: '', text }));
  const sequences = await sequencesOf(world, await pass(world, { prompts }));

  const side = (held: boolean) =>
    new Set(sequences.filter(({ held_out }) => held_out === held).map(({ document }) => document));
  assert.equal(side(true).size, 5);
  assert.equal(side(false).size, 45);
  assert.equal(new Set([...side(true), ...side(false)]).size, 50);
});

test('the same question is one pass, whoever asks and wherever the text lies; another one is another', async () => {
  const world = await open('same');
  const corpus = await textFile('same.txt', 12);
  const [first, second] = await Promise.all([start(world, { corpus }), start(world, { corpus })]);
  const made = await finished(world, first);
  const tokens = world.metrics.value('activation_tokens_total');
  const reused = () =>
    world.metrics.value('activation_cache_requests_total', { outcome: 'reused' });
  const before = reused();
  const copy = await textFile('elsewhere/copy.txt', 12);
  const same = { corpus: copy, model: join(folder.path, 'model'), hooks: [...HOOKS].reverse() };

  assert.equal(second, first);
  assert.equal(await start(world, same), first);
  assert.equal(await start(world, { corpus, client_key: 'another' }), first);
  assert.equal(reused() - before, 2);
  assert.equal(world.metrics.value('activation_tokens_total'), tokens, 'nothing ran again');
  assert.equal(world.metrics.value('activation_cached_tokens_total'), tokens);
  const recorded = await world.metrics.text();
  const mine = ACTIVATION_METRICS.filter(({ name }) => name.startsWith('activation_cache'));
  assert.ok(mine.every(({ name }) => recorded.includes(name)));

  const others = [
    { corpus, context: 15 },
    { corpus, tokens_max: 100 },
    { corpus, dtype: 'ELEMENT_TYPE_F16' as const },
    { corpus, hooks: HOOKS.slice(1) },
    { corpus, options: { bos: false, no_special: true } },
    { corpus: await textFile('other.txt', 12, 9) },
  ];
  const ids = new Set([first]);
  for (const other of others) ids.add((await pass(world, other)).id);
  assert.equal(ids.size, others.length + 1);
  assert.deepEqual((await world.jobs.get(made.id)).pinned, false);
});

test('half precision is the full one rounded, in half the bytes', async () => {
  const world = await open('half');
  const corpus = await textFile('half.txt', 20);
  const full = await pass(world, { corpus });
  const half = await pass(world, { corpus, dtype: 'ELEMENT_TYPE_F16' });
  const hook = HOOKS[0] as string;
  for (const [i, shard] of full.manifest.shards.entries()) {
    const a = decodeHookShard(await world.blobs.read(shard.blobs[hook] as BlobDigest));
    const digest = half.manifest.shards[i]?.blobs[hook] as BlobDigest;
    const b = decodeHookShard(await world.blobs.read(digest));
    assert.ok(
      a.data.every((x, j) => Math.abs(x - (b.data[j] ?? NaN)) <= 2 ** -10 * Math.abs(x) + 1e-7),
    );
  }
  assert.ok(half.manifest.bytes < 0.7 * full.manifest.bytes);
});

test('tokens_max takes its share of every part of the corpus, and never more', async () => {
  const world = await open('spread');
  const texts = Array.from({ length: 400 }, (_, i) => `${i} `.padEnd(80, 'abc ').trim());
  const lines = texts.map((text) => JSON.stringify({ text }));
  const corpus = await file('spread.jsonl', lines.join('\n'));
  const made = await pass(world, { corpus, tokens_max: 2000 });
  const { train, held_out } = made.manifest;

  assert.ok(train.tokens + held_out.tokens <= 2000);
  assert.ok(train.tokens + held_out.tokens >= 1900, `${train.tokens} + ${held_out.tokens}`);
  assert.ok(Math.abs(held_out.tokens - 200) <= 30, `${held_out.tokens} held out`);
  const documents = new Set((await sequencesOf(world, made)).map(({ document }) => document));
  const order = texts.map((text) => createHash('sha256').update(text).digest('hex').slice(0, 16));
  const tenths = new Set(
    [...documents].map((document) => Math.floor(order.indexOf(document) / 40)),
  );
  assert.equal(tenths.size, 10, 'some of every tenth');
});

test('two workers on one store share the tasks, and make what one makes', async () => {
  const corpus = await textFile('shared.txt', 50);
  const alone = await pass(await open('one-worker'), { corpus });
  let release = () => {};
  const both = new Promise<void>((resolve) => {
    release = resolve;
  });
  const arrived = new Set<string>();
  // Each worker's first blob waits for the other's: only then can both have had a task.
  const watched =
    (name: string) =>
    (blobs: Blobs): Blobs => ({
      put: async (source) => {
        arrived.add(name);
        if (arrived.size === 2) release();
        await both;
        return blobs.put(source);
      },
      get: (digest) => blobs.get(digest),
      read: (digest) => blobs.read(digest),
      stat: (digest) => blobs.stat(digest),
      remove: (digest, options) => blobs.remove(digest, options),
      list: () => blobs.list(),
    });
  const first = await open('two-workers', { watched: watched('first') });
  const second = await open('two-workers', { watched: watched('second') });

  const shared = await pass(first, { corpus });

  assert.deepEqual(arrived, new Set(['first', 'second']));
  assert.ok(second.metrics.value('activation_cached_shards_total') > 0);
  assert.equal(shared.digest, alone.digest);
});

/** What a training does: its result names the shards that it still reads. */
const keeper: JobKind = {
  kind: 'test.keep',
  split: () => [{ input: null }],
  run: async ({ request }) => ({
    bytes: new TextEncoder().encode('{}'),
    references: (request as { blobs: readonly BlobDigest[] }).blobs,
  }),
};

const present = async ({ blobs }: World, digests: readonly BlobDigest[]): Promise<number> => {
  let count = 0;
  for (const digest of digests) if (await blobs.stat(digest)) count++;
  return count;
};

test('shards are freed with their pass but for those that a kept job names; asked again, they are made again', async () => {
  const world = await open('freed', { more: [keeper] });
  const corpus = await textFile('freed.txt', 40);
  const made = await pass(world, { corpus });
  const mine = shardBlobs(made.manifest, [HOOKS[1] as string]);
  const all = shardBlobs(made.manifest);
  const { id } = await world.jobs.submit('test.keep', { blobs: mine }, { pinned: true });
  await world.jobs.wait(id, call.signal);
  await world.jobs.gc({});
  assert.equal(await present(world, mine), mine.length);
  assert.equal(await present(world, all), mine.length);
  const again = await pass(world, { corpus });
  assert.equal(again.digest, made.digest, 'the same question has the same answer');
  assert.equal(await present(world, all), all.length);
  await world.blobs.remove(all.find((digest) => !mine.includes(digest)) as BlobDigest);
  const repaired = await pass(world, { corpus });
  assert.notEqual(repaired.id, again.id, 'a pass that lost a blob is no answer');
  assert.equal(repaired.digest, made.digest);
});

test('past the budget the pass that nobody asked for longest goes first', async () => {
  const [older, newer] = [await textFile('older.txt', 20, 5), await textFile('newer.txt', 20, 6)];
  const { manifest } = await pass(await open('measure'), { corpus: older });
  const world = await open('budget', { retainedBytesMax: Math.floor(1.5 * manifest.bytes) });
  const first = await pass(world, { corpus: older });
  const second = await pass(world, { corpus: newer });
  assert.equal(await start(world, { corpus: older }), first.id);

  const { jobs } = await world.jobs.gc({ withinBudgets: true });

  assert.deepEqual(
    jobs.map(({ id, reason }) => [id, reason]),
    [[second.id, 'budget']],
  );
  assert.equal(await present(world, first.references), first.references.length);
});

test('jsonl, parquet and folders of them are read; prompts go into a blob and not into the journal', async () => {
  const world = await open('kinds');
  const texts = paragraphs(20, 7);
  const lines = texts.map((text, i) =>
    JSON.stringify(i % 2 ? { text } : { tokens: [5, 6, 7 + (i % 50)] }),
  );
  const jsonl = await file('kinds/a.jsonl', `\uFEFF${lines.join('\r\n')}\r\n`);
  const column = { columnData: [{ name: 'text', data: [...texts] }], rowGroupSize: 8 };
  await file('kinds/below/b.parquet', new Uint8Array(parquetWriteBuffer(column)));
  await textFile('kinds/c.txt', 20, 8);
  await file('kinds/README.md', 'about it');
  await file('kinds/picture.png', Uint8Array.of(0xff, 0xd8));

  const one = await pass(world, { corpus: jsonl });
  assert.equal(one.manifest.train.documents + one.manifest.held_out.documents, 20);
  const all = await pass(world, { corpus: join(folder.path, 'kinds') });
  assert.equal(all.manifest.train.documents + all.manifest.held_out.documents, 60);
  assert.ok(all.manifest.held_out.documents >= 6, 'the last tenth of each file');

  const prompts = texts.map((text) => ({ id: '', text }));
  const asked = await pass(world, { prompts });
  const { request } = await world.jobs.get(asked.id);
  assert.ok(!JSON.stringify(request).includes(texts[3] as string));
  assert.ok(asked.references.includes((request as { prompts: BlobDigest }).prompts));
  assert.equal(asked.manifest.corpus, 'prompts');
});

test('files of one document are held out as files', async () => {
  const world = await open('files');
  for (const [i, text] of paragraphs(12, 2).entries()) await file(`files/${10 + i}.txt`, text);
  const { manifest } = await pass(world, { corpus: join(folder.path, 'files') });
  assert.deepEqual([manifest.train.documents, manifest.held_out.documents], [11, 1]);
  const { manifest: one } = await pass(world, { prompts: [{ id: '', text: 'only one' }] });
  assert.equal(one.held_out.sequences, 0, 'what needs both sides says so itself');
  const id = await start(world, { prompts: [{ id: '', tokens: { ids: [3] } }] });
  const { error } = await world.jobs.wait(id, call.signal);
  assert.match(error?.message ?? '', /no document of two tokens/);
});

test('a token that the model lacks fails the job with file and line, and the next asking is a new job', async () => {
  const world = await open('failing');
  const lines = ['{"tokens":[1,2,3]}', '{"tokens":[4,100]}', '{"tokens":[5,6]}'];
  const corpus = await file('failing.jsonl', lines.join('\n'));
  const id = await start(world, { corpus });
  const { status, error } = await world.jobs.wait(id, call.signal);
  assert.equal(status, 'failed');
  assert.match(error?.message ?? '', /failing\.jsonl line 2: 100 is no token/);
  assert.notEqual(await start(world, { corpus }), id);
});
