import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { TENANT_QUOTAS } from '@heddle/actor';
import { OperationError } from '@heddle/core';
import { type LogLine, recordingLog, temporaryFolder, VirtualClock } from '@heddle/testkit';
import { openQuotas, parseQuotas } from './quotas.ts';

test('a tenant has its own quotas, then the default’s, then Heddle’s', () => {
  const of = parseQuotas(
    '{"default": {"jobs": 10, "retained_gib": 3}, "tenants": {"alice": {"jobs": 500}, "bob": {}}}',
  );

  const { tasksMax } = TENANT_QUOTAS;
  const retainedBytesMax = 3 * 2 ** 30;
  assert.deepEqual(of('alice'), { jobsMax: 500, tasksMax, retainedBytesMax });
  assert.deepEqual(of('bob'), { jobsMax: 10, tasksMax, retainedBytesMax });
  assert.deepEqual(of('anybody'), of('bob'));
  assert.deepEqual(parseQuotas('{}')('x'), TENANT_QUOTAS);
});

test('everything that is wrong with the quotas is told at once, by name', () => {
  const wrong = '{"defaults": {}, "default": {"job": 1, "tasks": "many"}, "tenants": {"a": 3}}';
  assert.throws(
    () => parseQuotas(wrong),
    (error) => {
      assert.ok(error instanceof OperationError && error.code === 'invalid_argument');
      for (const name of ['defaults', 'default.job', 'default.tasks', 'tenants.a']) {
        assert.ok(error.message.includes(name), `${error.message} names ${name}`);
      }
      return true;
    },
  );
  for (const text of [
    '',
    '[]',
    'null',
    '{"default": {"jobs": -1}}',
    '{"default": {"jobs": 1.5}}',
  ]) {
    assert.throws(() => parseQuotas(text), { code: 'invalid_argument' }, text);
  }
});

test('a file of quotas that is not there is refused by the name of its variable', () => {
  const context = { clock: new VirtualClock(), log: recordingLog([]) };
  assert.throws(() => openQuotas('/no/such/quotas.json', context), {
    code: 'failed_precondition',
    message: /HEDDLE_QUOTAS.*no such file/,
  });
});

test('a changed file counts within seconds; one that is wrong changes nothing and is told', async () => {
  const folder = await temporaryFolder();
  try {
    const path = join(folder.path, 'quotas.json');
    const clock = new VirtualClock();
    const lines: LogLine[] = [];
    await writeFile(path, '{"default": {"jobs": 1}}');
    const of = openQuotas(path, { clock, log: recordingLog(lines) });
    assert.equal(of('a').jobsMax, 1);

    await writeFile(path, '{"default": {"jobs": 22}}');
    await clock.advance(6_000);
    assert.equal(of('a').jobsMax, 22);

    await writeFile(path, '{"default": {"jobs": "no"}}');
    await clock.advance(6_000);
    assert.equal(of('a').jobsMax, 22);
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['info', 'error'],
    );
  } finally {
    await folder.remove();
  }
});
