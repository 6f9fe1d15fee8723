import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError, assert as claim } from './assert.ts';
import { canonicalJson } from './canonical-json.ts';
import { OperationError, resourceExhausted } from './operation-error.ts';
import { VERSION } from './version.ts';

test('a broken claim throws with its words, a kept one evaluates no message', () => {
  assert.throws(() => claim(false, 'q is 3'), new AssertionError('q is 3'));
  claim(true, () => {
    throw new Error('worded without need');
  });
});

test('whatever was thrown becomes an operation error once, and keeps its cause', () => {
  const refused = resourceExhausted('queue is full', { retryAfterMs: 50, field: 'prompts' });
  assert.equal(OperationError.from(refused), refused);
  assert.equal(refused.retryable, true);
  const bug = new TypeError('x is not a function');
  const wrapped = OperationError.from(bug);
  assert.equal(wrapped.code, 'internal');
  assert.equal(wrapped.cause, bug);
  assert.equal(wrapped.retryable, false);
  assert.equal(OperationError.from(new DOMException('stop', 'AbortError')).code, 'cancelled');
});

test('canonical JSON does not depend on the order in which members were written', () => {
  const a = canonicalJson({ b: [1, { y: null, x: 'é' }], a: 1.5, gone: undefined });
  assert.equal(a, '{"a":1.5,"b":[1,{"x":"é","y":null}]}');
  assert.equal(canonicalJson({ a: 1.5, b: [1, { x: 'é', y: null }] }), a);
  assert.throws(() => canonicalJson({ a: Number.NaN }), AssertionError);
});

test('the version is that of the packages', async () => {
  const { default: own } = await import('../package.json', { with: { type: 'json' } });
  assert.equal(VERSION, own.version);
});
