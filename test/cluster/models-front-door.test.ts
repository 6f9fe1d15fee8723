/** `heddle model add FOLDER --server FRONT-DOOR`: from one person's machine to every replica, by way of NATS' object store. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  type Cluster,
  launch,
  missingServer,
  SERVERS,
  startCluster,
  temporaryFolder,
} from '@heddle/testkit';
import { gpt2Config, writeRandomModel } from '@heddle/testkit/random-model';

const MAIN = fileURLToPath(new URL('../../services/embedded/src/main.ts', import.meta.url));
const SIZES = { n_layer: 1, n_head: 2, n_embd: 64, vocab_size: 500, n_positions: 32 };
const missing = missingServer(SERVERS.natsCurrent);
const options = missing === undefined ? {} : { skip: missing };

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let cluster: Cluster;

before(async () => {
  if (missing !== undefined) return;
  folder = await temporaryFolder();
  await writeRandomModel(join(folder.path, 'mine'), gpt2Config(SIZES), 1);
  cluster = await startCluster({
    processes: [{ services: ['activation'], replicas: 2 }, { services: ['explorer'] }],
    blobs: 'nats',
    ackWaitMs: 1_000,
    // Its processes are on this machine, and would see what they cannot see on their own.
    env: { HEDDLE_MODEL_ROOTS: join(folder.path, 'none') },
  });
});

after(async () => {
  await cluster?.remove();
  await folder?.remove();
});

/** A command as a person of another machine runs it. */
async function heddle(...argv: string[]) {
  const env = { HEDDLE_SERVER: cluster.address, HEDDLE_DATA: join(folder.path, 'nothing') };
  const command = launch(MAIN, [...argv, '--json'], { env, cwd: folder.path });
  const { code } = await command.exited;
  const document = JSON.parse(command.lines.join('\n')) as Record<string, unknown>;
  return { code, document, stderr: command.stderr() };
}

test(
  'a folder that no server sees is sent, named, run on every replica, listed and removed',
  options,
  async () => {
    const refused = await heddle('run', './mine', '--hooks', 'logits', '--tokens', '1,2,3');
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /heddle model add \S*mine/);

    const added = await heddle('model', 'add', './mine');
    assert.equal(added.code, 0, added.stderr);
    const { name, content } = added.document['model'] as { name: string; content: string };
    assert.equal(name, 'mine');
    assert.match(content, /^content:sha256:/);
    const again = await heddle('model', 'add', './mine', '--detach');
    assert.equal(again.document['job'], added.document['job'], 'the same folder is the same job');

    // As many calls as replicas, and one more: the front door takes them in turn.
    for (let call = 0; call < 3; call++) {
      const ran = await heddle('run', 'mine', '--hooks', 'logits', '--tokens', '1,2,3');
      assert.equal(ran.code, 0, ran.stderr);
    }
    for (const replica of cluster.of('activation')) {
      assert.match(
        await replica.metrics(),
        /^activation_requests_total\{outcome="done"\} [1-9]/m,
        replica.name,
      );
    }

    assert.equal((await heddle('gc')).code, 0);
    assert.equal((await heddle('model', 'show', 'mine')).code, 0);
    assert.equal((await heddle('run', 'mine', '--hooks', 'logits', '--tokens', '1')).code, 0);
    assert.equal((await heddle('model', 'rm', 'mine')).code, 0);
    assert.equal((await heddle('model', 'show', 'mine')).code, 3);
  },
);
