import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { JobRuntime, jobBehaviour } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { type NatsStores, openNats } from '@heddle/adapters/nats';
import {
  CountingMetrics,
  launch,
  missingServer,
  SERVERS,
  silentLog,
  startNats,
  TestCallers,
} from '@heddle/testkit';
import { partsKind, type ShareHostSettings } from '@heddle/testkit/processes/share-host';

const HOST = fileURLToPath(import.meta.resolve('@heddle/testkit/processes/share-host'));
const WINDOW = 32;
const missing = missingServer(SERVERS.natsCurrent);

/** Places in the whole journal, in order, at which tasks of a job ended: what one server saw, whichever process did it. */
async function endsOf({ journal }: NatsStores, job: string): Promise<readonly number[]> {
  const events = await journal.read(`job.${job}`);
  return events
    .filter(({ bytes }) => jobBehaviour.decode(bytes).type === 'task-done')
    .map(({ timeMs }) => timeMs);
}

test(
  'on NATS, over two working processes, a newcomer is soon done and tenants with work get equal shares',
  missing === undefined ? {} : { skip: missing },
  async (t) => {
    const server = await startNats(SERVERS.natsCurrent);
    const settings: ShareHostSettings = {
      ...{ servers: [server.url], prefix: 'shares' },
      ...{ concurrency: 2, taskMs: 20, windowTasks: WINDOW },
    };
    const hosts = [0, 1].map(() => launch(HOST, [JSON.stringify(settings)]));
    const stores = await openNats({ ...settings, clock: systemClock, log: silentLog });
    let front: JobRuntime | undefined;
    try {
      await Promise.all(hosts.map((host) => host.line(/^ready$/)));
      const callers = new TestCallers();
      const { journal, queue, events } = stores;
      const ports = { journal, queue, events, blobs: await stores.blobs(), clock: systemClock };
      const options = { callers, windowTasks: WINDOW, log: silentLog };
      // Accepts jobs and works on none, as the front of a service that is scaled by its queue.
      front = new JobRuntime({ ...ports, ...options, metrics: new CountingMetrics() });
      front.register(partsKind({ ...settings, concurrency: 0 }));
      await front.start();
      const runtime = front;
      const submit = (tenant: string, tasks: number) =>
        callers.as(tenant, () => runtime.submit('test.parts', tasks));

      const alice = await submit('alice', 500);
      await systemClock.sleep(500);
      const onQueue = (await queue.keys('tasks.test.parts', 'alice')).length;
      // What an autoscaler sees of 500: no more than a window, and never nothing.
      assert.ok(onQueue > 0 && onQueue <= WINDOW, `${onQueue} tasks on the queue`);
      const bob = await submit('bob', 5);
      await front.wait(bob.id);
      const ended = await front.get(bob.id);
      const [from, to] = [bob.createdMs, ended.finishedMs ?? 0];
      const between = (ms: number): boolean => ms >= from && ms <= to;
      const meanwhile = (await endsOf(stores, alice.id)).filter(between).length;

      const carol = await submit('carol', 150);
      await front.wait(carol.id);
      const carols = await endsOf(stores, carol.id);
      const [first = 0, last = 0] = [carols[0], carols.at(-1)];
      const alices = await endsOf(stores, alice.id);
      const shared = alices.filter((ms) => ms >= first && ms <= last).length;
      await front.wait(alice.id);

      t.diagnostic(
        `window ${WINDOW}: ${meanwhile} tasks of alice ended until bob's 5 were done; ${shared} while carol's ${carols.length} were`,
      );
      assert.ok(meanwhile > 0, 'alice was at work all the time');
      assert.ok(meanwhile <= 2 * WINDOW, `${meanwhile}`);
      const ratio = shared / carols.length;
      // Without windows alice, who came first, has all or nothing of this time; the rest is a busy machine's scheduling.
      assert.ok(ratio > 0.5 && ratio < 2, `${shared} to ${carols.length}`);
    } finally {
      for (const host of hosts) host.kill('SIGKILL');
      await front?.stop(0);
      await stores.close();
      await server.remove();
    }
  },
);
