import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { VirtualClock } from '@heddle/testkit';
import { initialState, type JobState } from '../job/state.ts';
import { JOB_LIMITS } from '../limits.ts';
import type { JobActors } from './job-actors.ts';
import { Lease } from './lease.ts';

const ACK_WAIT_MS = 6_000;
const ACTIVE: JobState = { ...initialState('j'), status: 'active' };

/** A task in work; what the journal answers is the test's to say. */
function world(look: () => Promise<JobState>) {
  const clock = new VirtualClock();
  const beats: number[] = [];
  const heartbeat = async (): Promise<boolean> => {
    beats.push(clock.monotonic());
    return true;
  };
  const delivery = { queue: 'q', key: 'k', bytes: new Uint8Array(), attempt: 1, heartbeat };
  const none = async (): Promise<void> => undefined;
  const actors = { look, onChange: () => () => undefined } as Partial<JobActors> as JobActors;
  const lease = new Lease({
    ...{ actors, clock, claim: 'c', ackWaitMs: ACK_WAIT_MS, onStuck: () => undefined },
    delivery: { ...delivery, ack: none, nak: none, terminate: none },
    message: { job: 'j', task: 0, sequence: 1 },
  });
  return { clock, beats, lease, kept: lease.keep() };
}

test('a journal that does not answer keeps no heartbeat from the queue, and is asked once at a time', async () => {
  let asked = 0;
  const answer = Promise.withResolvers<JobState>();
  const { clock, beats, lease, kept } = world(() => {
    asked += 1;
    return answer.promise;
  });
  await clock.advance(3 * ACK_WAIT_MS);
  assert.ok(beats.length >= 6, `${beats.length} beats in three ack waits`);
  assert.equal(asked, 1);
  assert.equal(lease.reason, undefined);
  await clock.advance(JOB_LIMITS.lookPatienceMs);
  const last = beats.length;
  await clock.advance(10 * ACK_WAIT_MS);
  assert.equal(beats.length, last, 'what can commit nothing keeps its task for no longer');
  lease.close();
  answer.reject(new OperationError({ code: 'unavailable', message: 'no leader' }));
  await clock.run(kept);
});

test('a task that somebody else has is told to stop at the next look, also after one that failed', async () => {
  let asked = 0;
  const { clock, lease, kept } = world(async () => {
    asked += 1;
    if (asked === 1) throw new OperationError({ code: 'unavailable', message: 'no leader' });
    return ACTIVE; // without the task: it is nobody's that we are
  });
  await clock.advance(1_500);
  assert.equal(lease.reason, undefined);
  await clock.advance(1_000);
  assert.deepEqual([asked, lease.reason, lease.signal.aborted], [2, 'lost', true]);
  lease.close();
  await clock.run(kept);
});
