import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import type { Blobs, Journal, WorkQueue } from '@heddle/ports';
import { CountingMetrics, deafEvents, VirtualClock } from '@heddle/testkit';
import { meteredBlobs, meteredStores } from './metered-stores.ts';
import { STORE_METRICS } from './metrics.ts';

function metering() {
  const metrics = new CountingMetrics();
  metrics.register(STORE_METRICS);
  const count = (operation: string, outcome: string): number =>
    metrics.value('stores_operations_total', { operation, outcome });
  return { metrics, clock: new VirtualClock(), count };
}

const DIGEST = `sha256:${'0'.repeat(64)}` as const;

test('operations are counted by how they ended, and what fails still fails', async () => {
  const { count, ...deps } = metering();
  const full = new OperationError({ code: 'resource_exhausted', message: 'full' });
  const journal = {
    append: () => Promise.reject(full),
    read: async () => [],
  } as Partial<Journal> as Journal;
  const queue = { push: async () => undefined } as Partial<WorkQueue> as WorkQueue;
  const stores = meteredStores({ journal, queue, events: deafEvents, blobs: {} as Blobs }, deps);

  await assert.rejects(stores.journal.append('a', 0, []), full);
  await stores.journal.read('a');
  await stores.queue.push('q', 'k', new Uint8Array());

  assert.equal(count('journal.append', 'resource_exhausted'), 1);
  assert.equal(count('journal.append', 'ok'), 0);
  assert.equal(count('journal.read', 'ok'), 1);
  assert.equal(count('queue.push', 'ok'), 1);
});

test('bytes are counted in both directions, also of a stream that its reader leaves, and one that breaks', async () => {
  const { count, ...deps } = metering();
  let breaks = false;
  const blobs = meteredBlobs(
    {
      put: async () => ({ digest: DIGEST, bytes: 5, modifiedMs: 0 }),
      read: async () => new Uint8Array(7),
      async *get() {
        yield new Uint8Array(10);
        if (breaks) throw new OperationError({ code: 'data_loss', message: 'rotten' });
        yield new Uint8Array(100);
      },
    } as Partial<Blobs> as Blobs,
    deps,
  );
  const bytes = (direction: string): number =>
    deps.metrics.value('stores_blob_bytes_total', { direction });

  await blobs.put(new Uint8Array(5));
  await blobs.read(DIGEST);
  for await (const _ of blobs.get(DIGEST)) break;
  assert.equal(bytes('written'), 5);
  assert.equal(bytes('read'), 17);
  assert.equal(count('blobs.get', 'ok'), 1);

  breaks = true;
  await assert.rejects(async () => {
    for await (const _ of blobs.get(DIGEST));
  }, /rotten/);
  assert.equal(count('blobs.get', 'data_loss'), 1);
  assert.equal(count('blobs.get', 'ok'), 1);
});

test('what an adapter has beyond its port is there, on the adapter itself', () => {
  class Directory {
    #links = 0;
    linkTo(): number {
      this.#links += 1;
      return this.#links;
    }
    stat(): undefined {}
  }
  const blobs = meteredBlobs(new Directory() as unknown as Blobs, metering());

  assert.ok('linkTo' in blobs);
  assert.equal((blobs as unknown as Directory).linkTo(), 1);
});
