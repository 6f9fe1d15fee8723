import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { type LogLine, recordingLog, VirtualClock } from '@heddle/testkit';
import { AWAY_MS, watchStores } from './store-health.ts';

function world() {
  const clock = new VirtualClock();
  const state = { isAway: false, isSilent: false, blobsAway: false };
  const read = async () => {
    if (state.isSilent) await new Promise(() => {});
    if (state.isAway) throw new OperationError({ code: 'unavailable', message: 'gone' });
    return [];
  };
  const stat = async () => {
    if (state.blobsAway) throw new OperationError({ code: 'unavailable', message: 'gone' });
    return undefined;
  };
  const heard: boolean[] = [];
  const stores = { journal: { read }, blobs: { stat } };
  const end = new AbortController();
  const onChange = (isAnswering: boolean) => heard.push(isAnswering);
  const lines: LogLine[] = [];
  const log = recordingLog(lines);
  const watching = watchStores({ stores, clock, log, onChange }, end.signal);
  const stop = () => {
    end.abort('done');
    return clock.run(watching);
  };
  return { clock, state, heard, lines, stop };
}

for (const failure of ['isAway', 'isSilent'] as const) {
  test(`stores that are away for long make a process unready, and ready when they are back (${failure})`, async () => {
    const { clock, state, heard, stop } = world();
    await clock.advance(60_000);
    assert.deepEqual(heard, [], 'nothing changed');
    state[failure] = true;
    await clock.advance(AWAY_MS - 1_000);
    assert.deepEqual(heard, [], 'an election of a leader is no outage');
    await clock.advance(15_000);
    assert.deepEqual(heard, [false]);
    state[failure] = false;
    await clock.advance(15_000);
    assert.deepEqual(heard, [false, true]);
    await stop();
  });
}

test('a blob store that is away leaves a process ready: calls and steering need none', async () => {
  const { clock, state, heard, lines, stop } = world();
  state.blobsAway = true;
  await clock.advance(10 * AWAY_MS);
  assert.deepEqual(heard, []);
  const [told, ...more] = lines.map(({ message, fields }) => [message, fields?.['error']]);
  assert.match(String(told?.[0]), /the blob store is away/);
  assert.match(String(told?.[1]), /gone/, 'with the reason, under the name that the log unrolls');
  assert.deepEqual(more, []);
  await stop();
});
