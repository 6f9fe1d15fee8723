import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { missingServer, type NatsServer, SERVERS, silentLog, startNats } from '@heddle/testkit';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { systemClock } from '../clock/index.ts';
import { type NatsOptions, type NatsStores, openNats } from './index.ts';
import { deliveredOf } from './nats-delivery.ts';

const NOTHING = new Uint8Array(1);
const PULL = { ackWaitMs: 60_000, attemptsMax: 3, waitMs: 0 };

const missing = missingServer(SERVERS.natsCurrent);
const skip = missing === undefined ? {} : { skip: missing };
let server: NatsServer;
const opened: NatsStores[] = [];
before(async () => {
  if (missing === undefined) server = await startNats(SERVERS.natsCurrent);
});
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

test('what a reply subject says of a delivery is read in both of its forms', () => {
  const short = deliveredOf('$JS.ACK.S.workers.3.17.42.1700000000000000000.5');
  const long = deliveredOf('$JS.ACK.hub.Hash.S.workers.3.17.42.1700000000000000000.5.token');

  assert.deepEqual(short, { deliveries: 3, id: '17.1700000000000000000' });
  assert.deepEqual(long, short);
});

test('a pull of a fraction of a millisecond more gets what waits at once', skip, async () => {
  const { queue } = await open('fractions');
  // Refused, each would wait for a pause of 250 ms at least once: one that did not is enough, on a machine that is late as well.
  let quickestMs = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 8 || (quickestMs >= 250 && i < 100); i++) {
    await queue.push('tasks.a', `k${i}`, NOTHING);
    const startedMs = performance.now();
    const delivery = await queue.pull('tasks.a', { ...PULL, waitMs: 60_000 + (i % 2 ? 1 : 2) / 3 });
    quickestMs = Math.min(quickestMs, performance.now() - startedMs);
    assert.equal(delivery?.key, `k${i}`);
    await delivery?.ack();
  }
  assert.ok(quickestMs < 250, `${quickestMs} ms`);
});

test(
  'more than a thousand messages handed back with a delay do not stop the queue',
  skip,
  async () => {
    const { queue } = await open('delayed');
    const keys = Array.from({ length: 1_100 }, (_, i) => `k${i}`);
    for (let at = 0; at < keys.length; at += 100) {
      await Promise.all(keys.slice(at, at + 100).map((key) => queue.push('tasks.a', key, NOTHING)));
    }
    for (let at = 0; at < keys.length; at += 50) {
      const taken = await Promise.all(
        Array.from({ length: 50 }, () => queue.pull('tasks.a', PULL)),
      );
      await Promise.all(taken.map((delivery) => delivery?.nak(60_000)));
    }

    await queue.push('tasks.a', 'now', NOTHING);

    assert.equal((await queue.pull('tasks.a', { ...PULL, waitMs: 10_000 }))?.key, 'now');
  },
);

test('of the dead letters the newest of each queue are kept', skip, async () => {
  const { queue } = await open('dead', { queue: { deadLettersMax: 3 } });
  for (const name of ['tasks.a', 'tasks.b']) {
    for (const key of ['1', '2', '3', '4', 'ä /.*']) {
      await queue.push(name, key, NOTHING);
      await (await queue.pull(name, PULL))?.terminate(`no: ${key}\r\n`);
    }
    const letters = await queue.deadLetters(name, 10);
    assert.deepEqual(
      letters.map(({ queue: of, key, reason, attempts }) => [of, key, reason, attempts]),
      ['3', '4', 'ä /.*'].map((key) => [name, key, `no: ${key}\r\n`, 1]),
    );
    assert.deepEqual(
      (await queue.deadLetters(name, 1)).map(({ key }) => key),
      ['3'],
    );
  }
});

test(
  'a message sent to a pull that was given up goes to the next one, not into its ack wait',
  skip,
  async () => {
    const { queue } = await open('given-up');
    await queue.pull('tasks.a', PULL);
    for (let i = 0; i < 40; i++) {
      const stop = new AbortController();
      const given = queue.pull('tasks.a', { ...PULL, waitMs: 60_000, signal: stop.signal });
      const pushed = queue.push('tasks.a', `k${i}`, NOTHING);
      await systemClock.sleep((i % 10) / 5);
      stop.abort();
      await pushed;
      const delivery = (await given) ?? (await queue.pull('tasks.a', { ...PULL, waitMs: 20_000 }));
      assert.equal(delivery?.key, `k${i}`);
      await delivery.ack();
    }
  },
);

test('closing ends the pulls that wait', skip, async () => {
  const { queue } = await open('closing');
  const waiting = queue.pull('tasks.a', { ...PULL, waitMs: 600_000 });
  await queue.close();

  assert.equal(await waiting, undefined);
});

test('the consumer that an autoscaler watches stands under its documented name', skip, async () => {
  const { queue } = await open('scaled');
  await queue.push('tasks.lorsa.train', 'k', NOTHING);
  await queue.pull('tasks.lorsa.train', PULL);
  const nc = await connect({ servers: server.url });
  const { consumers } = await jetstreamManager(nc);
  const found = await consumers.info('SCALED_WORK_tasks_lorsa_train', 'workers');
  await nc.close();

  assert.deepEqual([found.num_pending, found.num_ack_pending], [0, 1]);
  assert.ok([undefined, -1, 0].includes(found.config.max_deliver), 'nothing is left undelivered');
});

test(
  'workers of two processes that take what others push meanwhile are never left waiting',
  skip,
  async () => {
    const replicas = [await open('stall'), await open('stall')];
    const stop = new AbortController();
    const waiting = { ...PULL, waitMs: 15_000, signal: stop.signal };
    const COUNT = 250;
    let pushed = 0;
    let done = 0;
    // Time as this server and this process have it: a machine that is late is late for these as well.
    let beats = 0;
    let last = 0;
    let worst = 0;
    const nc = await connect({ servers: server.url });
    const beating = (async () => {
      for (; !stop.signal.aborted; beats++) {
        await systemClock.sleep(10);
        await nc.flush();
      }
    })();
    const push = ({ queue }: NatsStores) => queue.push('tasks.a', `k${pushed++}`, NOTHING);
    for (const replica of replicas) for (let i = 0; i < 10; i++) await push(replica);
    const work = async (replica: NatsStores): Promise<void> => {
      while (!stop.signal.aborted) {
        const delivery = await replica.queue.pull('tasks.a', waiting);
        if (delivery === undefined) continue;
        await systemClock.sleep(5);
        await delivery.ack();
        worst = Math.max(worst, beats - last);
        last = beats;
        done += 1;
        if (pushed < COUNT) await push(replica);
        if (done === COUNT) stop.abort('done');
      }
    };
    await Promise.all([...replicas, ...replicas].map(work));
    await beating;
    await nc.close();
    // A pull that the server forgot would be waited for until it expires, after 15 s: some 1,400 of these.
    assert.ok(worst < 300, `${worst} beats without a message on a queue full of them`);
  },
);

test(
  'a queue that nobody has pulled from yet has its consumer once it is prepared',
  skip,
  async () => {
    const { queue } = await open('ahead');
    await queue.prepare('tasks.qk.fit', { ackWaitMs: 30_000 });
    await queue.push('tasks.qk.fit', 'k', NOTHING);

    const nc = await connect({ servers: server.url });
    const { consumers } = await jetstreamManager(nc);
    const found = await consumers.info('AHEAD_WORK_tasks_qk_fit', 'workers');
    await nc.close();

    assert.deepEqual([found.num_pending, found.num_ack_pending], [1, 0]);
    assert.equal(found.config.ack_wait, 30e9);
  },
);
