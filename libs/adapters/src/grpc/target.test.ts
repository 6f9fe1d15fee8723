import assert from 'node:assert/strict';
import { test } from 'node:test';
import { targetOf } from './target.ts';

test('one server is called as it is named; a dns name and several addresses are spread over', () => {
  assert.deepEqual(targetOf(['localhost:7411']), { name: 'localhost:7411', spread: false });
  assert.deepEqual(targetOf(['[::1]:7411']), { name: '[::1]:7411', spread: false });
  assert.deepEqual(targetOf(['dns:///qk.heddle.svc:7411']), {
    name: 'dns:///qk.heddle.svc:7411',
    spread: true,
  });
  assert.deepEqual(targetOf(['10.0.0.1:1', 'localhost:2']), {
    name: 'ipv4:10.0.0.1:1,127.0.0.1:2',
    spread: true,
  });
  assert.deepEqual(targetOf(['[::1]:1', '[fe80::2]:2']).name, 'ipv6:[::1]:1,[fe80::2]:2');
});

test('what cannot be connected to is refused with what to write instead', () => {
  assert.throws(() => targetOf(['here']), { code: 'invalid_argument', message: /HOST:PORT/ });
  assert.throws(() => targetOf([]), { code: 'invalid_argument' });
  assert.throws(() => targetOf(['qk-0:1', 'qk-1:1']), { message: /dns:\/\/\/NAME:PORT/ });
  assert.throws(() => targetOf(['10.0.0.1:1', '[::1]:1']), { message: /mixed/ });
});
