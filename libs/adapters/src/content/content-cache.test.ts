/** The cache of models: one fetch for everybody, the budget, and files that are not what they were. */
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import type { BlobDigest, ContentFile } from '@heddle/ports';
import { digestOf } from '@heddle/testkit/contracts/blobs-contract';
import { CountingMetrics, silentLog } from '@heddle/testkit/quiet';
import { MemoryBlobs } from '@heddle/testkit/simulated/memory-blobs';
import { temporaryFolder } from '@heddle/testkit/temporary-folder';
import { systemClock } from '../clock/index.ts';
import { DirectoryBlobs } from '../fs/index.ts';
import { encodeList } from './content-list.ts';
import { CONTENT_METRICS, ContentCache, type ContentCacheOptions, contentHub } from './index.ts';

/** Counts what is read of it, and fails or waits where a test says so. */
class WatchedBlobs extends MemoryBlobs {
  readonly gets: BlobDigest[] = [];
  before: (digest: BlobDigest) => Promise<void> = async () => {};

  override async *get(digest: BlobDigest): AsyncGenerator<Uint8Array> {
    this.gets.push(digest);
    await this.before(digest);
    yield* super.get(digest);
  }
}

let root: Awaited<ReturnType<typeof temporaryFolder>>;
let blobs: WatchedBlobs;
let directory: string;
let metrics: CountingMetrics;
let count = 0;
const open: ContentCache[] = [];

before(async () => {
  root = await temporaryFolder();
});
after(async () => {
  for (const cache of open) await cache.close();
  await root.remove();
});
beforeEach(() => {
  blobs = new WatchedBlobs(systemClock);
  directory = join(root.path, String(count++));
  metrics = new CountingMetrics();
  metrics.register(CONTENT_METRICS);
});

async function cacheOf(options: Partial<ContentCacheOptions> = {}): Promise<ContentCache> {
  const ports = { blobs, clock: systemClock, log: silentLog, metrics };
  const cache = await ContentCache.open({ directory, bytesMax: 10_000, ...ports, ...options });
  open.push(cache);
  return cache;
}

const bytesOf = (seed: number, length: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed) % 256);

/** A content of a config and weights; `seed` makes them others. */
async function content(seed: number, weightBytes = 2000) {
  const config = bytesOf(seed, 100);
  const weights = bytesOf(seed + 1, weightBytes);
  const files: ContentFile[] = [];
  for (const [name, bytes] of [
    ['config.json', config],
    ['model.safetensors', weights],
  ] as const) {
    files.push({ name, bytes: bytes.length, digest: (await blobs.put(bytes)).digest });
  }
  const { digest } = await blobs.put(encodeList(files));
  return { reference: `content:${digest}`, config, weights };
}

async function use(cache: ContentCache, reference: string): Promise<string> {
  const { path, release } = await cache.hold(reference);
  release();
  return path;
}

test('a content is fetched once, and its files are plain files with the right bytes', async () => {
  const { reference, config, weights } = await content(1);
  const cache = await cacheOf();
  assert.equal(await cache.has(reference), false);

  const path = await use(cache, reference);
  await use(cache, reference);

  assert.deepEqual(readdirSync(path).sort(), ['config.json', 'model.safetensors']);
  assert.deepEqual(readFileSync(join(path, 'config.json')), Buffer.from(config));
  assert.deepEqual(readFileSync(join(path, 'model.safetensors')), Buffer.from(weights));
  assert.equal(blobs.gets.length, 2);
  assert.equal(await cache.has(reference), true);
  assert.equal(metrics.value('models_fetched_bytes_total'), 2100);
  assert.equal(metrics.value('models_cache_bytes'), 2100);
});

test('callers at the same time, also of two processes that share the folder, share one fetch', async () => {
  const { reference } = await content(2);
  const [one, other] = [await cacheOf(), await cacheOf()];

  const paths = await Promise.all([one, one, other, other].map((cache) => use(cache, reference)));

  assert.equal(new Set(paths).size, 1);
  assert.equal(blobs.gets.length, 2);
});

