import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { passedOn } from './forward/forwarded-status.ts';
import { TRIED_ENOUGH_MS } from './limits.ts';
import { toStatus } from './status.ts';

const AWAY = new OperationError({ code: 'unavailable', message: 'no leader' });

test('what a server tried for long is not repeated by the caller’s channel, also behind a front door', () => {
  const pushback = (tookMs: number) =>
    passedOn(toStatus(AWAY, tookMs).metadata).get('grpc-retry-pushback-ms');
  assert.deepEqual(pushback(TRIED_ENOUGH_MS + 1), ['-1']);
  assert.deepEqual(pushback(TRIED_ENOUGH_MS), []);
});
