import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bucketOf, idle, type Limits, refusalOf, type State, transition } from './actor.ts';
import type { Effect, Message, Waiting } from './messages.ts';

const limits = {
  batchTokensMax: 64,
  batchPromptsMax: 4,
  batchBytesMax: 64_000,
  waitingPromptsMax: 10,
  waitingMsMax: 1e9,
};

let ids = 0;
const prompt = (run: number, changes: Partial<Waiting> = {}): Waiting => ({
  id: ids++,
  run,
  key: 'gpt2 all',
  length: 8,
  bytes: 100,
  flops: 1e6,
  caller: '',
  alone: undefined,
  ...changes,
});

function play(messages: readonly Message[], state: State = idle(limits)): [State, Effect[]] {
  const effects: Effect[] = [];
  for (const message of messages) {
    const [next, wanted] = transition(state, message);
    state = next;
    effects.push(...wanted);
  }
  return [state, effects];
}

const submit = (run: number, ...prompts: Waiting[]): Message => ({
  type: 'submit',
  run,
  caller: prompts[0]?.caller ?? '',
  prompts,
  underWay: false,
});
const batches = (effects: readonly Effect[]): number[][] =>
  effects.flatMap((e) => (e.type === 'run' ? [e.prompts.map((p) => p.run)] : []));

test('a prompt that finds the engine idle runs at once', () => {
  const [, effects] = play([submit(1, prompt(1))]);

  assert.deepEqual(batches(effects), [[1]]);
});

test('prompts of several callers that gather while a batch runs share the next one', () => {
  const [, effects] = play([
    submit(1, prompt(1)),
    submit(2, prompt(2)),
    submit(3, prompt(3)),
    { type: 'finished' },
  ]);

  assert.deepEqual(batches(effects), [[1], [2, 3]]);
});

test('another question and another length go in batches of their own', () => {
  const [, effects] = play([
    submit(0, prompt(0)),
    submit(1, prompt(1), prompt(1, { length: 20 })),
    submit(2, prompt(2, { key: 'gpt2 q' }), prompt(2)),
    { type: 'finished' },
    { type: 'finished' },
    { type: 'finished' },
  ]);

  assert.deepEqual(batches(effects), [[0], [1, 2], [1], [2]]);
});

test('the passes of a job share a batch with nobody', () => {
  const [, effects] = play([
    submit(0, prompt(0)),
    submit(1, prompt(1, { alone: 7 }), prompt(1, { alone: 7 })),
    submit(2, prompt(2), prompt(2, { alone: 8 })),
    { type: 'finished' },
    { type: 'finished' },
    { type: 'finished' },
  ]);

  assert.deepEqual(batches(effects), [[0], [1, 1], [2], [2]]);
});

test('a full queue refuses a request whole and keeps what waits', () => {
  const many = Array.from({ length: 10 }, () => prompt(1));
  const [state, effects] = play([submit(0, prompt(0)), submit(1, ...many), submit(2, prompt(2))]);

  assert.deepEqual(
    effects.flatMap((e) => (e.type === 'refuse' ? [[e.run, e.refusal.reason]] : [])),
    [[2, 'prompts']],
  );
  assert.equal(state.waiting.length, 10);
});

/** A queue that takes a second of work, on an engine that is known to do 1e9 operations a second. */
const timed: Limits = { ...limits, waitingPromptsMax: 1000, waitingMsMax: 1000 };
const known: State = { ...idle(timed), speed: { ms: 1000, flops: 1e9 } };
const second = (run: number, parts: number, caller = '') =>
  submit(run, ...Array.from({ length: 4 }, () => prompt(run, { flops: 1e9 / parts / 4, caller })));
const refusedOf = (effects: readonly Effect[]): number[] =>
  effects.flatMap((e) => (e.type === 'refuse' ? [e.run] : []));

test('what waits is bounded by the time that it will take, and the refusal says how long that is', () => {
  const messages = Array.from({ length: 20 }, (_, run) => second(run, 5));
  const [state, effects] = play(messages, known);

  // One runs; 200 ms each, of 1000: those that found at most a second before them, the running one included.
  assert.deepEqual(
    refusedOf(effects),
    Array.from({ length: 14 }, (_, i) => i + 6),
  );
  const refusal = refusalOf(state, '');
  assert.equal(refusal?.reason, 'time');
  assert.ok(Math.abs((refusal?.waitMs ?? 0) - 1200) < 1e-6);
});

