/** The cluster out of our images: NATS, five services and the front door, each in a container that may do nothing but its work. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { systemClock } from '@heddle/adapters/clock';
import { connect, type Heddle } from '@heddle/client';
import {
  GenericContainer,
  Network,
  type StartedNetwork,
  type StartedTestContainer,
  Wait,
} from 'testcontainers';
import { NATS_IMAGE, NODE_IMAGE } from './base-images.ts';
import { docker, inspect } from './docker.ts';
import { mainJob } from './main-job.ts';
import { buildOurImages, IMAGES, imageName, missingContainers } from './our-images.ts';
import { logsOf, ServiceContainer } from './service-container.ts';

// Its image may not be to be had; what we start, we remove.
process.env['TESTCONTAINERS_RYUK_DISABLED'] ??= 'true';

const SERVICES = IMAGES.filter((name) => name !== 'explorer');
const START_TIMEOUT_MS = 12 * 60_000;
const TEST_TIMEOUT_MS = 5 * 60_000;
/** What `heddle up` gives calls and tasks to end in. */
const DRAIN_S = 20;
/** As long as Kubernetes waits. */
const STOP_S = 30;

/** Who is killed is missed after this: the default of 30 s would be waited for here. */
const ACK_WAIT_MS = 8_000;

/** Long enough to be met in the middle: 12 s alone. */
const TRAIN = {
  model: '',
  layer: 1,
  architecture: { n_ov_heads: 192, top_k: 8 },
  optimiser: { steps: 6000, batch: 2, context: 16 },
  data: {
    prompts: Array.from({ length: 20 }, (_, i) => ({
      tokens: { ids: Array.from({ length: 16 }, (_unused, j) => (i * 7 + j * 3) % 50) },
    })),
  },
  seed: 3,
  checkpoint_steps: 300,
};

interface State {
  readonly State: { readonly ExitCode: number; readonly OOMKilled: boolean };
}

const missing = await missingContainers([NODE_IMAGE, NATS_IMAGE]);
const can = missing === undefined ? { timeout: TEST_TIMEOUT_MS } : { skip: missing };
const containers = new Map<string, StartedTestContainer>();
let network: StartedNetwork | undefined;
let heddle: Heddle;

const container = (name: string): StartedTestContainer => {
  const found = containers.get(name);
  assert.ok(found, `${name} runs`);
  return found;
};

async function startNats(on: StartedNetwork): Promise<StartedTestContainer> {
  return new GenericContainer(NATS_IMAGE.name)
    .withNetwork(on)
    .withNetworkAliases('nats')
    .withEntrypoint(['nats-server'])
    .withCommand(['-js', '-sd', '/tmp/nats', '-m', '8222'])
    .withExposedPorts(8222)
    .withWaitStrategy(Wait.forLogMessage(/Server is ready/))
    .start();
}

before(
  async () => {
    if (missing !== undefined) return;
    await buildOurImages();
    network = await new Network().start();
    const on = network;
    containers.set('nats', await startNats(on));
    const peers = { HEDDLE_PEERS: SERVICES.map((name) => `${name}=${name}:7411`).join(',') };
    const stores = {
      HEDDLE_ACK_WAIT_MS: `${ACK_WAIT_MS}`,
      HEDDLE_NATS: 'nats://nats:4222',
      HEDDLE_NATS_MONITORS: 'http://nats:8222',
    };
    await Promise.all(
      IMAGES.map(async (name) => {
        const own = name === 'explorer' ? peers : { ...peers, ...stores };
        containers.set(name, await new ServiceContainer(name, on, own).start());
      }),
    );
    const door = container('explorer');
    heddle = connect(`${door.getHost()}:${door.getMappedPort(7411)}`);
  },
  { timeout: START_TIMEOUT_MS },
);

after(async () => {
  heddle?.close();
  await Promise.all([...containers.values()].map((each) => each.stop({ timeout: 1000 })));
  await network?.stop();
});

test(
  'the main job runs on containers through gRPC, each service doing its part',
  can,
  async (t) => {
    const door = container('explorer');
    const seconds = await mainJob(`${door.getHost()}:${door.getMappedPort(7411)}`);
    t.diagnostic(`seconds ${JSON.stringify(seconds)}`);
  },
);

test(
  'metrics of every container are reachable, and say that its engine was at work',
  can,
  async () => {
    for (const name of IMAGES) {
      const each = container(name);
      const page = await fetch(`http://${each.getHost()}:${each.getMappedPort(7412)}/metrics`);
      assert.equal(page.status, 200, name);
      const answered = /^grpc_\w+\{[^}]*\} [1-9]/m;
      assert.match(await page.text(), answered, `${name} has answered calls`);
    }
  },
);

