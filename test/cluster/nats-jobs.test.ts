import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { jobBehaviour } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { openNats } from '@heddle/adapters/nats';
import {
  type CountRequest,
  countingResult,
  type Launched,
  launch,
  missingServer,
  type NatsServer,
  SERVERS,
  silentLog,
  startNats,
} from '@heddle/testkit';

const HOST = fileURLToPath(import.meta.resolve('@heddle/testkit/processes/nats-host'));
const JOBS: Readonly<Record<string, CountRequest>> = Object.fromEntries(
  Array.from({ length: 6 }, (_, i) => [
    `key${i}`,
    { seed: 100 + i, steps: 150, every: 25, stepMs: 8 },
  ]),
);

const missing = missingServer(SERVERS.natsCurrent);

test(
  'two replicas on NATS, a server and a replica killed, one a zombie: every job ends once, with the right result',
  missing === undefined ? {} : { skip: missing },
  async (t) => {
    const server = await startNats(SERVERS.natsCurrent);
    const settings = {
      servers: [server.url],
      prefix: 'jobs',
      ackWaitMs: 1_000,
      concurrency: 2,
      jobs: JOBS,
    };
    const host = (): Launched => launch(HOST, [JSON.stringify(settings)]);
    const [doomed, zombie] = [host(), host()];
    try {
      // Each fault hits while its victim computes.
      await Promise.all([doomed, zombie].map((each) => each.line(/^step \S+ 30$/)));
      await server.kill();
      await server.restart();

      await zombie.line(/^step \S+ 60$/);
      zombie.kill('SIGSTOP');
      await doomed.line(/^step \S+ 110$/); // longer than the zombie's ack wait
      await systemClock.sleep(1_500);
      zombie.kill('SIGCONT');

      doomed.kill('SIGKILL');
      await doomed.exited;
      const last = host();
      for (const [key, request] of Object.entries(JOBS)) {
        const [, status, result] = await last.line(new RegExp(`^${key} (\\S+) (.*)$`));
        assert.deepEqual([key, status, result], [key, 'completed', countingResult(request)]);
      }
      assert.equal((await last.exited).code, 0, last.stderr());
      assert.equal((await zombie.exited).code, 0, zombie.stderr());

      const { ends, appended } = await endsOf(server);
      assert.deepEqual(
        ends,
        Object.keys(JOBS).map(() => 1),
        'each job ended once',
      );
      const steps = [doomed, zombie, last].flatMap(({ lines }) =>
        lines.filter((line) => line.startsWith('step ')),
      ).length;
      const asked = Object.values(JOBS).reduce((sum, job) => sum + job.steps, 0);
      t.diagnostic(`${steps} steps computed for ${asked} asked for; ${appended} events`);
      assert.ok(steps >= asked);
    } finally {
      for (const each of [doomed, zombie]) each.kill('SIGKILL');
      await server.remove();
    }
  },
);

/** How often each job's journal says that it ended. */
async function endsOf(
  server: NatsServer,
): Promise<{ readonly ends: readonly number[]; readonly appended: number }> {
  const { journal, close } = await openNats({
    servers: [server.url],
    prefix: 'jobs',
    clock: systemClock,
    log: silentLog,
  });
  const ends: number[] = [];
  let appended = 0;
  for (const stream of await journal.streams('job.', 100)) {
    const events = (await journal.read(stream)).map(({ bytes }) => jobBehaviour.decode(bytes));
    appended += events.length;
    ends.push(events.filter(({ type }) => type === 'completed').length);
  }
  await close();
  return { ends, appended };
}
