import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlobDigest, Blobs } from '@heddle/ports';
import { MemoryBlobs, VirtualClock } from '@heddle/testkit';
import { SizedBlobs } from './sized-blobs.ts';

function world() {
  const store = new MemoryBlobs(new VirtualClock());
  const asked: BlobDigest[] = [];
  const counting: Blobs = Object.assign(Object.create(store) as Blobs, {
    stat: (digest: BlobDigest) => {
      asked.push(digest);
      return store.stat(digest);
    },
  });
  return { store, asked, blobs: new SizedBlobs(counting) };
}

test('what was written or read is summed without a question, each blob once', async () => {
  const { store, asked, blobs } = world();
  const { digest: written } = await blobs.put(new Uint8Array(7));
  const { digest: read } = await store.put(new Uint8Array(11));
  const { digest: strange } = await store.put(new Uint8Array(13));
  await blobs.read(read);

  assert.equal(await blobs.bytesOf([written, read, written]), 18);
  assert.deepEqual(asked, []);

  assert.equal(await blobs.bytesOf([written, strange]), 20);
  assert.equal(await blobs.bytesOf([strange]), 13);
  assert.deepEqual(asked, [strange], 'asked once');
});

test('whether a blob is there is asked of the store each time, and what was removed counts nothing', async () => {
  const { store, asked, blobs } = world();
  const { digest } = await blobs.put(new Uint8Array(7));
  await store.remove(digest); // by another process

  assert.equal(await blobs.stat(digest), undefined);

  const { digest: own } = await blobs.put(new Uint8Array(9));
  await blobs.remove(own);
  assert.equal(await blobs.bytesOf([own]), 0);
  assert.deepEqual(asked, [digest, own]);
});
