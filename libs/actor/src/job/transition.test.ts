import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlobDigest } from '@heddle/ports';
import { JOB_LIMITS } from '../limits.ts';
import { effectsOf } from './effects.ts';
import type { JobMessage, JobReply } from './messages.ts';
import { initialState, type JobState } from './state.ts';
import { transition } from './transition.ts';

const blob = (n: number): BlobDigest => `sha256:${n.toString(16).padStart(64, '0')}`;
const kept = (n: number) => ({ blob: blob(n), bytes: 100, references: [] });
const now = { nowMs: 1_000 };

function submitted(tasks = 1, reduce = false, attemptsMax = 3): JobState {
  const pieces = Array.from({ length: tasks }, (_, i) => ({ input: i, references: [] }));
  return after(initialState('count-steps-1'), {
    type: 'submit',
    tenant: '',
    kind: 'count.steps',
    key: 'k',
    request: { steps: 10 },
    pinned: false,
    attemptsMax,
    tasks: pieces,
    reduce,
    ...now,
  });
}

const start = (claim: string, task = 0, sequence = 2): JobMessage => ({
  type: 'start',
  task,
  claim,
  sequence,
  ...now,
});
const done = (claim: string, task = 0): JobMessage => ({
  type: 'done',
  task,
  claim,
  ...kept(task + 1),
  provenance: { seed: 7 },
  ...now,
});
const save = (claim: string, cursor: number): JobMessage => ({
  type: 'checkpoint',
  task: 0,
  claim,
  cursor,
  ...kept(100 + cursor),
  ...now,
});
const failing = (claim: string, retryable: boolean): JobMessage => ({
  type: 'fail',
  task: 0,
  claim,
  error: { code: 'unavailable', message: 'no', retryable },
  ...now,
});

function after(state: JobState, ...messages: readonly JobMessage[]): JobState {
  return messages.reduce((before, message) => transition(before, message)[0], state);
}

function reply(state: JobState, message: JobMessage): JobReply {
  const found = transition(state, message)[1].find((effect) => effect.type === 'reply');
  assert.ok(found);
  return found.reply;
}

function pushes(state: JobState, message: JobMessage): readonly string[] {
  return transition(state, message)[1].flatMap((e) => (e.type === 'push' ? [e.key] : []));
}

test('a submitted job asks for its tasks, keyed by job, sequence and index', () => {
  const state = submitted(3, true);

  assert.deepEqual(
    effectsOf(state).map(({ key }) => key),
    ['count-steps-1.2.0', 'count-steps-1.2.1', 'count-steps-1.2.2'],
  );
});

test('the same submission again changes nothing, another under the same key is refused', () => {
  const state = submitted();
  const again = {
    type: 'submit',
    tenant: '',
    kind: 'count.steps',
    key: 'k',
    pinned: false,
    attemptsMax: 3,
    tasks: [],
    reduce: false,
    ...now,
  } as const;

  assert.equal(transition(state, { ...again, request: { steps: 10 } })[0], state);
  const other = reply(state, { ...again, request: { steps: 11 } });
  assert.ok(other.type === 'refuse' && other.error.code === 'already_exists');
});

test('a job of another tenant under the same id is neither given away nor described', () => {
  const submit = { type: 'submit', kind: 'count.steps', key: 'k', request: 1, ...now } as const;
  const rest = {
    pinned: false,
    attemptsMax: 3,
    tasks: [{ input: 0, references: [] }],
    reduce: false,
  };
  const alices = after(initialState('j'), { ...submit, ...rest, tenant: 'alice' });

  const told = reply(alices, { ...submit, ...rest, tenant: 'mallory' });

  assert.equal(alices.tenant, 'alice');
  assert.ok(told.type === 'refuse' && told.error.code === 'already_exists');
  assert.ok(!/alice|\bj\b/.test(told.error.message), told.error.message);
});

