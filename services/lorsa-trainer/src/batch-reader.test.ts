import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import type { ActivationShard } from '@heddle/formats';
import { MemoryBlobs, VirtualClock } from '@heddle/testkit';
import { BatchReader } from './batch-reader.ts';
import { LayerShards } from './layer-shards.ts';
import { syntheticLayer } from './synthetic-layer.ts';
import { trainRequest } from './training-fixture.ts';

const { host, values, activations } = syntheticLayer(2);
/** Of different lengths: a batch is as long as its longest sequence. */
const prompts = Array.from({ length: 50 }, (_, i) => ({
  tokens: [0, ...Array.from({ length: 3 + (i % 7) }, (_unused, t) => 1 + ((i * 5 + t) % 63))],
}));
const place = { cursor: 0, epochRng: new Rng(3).snapshot() };
const factors = { input: 2, output: 0.5 };

/** Shards of six sequences, and how many are read and how many are in memory. */
async function setUp(groupBytes: number) {
  const blobs = new MemoryBlobs(new VirtualClock());
  const source = activations(blobs, 6);
  const data = { ...trainRequest().data, prompts };
  const hooks = [host.hookIn, host.hookOut];
  const job = await source.start({ model: 'm', hooks, data, context: 16 });
  const { digest } = await source.finished(job);
  const shards = await LayerShards.open(blobs, digest, host);
  const reads: ActivationShard[] = [];
  const { read } = shards;
  shards.read = async (shard) => {
    reads.push(shard);
    return read.call(shards, shard);
  };
  return { shards, reads, reader: () => new BatchReader(shards, shards.train, groupBytes) };
}

test('a batch holds whole sequences in normalised units, nothing at padding, and the special token is not valid', async () => {
  const { reader } = await setUp(1e9);
  const { batch, place: after } = await reader().next(place, 5, factors);
  const [rows = 0, pos = 0, width = 0] = batch.x.shape;
  assert.deepEqual([rows, width, after.cursor], [5, 16, 5]);
  const known = prompts.map(({ tokens }) => values(tokens));
  for (let b = 0; b < rows; b++) {
    const x = batch.x.data.subarray(b * pos * width, (b + 1) * pos * width);
    const y = batch.y.data.subarray(b * pos * width, (b + 1) * pos * width);
    const own = known.findIndex((one) =>
      one[host.hookIn]?.data.every((value, at) => Math.fround(value * 2) === x[at]),
    );
    const target = known[own]?.[host.hookOut]?.data ?? [];
    assert.ok(own >= 0 && own < 45, 'a sequence that is not held out');
    assert.ok(target.every((value, at) => y[at] === Math.fround(value * 0.5)));
    assert.ok(x.subarray(target.length).every((value) => value === 0));
    const length = target.length / width;
    const valid = [...batch.valid.data.subarray(b * pos, (b + 1) * pos)];
    assert.deepEqual(valid, [0, ...Array(length - 1).fill(1), ...Array(pos - length).fill(0)]);
  }
});

test('what comes at a place depends on the place alone, whatever was read before', async () => {
  for (const groupBytes of [2000, 20_000, 1e9]) {
    const { reader } = await setUp(groupBytes);
    const straight = reader();
    let at = place;
    for (let step = 0; step < 25; step++) {
      const one = await straight.next(at, 4, factors);
      const fresh = await reader().next(at, 4, factors);
      assert.deepEqual(fresh, one, `step ${step}, ${groupBytes} bytes`);
      at = one.place;
    }
    assert.ok(at.epochRng !== place.epochRng, 'it went over into another epoch');
  }
});

test('text that fits is read once for all epochs; the next group is loaded before its turn comes', async () => {
  const all = await setUp(1e9);
  const reader = all.reader();
  let at = place;
  for (let step = 0; step < 40; step++) ({ place: at } = await reader.next(at, 4, factors));
  assert.equal(all.reads.length, all.shards.train.length);

  const one = await setUp(1);
  await one.reader().next(place, 2, factors);
  await new Promise((turn) => setImmediate(turn));
  assert.equal(one.reads.length, 2, 'the group that is read and the next');
});

test('a shard that is gone is told when its turn comes, and not before', async () => {
  const { shards, reader } = await setUp(1);
  const { read } = shards;
  let count = 0;
  shards.read = async (shard) => {
    if (count++ > 0) throw new Error('it is gone');
    return read.call(shards, shard);
  };
  const one = reader();
  const { place: after } = await one.next(place, 6, factors);
  await assert.rejects(one.next(after, 1, factors), /it is gone/);
});
