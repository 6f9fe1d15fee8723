import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { OperationError, Rng } from '@heddle/core';
import type { BlobDigest, Blobs } from '@heddle/ports';

export interface BlobsHarness {
  readonly blobs: Blobs;
  close(): Promise<void>;
}

/** What every Blobs must do. Each test gets a fresh one. */
export function blobsContract(name: string, open: () => Promise<BlobsHarness>): void {
  const contract = (sentence: string, body: (blobs: Blobs) => Promise<void>): void => {
    void test(`${name}: ${sentence}`, async () => {
      const harness = await open();
      try {
        await body(harness.blobs);
      } finally {
        await harness.close();
      }
    });
  };

  contract('bytes come back whole under the SHA-256 of themselves', async (blobs) => {
    for (const length of [0, 1, 70_000, 2_500_000]) {
      const bytes = noise(length);
      const stat = await blobs.put(bytes);

      assert.equal(stat.digest, digestOf(bytes));
      assert.equal(stat.bytes, length);
      assert.deepEqual(await blobs.read(stat.digest), bytes);
      assert.equal((await blobs.stat(stat.digest))?.bytes, length);
      const chunks: Uint8Array[] = [];
      for await (const chunk of blobs.get(stat.digest)) chunks.push(chunk);
      assert.ok(Buffer.concat(chunks).equals(bytes));
    }
  });

  contract('what is read can be viewed as numbers of any width', async (blobs) => {
    const { digest } = await blobs.put(new Uint8Array(new Float64Array([1, 2]).buffer));
    const bytes = await blobs.read(digest);

    assert.deepEqual([...new Float64Array(bytes.buffer, bytes.byteOffset, 2)], [1, 2]);
  });

  contract('a streamed blob is the same as one put whole', async (blobs) => {
    const bytes = noise(300_000);
    const stat = await blobs.put(pieces(bytes, 7_001));

    assert.equal(stat.digest, digestOf(bytes));
    assert.deepEqual(await blobs.read(stat.digest), bytes);
  });

  contract('a blob whose source breaks off does not exist', async (blobs) => {
    const bytes = noise(100_000);
    const broken = (async function* () {
      yield bytes.subarray(0, 50_000);
      throw new Error('the source broke');
    })();

    await assert.rejects(blobs.put(broken), /the source broke/);

    assert.deepEqual(await listed(blobs), []);
    assert.equal(await blobs.stat(digestOf(bytes.subarray(0, 50_000))), undefined);
  });

  contract('putting the same bytes again keeps one blob', async (blobs) => {
    const bytes = noise(5_000);
    const all = await Promise.all([blobs.put(bytes), blobs.put(bytes), blobs.put(bytes)]);

    assert.equal(new Set(all.map(({ digest }) => digest)).size, 1);
    assert.equal((await listed(blobs)).length, 1);
  });

  contract('an absent blob is not found', async (blobs) => {
    const nobody = digestOf(noise(3));

    await assert.rejects(blobs.read(nobody), code('not_found'));
    await assert.rejects(async () => {
      for await (const chunk of blobs.get(nobody)) assert.fail(`${chunk.length} bytes`);
    }, code('not_found'));
    assert.equal(await blobs.stat(nobody), undefined);
    await blobs.remove(nobody);
  });

  contract('a removed blob is gone, one put since the given time stays', async (blobs) => {
    const kept = await blobs.put(noise(10));
    const gone = await blobs.put(noise(11));

    await blobs.remove(kept.digest, { unlessModifiedSinceMs: kept.modifiedMs - 1 });
    await blobs.remove(gone.digest, { unlessModifiedSinceMs: gone.modifiedMs });

    assert.deepEqual(await listed(blobs), [kept.digest]);
  });

  contract('the list names every blob with its size', async (blobs) => {
    const stats = [await blobs.put(noise(10)), await blobs.put(noise(20))];
    const found: [BlobDigest, number][] = [];
    for await (const { digest, bytes } of blobs.list()) found.push([digest, bytes]);

    assert.deepEqual(new Map(found), new Map(stats.map(({ digest, bytes }) => [digest, bytes])));
  });
}

/** The same bytes for the same length. */
function noise(length: number): Uint8Array {
  const rng = new Rng(length);
  return Uint8Array.from({ length }, () => rng.below(256));
}

async function* pieces(bytes: Uint8Array, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.slice(at, at + length);
}

export function digestOf(bytes: Uint8Array): BlobDigest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

async function listed(blobs: Blobs): Promise<readonly BlobDigest[]> {
  const digests: BlobDigest[] = [];
  for await (const { digest } of blobs.list()) digests.push(digest);
  return digests;
}

function code(expected: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof OperationError);
    assert.equal(error.code, expected);
    return true;
  };
}
