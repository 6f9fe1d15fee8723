import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlobDigest } from '@heddle/ports';
import { MemoryJournal } from '@heddle/testkit/simulated/memory-journal';
import { VirtualClock } from '@heddle/testkit/virtual-clock';
import { Uploads } from './uploads.ts';

const HOUR_MS = 3_600_000;
const file = (digest: string) => ({
  name: 'x.safetensors',
  bytes: 1,
  digest: digest as BlobDigest,
});

test('blobs of an upload are kept for a day from its last beginning, whichever replica asks, and then forgotten', async () => {
  const clock = new VirtualClock();
  const journal = new MemoryJournal({ clock });
  const [here, there] = [new Uploads(journal, clock), new Uploads(journal, clock)];
  await here.begin([file('sha256:1'), file('sha256:2'), file('sha256:1')]);
  await clock.advance(20 * HOUR_MS);
  await there.begin([file('sha256:3')]);
  assert.deepEqual([...(await there.live())].sort(), ['sha256:1', 'sha256:2', 'sha256:3']);

  await there.begin([file('sha256:2'), file('sha256:1')]);
  await clock.advance(20 * HOUR_MS);
  assert.deepEqual([...(await here.live())].sort(), ['sha256:1', 'sha256:2', 'sha256:3']);
  await clock.advance(5 * HOUR_MS);

  assert.deepEqual(await here.live(), []);
  assert.deepEqual(await journal.streams('activation.', 10), []);
});

test('the same upload begun twice at once is one', async () => {
  const clock = new VirtualClock();
  const journal = new MemoryJournal({ clock });
  const uploads = new Uploads(journal, clock);
  await Promise.all([uploads.begin([file('sha256:1')]), uploads.begin([file('sha256:1')])]);
  assert.deepEqual(await uploads.live(), ['sha256:1']);
});