test('a caller who gives up does not take the fetch from the others', async () => {
  const { reference } = await content(3);
  const cache = await cacheOf();
  const gate = Promise.withResolvers<void>();
  blobs.before = () => gate.promise;
  const impatient = new AbortController();

  const given = cache.hold(reference, { signal: impatient.signal });
  const patient = use(cache, reference);
  impatient.abort();
  await assert.rejects(given, { name: 'AbortError' });
  gate.resolve();

  assert.ok(existsSync(join(await patient, 'config.json')));
  assert.equal(blobs.gets.length, 2);
});

test('under the budget the longest unused gives way, and comes back when it is asked for', async () => {
  const cache = await cacheOf({ bytesMax: 5000 });
  const [a, b, c] = [await content(10), await content(20), await content(30)];
  const [inA, inB] = [await use(cache, a.reference), await use(cache, b.reference)];
  await use(cache, a.reference); // b is now the longest unused

  await use(cache, c.reference);

  assert.deepEqual([existsSync(inA), existsSync(inB)], [true, false]);
  assert.equal(metrics.value('models_evictions_total'), 1);
  assert.ok(metrics.value('models_cache_bytes') <= 5000);
  await use(cache, b.reference);
  assert.deepEqual([existsSync(inA), existsSync(inB)], [false, true]);
});

test('what is in use is not evicted, here or by another process: the newcomer is refused with the numbers', async () => {
  const [cache, other] = [await cacheOf({ bytesMax: 5000 }), await cacheOf({ bytesMax: 5000 })];
  const [a, b, c] = [await content(40), await content(50), await content(60)];
  const [held, too] = [await cache.hold(a.reference), await other.hold(b.reference)];

  for (const asked of [cache, other]) {
    await assert.rejects(asked.hold(c.reference), {
      code: 'resource_exhausted',
      retryable: true,
      details: { bytes: 2100, limit: 5000, inUse: 4200 },
    });
  }
  assert.ok(existsSync(held.path) && existsSync(too.path));
  held.release();
  held.release(); // twice is once
  await use(cache, c.reference);
  assert.deepEqual([existsSync(held.path), existsSync(too.path)], [false, true]);
});

test('a lease whose process is silent for minutes keeps nothing', async () => {
  const cache = await cacheOf({ bytesMax: 3000 });
  const [a, b] = [await content(41), await content(51)];
  const path = await use(cache, a.reference);
  const lease = join(directory, 'leases', `${a.reference.slice('content:sha256:'.length)}.killed`);
  writeFileSync(lease, '');
  await assert.rejects(cache.hold(b.reference), { code: 'resource_exhausted' });
  const past = new Date(Date.now() - 10 * 60_000);
  utimesSync(lease, past, past);

  await use(cache, b.reference);
  assert.equal(existsSync(path), false);
});

test('a lock that a killed process left is taken over', async () => {
  const { reference } = await content(42);
  const cache = await cacheOf();
  const lock = join(directory, 'locks', reference.slice('content:sha256:'.length));
  writeFileSync(lock, 'killed');
  const past = new Date(Date.now() - 60_000);
  utimesSync(lock, past, past);

  await use(cache, reference);
  assert.equal(existsSync(lock), false);
});

test('a model larger than the budget is refused for good, before a byte is fetched', async () => {
  const { reference } = await content(70, 20_000);
  await assert.rejects((await cacheOf()).hold(reference), {
    code: 'resource_exhausted',
    retryable: false,
    details: { bytes: 20_100, limit: 10_000 },
  });
  assert.equal(blobs.gets.length, 0);
});

test('a file that was changed, cut or removed is fetched again, and only that one', async () => {
  const { reference, weights } = await content(80);
  const cache = await cacheOf();
  const path = join(await use(cache, reference), 'model.safetensors');
  const damages: (() => void)[] = [
    () => writeFileSync(path, bytesOf(0, weights.length)),
    () => writeFileSync(path, weights.subarray(0, 10)),
  ];
  for (const damage of damages) {
    blobs.gets.length = 0;
    damage();
    await use(cache, reference);
    assert.deepEqual(readFileSync(path), Buffer.from(weights));
    assert.deepEqual(blobs.gets, [digestOf(weights)]);
  }
  assert.equal(metrics.value('models_opened_total', { outcome: 'repaired' }), 2);
});

