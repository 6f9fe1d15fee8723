import assert from 'node:assert/strict';
import { test } from 'node:test';
import { differences } from './same.ts';

test('what is gone, another number, another text and another enum are told with their place', () => {
  const then = { job: { id: 'a', done: 2, list: [1, 2], state: 'X', error: null } };
  assert.deepEqual(differences(then, then), []);
  assert.deepEqual(differences(then, { job: { ...then.job, new: 1 } }), [], 'what is new is none');
  for (const [change, at] of [
    [{ done: 2.001 }, 'job.done: 2 is 2.001'],
    [{ done: undefined }, 'job.done: 2 is undefined'],
    [{ list: [1] }, 'job.list: 2 entries are 1'],
    [{ list: [1, 3] }, 'job.list[1]: 2 is 3'],
    [{ state: 'Y' }, 'job.state: "X" is "Y"'],
    [{ error: { code: 'internal' } }, 'job.error: null is {"code":"internal"}'],
  ] as const) {
    assert.deepEqual(differences(then, { job: { ...then.job, ...change } }), [at]);
  }
  assert.deepEqual(differences(then, { job: { ...then.job, done: 2 + 1e-7 } }), []);
});

test('entries with an id are found wherever they stand; one that is missing is told', () => {
  const [a, b] = [
    { id: 'a', n: 1 },
    { id: 'b', n: 2 },
  ];
  assert.deepEqual(differences([a, b], [{ id: 'new', n: 0 }, b, a]), []);
  assert.deepEqual(differences([a, b], [a]), ['[b] is gone']);
  assert.deepEqual(differences([a, b], [a, { id: 'b', n: 3 }]), ['[b].n: 2 is 3']);
});

test('volatile fields may change and may not vanish; JSON texts are compared by what they say', () => {
  assert.deepEqual(differences({ created_ms: 1 }, { created_ms: 2 }), []);
  assert.deepEqual(differences({ created_ms: 1 }, {}), ['created_ms is gone']);
  const then = { request_json: '{"a":1,"b":[2]}' };
  assert.deepEqual(differences(then, { request_json: '{"b":[2],"c":3,"a":1}' }), []);
  assert.deepEqual(differences(then, { request_json: '{"b":[3],"a":1}' }), [
    'request_json:.b[0]: 2 is 3',
  ]);
});

test('a tensor is compared by its largest number, and a NaN is none', () => {
  const tensor = (...numbers: number[]) => ({ numbers, halves: false });
  assert.deepEqual(differences(tensor(1000, 1), tensor(1000, 1.0005)), []);
  assert.equal(differences(tensor(1000, 1), tensor(1000, 1.01)).length, 1);
  assert.equal(differences(tensor(1, 1), tensor(1, Number.NaN)).length, 1);
  assert.equal(differences(tensor(1, 1), tensor(1)).length, 1);
  assert.equal(differences({ v: tensor(1) }, { v: 'F32' }).length, 1);
});
