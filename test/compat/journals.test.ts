/** Today's process takes over what a killed process of the first landing left: its SQLite file, or its journal in JetStream. */

import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { fold, initialState, jobBehaviour } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { openNats } from '@heddle/adapters/nats';
import { openSqlite } from '@heddle/adapters/sqlite';
import { connect } from '@heddle/client';
import { OperationError } from '@heddle/core';
import { missingServer, SERVERS, silentLog, startNats, temporaryFolder } from '@heddle/testkit';
import type { JournalLine } from './export-data.ts';
import { heddleUp, TODAY } from './heddle-up.ts';
import { type Changed, landed, landedCalls, replay } from './replay.ts';
import { KILLED_ID, MIDWAY_STEPS, MIDWAY_STEPS_MIN, PAUSED_ID, TINY_MODEL } from './scenario.ts';

const GOES_ON =
  'the weights of then are trained on with activations captured anew, in the order of today’s shards';
const FIGURES = /\.(tokens|loss|fvu|l0|dead_heads)\b|provenance\.(data|program)_digest/;
const CHANGED: Changed = {
  'of the paused one': [FIGURES, GOES_ON],
  'of the killed one': [FIGURES, GOES_ON],
};

/** Steps that are left of both trainings behind the checkpoints that they had at least. */
const STEPS_LEFT = 2 * (MIDWAY_STEPS - MIDWAY_STEPS_MIN);

/** Where the folder was is written in the journal of models; here it is another. */
const FOLDER_THEN = readFileSync(landed('folder.txt'), 'utf8').trim();

const moved = (bytes: Uint8Array, folder: string): Buffer =>
  Buffer.from(Buffer.from(bytes).toString('utf8').replaceAll(FOLDER_THEN, folder), 'utf8');