test(
  'process 1 of every container is the program, is not root, and has no capability',
  can,
  async () => {
    for (const name of IMAGES) {
      const { output } = await container(name).exec([
        'sh',
        '-c',
        'cat /proc/1/status; tr "\\0" " " < /proc/1/cmdline',
      ]);
      assert.match(output, /^node .*\/embedded\/src\/main\.ts up/m, name);
      assert.match(output, /^Uid:\s+1000\s+1000\s+1000\s+1000$/m, name);
      assert.match(output, /^CapEff:\s+0+$/m, name);
      assert.match(output, /^CapBnd:\s+0+$/m, name);
      assert.match(output, /^NoNewPrivs:\s+1$/m, name);
    }
  },
);

test(
  'after the main job nothing was written but to /data and /tmp, and nothing else could be',
  can,
  async () => {
    // An engine and the front door: what the others have is the same layers, and the engine looks at every file.
    for (const name of ['lorsa', 'explorer']) {
      const write =
        'for d in / /app /etc /usr /var /home/node; do touch $d/x 2>/dev/null && echo $d; done; touch /data/x /tmp/x && echo fine';
      const { output } = await container(name).exec(['sh', '-c', write]);
      assert.equal(output.trim(), 'fine', name);
      assert.equal(await docker('diff', container(name).getId()), '', name);
    }
  },
);

test(
  'SIGTERM in a training drains in time, ends with 0, and the job goes on where it was',
  can,
  async (t) => {
    const id = container('lorsa').getId();
    const job = (await heddle.lorsa.StartTrain({ ...TRAIN, client_key: 'drained' })).job?.id ?? '';
    const done = async (): Promise<number> =>
      (await heddle.jobs.Get({ id: job })).job?.progress?.done ?? 0;
    while ((await done()) === 0) await systemClock.sleep(50);

    const began = performance.now();
    await docker('stop', '-t', `${STOP_S}`, id);
    const seconds = (performance.now() - began) / 1000;
    const { State } = await inspect<State>(id);
    assert.equal(State.ExitCode, 0, await logsOf(container('lorsa')));
    assert.ok(seconds < DRAIN_S, `${seconds} s`);
    assert.match(await logsOf(container('lorsa')), /"msg":"down"/);
    t.diagnostic(`drained in ${seconds.toFixed(1)} s`);

    await docker('start', id);
    const { state, error } = await heddle.waitForJob(job);
    assert.equal(state, 'JOB_STATE_SUCCEEDED', error?.message);
  },
);

test(
  'killed in a training and started again on the same /data, where process 1 has left its lock, a container works on',
  can,
  async () => {
    const id = container('lorsa').getId();
    const job = (await heddle.lorsa.StartTrain({ ...TRAIN, client_key: 'killed' })).job?.id ?? '';
    const done = async (): Promise<number> =>
      (await heddle.jobs.Get({ id: job })).job?.progress?.done ?? 0;
    while ((await done()) === 0) await systemClock.sleep(50);
    await docker('kill', id);
    assert.equal((await inspect<State>(id)).State.ExitCode, 137);
    await docker('start', id);
    const { state, error } = await heddle.waitForJob(job);
    assert.equal(state, 'JOB_STATE_SUCCEEDED', error?.message);
  },
);

test(
  'a container that waits for its stores is not healthy, and says what it waits for',
  can,
  async () => {
    const alone = await docker(
      ...[
        'run',
        '-d',
        '--read-only',
        '--tmpfs',
        '/tmp',
        '--health-interval',
        '1s',
        '--health-start-period',
        '1s',
      ],
      ...['--health-retries', '1', '-e', 'HEDDLE_NATS=nats://127.0.0.1:4222', imageName('qk')],
    );
    try {
      const health = () => docker('inspect', '-f', '{{.State.Health.Status}}', alone);
      while ((await health()) === 'starting') await systemClock.sleep(100);
      assert.equal(await health(), 'unhealthy');
      const log = await docker('inspect', '-f', '{{json .State.Health.Log}}', alone);
      assert.match(log, /readyz/);
      const began = performance.now();
      await docker('stop', '-t', `${STOP_S}`, alone);
      assert.ok(
        performance.now() - began < DRAIN_S * 1000,
        'told to stop while it waits, it stops',
      );
      assert.equal((await inspect<State>(alone)).State.ExitCode, 0);
    } finally {
      await docker('rm', '-fv', alone);
    }
  },
);

test(
  'a user that the image has never heard of can run it, as some platforms insist',
  can,
  async () => {
    const options = [
      '--read-only',
      '--user',
      '1234567:0',
      '--tmpfs',
      '/tmp',
      '--tmpfs',
      '/data:mode=1777',
    ];
    const shown = await docker(
      'run',
      '--rm',
      ...options,
      imageName('activation'),
      'tokens',
      'Mary had a lamb',
      '--json',
    );
    assert.ok(JSON.parse(shown));
  },
);
