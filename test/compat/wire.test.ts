/** A client of the first landing talks to today's server: its bytes go over the wire, its contract reads the answers. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { missingServer, SERVERS, startCluster, temporaryFolder } from '@heddle/testkit';
import { RawClient } from '../fuzz/requests/raw-client.ts';
import { heddleUp, TODAY } from './heddle-up.ts';
import { type Changed, landed, landedCalls, landedContract, replay } from './replay.ts';
import { CHECKPOINT, TINY_MODEL } from './scenario.ts';
import { callRaw } from './transcript.ts';

const FRESH_TRAINING =
  'a training begun today reads its text in the order of the cached activations, and counts the tokens of all steps';

const CHANGED: Changed = {
  'of the training': [
    /\.(tokens|loss|fvu|l0|dead_heads)\b|provenance\.(data|program)_digest/,
    FRESH_TRAINING,
  ],
  'the checkpoint': [/content\..*values/, FRESH_TRAINING],
  'what would be freed': [/freed/, 'cached activations are a job of their own'],
  frees: [/freed/, 'cached activations are a job of their own'],
};

test('every call that the first landing answered is answered with the same values and the same errors', async () => {
  const calls = landedCalls('calls.jsonl');
  const paths = new Set(calls.map(({ path }) => path));
  assert.deepEqual(
    landedContract().paths.filter((path) => !paths.has(path)),
    [],
    'every method is in the transcript',
  );
  assert.ok(calls.filter(({ status }) => status !== 0).length >= 20, 'errors too');

  const folder = await workingFolder();
  const up = await heddleUp(TODAY, folder.path);
  const found = await replay(up.raw, calls, CHANGED);
  await up.down();
  await folder.remove();
  assert.deepEqual(found, []);
});

const missing = missingServer(SERVERS.natsCurrent);
test('so they are through the front door of a whole cluster', {
  skip: missing ?? false,
}, async () => {
  const folder = await workingFolder();
  process.chdir(folder.path); // its processes begin there
  const cluster = await startCluster();
  const raw = new RawClient(cluster.address);
  const found = await replay(raw, landedCalls('calls.jsonl'), CHANGED);
  const ahead = await refusalsAhead(raw);
  raw.close();
  await cluster.remove();
  process.chdir(TODAY);
  await folder.remove();
  assert.deepEqual(found, []);
  assert.deepEqual(ahead, ['invalid_argument #99', 'unimplemented ', 'unimplemented ']);
});

/** Of a client that is ahead of the server: an unknown field, method and service. */
function refusalsAhead(raw: RawClient): Promise<readonly string[]> {
  const contract = landedContract();
  const asks = [
    ['/heddle.jobs.v1.JobsService/List', 0x98, 0x06, 1], // #99
    ['/heddle.jobs.v1.JobsService/Clone'],
    ['/heddle.nn.v1.NnService/Find'],
  ] as const;
  return Promise.all(
    asks.map(async ([path, ...bytes]) => {
      const requests = [Uint8Array.from(bytes)];
      const { details } = await callRaw(raw, { name: path, path, requests });
      const detail = details && contract.decodeDetail(details);
      return `${detail?.['code']} ${detail?.['field']}`;
    }),
  );
}

/** What the scenario's requests name without a path. */
async function workingFolder(): ReturnType<typeof temporaryFolder> {
  const folder = await temporaryFolder();
  const model = join(TODAY, 'test/golden/models', TINY_MODEL);
  cpSync(model, join(folder.path, TINY_MODEL), { recursive: true });
  cpSync(landed(CHECKPOINT), join(folder.path, CHECKPOINT));
  return folder;
}

test('no contract of the first landing was broken: buf compares the descriptor sets', () => {
  const manifest = createRequire(import.meta.url).resolve('@bufbuild/buf/package.json');
  const buf = (...args: string[]) =>
    execFileSync(process.execPath, [join(manifest, '..', 'bin', 'buf'), ...args], {
      cwd: TODAY,
      encoding: 'utf8',
    });
  const then = `${fileURLToPath(landed('descriptors.binpb'))}#format=binpb`;
  assert.equal(buf('breaking', '--against', then), '');
});
