import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalEvents } from './index.ts';

async function take(
  heard: AsyncIterable<{ readonly subject: string; readonly event: unknown }>,
  count: number,
): Promise<readonly (readonly [string, unknown])[]> {
  const taken: [string, unknown][] = [];
  for await (const { subject, event } of heard) {
    taken.push([subject, event]);
    if (taken.length === count) break;
  }
  return taken;
}

test('a subscriber hears what begins with its prefix, from the moment it subscribes', async () => {
  const events = new LocalEvents();
  events.publish('jobs.v1.a', 'before');
  const heard = events.subscribe('jobs.v1.', new AbortController().signal);
  events.publish('lorsa.v1.a', 'another subject');
  events.publish('jobs.v1.a', 1);
  events.publish('jobs.v1.b', 2);

  assert.deepEqual(await take(heard, 2), [
    ['jobs.v1.a', 1],
    ['jobs.v1.b', 2],
  ]);
});

test('what the publisher changes afterwards is not what was heard', async () => {
  const events = new LocalEvents();
  const heard = events.subscribe('', new AbortController().signal);
  const mine = { done: 1 };
  events.publish('s', mine);
  mine.done = 2;

  assert.deepEqual(await take(heard, 1), [['s', { done: 1 }]]);
});

test('a subscriber that falls behind loses the oldest, not the memory', async () => {
  const events = new LocalEvents();
  const heard = events.subscribe('', new AbortController().signal);
  for (let i = 0; i < 1_000; i++) events.publish('s', i);

  const [[, first] = []] = await take(heard, 256);
  assert.equal(first, 1_000 - 256);
});

test('a subscription ends with its signal, also while it waits', async () => {
  const events = new LocalEvents();
  const stop = new AbortController();
  const ended = take(events.subscribe('', stop.signal), 1);
  stop.abort();

  assert.deepEqual(await ended, []);
});
