import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { pinoLog } from './pino-log.ts';

test('a line is one JSON object with level, time, message and the bound fields, causes unrolled', () => {
  const directory = mkdtempSync(join(tmpdir(), 'heddle-log-'));
  try {
    const destination = join(directory, 'out.log');
    const log = pinoLog({ level: 'info', destination, fields: { service: 'test' } });

    log.debug('not shown');
    const cause = new Error('outer', { cause: new Error('inner') });
    log.child({ job: 'j1' }).error('it broke', { cause });

    const lines = readFileSync(destination, 'utf8').trim().split('\n');
    assert.equal(lines.length, 1);
    const line = JSON.parse(lines[0] ?? '');
    assert.equal(line.level, 'error');
    assert.equal(line.msg, 'it broke');
    assert.equal(line.service, 'test');
    assert.equal(line.job, 'j1');
    assert.equal(line.cause.cause.message, 'inner');
    assert.ok(!Number.isNaN(Date.parse(line.time)));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('an error of operation is logged with its reason, one of ours with where it is', () => {
  const directory = mkdtempSync(join(tmpdir(), 'heddle-log-'));
  try {
    const destination = join(directory, 'out.log');
    const log = pinoLog({ level: 'info', destination });
    const cause = new Error('timeout');
    const details = { store: 'journal' };
    const error = new OperationError({ code: 'unavailable', message: 'away', details, cause });
    log.error('the journal could not be read', { error });
    log.error('the journal could not be read', { error: new TypeError('no function') });

    const lines = readFileSync(destination, 'utf8').trim().split('\n');
    const [away, broken] = lines.map((line) => JSON.parse(line).error);
    assert.deepEqual(away, { code: 'unavailable', message: 'away', details, cause: 'timeout' });
    assert.equal(broken.message, 'no function');
    assert.match(broken.stack, /pino-log\.test/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('each line says what is true when it is written, and nothing once it is not', () => {
  const directory = mkdtempSync(join(tmpdir(), 'heddle-log-'));
  try {
    const destination = join(directory, 'out.log');
    let fields: Readonly<Record<string, unknown>> = { trace_id: 'a' };
    const log = pinoLog({ level: 'info', destination, current: () => fields }).child({ job: 'j1' });
    log.info('inside');
    fields = {};
    log.info('outside');

    const lines = readFileSync(destination, 'utf8').trim().split('\n');
    const [inside, outside] = lines.map((line) => JSON.parse(line));
    assert.deepEqual([inside.trace_id, inside.job, inside.msg], ['a', 'j1', 'inside']);
    assert.equal('trace_id' in outside, false);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
