import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { epochOrder, groupAt, groupOrder } from './epoch-order.ts';

const shards = Array.from({ length: 9 }, (_, i) => ({ sequences: 3 + i, bytes: 10 * (3 + i) }));
const state = new Rng(7).snapshot();

const read = (groupBytes: number, from = state) => {
  const epoch = epochOrder(shards, groupBytes, from);
  const places = epoch.groups.flatMap((group) => {
    const pairs = groupOrder(shards, group);
    return Array.from({ length: group.sequences }, (_, i) => `${pairs[2 * i]}:${pairs[2 * i + 1]}`);
  });
  return { epoch, places };
};

test('an epoch reads every sequence once, in groups within the budget, another order each epoch', () => {
  for (const groupBytes of [5, 130, 240, 1e9]) {
    const { epoch, places } = read(groupBytes);
    assert.equal(new Set(places).size, 63, `${groupBytes}`);
    assert.equal(places.length, 63);
    for (const { shards: own } of epoch.groups) {
      const bytes = own.reduce((sum, index) => sum + (shards[index]?.bytes ?? 0), 0);
      assert.ok(own.length === 1 || bytes <= groupBytes, `${own} have ${bytes} of ${groupBytes}`);
    }
    assert.deepEqual(read(groupBytes).places, places);
    assert.notDeepEqual(read(groupBytes, epoch.after).places, places);
  }
  assert.equal(read(1e9).epoch.groups.length, 1);
  assert.equal(read(5).epoch.groups.length, 9);
  const visits = read(240).epoch.groups.flatMap(({ shards: own }) => own);
  assert.notDeepEqual(visits, [0, 1, 2, 3, 4, 5, 6, 7, 8], 'shards are visited in a drawn order');
});

test('the sequence at a cursor lies in the group that is read there', () => {
  const { epoch } = read(130);
  for (const [index, { start, sequences }] of epoch.groups.entries()) {
    assert.equal(groupAt(epoch, start), index);
    assert.equal(groupAt(epoch, start + sequences - 1), index);
  }
});
