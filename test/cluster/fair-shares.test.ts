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
  until,
} from '@heddle/testkit';
import { partsKind, type ShareHostSettings } from '@heddle/testkit/processes/share-host';

const HOST = fileURLToPath(import.meta.resolve('@heddle/testkit/processes/share-host'));
const WINDOW = 32;
/** Of whom has much to do: more than ends while a test looks. */
const ALL = 4_000;
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

      const alice = await submit('alice', ALL);
      const lane = () => queue.keys('tasks.test.parts', 'alice');
      await until('alice at work', async () => (await endsOf(stores, alice.id)).length > WINDOW);
      const onQueue = (await lane()).length;
      // What an autoscaler sees of all that: no more than a window, and never nothing.
      assert.ok(onQueue > 0 && onQueue <= WINDOW, `${onQueue} tasks on the queue`);
      /** Tasks of alice that end while a newcomer's do: from when the newcomer asked, and from its first end. */
      const beside = async (tenant: string, tasks: number) => {
        const { id, createdMs } = await submit(tenant, tasks);
        await runtime.wait(id);
        const own = await endsOf(stores, id);
        const alices = (await endsOf(stores, alice.id)).filter((ms) => ms <= (own.at(-1) ?? 0));
        return {
          sinceAsked: alices.filter((ms) => ms >= createdMs).length,
          sinceFirst: alices.filter((ms) => ms >= (own[0] ?? 0)).length,
        };
      };

      // This process may be kept from its part by a machine that does much else: what it waited for then is alice's. Whoever is kept
      // waiting by the order of tasks, or gets nothing of it, is so each time.
      const waits: number[] = [];
      for (const bob of ['bob', 'bert', 'bill', 'ben']) {
        waits.push((await beside(bob, 5)).sinceAsked);
        if ((waits.at(-1) ?? 0) <= 2 * WINDOW) break;
      }
      const ratios: number[] = [];
      const isFair = (ratio: number): boolean => ratio > 0.5 && ratio < 2;
      for (const carol of ['carol', 'cora', 'clara', 'cleo']) {
        ratios.push((await beside(carol, 150)).sinceFirst / 150);
        if (ratios.some(isFair)) break;
      }
      assert.ok((await lane()).length > 0, 'alice was at work all the time');
      await runtime.cancel(alice.id);

      t.diagnostic(
        `window ${WINDOW}: ${waits.join(', then ')} tasks of alice ended until a newcomer's 5 were done; ` +
          `${ratios.map((ratio) => ratio.toFixed(2)).join(', then ')} to 1 while another's 150 were`,
      );
      assert.ok((waits.at(-1) ?? 0) > 0, 'alice was at work all the time');
      assert.ok((waits.at(-1) ?? ALL) <= 2 * WINDOW, `${waits}`);
      // Without windows alice, who came first, has all or nothing of this time.
      assert.ok(ratios.some(isFair), `${ratios}`);
    } finally {
      for (const host of hosts) host.kill('SIGKILL');
      await front?.stop(0);
      await stores.close();
      await server.remove();
    }
  },
);
