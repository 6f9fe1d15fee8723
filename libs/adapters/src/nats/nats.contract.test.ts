import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import {
  blobsContract,
  eventsContract,
  journalContract,
  missingServer,
  type NatsServer,
  queueContract,
  SERVERS,
  silentLog,
  startNats,
  waitOut,
} from '@heddle/testkit';
import { systemClock } from '../clock/index.ts';
import { type NatsOptions, type NatsStores, openNats } from './index.ts';

for (const program of [SERVERS.natsMinimum, SERVERS.natsCurrent]) {
  const name = `NATS ${program.version}`;
  const missing = missingServer(program);
  if (missing !== undefined) {
    test(`${name} keeps the contracts`, { skip: missing }, () => undefined);
    continue;
  }
  let server: NatsServer | undefined;
  before(async () => {
    // Each test's streams reserve more than half a GiB: all of them more than a small disk has, of which little is used.
    server = await startNats(program, { jetstream: 'max_file_store: 256GB' });
  });
  after(() => server?.remove());

  const open = (options: Partial<NatsOptions> = {}): Promise<NatsStores> =>
    openNats({
      servers: [server?.url ?? ''],
      clock: systemClock,
      log: silentLog,
      prefix: `t${randomBytes(6).toString('hex')}`, // every test has streams of its own
      ...options,
    });

  journalContract(`${name} journal`, async () => {
    const { journal, close } = await open();
    return { journal, close };
  });

  queueContract(`${name} queue`, async (messagesMax) => {
    const { queue, close } = await open({ queue: { messagesMax } });
    return { queue, pass: waitOut, close };
  });

  blobsContract(`${name} object store`, async () => {
    const stores = await open();
    return { blobs: await stores.blobs(), close: stores.close };
  });

  eventsContract(`${name} events`, async () => {
    const { events, close } = await open();
    return { events, settled: () => events.flush(), close };
  });
}
