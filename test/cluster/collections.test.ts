import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JobRuntime } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { type NatsStores, openNats } from '@heddle/adapters/nats';
import { OperationError } from '@heddle/core';
import {
  CountingMetrics,
  type LogLine,
  missingServer,
  recordingLog,
  SERVERS,
  startNats,
} from '@heddle/testkit';
import { partsKind } from '@heddle/testkit/processes/share-host';

const DURATION_MS = 4_000;
/** A machine that does much else gets time for as much as says something. */
const LONGEST_MS = 120_000;
const [FORGOTTEN, COMPLETED] = [5, 20];
/** So few that jobs of one name follow each other closely, often of equal length. */
const KEYS = 4;
/** What a client may hear whose job is being collected; everything else is a job lost or doubled. */
const HONEST = [
  /^not_found: no job/,
  /^not_found: job \S+ was removed/,
  /^unavailable: job \S+ is being removed/,
];
const missing = missingServer(SERVERS.natsCurrent);

test(
  'processes that collect at once, and clients that begin the same jobs again, lose and mix up nothing',
  missing === undefined ? {} : { skip: missing },
  async (t) => {
    const server = await startNats(SERVERS.natsCurrent);
    const lines: LogLine[] = [];
    const log = recordingLog(lines);
    const opened: { readonly stores: NatsStores; readonly runtime: JobRuntime }[] = [];
    const heard: string[] = [];
    let forgotten = 0;
    let completed = 0;
    try {
      for (let i = 0; i < 3; i++) {
        const clock = systemClock;
        const stores = await openNats({ servers: [server.url], clock, log, prefix: 'gc' });
        const { journal, queue, events } = stores;
        const ports = { journal, queue, events, blobs: await stores.blobs(), clock, log };
        const runtime = new JobRuntime({ ...ports, metrics: new CountingMetrics() });
        runtime.register(partsKind({ concurrency: 4, taskMs: 2 }));
        opened.push({ stores, runtime });
        await runtime.start();
      }
      const runtimes = opened.map(({ runtime }) => runtime);
      const startMs = performance.now();
      const isOver = (): boolean => {
        const ms = performance.now() - startMs;
        const isEnough = forgotten > FORGOTTEN && completed > COMPLETED;
        return ms > (isEnough ? DURATION_MS : LONGEST_MS);
      };
      const until = async (body: (round: number) => Promise<void>): Promise<void> => {
        for (let round = 0; !isOver(); round++) {
          await body(round).catch((thrown: unknown) => {
            const { code, message } = OperationError.from(thrown);
            heard.push(`${code}: ${message}`);
          });
        }
      };
      const at = (i: number): JobRuntime => runtimes[i % 3] as JobRuntime;
      const collectors = [0, 1].map((i) =>
        until(async () => {
          forgotten += (await at(i).gc()).jobs.length;
          await systemClock.sleep(20);
        }),
      );
      const clients = Array.from({ length: 6 }, (_, c) =>
        until(async (round) => {
          const key = `k${(c + round) % KEYS}`;
          const { id } = await at(c + round).submit('test.parts', 1, { key });
          const { status } = await at(c + 1).wait(id);
          if (status === 'completed') completed += 1;
          await at(c + 2).pin(id);
          await at(c).unpin(id);
        }),
      );
      await Promise.all([...collectors, ...clients]);
    } finally {
      for (const { runtime } of opened) await runtime.stop(0);
      for (const { stores } of opened) await stores.close();
      await server.remove();
    }
    t.diagnostic(`${completed} jobs completed, ${forgotten} forgotten under them`);
    const wrong = heard.filter((line) => !HONEST.some((honest) => honest.test(line)));
    assert.deepEqual([...new Set(wrong)], []);
    const errors = lines.filter(({ level }) => level === 'error');
    assert.deepEqual(
      errors.map(({ message }) => message),
      [],
    );
    const isEnough = forgotten > FORGOTTEN && completed > COMPLETED;
    assert.ok(isEnough, `${forgotten} forgotten, ${completed} completed`);
  },
);
