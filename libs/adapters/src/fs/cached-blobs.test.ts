import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { OperationError } from '@heddle/core';
import type { BlobDigest } from '@heddle/ports';
import { MemoryBlobs, silentLog, temporaryFolder } from '@heddle/testkit';
import { systemClock } from '../clock/index.ts';
import { CachedBlobs } from './index.ts';

const folders: { remove(): Promise<void> }[] = [];
after(() => Promise.all(folders.map((folder) => folder.remove())));

/** A store that counts who reads from it. */
class FarBlobs extends MemoryBlobs {
  reads = 0;

  override read(digest: BlobDigest): Promise<Uint8Array> {
    this.reads += 1;
    return super.read(digest);
  }
}

async function world(bytesMax = 1_000_000) {
  const folder = await temporaryFolder();
  folders.push(folder);
  const far = new FarBlobs(systemClock);
  const open = () =>
    CachedBlobs.open({ blobs: far, directory: folder.path, bytesMax, log: silentLog });
  return { far, directory: folder.path, cached: await open(), open };
}

const put = async (far: FarBlobs, bytes: number): Promise<BlobDigest> =>
  (await far.put(randomBytes(bytes))).digest;

async function read(cached: CachedBlobs, digest: BlobDigest, times: number): Promise<void> {
  for (let i = 0; i < times; i++) await cached.read(digest);
}

test('what is read again and again is fetched twice, also by the next process; what is read once is not copied', async () => {
  const { far, directory, cached, open } = await world();
  const [often, once] = [await put(far, 1_000), await put(far, 1_000)];

  await read(cached, often, 10);
  await read(cached, once, 1);

  assert.equal(far.reads, 2 + 1);
  await read(await open(), often, 3);
  assert.equal(far.reads, 2 + 1);
  const kept = (await readdir(directory, { recursive: true })).filter((name) => name.length > 60);
  assert.equal(kept.length, 1);
});

test('copies stay within their budget, the longest unused gives way; what is too large is never copied', async () => {
  const { far, cached } = await world(1_000);
  const [a, b, c] = [await put(far, 400), await put(far, 400), await put(far, 400)] as const;
  const large = await put(far, 600);
  for (const digest of [a, b]) await read(cached, digest, 2);
  await read(cached, a, 1);
  await read(cached, c, 2); // in the place of b
  await read(cached, large, 2);
  far.reads = 0;

  for (const digest of [a, c]) await read(cached, digest, 1);
  assert.equal(far.reads, 0);
  for (const digest of [b, large]) await read(cached, digest, 1);
  assert.equal(far.reads, 2);
});

test('a copy that has rotted is read from the store instead, and one that was removed is gone', async () => {
  const { far, directory, cached } = await world();
  const digest = await put(far, 1_000);
  await read(cached, digest, 2);
  const hex = digest.slice('sha256:'.length);
  await writeFile(join(directory, hex.slice(0, 2), hex), randomBytes(1_000));
  far.reads = 0;

  assert.deepEqual(await cached.read(digest), await far.read(digest));
  await read(cached, digest, 2);
  await cached.remove(digest);

  await assert.rejects(
    cached.read(digest),
    (thrown) => OperationError.from(thrown).code === 'not_found',
  );
});