test('a rotten byte behind the same size and time is found when every byte is asked to be looked at', async () => {
  const { reference, weights } = await content(90);
  const cache = await cacheOf();
  const path = join(await use(cache, reference), 'model.safetensors');
  const { atime, mtime } = statSync(path);
  const { mtimeMs } = statSync(path);
  utimesSync(path, atime, Math.floor(mtime.getTime() / 1000));
  await use(cache, reference); // the record now knows a time that can be set again
  const known = statSync(path).mtimeMs;
  assert.notEqual(known, mtimeMs);
  const rotten = Uint8Array.from(weights);
  rotten[1000] = (rotten[1000] ?? 0) ^ 1;
  writeFileSync(path, rotten);
  utimesSync(path, atime, known / 1000);
  await use(cache, reference);
  assert.deepEqual(readFileSync(path), Buffer.from(rotten), 'size and time say nothing');

  const hub = contentHub({ folders: { open: () => Promise.reject() }, cache, shared: true });
  const folder = await hub.open(reference, { verify: true });
  folder.release?.();

  assert.deepEqual(readFileSync(path), Buffer.from(weights));
});

test('a fetch that breaks leaves nothing that counts as there, and the next goes on after the files that came', async () => {
  const { reference, weights } = await content(100);
  const cache = await cacheOf();
  blobs.before = async (digest) => {
    if (digest === digestOf(weights)) throw new Error('the store is away');
  };
  await assert.rejects(cache.hold(reference), /the store is away/);
  assert.equal(await cache.has(reference), false);
  blobs.before = async () => {};
  blobs.gets.length = 0;

  await use(await cacheOf(), reference);
  assert.deepEqual(blobs.gets, [digestOf(weights)]);
});

test('a store that gives other bytes than those named is told, and they are not kept', async () => {
  const { reference, weights } = await content(110);
  const lying = Object.assign(Object.create(blobs) as WatchedBlobs, {
    async *get(digest: BlobDigest) {
      yield digest === digestOf(weights) ? bytesOf(0, 2000) : await blobs.read(digest);
    },
  });
  const cache = await cacheOf({ blobs: lying });
  await assert.rejects(cache.hold(reference), { code: 'data_loss' });
  const [folder] = readdirSync(join(directory, 'files'));
  assert.deepEqual(readdirSync(join(directory, 'files', folder ?? '')), ['config.json']);
});

test('where the blob store is a folder of this process, a content is no second copy, and needs no room', async () => {
  const store = await DirectoryBlobs.open(join(root.path, `blobs-${count}`));
  const bytes = bytesOf(5, 20_000);
  const { digest } = await store.put(bytes);
  const files = [{ name: 'model.safetensors', bytes: bytes.length, digest }];
  const reference = `content:${(await store.put(encodeList(files))).digest}`;
  const cache = await cacheOf({ blobs: store, link: (d, path) => store.linkTo(d, path) });

  const path = join(await use(cache, reference), 'model.safetensors');

  assert.equal(statSync(path).nlink, 2);
  assert.equal(metrics.value('models_cache_bytes'), 0);
  await cache.keepOnly(new Set([reference]));
  assert.ok(existsSync(path));
  await cache.keepOnly(new Set());
  assert.equal(existsSync(path), false);
});

test('what killed processes left is swept: folders without a record count, and give way', async () => {
  const hex = 'c'.repeat(64);
  const left = join(directory, 'files', hex);
  mkdirSync(left, { recursive: true });
  writeFileSync(join(left, 'model.safetensors'), bytesOf(1, 9000));
  const cache = await cacheOf();
  assert.equal(metrics.value('models_cache_bytes'), 9000);

  await use(cache, (await content(120)).reference);
  assert.equal(existsSync(left), false);
});

test('a folder that only another replica sees is refused in words that say how to bring it to all', async () => {
  const { folderHub } = await import('../hub/index.ts');
  const folders = folderHub({ roots: 'any' });
  const hub = contentHub({ folders, cache: await cacheOf(), shared: true });

  await assert.rejects(hub.open('/nowhere/model'), {
    code: 'not_found',
    message: /`heddle model add \/nowhere\/model`/,
  });
  await assert.rejects(hub.open('hf:o/m'), {
    code: 'not_found',
    message: /`heddle model add hf:o\/m`/,
  });
});
