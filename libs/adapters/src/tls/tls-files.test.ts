import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type LogLine, recordingLog, silentLog, temporaryFolder } from '@heddle/testkit';
import { makeAuthority, writeTls } from '@heddle/testkit/certificates';
import { checkMemberPattern, dnsNames, isMember, TlsFiles, tlsPaths } from './tls-files.ts';

const authority = await makeAuthority();
const folder = await temporaryFolder();
test.after(() => folder.remove());

const opened = async (name: string) => {
  const path = join(folder.path, name);
  const first = await authority.issue({ names: ['heddle-lorsa', '127.0.0.1'] });
  await writeTls(path, authority, first);
  const lines: LogLine[] = [];
  const log = recordingLog(lines);
  const files = await TlsFiles.open(tlsPaths(path), { log });
  return { path, first, files, lines };
};

test('a renewed certificate is taken over, and whoever uses it hears of it once', async () => {
  const { path, first, files } = await opened('renewed');
  assert.equal(files.current.cert, first.cert);
  assert.deepEqual(files.current.names, ['heddle-lorsa']);
  const heard: string[] = [];
  files.onChange(({ cert }) => heard.push(cert));
  assert.equal(await files.reload(), false);

  const second = await authority.issue({ names: ['heddle-lorsa'] });
  await writeTls(path, authority, second);
  assert.equal(await files.reload(), true);
  assert.equal(await files.reload(), false);
  assert.deepEqual(heard, [second.cert]);
  files.close();
});

test('a certificate whose key has not come yet is not taken over, and said once', async () => {
  const { path, first, files, lines } = await opened('half');
  const second = await authority.issue({ names: ['heddle-lorsa'] });
  await writeFile(join(path, 'tls.crt'), second.cert);
  assert.equal(await files.reload(), false);
  assert.equal(await files.reload(), false);
  assert.equal(files.current.cert, first.cert);
  assert.equal(lines.filter(({ level }) => level === 'warn').length, 1);
  await writeFile(join(path, 'tls.key'), second.key);
  assert.equal(await files.reload(), true);
  assert.equal(files.current.cert, second.cert);
  files.close();
});

test('files that cannot be used are named, and a key is never quoted', async () => {
  const path = join(folder.path, 'wrong');
  const issued = await authority.issue({ names: ['heddle-lorsa'] });
  await writeTls(path, authority, { cert: issued.cert, key: 'SECRET but no key' });
  await assert.rejects(TlsFiles.open(tlsPaths(path), { log: silentLog }), (error: Error) => {
    assert.match(error.message, /tls\.key is no PEM file/);
    assert.doesNotMatch(error.message, /SECRET/);
    return true;
  });
  const missing = TlsFiles.open(tlsPaths(join(folder.path, 'nowhere')), { log: silentLog });
  await assert.rejects(missing, { code: 'failed_precondition' });
});

test('a certificate that ends within a day is warned of; one that has ended is an error, told once', async (t) => {
  const { path, files, lines } = await opened('ending');
  const levels = () => lines.map(({ level }) => level);
  const { expiresMs } = files.current;
  t.mock.timers.enable({ apis: ['Date'], now: expiresMs - 1 });
  assert.equal(files.ended, undefined);
  assert.equal(await files.reload(), false);
  t.mock.timers.setTime(expiresMs);
  assert.deepEqual([files.ended], [new Date(expiresMs)]);
  for (let look = 0; look < 3; look++) assert.equal(await files.reload(), false);
  assert.deepEqual(levels(), ['info', 'error']);
  files.close();

  for (const [before, level] of [
    [3_600_000, 'warn'],
    [-1, 'error'],
  ] as const) {
    t.mock.timers.setTime(expiresMs - before);
    (await TlsFiles.open(tlsPaths(path), { log: recordingLog(lines) })).close();
    assert.equal(levels().at(-1), level);
  }
});

test('members are told by the first label, or by the whole name where a pattern has a dot', () => {
  const usual = ['heddle', 'heddle-*'];
  assert.ok(isMember(['heddle-lorsa.heddle.svc.cluster.local'], usual));
  assert.ok(isMember(['other', 'heddle'], usual));
  for (const name of ['notheddle-lorsa', 'x.heddle-lorsa', '*.heddle.svc', 'heddled', '']) {
    assert.ok(!isMember([name], usual), name);
  }
  assert.ok(!isMember([], usual));
  const exact = ['*.heddle.svc'];
  assert.ok(isMember(['heddle-lorsa.heddle.svc'], exact));
  assert.ok(!isMember(['heddle-lorsa.other.svc'], exact));
  assert.ok(!isMember(['a.b.heddle.svc'], exact));
  for (const pattern of ['*', '', '*.*', 'a b', 'a..b', 'A']) {
    assert.throws(() => checkMemberPattern(pattern), { code: 'invalid_argument' }, pattern);
  }
  for (const pattern of [...usual, ...exact]) checkMemberPattern(pattern);
});

test('a name that was made to look like several is none', () => {
  assert.deepEqual(dnsNames('DNS:Heddle-Lorsa, IP Address:127.0.0.1, DNS:b.c'), [
    'heddle-lorsa',
    'b.c',
  ]);
  assert.deepEqual(dnsNames('DNS:"a, DNS:heddle-lorsa", DNS:b'), []);
  assert.deepEqual(dnsNames(undefined), []);
});
