import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { WorkQueue } from '@heddle/ports';
import { temporaryFolder } from '@heddle/testkit';
import { bringUp } from './bring-up.ts';
import { readConfig } from './config.ts';
import { NATS_USERS } from './nats-users.ts';

test('each service’s user may work on the queues that it works on, and on no other', async () => {
  const folder = await temporaryFolder();
  const pulled = new Set<string>();
  const noting = (queue: WorkQueue): WorkQueue =>
    new Proxy(queue, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) => {
          if (name === 'pull') pulled.add(String(args[0]));
          return (member as (...rest: unknown[]) => unknown).apply(target, args);
        };
      },
    });
  const contracts = ['activation', 'lorsa', 'qk', 'circuit', 'attribution'] as const;
  const cluster = await bringUp(
    { dataDirectory: join(folder.path, 'data'), contracts },
    readConfig({}),
    { wrapStores: (stores) => ({ ...stores, queue: noting(stores.queue) }) },
  );
  await cluster.close(0);
  await folder.remove();
  const named = NATS_USERS.flatMap(({ queues }) => queues);
  assert.deepEqual([...pulled].sort(), [...named].sort());
  for (const { name, queues } of NATS_USERS) {
    for (const queue of queues) assert.ok(queue.startsWith(`tasks.${name}.`), queue);
  }
});
