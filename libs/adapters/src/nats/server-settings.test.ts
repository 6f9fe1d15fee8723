import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { OperationError } from '@heddle/core';
import {
  freePort,
  missingServer,
  type NatsServer,
  SERVERS,
  silentLog,
  startNats,
} from '@heddle/testkit';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { systemClock } from '../clock/index.ts';
import { NATS_VERSION_MIN, type NatsOptions, openNats } from './index.ts';
import { parseServerState, readServerState } from './server-state.ts';
import { atLeast, checkServerVersion } from './server-version.ts';
import { parseVarz } from './sync-mode.ts';

const refused =
  (code: string, ...parts: readonly string[]) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof OperationError, String(error));
    assert.equal(error.code, code);
    for (const part of parts) assert.ok(error.message.includes(part), error.message);
    return true;
  };

const open = (url: string, options: Partial<NatsOptions> = {}) =>
  openNats({ servers: [url], clock: systemClock, log: silentLog, ...options });

let server: NatsServer;
const missing = missingServer(SERVERS.natsCurrent);
before(async () => {
  if (missing === undefined) server = await startNats(SERVERS.natsCurrent);
});
after(() => server?.remove());
const skip = missing === undefined ? {} : { skip: missing };

test('versions are compared by number, and a pre-release counts as its release', () => {
  for (const [version, min] of [
    ['2.11.0', '2.11.0'],
    ['2.15.1', '2.11.0'],
    ['3.0.0', '2.11.9'],
    ['2.11.0-RC.2', '2.11.0'],
    ['v2.100.0', '2.11.0'],
  ] as const) {
    assert.ok(atLeast(version, min), version);
  }
  for (const version of ['2.9.10', '2.10.27', '2.1.99', '1.99.0', 'unknown']) {
    assert.throws(() => checkServerVersion(version), refused('failed_precondition', version));
  }
});

const oldMissing = missingServer(SERVERS.natsTooOld);
test(
  'the server of Debian 12 is refused, with what it lacks',
  oldMissing === undefined ? {} : { skip: oldMissing },
  async () => {
    const old = await startNats(SERVERS.natsTooOld);
    try {
      await assert.rejects(
        open(old.url),
        refused('failed_precondition', '2.9.10', NATS_VERSION_MIN, 'batch direct get', 'silently'),
      );
    } finally {
      await old.remove();
    }
  },
);

test('where nobody listens the start is unavailable, at once', skip, async () => {
  const url = `nats://127.0.0.1:${await freePort()}`;

  await assert.rejects(open(url), refused('unavailable', url));
});

test('several copies on a server that is alone are refused, not waited for', skip, async () => {
  await assert.rejects(
    open(server.url, { prefix: 'copies', replicas: 3 }),
    refused('failed_precondition', 'HEDDLE_NATS_REPLICAS'),
  );
});

test('the sync mode is read from the monitoring, and is unknown without', skip, async () => {
  const read = await open(server.url, { monitors: [server.monitor] });
  assert.deepEqual(read.report.sync, { kind: 'interval', intervalMs: 120_000 });
  assert.ok(read.report.caveats.some((caveat) => caveat.includes('120000 ms')));
  await read.close();

  const unread = await open(server.url);
  assert.equal(unread.report.sync.kind, 'unknown');
  assert.ok(unread.report.caveats.some((caveat) => caveat.includes('no monitoring address')));
  await unread.close();

  const nobody = `http://127.0.0.1:${await freePort()}`;
  const half = await open(server.url, { monitors: [server.monitor, nobody] });
  assert.equal(half.report.sync.kind, 'unknown', 'the weakest counts');
  assert.ok(half.report.caveats.some((caveat) => caveat.includes('ECONNREFUSED')));
  await half.close();
  assert.equal(parseVarz('{"server_id":"x"}'), undefined);
});

test(
  'a server that syncs always is recognised, and one that does not can be refused',
  skip,
  async () => {
    const synced = await startNats(SERVERS.natsCurrent, { jetstream: 'sync_interval: always' });
    try {
      const stores = await open(synced.url, { monitors: [synced.monitor], syncAlways: true });
      assert.deepEqual(stores.report.sync, { kind: 'always' });
      await stores.close();

      const lax = { monitors: [server.monitor], syncAlways: true };
      await assert.rejects(open(server.url, lax), refused('failed_precondition', '120000 ms'));
      await assert.rejects(
        open(server.url, { syncAlways: true }),
        refused('failed_precondition', 'unknown'),
      );
    } finally {
      await synced.remove();
    }
  },
);

test(
  'a stream that means something else is refused by the setting that differs',
  skip,
  async () => {
    const nc = await connect({ servers: server.url });
    const { streams } = await jetstreamManager(nc);
    const settings = { discard: 'new', allow_direct: true } as const;
    for (const [prefix, wrong, says] of [
      ['memory', { storage: 'memory' }, 'storage memory'],
      ['forgets', { max_age: 3_600e9 }, 'max_age'],
      ['oldest', { discard: 'old' }, 'discard old'],
    ] as const) {
      const subjects = [`${prefix}.journal.>`];
      const name = `${prefix.toUpperCase()}_JOURNAL`;
      await streams.add({ name, subjects, ...settings, ...wrong });
      await assert.rejects(
        open(server.url, { prefix }),
        refused('failed_precondition', name, says),
      );
    }
    await nc.close();
  },
);

test(
  'more replicas than there are cannot be had, and fewer than asked for are refused',
  skip,
  async () => {
    const single = await open(server.url, { prefix: 'single' });
    assert.equal(single.report.journal.replicas, 1);
    assert.ok(single.report.caveats.some((caveat) => caveat.startsWith('1 copy')));
    await single.close();

    await assert.rejects(
      open(server.url, { prefix: 'single', replicas: 3 }),
      refused('failed_precondition', 'replicas 1', 'needs 3'),
    );
  },
);

test(
  'what a server says of itself is read from its monitoring, and nothing where it does not answer',
  skip,
  async () => {
    const state = await readServerState(server.monitor);
    assert.ok(state, 'a server with JetStream says so');
    assert.ok(state.storageBytesMax > 0);
    assert.ok(state.memoryBytes > 1024 ** 2);
    assert.ok(state.connections >= 0);
    assert.equal(await readServerState(`http://127.0.0.1:${await freePort()}`), undefined);
  },
);

test('a server without JetStream says nothing of it', () => {
  assert.equal(parseServerState('{"mem": 1, "connections": 2}'), undefined);
});
