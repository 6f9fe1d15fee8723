import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  type LogLine,
  missingServer,
  type NatsServer,
  recordingLog,
  SERVERS,
  startNats,
  temporaryFolder,
} from '@heddle/testkit';
import { makeAuthority, writeTls } from '@heddle/testkit/certificates';
import { systemClock } from '../clock/index.ts';
import { type NatsStores, openNats } from './index.ts';
import { type NatsCredentials, natsConnection } from './nats-credentials.ts';
import { accountsConfig, passwordVariable } from './permissions.ts';

const missing = missingServer(SERVERS.natsCurrent);
const skip = missing === undefined ? {} : { skip: missing };
const USERS = [
  { name: 'lorsa', queues: ['tasks.lorsa.train', 'tasks.lorsa.sweep'] },
  { name: 'qk', queues: ['tasks.qk.fit'] },
];
const PASSWORDS = { lorsa: 'loom', qk: 'key', operator: 'o', system: 's' };
const env = Object.fromEntries(
  Object.entries(PASSWORDS).map(([user, password]) => [passwordVariable(user), password]),
);
const folder = await temporaryFolder();
const path = (name: string) => join(folder.path, name);
const authority = await makeAuthority();
const lines: LogLine[] = [];
const log = recordingLog(lines);
const opened: NatsStores[] = [];
const EMPTY = new Uint8Array([1]);
let server: NatsServer;

before(async () => {
  if (missing !== undefined) return;
  await writeTls(path('server'), authority, await authority.issue({ names: ['localhost'] }));
  await writeTls(path('client'), authority, await authority.issue({ names: ['heddle-qk'] }));
  for (const [user, password] of Object.entries(PASSWORDS)) {
    await writeFile(path(user), `${password}\n`);
  }
  const [ca, cert, key] = ['ca.crt', 'tls.crt', 'tls.key'].map((name) => path(`server/${name}`));
  const tls = `tls { ca_file: "${ca}", cert_file: "${cert}", key_file: "${key}", verify: true }`;
  const config = `${accountsConfig(USERS)}\n${tls}`;
  server = await startNats(SERVERS.natsCurrent, { config, env });
});
after(async () => {
  for (const each of opened) await each.close();
  await server?.remove();
  await folder.remove();
});

const ours: NatsCredentials = {
  caFile: path('client/ca.crt'),
  certFile: path('client/tls.crt'),
  keyFile: path('client/tls.key'),
};

async function open(user: string, more: NatsCredentials = ours): Promise<NatsStores> {
  const stores = await openNats({
    servers: [server.url],
    clock: systemClock,
    log,
    connection: natsConnection({ user, passwordFile: path(user), ...more }),
  });
  opened.push(stores);
  return stores;
}

test('with its permissions a service does all that the adapters do', skip, async () => {
  const { journal, queue, events, ...stores } = await open('lorsa');
  const blobs = await stores.blobs();

  await journal.append('job.lorsa-1', 0, [EMPTY]);
  await journal.append('job.lorsa-1', 1, [EMPTY, EMPTY]);
  assert.equal((await journal.read('job.lorsa-1')).length, 3);
  assert.deepEqual([...(await journal.ends('job.')).keys()], ['job.lorsa-1']);
  for await (const { sequence } of journal.follow('job.lorsa-1', 2, new AbortController().signal)) {
    assert.equal(sequence, 3);
    break;
  }

  for (const name of ['tasks.lorsa.train', 'tasks.lorsa.sweep']) {
    await queue.push(name, 'key', EMPTY, { lane: 'ada' });
    assert.deepEqual([...(await queue.keys(name, 'ada'))], ['key']);
    const delivery = await queue.pull(name, { ackWaitMs: 2_000, attemptsMax: 2, waitMs: 2_000 });
    assert.equal(delivery?.key, 'key', JSON.stringify(lines));
    assert.ok(await delivery?.heartbeat());
    await delivery?.nak(0);
    const again = await queue.pull(name, { ackWaitMs: 2_000, attemptsMax: 2, waitMs: 2_000 });
    await again?.terminate('a test');
    assert.equal((await queue.deadLetters(name, 10)).length, 1);
    assert.equal((await queue.deadLetterCounts()).get(name), 1);
    assert.deepEqual(await queue.depth(name), { waiting: 0, working: 0 });
  }

  const listening = new AbortController();
  const heard = events.subscribe('job.', listening.signal)[Symbol.asyncIterator]();
  const next = heard.next();
  await events.flush();
  events.publish('job.progress', { done: 1 });
  assert.deepEqual((await next).value?.event, { done: 1 });
  listening.abort();

  const { digest } = await blobs.put(new Uint8Array(700_000));
  assert.equal((await blobs.read(digest)).length, 700_000);
  for await (const stat of blobs.list()) assert.equal(stat.digest, digest);
  await blobs.remove(digest);
  await blobs.sweep(0);
  await journal.remove('job.lorsa-1');
  const odd = lines.filter(({ level, message }) => level !== 'info' && !/buried/.test(message));
  assert.deepEqual(odd, []);
});

test('another service’s queue is not to be put into, taken from or looked at', skip, async () => {
  const { queue, journal } = await open('qk');
  const denied = { code: 'permission_denied' };
  await journal.append('job.qk-1', 0, [EMPTY]);
  await queue.push('tasks.qk.fit', 'key', EMPTY);
  const options = { ackWaitMs: 1_000, attemptsMax: 2, waitMs: 500 };
  await assert.rejects(queue.push('tasks.lorsa.train', 'k', EMPTY), denied);
  await assert.rejects(queue.pull('tasks.lorsa.train', options), denied);
  await assert.rejects(queue.depth('tasks.lorsa.train'), denied);
});

test('who is no user, has another password or no certificate does not come in', skip, async () => {
  await writeFile(path('mallory'), 'guess');
  await assert.rejects(open('mallory'), { code: 'unauthenticated' });
  await assert.rejects(open('lorsa', { ...ours, passwordFile: path('qk') }), {
    code: 'unauthenticated',
  });
  const { caFile } = ours;
  await assert.rejects(open('lorsa', { caFile }), { code: 'unavailable' });
});

test('a stream is deleted, and all of the account seen, by the operator alone', skip, async () => {
  const connection = natsConnection({ user: 'operator', passwordFile: path('operator'), ...ours });
  const { NatsLink } = await import('./nats-link.ts');
  const link = (user: 'operator' | 'lorsa') =>
    NatsLink.open({
      servers: [server.url],
      clock: systemClock,
      log,
      connection:
        user === 'operator'
          ? connection
          : natsConnection({ user, passwordFile: path(user), ...ours }),
    });
  const service = await link('lorsa');
  await assert.rejects(
    service.call('deleting', () => service.jsm.streams.delete('HEDDLE_JOURNAL')),
    { code: 'permission_denied' },
  );
  const inbox = service.nc.subscribe('_INBOX.qk.>');
  await assert.rejects(async () => {
    for await (const _ of inbox);
  }, /permission/i);
  await service.close();
  const operator = await link('operator');
  assert.ok(await operator.jsm.streams.delete('HEDDLE_DEAD'));
  await operator.close();
});
