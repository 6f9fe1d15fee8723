import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReplyRoom } from './reply-room.ts';

const never = new AbortController().signal;

test('room is given in the order of asking, to nobody past the whole of it', async () => {
  const room = new ReplyRoom(100);
  const granted: string[] = [];
  assert.ok(room.tryTake(60));
  assert.ok(!room.tryTake(60), 'it is not there');
  const large = room.take(70, never).then(() => granted.push('large'));
  const small = room.take(20, never).then(() => granted.push('small'));
  assert.ok(!room.tryTake(1), 'others were first');
  assert.ok(room.isFull);

  room.give(60);
  await Promise.all([large, small]);

  assert.deepEqual(granted, ['large', 'small']);
  assert.ok(room.tryTake(10));
  assert.ok(!room.tryTake(1));
});

test('what is larger than all of the room has it alone, and then others', async () => {
  const room = new ReplyRoom(100);
  assert.ok(room.tryTake(500));
  const next = room.take(1, never);
  room.give(500);

  await next;
  assert.ok(room.tryTake(99));
});

test('one that stops waiting leaves its place to those behind', async () => {
  const room = new ReplyRoom(100);
  const gone = new AbortController();
  assert.ok(room.tryTake(90));
  const left = room.take(50, gone.signal);
  const behind = room.take(10, never);
  gone.abort(new Error('gone'));

  await assert.rejects(left, /gone/);
  await behind;
  room.give(100);
  assert.ok(room.tryTake(100));
});
