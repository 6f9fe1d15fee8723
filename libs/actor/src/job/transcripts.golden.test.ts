import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { decodeEvent, encodeEvent } from './codec.ts';
import type { JobEvent } from './events.ts';
import { fold, initialState, type JobState } from './state.ts';

interface Transcript {
  readonly version: number;
  readonly events: readonly JobEvent[];
  readonly state: JobState;
}

const FOLDER = new URL('../../transcripts/', import.meta.url);
const utf8 = new TextEncoder();

const transcripts = readdirSync(FOLDER)
  .filter((name) => /^v\d+$/.test(name))
  .flatMap((version) =>
    readdirSync(new URL(`${version}/`, FOLDER)).map((name) => `${version}/${name}`),
  );

for (const name of transcripts) {
  test(`the journal of ${name} folds to the state that it had`, () => {
    const { events, state } = read(name);

    const folded = events.reduce(
      (before, event) => fold(before, decodeEvent(utf8.encode(JSON.stringify(event)))),
      initialState(state.id),
    );

    // Counted since these were recorded.
    const { setbacks } = state;
    assert.deepEqual(plain({ ...folded, setbacks }), state);
  });
}

test('every type of event is in a transcript of the present version', () => {
  const seen = new Set(
    transcripts
      .filter((name) => name.startsWith('v3/'))
      .flatMap((name) => read(name).events.map(({ type }) => type)),
  );

  assert.deepEqual([...seen].sort(), [
    'attempt-failed',
    'cancelled',
    'checkpoint-lost',
    'checkpointed',
    'completed',
    'failed',
    'forgotten',
    'paused',
    'pinned',
    'released',
    'resumed',
    'split',
    'started',
    'submitted',
    'task-done',
  ]);
});

test('an event survives its encoding', () => {
  for (const event of transcripts.flatMap((name) => read(name).events)) {
    assert.deepEqual(decodeEvent(encodeEvent(event)), event);
  }
});

test('an event of a newer version is refused with what to do, and junk as lost data', () => {
  const code = (expected: string) => (error: unknown) =>
    error instanceof OperationError && error.code === expected;
  const newer = utf8.encode(JSON.stringify({ v: 4, type: 'submitted' }));
  assert.throws(() => decodeEvent(newer), code('failed_precondition'));
  for (const junk of ['', '{', 'null', '[]', '{"v":1}', '{"v":1,"type":"forgotten"}', '{"v":0}']) {
    assert.throws(() => decodeEvent(utf8.encode(junk)), code('data_loss'), junk);
  }
  assert.throws(() => decodeEvent(new Uint8Array([0xff, 0xfe])), code('data_loss'));
  assert.throws(
    () => decodeEvent(utf8.encode('{"v":1,"type":"toString","timeMs":1}')),
    code('data_loss'),
  );
  // What a version added never carries an older one's number, and nothing old carries a newer.
  const lost = read('v2/checkpoint-damaged.json').events.find((e) => e.type === 'checkpoint-lost');
  const again = (event: object) => () => decodeEvent(utf8.encode(JSON.stringify(event)));
  assert.throws(again({ ...lost, v: 1 }), code('data_loss'));
  assert.throws(again({ v: 2, type: 'paused', timeMs: 1 }), code('data_loss'));
  const [owned] = read('v3/of-a-tenant.json').events;
  assert.throws(again({ ...owned, tenant: undefined }), code('data_loss'));
  assert.throws(again({ ...owned, v: 2 }), code('data_loss'));
  const done = read('v3/of-a-tenant.json').events.find((e) => e.type === 'task-done');
  assert.throws(again({ ...done, retained: '9' }), code('data_loss'));
  assert.throws(again({ ...owned, trace: 7 }), code('data_loss'));
});

test('an event that lacks any of its members is lost data, never a broken state', () => {
  for (const event of transcripts.flatMap((name) => read(name).events)) {
    for (const member of Object.keys(event)) {
      // Journals from before it was counted lack the one, jobs that nobody traced the other.
      if (member === 'retained' || member === 'trace') continue;
      const { [member]: _gone, ...rest } = event as unknown as Record<string, unknown>;
      assert.throws(
        () => decodeEvent(utf8.encode(JSON.stringify(rest))),
        (error) => error instanceof OperationError && error.code === 'data_loss',
        `${event.type} without ${member}`,
      );
    }
  }
});

test('an event too large for a message is refused when it is written', () => {
  const event: JobEvent = {
    v: 1,
    type: 'submitted',
    timeMs: 0,
    kind: 'a.b',
    key: 'k',
    request: 'x'.repeat(600_000),
    pinned: false,
    attemptsMax: 1,
  };
  assert.throws(
    () => encodeEvent(event),
    (error) => error instanceof OperationError && error.code === 'resource_exhausted',
  );
});

function read(name: string): Transcript {
  return JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8'));
}

/** As JSON has it: without the members that are undefined. */
function plain(state: JobState): unknown {
  return JSON.parse(JSON.stringify(state));
}
