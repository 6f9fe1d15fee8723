import { fileURLToPath } from 'node:url';
import { fold, initialState, JobRuntime, jobBehaviour } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { openNats } from '@heddle/adapters/nats';
import {
  CountingMetrics,
  launch,
  SERVERS,
  silentLog,
  startNats,
  TestCallers,
} from '@heddle/testkit';
import { partsKind } from '@heddle/testkit/processes/share-host';

const HOST = fileURLToPath(import.meta.resolve('@heddle/testkit/processes/share-host'));
const server = await startNats(SERVERS.natsCurrent);
const settings = {
  servers: [server.url],
  prefix: 'shares',
  concurrency: 2,
  taskMs: 20,
  windowTasks: 32,
};
const hosts = [0, 1].map(() => launch(HOST, [JSON.stringify(settings)]));
const stores = await openNats({ ...settings, clock: systemClock, log: silentLog });
await Promise.all(hosts.map((host) => host.line(/^ready$/)));
const { journal, queue, events } = stores;
const front = new JobRuntime({
  journal,
  queue,
  events,
  blobs: await stores.blobs(),
  clock: systemClock,
  callers: new TestCallers(),
  windowTasks: 32,
  log: silentLog,
  metrics: new CountingMetrics(),
});
front.register(partsKind(settings));
if (process.argv[2] === 'start') await front.start();
const alice = await front.submit('test.parts', 500);
for (let i = 0; i < Number(process.argv[3] ?? 20); i++) {
  await systemClock.sleep(1000);
  const v = await front.get(alice.id);
  console.log(
    i,
    v.status,
    v.tasks,
    await queue.depth('tasks.test.parts'),
    (await queue.keys('tasks.test.parts', '')).slice(0, 3),
    hosts.map((h) => h.stderr().slice(0, 300)),
  );
  if (v.status === 'completed') break;
}
for (const h of hosts) h.kill('SIGKILL');
await stores.close();
await server.remove();
