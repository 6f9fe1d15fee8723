import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from './index.ts';

test('a sleep ends with its signal, and one whose signal has fired does not begin', async () => {
  const stop = new AbortController();
  const asleep = systemClock.sleep(3_600_000, stop.signal);
  stop.abort();

  await asleep;
  await systemClock.sleep(3_600_000, stop.signal);
});

test('a sleep of nothing lets the event loop turn', async () => {
  let turned = false;
  setImmediate(() => {
    turned = true;
  });
  await systemClock.sleep(0);

  assert.ok(turned);
});

test('a sleep is not shorter than asked, on the clock that never goes back', async () => {
  const startedMs = systemClock.monotonic();
  await systemClock.sleep(20);

  // A timer counts whole milliseconds of its own clock, so it may fire one early on another.
  assert.ok(systemClock.monotonic() - startedMs >= 19);
});
