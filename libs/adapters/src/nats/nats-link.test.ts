import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  missingServer,
  type NatsServer,
  openProxy,
  SERVERS,
  silentLog,
  startNats,
  type TcpProxy,
  VirtualClock,
} from '@heddle/testkit';
import { usernamePasswordAuthenticator } from '@nats-io/transport-node';
import { systemClock } from '../clock/index.ts';
import { NATS_LIMITS } from './limits.ts';
import { NatsEvents } from './nats-events.ts';
import { NatsLink } from './nats-link.ts';

const missing = missingServer(SERVERS.natsCurrent);
const skip = missing === undefined ? {} : { skip: missing };
const PASSWORD = 'as it is';
let server: NatsServer;
let proxy: TcpProxy;
before(async () => {
  if (missing !== undefined) return;
  const config = `authorization { user: heddle, password: "${PASSWORD}" }`;
  server = await startNats(SERVERS.natsCurrent, { config });
  proxy = await openProxy(Number(new URL(server.url).port));
});
after(async () => {
  await proxy?.close();
  await server?.remove();
});

async function until(what: () => boolean): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!what()) {
    assert.ok(performance.now() < endMs, 'in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test(
  'a server that is gone without a word is noticed, and gone back to also while it refuses our credentials',
  skip,
  async () => {
    let password = PASSWORD;
    let refused = 0;
    const link = await NatsLink.open({
      servers: [`nats://127.0.0.1:${proxy.port}`],
      clock: systemClock,
      log: silentLog,
      pingMs: 50,
      connection: {
        authenticator: usernamePasswordAuthenticator('heddle', () => {
          if (password !== PASSWORD) refused += 1;
          return password;
        }),
      },
    });
    proxy.cut();
    await until(() => !link.isUp);
    password = 'of before the renewal';
    proxy.heal();
    await until(() => refused >= 4); // the client by itself closes for good at the second
    password = PASSWORD;
    await until(() => link.isUp);
    await link.call('flushing', () => link.nc.flush());
    await link.close();
  },
);

test(
  'a connection that does not come back within an election is known to be away, until it is back',
  skip,
  async () => {
    const clock = new VirtualClock();
    const link = await NatsLink.open({
      servers: [`nats://127.0.0.1:${proxy.port}`],
      clock,
      log: silentLog,
      pingMs: 50,
      connection: { user: 'heddle', pass: PASSWORD },
    });
    await clock.advance(NATS_LIMITS.patienceMs);
    assert.equal(link.isAway, false, 'it stands');
    proxy.cut();
    await until(() => !link.isUp);
    assert.equal(link.isAway, false, 'others may be elected');
    await clock.advance(NATS_LIMITS.patienceMs);
    assert.equal(link.isAway, true);
    proxy.heal();
    await until(() => link.isUp);
    assert.equal(link.isAway, false);
    await link.close();
  },
);

test(
  'what is no event on an events’ subject is passed over, and everything after it is heard',
  skip,
  async () => {
    const link = await NatsLink.open({
      servers: [server.url],
      clock: systemClock,
      log: silentLog,
      connection: { user: 'heddle', pass: PASSWORD },
    });
    const events = new NatsEvents(link);
    const stop = new AbortController();
    const heard = events.subscribe('job.', stop.signal)[Symbol.asyncIterator]();
    await events.flush();
    link.nc.publish('heddle.events.job.a', '{ this is no');
    link.nc.publish('heddle.events.job.a', new Uint8Array([0xff, 0xfe]));
    events.publish('job.a', { done: 1 });
    assert.deepEqual((await heard.next()).value, { subject: 'job.a', event: { done: 1 } });
    await events.flush(); // the connection still reads
    stop.abort();
    await link.close();
  },
);
