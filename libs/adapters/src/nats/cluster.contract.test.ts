import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { OperationError } from '@heddle/core';
import {
  blobsContract,
  journalContract,
  missingServer,
  type NatsServer,
  queueContract,
  SERVERS,
  silentLog,
  startNatsCluster,
  until,
  waitOut,
} from '@heddle/testkit';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { systemClock } from '../clock/index.ts';
import { type NatsOptions, type NatsStores, openNats } from './index.ts';

const name = `NATS ${SERVERS.natsCurrent.version}, three servers`;
const missing = missingServer(SERVERS.natsCurrent);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

let servers: NatsServer[] = [];
const opened: NatsStores[] = [];

async function open(options: Partial<NatsOptions> = {}): Promise<NatsStores> {
  const stores = await openNats({
    servers: servers.map(({ url }) => url),
    replicas: 3,
    clock: systemClock,
    log: silentLog,
    prefix: `t${randomBytes(6).toString('hex')}`,
    ...options,
  });
  opened.push(stores);
  return stores;
}

/** What a test starts with: no messages in streams that stand. To make new ones while a server is dead takes an election each. */
async function emptied(options: Partial<NatsOptions> = {}): Promise<NatsStores> {
  const stores = await open({ prefix: 'shared', queue: { messagesMax: 10 }, ...options });
  const nc = await connect({ servers: servers.map(({ url }) => url) });
  const { streams } = await jetstreamManager(nc);
  for await (const { config } of streams.list()) {
    const ours = /^(SHARED_|OBJ_shared-)/.test(config.name);
    if (ours)
      await until(`purging ${config.name}`, () =>
        streams.purge(config.name).then(
          () => true,
          () => false,
        ),
      );
  }
  await nc.close();
  return stores;
}

if (missing === undefined) {
  before(async () => {
    servers = await startNatsCluster(SERVERS.natsCurrent, 3);
    // A leader is elected, and knows of all three, some time after the processes answer.
    await until('a cluster that takes three replicas', async () => {
      try {
        await (await open()).close();
        return true;
      } catch {
        return false;
      }
    });
    const { queue, blobs } = await emptied();
    await blobs();
    for (const name of ['tasks.a', 'tasks.b']) {
      const pull = (): Promise<unknown> =>
        queue.pull(name, { ackWaitMs: 600, attemptsMax: 3, waitMs: 0 });
      await until(`a leader for ${name}`, () =>
        pull().then(
          () => true,
          () => false,
        ),
      );
    }
  });
  after(async () => {
    for (const { close } of opened) await close();
    await Promise.all(servers.map((server) => server.remove()));
  });
  contracts(name);

  test('one of three servers is killed: acknowledged appends stand, work goes on', killOne);

  contracts(`${name}, one of them dead`);
} else {
  test(`${name}: the contracts hold, also with one killed`, { skip: missing }, () => undefined);
}

function contracts(which: string): void {
  journalContract(`${which}: journal`, () => emptied());

  queueContract(`${which}: queue`, async () => {
    const { queue, close } = await emptied();
    return { queue, pass: waitOut, isCluster: true, close };
  });

  blobsContract(`${which}: object store`, async () => {
    const stores = await emptied();
    return { blobs: await stores.blobs(), close: stores.close };
  });
}

async function killOne(): Promise<void> {
  const { journal, queue, blobs, report } = await emptied({ queue: { messagesMax: 20 } });
  assert.equal(report.journal.replicas, 3);
  const store = await blobs();
  const { digest } = await store.put(randomBytes(1_200_000));
  for (let i = 0; i < 20; i++) await queue.push('tasks.a', `k${i}`, bytes('x'));
  let last = 0;
  const append = async (): Promise<void> => {
    // As an actor does: after an error fold again.
    try {
      last = await journal.append('job.a', last, [bytes(`${last}`)]);
    } catch (error) {
      assert.match(OperationError.from(error).code, /^(aborted|unavailable)$/);
      last = (await journal.read('job.a', last)).at(-1)?.sequence ?? last;
    }
  };
  for (let i = 0; i < 50; i++) await append();
  const acknowledged = last;
  const dying = servers[0]?.kill();

  while (last < acknowledged + 50) await append();
  await dying;

  const events = await journal.read('job.a');
  assert.deepEqual(
    events.map((event) => [event.sequence, new TextDecoder().decode(event.bytes)]),
    events.map((_, i) => [i + 1, `${i}`]),
    'each event once, in order, none lost',
  );
  assert.equal((await store.read(digest)).length, 1_200_000);
  const worked = new Set<string>();
  const pull = { ackWaitMs: 5_000, attemptsMax: 9, waitMs: 20_000 };
  while (worked.size < 20) {
    const delivery = await queue.pull('tasks.a', pull);
    assert.ok(delivery, `only ${worked.size} of 20 came`);
    worked.add(delivery.key);
    await delivery.ack();
  }
}
