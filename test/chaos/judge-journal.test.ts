import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decodeEvent, type JobEvent } from '@heddle/actor';
import { judgeJournal } from './judge-journal.ts';
import { FAULTS, faultOf, schedule, seeds } from './schedule.ts';

const RECORDED = fileURLToPath(new URL('../../libs/actor/transcripts', import.meta.url));

const stamp = { v: 1, timeMs: 5 } as const;
const kept = { blob: 'sha256:a' as const, bytes: 1, references: [] };
const submitted: JobEvent = {
  ...stamp,
  ...{ type: 'submitted', kind: 'a.b', key: 'k', request: null, pinned: false, attemptsMax: 5 },
};
const split: JobEvent = {
  ...stamp,
  type: 'split',
  tasks: [{ input: null, references: [] }],
  reduce: false,
};
const started = (claim: string): JobEvent => ({ ...stamp, type: 'started', task: 0, claim });
const saved = (claim: string, cursor: number): JobEvent => ({
  ...stamp,
  ...kept,
  ...{ type: 'checkpointed', task: 0, claim, cursor },
});
const done = (claim: string): JobEvent => ({
  ...stamp,
  ...kept,
  ...{ type: 'task-done', task: 0, claim, provenance: {} },
});
const completed: JobEvent = { ...stamp, ...kept, type: 'completed', provenance: {} };

const wrong = (...events: readonly JobEvent[]): readonly string[] =>
  judgeJournal([submitted, split, ...events]).violations;

test('every journal that a sound run recorded is found in order', () => {
  let read = 0;
  for (const folder of readdirSync(RECORDED, { withFileTypes: true })) {
    if (!folder.isDirectory()) continue;
    for (const name of readdirSync(`${RECORDED}/${folder.name}`)) {
      const text = readFileSync(`${RECORDED}/${folder.name}/${name}`, 'utf8');
      const { events } = JSON.parse(text) as { events: unknown[] };
      const decoded = events.map((event) => decodeEvent(Buffer.from(JSON.stringify(event))));
      assert.deepEqual(judgeJournal(decoded).violations, [], `${folder.name}/${name}`);
      read += 1;
    }
  }
  assert.ok(read > 5);
});

test('a checkpoint or a result of somebody who lost the task is a violation', () => {
  assert.deepEqual(
    wrong(started('a'), saved('a', 1), started('b'), saved('b', 2), done('b'), completed),
    [],
  );
  assert.match(wrong(started('a'), started('b'), saved('a', 1)).join(), /by a, but b holds it/);
  assert.match(wrong(started('a'), started('b'), done('a')).join(), /by a, but b holds it/);
});

test('two ends, a task done twice, an end before the work and a checkpoint that goes back are violations', () => {
  assert.match(wrong(started('a'), done('a'), completed, completed).join(), /2 ends/);
  assert.match(wrong(started('a'), done('a'), started('b')).join(), /started after it was done/);
  assert.match(wrong(started('a'), done('a'), done('a')).join(), /done twice/);
  assert.match(wrong(started('a'), completed).join(), /0 of 1 tasks done/);
  assert.match(wrong(started('a'), saved('a', 2), saved('a', 1)).join(), /after 2/);
  assert.match(judgeJournal([split]).violations.join(), /split is event 1/);
});

test('the same seed is the same schedule, another try another time, and 200 seeds have each fault at least 25 times', () => {
  assert.deepEqual(schedule(17), schedule(17));
  assert.equal(schedule(17, 1).fault, schedule(17).fault);
  assert.notEqual(schedule(17, 1).share, schedule(17).share);
  const drawn = [...seeds(1, 200, FAULTS)].map(faultOf);
  for (const fault of FAULTS) assert.ok(drawn.filter((one) => one === fault).length >= 25, fault);
  assert.deepEqual([...seeds(1, 2, ['zombie'])].map(faultOf), ['zombie', 'zombie']);
});
