import assert from 'node:assert/strict';
import { cp, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { OperationError } from '@heddle/core';
import type { Journal } from '@heddle/ports';
import {
  missingServer,
  type NatsServer,
  SERVERS,
  silentLog,
  startNats,
  temporaryFolder,
} from '@heddle/testkit';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { systemClock } from '../clock/index.ts';
import { type NatsStores, openNats } from './index.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array): string => new TextDecoder().decode(value);

const missing = missingServer(SERVERS.natsCurrent);
const skip = missing === undefined ? {} : { skip: missing };
let server: NatsServer;
before(async () => {
  if (missing === undefined) server = await startNats(SERVERS.natsCurrent);
});
const opened: NatsStores[] = [];
after(async () => {
  for (const { close } of opened) await close();
  await server?.remove();
});

async function open(prefix: string): Promise<NatsStores> {
  const stores = await openNats({
    servers: [server.url],
    clock: systemClock,
    log: silentLog,
    prefix,
  });
  opened.push(stores);
  return stores;
}

test('an append whose answer is late is kept once', skip, async () => {
  const { journal } = await open('late');
  await journal.append('job.a', 0, [bytes('one')]);
  server.pause(); // longer than one request waits: it is sent a second time
  const appending = journal.append('job.a', 1, [bytes('two')]);
  await systemClock.sleep(3_500);
  server.resume();

  assert.equal(await appending, 2);
  assert.equal(await journal.append('job.a', 2, [bytes('three')]), 3);
  const events = await journal.read('job.a');
  assert.deepEqual(
    events.map((event) => text(event.bytes)),
    ['one', 'two', 'three'],
  );
});

test(
  'kill -9 of the server under three writers: what was acknowledged is there once, in order',
  skip,
  async () => {
    const writers = ['a', 'b', 'c'];
    const stores = await Promise.all(writers.map(() => open('killed')));
    const stop = new AbortController();
    const acknowledged = new Map<number, string>();
    let appended = 0;
    const writing = stores.map(({ journal }, i) =>
      write(journal, writers[i] ?? '', stop.signal, (sequence, said) => {
        assert.equal(acknowledged.get(sequence), undefined, `${sequence} was given twice`);
        acknowledged.set(sequence, said);
        appended += 1;
      }),
    );
    const more = async (count: number): Promise<void> => {
      for (const goal = appended + count; appended < goal; ) await systemClock.sleep(5);
    };
    for (let round = 0; round < 3; round++) {
      await more(100);
      await server.kill();
      await server.restart();
    }
    await more(100);
    stop.abort();
    await Promise.all(writing);

    const fresh = await open('killed');
    const events = await fresh.journal.read('job.shared');
    assert.deepEqual(
      events.map(({ sequence }) => sequence),
      events.map((_, i) => i + 1),
    );
    for (const [sequence, said] of acknowledged) {
      assert.equal(text(events[sequence - 1]?.bytes ?? bytes('')), said);
    }
    // Each writer says a thing again only when its append was refused; so nothing stands twice.
    const said = events.map((event) => text(event.bytes));
    assert.equal(new Set(said).size, said.length);
  },
);

test(
  'a pull that waits, a follower and a subscriber outlive a kill -9 of the server',
  skip,
  async () => {
    const one = await open('outlive');
    const two = await open('outlive');
    const stop = new AbortController();
    const pull = { ackWaitMs: 60_000, attemptsMax: 3, waitMs: 60_000 };
    await one.queue.pull('tasks.a', { ...pull, waitMs: 0 }); // the queue stands
    const pulled = one.queue.pull('tasks.a', pull);
    const followed = (async () => {
      for await (const event of one.journal.follow('job.a', 0, stop.signal))
        return text(event.bytes);
      return undefined;
    })();
    const heard = one.events.subscribe('jobs.', stop.signal)[Symbol.asyncIterator]().next();
    await two.journal.append('job.b', 0, [bytes('before')]);

    await server.kill();
    await server.restart();

    await retried(() => two.queue.push('tasks.a', 'k', bytes('work')));
    await retried(() => two.journal.append('job.a', 0, [bytes('after')]));
    assert.equal((await pulled)?.key, 'k');
    assert.equal(await followed, 'after');
    for (;;) {
      two.events.publish('jobs.progress', 1); // lost while the subscriber is not back yet
      const late = systemClock.sleep(50).then(() => undefined);
      const event = await Promise.race([heard, late]);
      if (event !== undefined) break;
    }
    stop.abort();
    await one.close();
    await two.close();
  },
);

test(
  'what is in work when the server is killed is finished by who has it, or comes again',
  skip,
  async () => {
    const { queue } = await open('inwork');
    const pull = { ackWaitMs: 30_000, attemptsMax: 9, waitMs: 30_000 };
    await queue.push('tasks.a', 'kept', bytes('x'));
    await queue.push('tasks.a', 'dropped', bytes('x'));
    const kept = await queue.pull('tasks.a', pull);
    const dropped = await queue.pull('tasks.a', pull);
    assert.deepEqual([kept?.key, dropped?.key], ['kept', 'dropped']);

    await server.kill();
    await server.restart();

    assert.equal(await retried(async () => kept?.heartbeat()), true);
    // What the server has not written down it knows nothing of: then this times out, and the message comes again.
    await kept
      ?.ack()
      .catch((error: unknown) => assert.equal(OperationError.from(error).code, 'unavailable'));
    const came: (string | undefined)[] = [];
    for (;;) {
      const { waiting, working } = await queue.depth('tasks.a');
      if (waiting + working === 0) break;
      const again = await queue.pull('tasks.a', { ...pull, ackWaitMs: 1_000, waitMs: 2_000 });
      came.push(again?.key);
      await again?.ack();
    }
    assert.ok(came.includes('dropped'));
  },
);

test('a queue that the server was killed in making is made again', skip, async () => {
  const { queue } = await open('half');
  await queue.depth('tasks.a');
  await server.kill();
  await truncate(join(server.streams, 'HALF_WORK_tasks_a', 'meta.inf'), 0);
  await server.restart();

  const pull = { ackWaitMs: 60_000, attemptsMax: 3, waitMs: 30_000 };
  const pulled = queue.pull('tasks.a', pull);
  await retried(() => queue.push('tasks.a', 'k', bytes('x')));
  assert.equal((await pulled)?.key, 'k');
});

/** As an actor does: folds, appends after what was folded, and after an error folds again and looks. */
async function write(
  journal: Journal,
  name: string,
  signal: AbortSignal,
  acknowledged: (sequence: number, said: string) => void,
): Promise<void> {
  let last = 0;
  const mine = new Set<string>();
  for (let i = 0; !signal.aborted; ) {
    const said = `${name} ${i}`;
    try {
      for (const event of await journal.read('job.shared', last)) {
        last = event.sequence;
        mine.add(text(event.bytes));
      }
      if (mine.has(said)) i += 1;
      else {
        last = await journal.append('job.shared', last, [bytes(said)]);
        acknowledged(last, said);
        i += 1;
      }
    } catch (error) {
      const { code } = OperationError.from(error);
      assert.ok(code === 'aborted' || code === 'unavailable', `${error}`);
    }
  }
}

/** A caller that tries `unavailable` again. */
async function retried<T>(body: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await body();
    } catch (error) {
      if (OperationError.from(error).code !== 'unavailable') throw error;
    }
  }
}

