import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jobBehaviour } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { openNats } from '@heddle/adapters/nats';
import { connect, type Heddle } from '@heddle/client';
import { OperationError } from '@heddle/core';
import {
  type Cluster,
  missingServer,
  quantile,
  SERVERS,
  silentLog,
  startCluster,
} from '@heddle/testkit';

/** What `heddle up` gives calls and tasks to end in. */
const GRACE_MS = 20_000;
/** How long a client asks again before he calls it a failure: a restart on a busy machine. */
const PATIENCE_MS = 30_000;
/** Answers that clients get between two restarts. */
const CALLS_BETWEEN = 30;

const TRAIN = {
  model: '',
  layer: 1,
  architecture: { n_ov_heads: 192, top_k: 8 },
  optimiser: { steps: 2500, batch: 2, context: 16 },
  data: {
    prompts: Array.from({ length: 20 }, (_, i) => ({
      tokens: { ids: Array.from({ length: 16 }, (_unused, j) => (i * 7 + j * 3) % 50) },
    })),
  },
  seed: 3,
  checkpoint_steps: 500,
};
const RUN = {
  prompts: [{ text: 'When Mary and John went to the store, John gave a drink to' }],
  hooks: ['logits'],
  positions: [0],
};

const missing = missingServer(SERVERS.natsCurrent);

/** Clients that do what they are told, and no more: UNAVAILABLE means ask again. */
class Clients {
  readonly latenciesMs: number[] = [];
  readonly failures: string[] = [];
  answers = 0;
  retries = 0;

  async ask<T>(what: string, call: () => Promise<T>): Promise<T | undefined> {
    const startedMs = performance.now();
    for (;;) {
      try {
        const answer = await call();
        this.answers += 1;
        this.latenciesMs.push(performance.now() - startedMs);
        return answer;
      } catch (thrown) {
        const { code, message, retryAfterMs = 200 } = OperationError.from(thrown);
        if (code !== 'unavailable' || performance.now() - startedMs > PATIENCE_MS) {
          this.failures.push(`${what}: ${code}: ${message}`);
          return undefined;
        }
        this.retries += 1;
        await systemClock.sleep(Math.min(retryAfterMs, 1000));
      }
    }
  }

  /** Asks one thing after another until told to stop. */
  async keepAsking(heddle: Heddle, job: string, stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await this.ask('Run', async () => {
        let tensors = 0;
        for await (const part of heddle.activation.Run(RUN)) if (part.header) tensors += 1;
        assert.equal(tensors, 1);
      });
      await this.ask('Tokenize', () =>
        heddle.activation.Tokenize({ model: '', prompt: { text: 'Mary had a little lamb' } }),
      );
      await this.ask('Get', () => heddle.jobs.Get({ id: job }));
      // Not idempotent by its contract; under a key it may be asked again.
      const start = { ...TRAIN, client_key: 'a' };
      const again = await this.ask('StartTrain', () => heddle.lorsa.StartTrain(start));
      if (again !== undefined) assert.equal(again.job?.id, job, 'a key names one job');
    }
  }

  /** The digests of everything that a job left. */
  async result(heddle: Heddle, job: string): Promise<readonly string[]> {
    const ended = await this.ask('wait', () => heddle.waitForJob(job));
    assert.equal(ended?.state, 'JOB_STATE_SUCCEEDED', ended?.error?.message);
    const outcome = await this.ask('outcome', () => heddle.outcome(job));
    return outcome?.artifacts.map(({ name, digest }) => `${name} ${digest}`) ?? [];
  }
}

/** A job's journal: how often it was handed back, each time with a checkpoint and taken up again. */
async function handedBack(cluster: Cluster, job: string): Promise<number> {
  const servers = [cluster.nats.url];
  const options = { servers, prefix: 'heddle', clock: systemClock, log: silentLog };
  const { journal, close } = await openNats(options);
  const events = (await journal.read(`job.${job}`)).map(({ bytes }) => jobBehaviour.decode(bytes));
  await close();
  const types = events.map(({ type }) => type);
  assert.ok(!types.includes('attempt-failed'), types.join(' '));
  let releases = 0;
  types.forEach((type, at) => {
    if (type !== 'released') return;
    releases += 1;
    const started = types.lastIndexOf('started', at);
    assert.ok(types.slice(started, at).includes('checkpointed'), types.join(' '));
    assert.ok(types.indexOf('started', at) > at, `taken up again: ${types.join(' ')}`);
  });
  assert.equal(types.filter((type) => type === 'completed').length, 1, types.join(' '));
  return releases;
}

test(
  'every process of a cluster restarted in turn under load: no failed call, jobs handed back with a checkpoint, the same results',
  missing === undefined ? { timeout: 300_000 } : { skip: missing },
  async (t) => {
    const cluster = await startCluster({
      processes: [
        { services: ['activation'], replicas: 2 },
        { services: ['lorsa'], replicas: 2 },
        { services: ['explorer'] },
      ],
    });
    const heddle = connect(cluster.address);
    const clients = new Clients();
    const stop = new AbortController();
    const start = async (client_key: string): Promise<string> =>
      (await heddle.lorsa.StartTrain({ ...TRAIN, client_key })).job?.id ?? '';
    const until = async (isTrue: () => boolean | Promise<boolean>): Promise<void> => {
      while (!(await isTrue())) await systemClock.sleep(20);
    };
    try {
      const undisturbed = await clients.result(heddle, await start('undisturbed'));
      assert.ok(undisturbed.length > 0);
      const jobs = [await start('a'), await start('b')];
      const [first = ''] = jobs;
      const asking = Promise.all(
        Array.from({ length: 6 }, () => clients.keepAsking(heddle, first, stop.signal)),
      );
      const isTraining = async (job: string): Promise<boolean> =>
        ((await clients.ask('Get', () => heddle.jobs.Get({ id: job })))?.job?.progress?.done ?? 0) >
        0;
      for (const job of jobs) await until(() => isTraining(job));

      const drains: string[] = [];
      const order = ['lorsa-0', 'lorsa-1', 'activation-0', 'activation-1', 'explorer'];
      for (const name of order) {
        const process = cluster.process(name);
        const { code, ms } = await process.stop();
        assert.equal(code, 0, `${name}: ${process.stderr()}`);
        assert.ok(ms < GRACE_MS, `${name} took ${ms} ms to drain`);
        drains.push(`${name} ${ms.toFixed(0)} ms`);
        await process.start();
        const before = clients.answers;
        await until(() => clients.answers >= before + CALLS_BETWEEN);
      }
      const results = await Promise.all(jobs.map((job) => clients.result(heddle, job)));
      stop.abort();
      await asking;
      const releases = await Promise.all(jobs.map((job) => handedBack(cluster, job)));

      t.diagnostic(`drained in ${drains.join(', ')}`);
      t.diagnostic(
        `${clients.answers} calls answered, ${clients.retries} asked again, ${clients.failures.length} failed; p50 ${quantile(clients.latenciesMs, 0.5).toFixed(0)} ms, p99 ${quantile(clients.latenciesMs, 0.99).toFixed(0)} ms`,
      );
      t.diagnostic(`trainings handed back ${releases.join(' and ')} times`);
      assert.deepEqual(clients.failures, []);
      for (const result of results) assert.deepEqual(result, undisturbed);
      assert.ok(releases.reduce((sum, each) => sum + each, 0) >= 1, `${releases}`);
    } finally {
      stop.abort();
      heddle.close();
      await cluster.remove();
    }
  },
);
