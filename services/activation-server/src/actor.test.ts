import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bucketOf, idle, type State, transition } from './actor.ts';
import type { Effect, Message, Waiting } from './messages.ts';

const limits = {
  batchTokensMax: 64,
  batchPromptsMax: 4,
  batchBytesMax: 64_000,
  waitingPromptsMax: 10,
};

let ids = 0;
const prompt = (run: number, changes: Partial<Waiting> = {}): Waiting => ({
  id: ids++,
  run,
  key: 'gpt2 all',
  length: 8,
  bytes: 100,
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

const submit = (run: number, ...prompts: Waiting[]): Message => ({ type: 'submit', run, prompts });
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

  assert.deepEqual(effects.at(-1), { type: 'refuse', run: 2, waiting: 10 });
  assert.equal(state.waiting.length, 10);
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