test('a job is forgotten only as it was when that was decided, and its name is free when it is gone', () => {
  const job = submitted();
  const cancelled = after(job, { type: 'cancel', ...now });
  const forget = (sequence: number): JobMessage => ({ type: 'forget', sequence, ...now });

  assert.equal(reply(job, forget(job.sequence)).type, 'drop', 'unfinished');
  const pinned = after(cancelled, { type: 'pin', pinned: true, ...now });
  assert.equal(reply(pinned, forget(cancelled.sequence)).type, 'drop', 'pinned since');
  const touched = after(cancelled, { type: 'touch', nowMs: 2_000 });
  assert.equal(reply(touched, forget(cancelled.sequence)).type, 'drop', 'touched since');

  const gone = after(cancelled, forget(cancelled.sequence));
  assert.deepEqual([gone.status, gone.sequence], ['absent', cancelled.sequence + 1]);
  assert.equal(reply(gone, forget(cancelled.sequence)).type, 'done', 'a second collector');
  const again = reply(gone, { type: 'start', task: 0, claim: 'w', sequence: 2, ...now });
  assert.equal(again.type, 'drop');
  const resumed = reply(gone, { type: 'resume', ...now });
  assert.ok(resumed.type === 'refuse' && resumed.error.code === 'not_found');
  const submit = { type: 'submit', kind: 'count.steps', key: 'k', request: 1, ...now } as const;
  const rest = {
    pinned: false,
    attemptsMax: 3,
    tasks: [{ input: 0, references: [] }],
    reduce: false,
  };
  const early = reply(gone, { ...submit, ...rest, tenant: '' });
  assert.ok(early.type === 'refuse' && early.error.code === 'unavailable' && early.error.retryable);
});

test('one task done completes the job with its output', () => {
  const state = after(submitted(), start('w.1'), done('w.1'));

  assert.equal(state.status, 'completed');
  assert.deepEqual(state.result, { ...kept(1), provenance: { seed: 7 } });
  assert.deepEqual(effectsOf(state), []);
});

test('a touch makes a finished job newer and leaves it as pinned as it was', () => {
  const finished = after(submitted(), start('w.1'), done('w.1'));
  for (const pinned of [false, true]) {
    const state = after(finished, { type: 'pin', pinned, ...now });
    const nowMs = state.updatedMs + 1;
    const touched = after(state, { type: 'touch', nowMs });

    const { sequence } = touched;
    assert.deepEqual(touched, { ...state, updatedMs: nowMs, sequence });
  }
});

test('the reduction starts once every other task is done', () => {
  let state = after(submitted(2, true), start('w.1', 0), start('w.2', 1), done('w.2', 1));
  assert.deepEqual(
    effectsOf(state).map(({ task }) => task),
    [0],
  );

  assert.deepEqual(pushes(state, done('w.1', 0)), ['count-steps-1.2.2']);
  state = after(state, done('w.1', 0), start('w.3', 2), done('w.3', 2));
  assert.equal(state.status, 'completed');
  assert.equal(state.result?.blob, blob(3));
});

test('a claim that another took over can neither save nor finish nor fail the job', () => {
  const state = after(submitted(), start('zombie'), start('heir'));

  for (const message of [save('zombie', 5), done('zombie')]) {
    const answer = reply(state, message);
    assert.ok(answer.type === 'refuse' && answer.error.code === 'aborted', message.type);
    assert.equal(transition(state, message)[0], state);
  }
  assert.equal(transition(state, failing('zombie', false))[0], state);
  assert.equal(transition(state, { type: 'release', task: 0, claim: 'zombie', ...now })[0], state);
  assert.equal(after(state, done('heir')).status, 'completed');
});

test('a message repeated under its claim is answered alike and changes nothing', () => {
  const running = after(submitted(), start('w.1'));
  assert.equal(transition(running, start('w.1'))[0], running);
  assert.deepEqual(reply(running, start('w.1')), { type: 'granted', attempt: 1 });

  const saved = after(running, save('w.1', 5));
  assert.equal(transition(saved, save('w.1', 5))[0], saved);

  const over = after(saved, done('w.1'));
  assert.equal(transition(over, done('w.1'))[0], over);
  assert.deepEqual(reply(over, done('w.1')), { type: 'done' });
});