const lines = (): readonly JournalLine[] =>
  readFileSync(landed('journal.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as JournalLine);

async function workingFolder(): Promise<Awaited<ReturnType<typeof temporaryFolder>>> {
  const folder = await temporaryFolder();
  const model = join(TODAY, 'test/golden/models', TINY_MODEL);
  cpSync(model, join(folder.path, TINY_MODEL), { recursive: true });
  mkdirSync(join(folder.path, 'data'));
  return folder;
}

/** The database file as the killed process left it, but for where the folder of a model is. */
function restoreSqlite(folder: string): string {
  const path = join(folder, 'data/heddle.sqlite');
  writeFileSync(path, gunzipSync(readFileSync(landed('heddle.sqlite.gz'))));
  const database = new DatabaseSync(path);
  const rows = database.prepare('SELECT stream, sequence, bytes FROM events').all();
  const change = database.prepare('UPDATE events SET bytes = ? WHERE stream = ? AND sequence = ?');
  for (const { stream, sequence, bytes } of rows) {
    change.run(moved(bytes as Uint8Array, folder), stream as number, sequence as number);
  }
  database.close();
  return path;
}

test('the database of then holds the journal of then, event by event, and every job of it folds', async () => {
  const folder = await workingFolder();
  const path = restoreSqlite(folder.path);
  const { journal, close } = openSqlite(path, { clock: systemClock });
  const streams = await journal.streams('', 100);
  const events = (await Promise.all(streams.map((stream) => journal.read(stream)))).flat();
  assert.deepEqual(
    // The life of a stream is told by the journal of today, and is no part of what was written then.
    events.map(({ bytes, life: _, ...rest }) => ({
      ...rest,
      bytes: Buffer.from(bytes).toString('base64'),
    })),
    lines().map(({ bytes, ...rest }) => ({
      ...rest,
      bytes: moved(Buffer.from(bytes, 'base64'), folder.path).toString('base64'),
    })),
  );
  const states = streams
    .filter((stream) => stream.startsWith('job.'))
    .map((stream) =>
      events
        .filter((event) => event.stream === stream)
        .map(({ bytes }) => jobBehaviour.decode(bytes))
        .reduce(fold, initialState(stream)),
    );
  assert.deepEqual(states.map(({ status }) => status).sort(), [
    'active',
    'cancelled',
    'completed',
    'completed',
    'completed',
    'completed',
    'failed',
    'paused',
  ]);
  await close();
  await folder.remove();
});

test('a data directory of the first landing is taken over: jobs as they were, trainings go on from their checkpoints', async () => {
  const folder = await workingFolder();
  restoreSqlite(folder.path);
  cpSync(landed('blobs'), join(folder.path, 'data/blobs'), { recursive: true });
  const up = await heddleUp(TODAY, folder.path);
  const found = await replay(up.raw, landedCalls('taken-over.jsonl'), CHANGED);
  const steps = await up.counted('lorsa_trainer_steps_total');
  await up.down();
  await folder.remove();
  assert.deepEqual(found, []);
  assert.ok(steps > 0 && steps <= STEPS_LEFT, `${steps} steps: they began anew`);
});

test('an event of a later version is a typed error that names it; every other job stands, and the process serves on', async () => {
  const folder = await workingFolder();
  const path = restoreSqlite(folder.path);
  cpSync(landed('blobs'), join(folder.path, 'data/blobs'), { recursive: true });
  const { journal, close } = openSqlite(path, { clock: systemClock });
  const stream = `job.${KILLED_ID}`;
  const last = (await journal.read(stream)).length;
  const later = { v: 99, type: 'moved', timeMs: 1, to: 'elsewhere' };
  await journal.append(stream, last, [new TextEncoder().encode(JSON.stringify(later))]);
  await close();

  const up = await heddleUp(TODAY, folder.path);
  const { jobs, ...heddle } = connect(up.address);
  for (const call of [jobs.Get, jobs.Cancel, jobs.Resume, jobs.Result]) {
    await assert.rejects(call({ id: KILLED_ID }), (thrown) => {
      assert.ok(thrown instanceof OperationError);
      assert.equal(thrown.code, 'failed_precondition');
      assert.equal(thrown.details['version'], 99);
      assert.match(thrown.message, /version 99, .*run the newer one/);
      return true;
    });
  }
  const { jobs: listed } = await jobs.List({});
  const ids = new Set(lines().map((line) => line.stream)); // and that of the models
  assert.equal(listed.length, ids.size - 2);
  await jobs.Resume({ id: PAUSED_ID });
  assert.equal((await heddle.waitForJob(PAUSED_ID)).state, 'JOB_STATE_SUCCEEDED');
  heddle.close();
  await up.down();
  await folder.remove();
});

const missing = missingServer(SERVERS.natsCurrent);
test('a journal of the first landing, brought into JetStream, is taken over in a cluster', {
  skip: missing ?? false,
}, async () => {
  const folder = await workingFolder();
  const blobs = join(folder.path, 'blobs');
  cpSync(landed('blobs'), blobs, { recursive: true });
  const server = await startNats(SERVERS.natsCurrent);
  const stores = await openNats({ servers: [server.url], clock: systemClock, log: silentLog });
  for (const { stream, sequence, bytes } of lines()) {
    const event = moved(Buffer.from(bytes, 'base64'), folder.path);
    assert.equal(await stores.journal.append(stream, sequence - 1, [event]), sequence);
  }
  await stores.close();

  const up = await heddleUp(TODAY, folder.path, {
    HEDDLE_NATS: server.url,
    HEDDLE_BLOBS: blobs,
    HEDDLE_ACK_WAIT_MS: '1000',
  });
  const found = await replay(up.raw, landedCalls('taken-over.jsonl'), CHANGED);
  const steps = await up.counted('lorsa_trainer_steps_total');
  await up.down();
  await server.remove();
  await folder.remove();
  assert.deepEqual(found, []);
  assert.ok(steps > 0 && steps <= STEPS_LEFT, `${steps} steps: they began anew`);
});
