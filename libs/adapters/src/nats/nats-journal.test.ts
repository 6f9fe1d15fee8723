import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { OperationError } from '@heddle/core';
import { missingServer, type NatsServer, SERVERS, silentLog, startNats } from '@heddle/testkit';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { systemClock } from '../clock/index.ts';
import { packEvents, unpackEvents } from './event-frames.ts';
import { type NatsOptions, type NatsStores, openNats } from './index.ts';
import { nameOf, oneToken, streamToken, subjectTokens } from './names.ts';
import type { NatsLink } from './nats-link.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array): string => new TextDecoder().decode(value);
const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof OperationError, String(error));
  assert.equal(error.code, expected);
  return true;
};

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

async function open(prefix: string, options: Partial<NatsOptions> = {}): Promise<NatsStores> {
  const where = { servers: [server.url], clock: systemClock, log: silentLog, prefix };
  const stores = await openNats({ ...where, ...options });
  opened.push(stores);
  return stores;
}

test('names become subjects and come back, and two names never meet', () => {
  const names = [
    'job.a',
    'job.a.b',
    '.a',
    'a.',
    'a..b',
    'a b',
    'a*',
    '>',
    'ä/日',
    'a=2e',
    'a_b',
    'A-1',
  ];
  for (const encode of [subjectTokens, oneToken]) {
    assert.deepEqual(
      names.map((name) => nameOf(encode(name))),
      names,
    );
    for (const name of names) {
      const tokens = encode(name).split('.');
      assert.ok(
        tokens.every((token) => /^[A-Za-z0-9_=-]+$/.test(token)),
        encode(name),
      );
    }
  }
  assert.equal(subjectTokens('job.lorsa.train'), 'job.lorsa.train');
  assert.equal(oneToken('a.b').includes('.'), false);
  assert.equal(streamToken('tasks.lorsa.train'), 'tasks_lorsa_train');
  assert.equal(new Set(['a.b', 'a_b', 'a-b', 'a=b', 'a/b'].map(streamToken)).size, 5);
});

test('events of one append travel as one message, and anything else is refused', () => {
  const events = [bytes('one'), new Uint8Array(0), bytes('three')];
  const message = packEvents(events);

  assert.deepEqual(unpackEvents(message).map(text), ['one', '', 'three']);
  for (const broken of [message.subarray(0, -1), message.subarray(0, 3), bytes('{"json": 1}')]) {
    assert.throws(() => unpackEvents(broken), code('data_loss'));
  }
});

test('an event that went missing in the middle is data loss, not a shorter job', skip, async () => {
  const { journal } = await open('gap');
  for (let i = 0; i < 5; i++) await journal.append('job.a', i, [bytes(`${i}`)]);
  const nc = await connect({ servers: server.url });
  await (await jetstreamManager(nc)).streams.deleteMessage('GAP_JOURNAL', 3);
  await nc.close();
  const fresh = await open('gap');

  await assert.rejects(fresh.journal.read('job.a'), code('data_loss'));
});

test(
  'a full journal refuses with a type, keeps what it has, and works again when there is room',
  skip,
  async () => {
    const { journal } = await open('full', { journal: { bytesMax: 1024 * 1024 } });
    await journal.append('job.old', 0, [new Uint8Array(600_000)]);

    await assert.rejects(
      journal.append('job.new', 0, [new Uint8Array(600_000)]),
      code('resource_exhausted'),
    );
    assert.deepEqual(await journal.streams('job.', 10), ['job.old']);
    assert.equal((await journal.read('job.old'))[0]?.bytes.length, 600_000);

    await journal.remove('job.old');
    assert.equal(await journal.append('job.new', 0, [new Uint8Array(600_000)]), 1);
  },
);

test('what is larger than a message is refused before it is sent', skip, async () => {
  const { journal, queue } = await open('large');
  const large = new Uint8Array(1024 * 1024);
  for (const sent of [journal.append('job.a', 0, [large]), queue.push('tasks.a', 'k', large)]) {
    await assert.rejects(sent, (error) => {
      code('resource_exhausted')(error);
      assert.equal((error as OperationError).retryable, false);
      return true;
    });
  }
});

test(
  'two processes take turns at one job, and a stream removed by one begins anew for the other',
  skip,
  async () => {
    const one = await open('turns');
    const two = await open('turns');
    await one.journal.append('job.a', 0, [bytes('1'), bytes('2')]);
    assert.equal(await two.journal.append('job.a', 2, [bytes('3')]), 3);
    await assert.rejects(one.journal.append('job.a', 2, [bytes('x')]), code('aborted'));
    assert.equal(await one.journal.append('job.a', 3, [bytes('4')]), 4);
    assert.deepEqual(
      (await two.journal.read('job.a', 3)).map((event) => text(event.bytes)),
      ['4'],
    );

    await one.journal.remove('job.a');
    await one.journal.append('job.a', 0, [bytes('new'), bytes('life'), bytes('3'), bytes('4')]);
    await one.journal.append('job.a', 4, [bytes('5')]);
    // What follows event 4 of the new life is not what followed event 4 of the old one.
    await assert.rejects(two.journal.read('job.a', 4), code('aborted'));
    assert.equal((await two.journal.read('job.a')).length, 5);
    assert.equal(await two.journal.append('job.a', 5, [bytes('6')]), 6);
  },
);

test('a long stream is read whole, page after page', skip, async () => {
  const { journal } = await open('long');
  for (let i = 0; i < 700; i++) await journal.append('job.a', i, [bytes(`${i}`)]);
  const fresh = await open('long');

  const events = await fresh.journal.read('job.a');

  assert.deepEqual(
    events.map(({ sequence }) => sequence),
    events.map((_, i) => i + 1),
  );
  assert.equal(events.length, 700);
  assert.deepEqual(
    (await fresh.journal.read('job.a', 695)).map((e) => text(e.bytes)),
    ['695', '696', '697', '698', '699'],
  );
});

test(
  'a stream that began again is read from there, whatever a lagging replica still has of before',
  skip,
  async () => {
    const { journal } = await open('again');
    await journal.append('job.a', 0, [bytes('old 1')]);
    await journal.append('job.a', 1, [bytes('old 2')]);
    await journal.remove('job.a');
    for (const [i, said] of ['new 1', 'new 2', 'new 3'].entries()) {
      await journal.append('job.a', i, [bytes(said)]);
    }
    // Another process, which has seen nothing; what it asks replicas for is looked at on its way.
    const reader = await open('again');
    const { link } = reader.journal as unknown as { link: NatsLink };
    const asked: number[] = [];
    const gather = link.gather.bind(link);
    link.gather = (subject, payload, collect) => {
      asked.push((JSON.parse(payload) as { seq: number }).seq);
      return gather(subject, payload, collect);
    };
    const events = await reader.journal.read('job.a');
    assert.deepEqual(
      events.map((event) => text(event.bytes)),
      ['new 1', 'new 2', 'new 3'],
    );
    assert.ok(asked.length > 0 && asked.every((seq) => seq >= 3), `asked from ${asked}`);
  },
);