test('the bound follows the speed of the engine: half as fast, half as many are let in', () => {
  const admitted = (ms: number): number => {
    let [state] = play([second(0, 5)], known);
    for (let batch = 0; batch < 60; batch++) {
      [state] = play([{ type: 'finished', ms }, second(0, 5)], state);
    }
    const messages = Array.from({ length: 40 }, (_, run) => second(run + 1, 5));
    return 40 - refusedOf(play(messages, state)[1]).length;
  };

  const [full, half] = [admitted(200), admitted(400)];
  assert.ok(full >= 4 && full <= 6, `${full}`);
  assert.ok(half >= 2 && half <= 3, `${half}`);
});

test('one batch that took a hundred times as long leaves the queue open', () => {
  const [state] = play([second(0, 5), { type: 'finished', ms: 20_000 }], known);
  const messages = Array.from({ length: 10 }, (_, run) => second(run + 1, 5));
  const [, effects] = play(messages, state);

  assert.ok(refusedOf(effects).length < 9);
});

test('an engine that is busy with one long run still takes the next: nobody can wait for less', () => {
  const [, effects] = play([second(0, 0.1), second(1, 5), second(2, 5)], known);

  assert.deepEqual(refusedOf(effects), [2]);
});

test('a caller who floods the queue does not lock out another, who has a share of it', () => {
  const flood = Array.from({ length: 50 }, (_, run) => second(run, 5, 'flood'));
  const [flooded] = play(flood, known);
  const others = Array.from({ length: 10 }, (_, run) => second(100 + run, 5, 'other'));
  const [state, effects] = play(others, flooded);

  const admitted = others.length - refusedOf(effects).length;
  // Half of a second, and the one that goes past it.
  assert.equal(admitted, 3);
  assert.ok(refusalOf(state, 'flood'));
});

test('later prompts of a run that was let in wait, however full the queue is', () => {
  const [state] = play(
    Array.from({ length: 20 }, (_, run) => second(run, 5)),
    known,
  );
  const later: Message = {
    type: 'submit',
    run: 0,
    caller: '',
    prompts: [prompt(0)],
    underWay: true,
  };
  const [after, effects] = play([later], state);

  assert.deepEqual(refusedOf(effects), []);
  assert.equal(after.waiting.length, state.waiting.length + 1);
});

test('a batch that nobody waits for is stopped, one that somebody waits for is not', () => {
  const [shared, none] = play([
    submit(0, prompt(0)),
    submit(1, prompt(1)),
    submit(2, prompt(2)),
    { type: 'finished' },
    { type: 'withdraw', run: 1 },
  ]);
  const [, last] = play([{ type: 'withdraw', run: 2 }], shared);

  assert.equal(none.at(-1)?.type, 'run');
  assert.deepEqual(last, [{ type: 'stop' }]);
});

test('whatever comes, each prompt runs once, batches keep the limits, and no prompt is passed by for ever', () => {
  const prompts = fc.array(
    fc.record({
      run: fc.nat(5),
      key: fc.constantFrom('a', 'b'),
      length: fc.integer({ min: 1, max: 100 }),
      bytes: fc.integer({ min: 1, max: 4000 }),
      alone: fc.option(fc.nat(2), { nil: undefined }),
    }),
    { maxLength: 10 },
  );

  fc.assert(
    fc.property(prompts, (drawn) => {
      const all = drawn.map((changes) => prompt(changes.run, changes));
      const messages = all.map((p) => submit(p.run, p));
      const finishes = all.map((): Message => ({ type: 'finished' }));

      const [state, effects] = play([...messages, ...finishes]);
      const ran = effects.flatMap((e) => (e.type === 'run' ? [e.prompts] : []));

      assert.deepEqual(
        ran
          .flat()
          .map((p) => p.id)
          .sort(),
        all.map((p) => p.id).sort(),
      );
      assert.equal(state.waiting.length, 0);
      for (const batch of ran) {
        const padded = batch.length * Math.max(...batch.map((p) => p.length));
        assert.ok(batch.length === 1 || padded <= limits.batchTokensMax);
        assert.ok(batch.length <= limits.batchPromptsMax);
        assert.equal(new Set(batch.map((p) => `${p.key} ${p.alone}`)).size, 1);
      }
    }),
  );
});

test('padding to the longest of a bucket costs at most a third', () => {
  for (let length = 9; length < 5000; length++) {
    const bucket = bucketOf(length);
    assert.ok(bucket >= length);
    assert.equal(bucketOf(bucket), bucket);
    assert.ok(bucket <= length * (4 / 3));
  }
});
