import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ChildAnswer, SupervisedChild } from './supervised-child.ts';

test('a question that kills or hangs the child is told as such, and the next one gets a new child', async () => {
  const module = new URL('./fixtures/dying-child.ts', import.meta.url);
  const child = new SupervisedChild<ChildAnswer>(module, []);

  const answers = [];
  for (const number of [0, 1, 2, 3, 4]) answers.push(await child.ask(number, 2000));
  await child.close();

  assert.deepEqual(answers, [
    { rssBytes: 0 },
    { died: 'the process died of SIGSEGV' },
    { rssBytes: 2 },
    { died: 'no answer within 2000 ms' },
    { rssBytes: 4 },
  ]);
});