/** The server as it was before its last minutes: what it did since to one stream was never on its disk. */
async function loseWhatWasDoneTo(stream: string, body: () => Promise<unknown>): Promise<void> {
  const folder = join(server.streams, stream);
  const before = await temporaryFolder();
  await server.kill();
  await cp(folder, join(before.path, stream), { recursive: true });
  await server.restart();
  await body();
  await server.kill();
  await rm(folder, { recursive: true });
  await cp(join(before.path, stream), folder, { recursive: true });
  await server.restart();
  await before.remove();
}

test(
  'a removed stream that a killed server gives back, whole or in pieces, stays removed',
  skip,
  async () => {
    const { journal } = await open('ghosts');
    for (const name of ['whole', 'torn', 'kept']) {
      for (let i = 0; i < 4; i++) await journal.append(`job.${name}`, i, [bytes(`${name} ${i}`)]);
    }
    const nc = await connect({ servers: server.url });
    const { streams } = await jetstreamManager(nc);
    for (const seq of [5, 8]) await streams.deleteMessage('GHOSTS_JOURNAL', seq); // of `torn` the first and the last
    await nc.close();
    await loseWhatWasDoneTo('GHOSTS_JOURNAL', async () => {
      for (const name of ['whole', 'torn']) await journal.remove(`job.${name}`);
    });

    const fresh = (await open('ghosts')).journal;
    assert.equal((await fresh.ends('job.')).size, 3, 'they stand again');
    for (const name of ['whole', 'torn']) assert.deepEqual(await fresh.read(`job.${name}`), []);
    assert.equal((await fresh.read('job.kept')).length, 4);
    assert.deepEqual([...(await fresh.ends('job.')).keys()], ['job.kept']);

    assert.equal(await fresh.append('job.torn', 0, [bytes('another life')]), 1);
    const again = (await open('ghosts')).journal;
    assert.deepEqual(
      (await again.read('job.torn')).map((event) => text(event.bytes)),
      ['another life'],
    );
  },
);
