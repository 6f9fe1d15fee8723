import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeEvent, encodeEvent } from './codec.ts';
import { effectsOf } from './effects.ts';
import type { JobEvent } from './events.ts';
import type { JobMessage } from './messages.ts';
import { fold, initialState, isSettled, type JobState } from './state.ts';
import { transition } from './transition.ts';

const digest = (n: number) => `sha256:${n.toString(16).padStart(64, '0')}` as const;
const kept = (n: number) => ({ blob: digest(n), bytes: n, references: [] });

/** Few claims and few tasks, so that they meet; sequences about where a job of these has its own. */
const claimed = {
  task: fc.nat(3),
  claim: fc.constantFrom('a', 'b', 'c'),
  nowMs: fc.nat(200_000),
};
const now = { nowMs: fc.nat(200_000) };
const message: fc.Arbitrary<JobMessage> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('start' as const),
      sequence: fc.integer({ min: 2, max: 12 }),
      ...claimed,
    }),
  },
  {
    weight: 2,
    arbitrary: fc
      .record({ type: fc.constant('checkpoint' as const), cursor: fc.nat(9), ...claimed })
      .map((m) => ({ ...m, ...kept(m.cursor) })),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({ type: fc.constant('done' as const), ...claimed })
      .map((m) => ({ ...m, ...kept(m.task + 50), provenance: {} })),
  },
  {
    weight: 2,
    arbitrary: fc
      .record({ type: fc.constant('fail' as const), retryable: fc.boolean(), ...claimed })
      .map(({ retryable, ...m }) => ({
        ...m,
        error: { code: 'unavailable' as const, message: '', retryable },
      })),
  },
  {
    weight: 2,
    arbitrary: fc
      .record({ type: fc.constant('lose-checkpoint' as const), of: fc.nat(9), ...claimed })
      .map(({ of, ...m }) => ({ ...m, blob: digest(of), reason: '' })),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('release' as const), ...claimed }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constantFrom('pause' as const, 'resume' as const), ...now }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('cancel' as const), ...now }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('pin' as const), pinned: fc.boolean(), ...now }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('touch' as const), ...now }) },
);
const history = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.array(message, { maxLength: 40 }));

const submit = (tasks: number): JobMessage => ({
  type: 'submit',
  tenant: '',
  kind: 'a.b',
  key: 'k',
  request: {},
  pinned: false,
  attemptsMax: 3,
  tasks: Array.from({ length: tasks }, (_, i) => ({ input: i, references: [] })),
  reduce: tasks > 1,
  nowMs: 0,
});

function each(
  [tasks, messages]: readonly [number, readonly JobMessage[]],
  check: (
    before: JobState,
    message: JobMessage,
    after: JobState,
    events: readonly JobEvent[],
  ) => void,
): JobState {
  let state = initialState('a-b-1');
  for (const message of [submit(tasks), ...messages]) {
    const [after, effects] = transition(state, message);
    check(
      state,
      message,
      after,
      effects.flatMap((e) => (e.type === 'append' ? e.events : [])),
    );
    state = after;
  }
  return state;
}

test('every state that is decided is the fold of the events that are appended, also through bytes', () => {
  fc.assert(
    fc.property(history, (messages) => {
      each(messages, (before, _message, after, events) => {
        const folded = events.map((event) => decodeEvent(encodeEvent(event))).reduce(fold, before);
        assert.deepEqual(folded, after);
        assert.equal(after.sequence, before.sequence + events.length);
      });
    }),
  );
});

test('a message decided twice changes nothing the second time', () => {
  fc.assert(
    fc.property(history, (messages) => {
      each(messages, (_before, message, after) => {
        // A start under a claim that failed or was handed back is refused by its sequence, so it changes nothing too.
        const [again] = transition(after, message);
        assert.equal(again, after, message.type);
      });
    }),
  );
});

test('a task is done at most once, and a job ends at most once between two resumes', () => {
  fc.assert(
    fc.property(history, (messages) => {
      const done = new Set<number>();
      let ended = false;
      each(messages, (_before, _message, _after, events) => {
        for (const event of events) {
          if (event.type === 'task-done') assert.ok(!done.has(event.task));
          if (event.type === 'task-done') done.add(event.task);
          if (event.type === 'resumed') ended = false;
          if (isSettled(event.type as JobState['status'])) {
            assert.ok(!ended);
            ended = true;
          }
        }
      });
    }),
  );
});

test('a checkpoint is discarded only when no state after it can ask for it', () => {
  fc.assert(
    fc.property(history, (messages) => {
      const gone = new Set<string>();
      each(messages, (before, message, after, events) => {
        for (const event of events) if (event.type === 'checkpointed') gone.delete(event.blob);
        for (const effect of transition(before, message)[1]) {
          if (effect.type === 'discard') gone.add(effect.blob);
        }
        for (const { phase, checkpoint, earlier } of after.tasks) {
          const open = phase !== 'done' && (!isSettled(after.status) || after.status === 'failed');
          for (const kept of open ? [checkpoint, earlier] : []) {
            assert.ok(kept === undefined || !gone.has(kept.blob), `${kept?.blob} is gone`);
          }
        }
      });
    }),
  );
});

test('an active job always asks for something, any other for nothing', () => {
  fc.assert(
    fc.property(history, (messages) => {
      each(messages, (_before, _message, after) => {
        assert.equal(effectsOf(after).length > 0, after.status === 'active');
      });
    }),
  );
});

test('whatever happened, an active job can be finished by doing what it asks for', () => {
  fc.assert(
    fc.property(history, (messages) => {
      let state = each(messages, () => undefined);
      for (let i = 0; state.status === 'active'; i++) {
        assert.ok(i < 20, 'it asks for ever');
        const [push] = effectsOf(state);
        assert.ok(push);
        const common = { task: push.task, claim: `last-${i}`, nowMs: 1e9 };
        state = transition(state, { type: 'start', sequence: push.sequence, ...common })[0];
        if (state.status !== 'active') break; // its attempts were used up before
        state = transition(state, { type: 'done', ...kept(60), provenance: {}, ...common })[0];
      }
      assert.notEqual(state.status, 'active');
    }),
  );
});