test('a retryable failure is tried again after a doubling delay, until the attempts are used up', () => {
  const attempts = 5;
  let state = submitted(1, false, attempts);
  const delays: number[] = [];
  for (let i = 0; i < attempts - 1; i++) {
    const [push] = effectsOf(state);
    const nowMs = push?.readyAtMs ?? 0;
    state = after(state, {
      type: 'start',
      task: 0,
      claim: `w.${i}`,
      sequence: push?.sequence ?? 0,
      nowMs,
    });
    const message = { ...failing(`w.${i}`, true), nowMs };
    state = after(state, message);
    delays.push((state.tasks[0]?.readyAtMs ?? 0) - nowMs);
  }
  assert.deepEqual(delays, [1_000, 2_000, 4_000, 8_000]);
  assert.equal(delays[0], JOB_LIMITS.backoffBaseMs);

  const [push] = effectsOf(state);
  const last = { sequence: push?.sequence ?? 0, nowMs: push?.readyAtMs ?? 0 };
  state = after(state, { type: 'start', task: 0, claim: 'last', ...last }, failing('last', true));
  assert.equal(state.status, 'failed');
  assert.equal(state.error?.code, 'unavailable');
});

test('an error that cannot pass fails the job at once', () => {
  const state = after(submitted(), start('w.1'), failing('w.1', false));

  assert.equal(state.status, 'failed');
  const resume = reply(state, { type: 'resume', ...now });
  assert.ok(resume.type === 'refuse' && resume.error.code === 'failed_precondition');
});

test('a task that always takes its worker down is not started for ever', () => {
  const state = after(submitted(1, false, 3), start('w.1'), start('w.2'), start('w.3'));
  assert.equal(state.status, 'active');

  const [failed] = transition(state, start('w.4'));
  assert.equal(failed.status, 'failed');
  assert.match(failed.error?.message ?? '', /started 3 times/);
});

const release = (claim: string): JobMessage => ({ type: 'release', task: 0, claim, ...now });

test('attempts that failed or were lost are counted apart from those that were handed back', () => {
  const begin = (state: JobState, claim: string): JobState =>
    after(state, start(claim, 0, state.tasks[0]?.readySequence));
  const paused = after(begin(submitted(), 'w.1'), { type: 'pause', ...now }, release('w.1'));
  const drained = after(begin(after(paused, { type: 'resume', ...now }), 'w.2'), release('w.2'));
  assert.deepEqual([drained.starts, drained.setbacks], [2, undefined]);
  const lost = begin(begin(drained, 'w.3'), 'w.4');
  assert.equal(lost.setbacks, 1, 'whoever starts a task that is held has found its holder dead');
  const failed = after(lost, failing('w.4', true));
  assert.deepEqual([failed.starts, failed.setbacks], [4, 2]);
});

test('a checkpoint that goes further gives all attempts back, one that does not gives none', () => {
  const state = after(submitted(1, false, 3), start('w.1'), start('w.2'), save('w.2', 5));
  assert.equal(state.tasks[0]?.attempts, 0);

  const stuck = after(state, start('w.3'), save('w.3', 5.0), start('w.4'), start('w.5'));
  assert.equal(after(stuck, start('w.6')).status, 'failed');
});

test('a cursor may not go back', () => {
  const state = after(submitted(), start('w.1'), save('w.1', 5));
  const answer = reply(state, save('w.1', 4));

  assert.ok(answer.type === 'refuse' && answer.error.code === 'failed_precondition');
});

test('the checkpoint before the last is kept, older ones are discarded, and both at the end', () => {
  const state = after(submitted(), start('w.1'), save('w.1', 4), save('w.1', 5));
  const discards = (message: JobMessage): readonly string[] =>
    transition(state, message)[1].flatMap((e) => (e.type === 'discard' ? [e.blob] : []));

  assert.deepEqual(discards(save('w.1', 6)), [blob(104)]);
  assert.deepEqual(discards(done('w.1')), [blob(105), blob(104)]);
  assert.deepEqual(discards({ type: 'cancel', ...now }), [blob(105), blob(104)]);
  assert.deepEqual(discards(failing('w.1', false)), [], 'a failed job may yet be resumed');
});

test('a damaged checkpoint is given up for the one before it, once, and by its holder alone', () => {
  const state = after(submitted(), start('w.1'), save('w.1', 4), save('w.1', 5), start('w.2'));
  const lose = (claim: string, n: number): JobMessage => ({
    type: 'lose-checkpoint',
    task: 0,
    claim,
    blob: blob(n),
    reason: 'it hashes to something else',
    ...now,
  });

  const zombie = reply(state, lose('w.1', 105));
  assert.ok(zombie.type === 'refuse' && zombie.error.code === 'aborted');
  const fallen = after(state, lose('w.2', 105));
  assert.equal(fallen.tasks[0]?.checkpoint?.cursor, 4);
  assert.equal(fallen.checkpointsLost, 1);
  assert.equal(after(fallen, lose('w.2', 105)), fallen, 'told again, nothing more is given up');
  assert.equal(after(fallen, save('w.2', 4.5)).tasks[0]?.checkpoint?.cursor, 4.5);
  const bare = after(fallen, lose('w.2', 104));
  assert.deepEqual([bare.tasks[0]?.checkpoint, bare.checkpointsLost], [undefined, 2]);
  assert.equal(after(bare, save('w.2', 1)).tasks[0]?.checkpoint?.cursor, 1);
});

test('a paused job lets its worker save and hand back, starts nothing, and resumes where it was', () => {
  let state = after(submitted(), start('w.1'), { type: 'pause', ...now });
  assert.deepEqual(effectsOf(state), []);
  assert.deepEqual(reply(state, start('w.2')), { type: 'drop' });

  state = after(state, save('w.1', 4), { type: 'release', task: 0, claim: 'w.1', ...now });
  state = after(state, { type: 'resume', ...now });

  const [push] = effectsOf(state);
  assert.equal(push?.sequence, state.sequence, 'messages of before are stale');
  assert.deepEqual(reply(state, start('w.2')), { type: 'drop' });
  assert.deepEqual(reply(state, start('w.3', 0, push?.sequence)), { type: 'granted', attempt: 1 });
  assert.equal(state.tasks[0]?.checkpoint?.cursor, 4);
});

test('after resume the worker of before the pause cannot commit', () => {
  const state = after(
    submitted(),
    start('w.1'),
    { type: 'pause', ...now },
    { type: 'resume', ...now },
  );

  assert.equal(reply(state, done('w.1')).type, 'refuse');
});

test('a cancelled job stays cancelled, whatever arrives', () => {
  const state = after(submitted(), start('w.1'), { type: 'cancel', ...now });

  assert.equal(transition(state, done('w.1'))[0].status, 'cancelled');
  assert.deepEqual(reply(state, start('w.2')), { type: 'drop' });
  assert.deepEqual(reply(state, { type: 'cancel', ...now }), { type: 'done' });
  for (const type of ['pause', 'resume'] as const) {
    assert.equal(reply(state, { type, ...now }).type, 'refuse');
  }
});

test('a completed job cannot be cancelled', () => {
  const state = after(submitted(), start('w.1'), done('w.1'));
  const answer = reply(state, { type: 'cancel', ...now });

  assert.ok(answer.type === 'refuse' && answer.error.code === 'failed_precondition');
});

test('a task before its time is put off', () => {
  const failed = after(submitted(), start('w.1'), failing('w.1', true));
  const [push] = effectsOf(failed);

  const early = start('w.2', 0, push?.sequence);
  assert.deepEqual(reply(failed, early), { type: 'later', delayMs: JOB_LIMITS.backoffBaseMs });
});

test('a large job asks for no more than a bounded number of its tasks at a time', () => {
  const state = submitted(300, true);
  assert.equal(effectsOf(state).length, JOB_LIMITS.effectsMax);

  const running = after(state, start('w.1', 3));
  assert.deepEqual(pushes(running, done('w.1', 3)), [`count-steps-1.2.${JOB_LIMITS.effectsMax}`]);
});

test('a message whose job is gone is dropped, a command finds nothing', () => {
  const absent = initialState('count-steps-1');

  assert.deepEqual(reply(absent, start('w.1')), { type: 'drop' });
  const answer = reply(absent, { type: 'cancel', ...now });
  assert.ok(answer.type === 'refuse' && answer.error.code === 'not_found');
});
