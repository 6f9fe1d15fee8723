import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { OperationError } from '@heddle/core';
import type { ContentFile } from '@heddle/ports';
import { CountingMetrics, type LogLine, recordingLog } from '@heddle/testkit/quiet';
import { VirtualClock } from '@heddle/testkit/virtual-clock';
import { LocalEvents } from '../events/index.ts';
import { CONTENT_METRICS, Prefetcher, type WantedModel } from './index.ts';

const SUBJECT = 'activation.models';
const BOUND_MS = 60_000;

let clock: VirtualClock;
let events: LocalEvents;
let metrics: CountingMetrics;
let lines: LogLine[];
let names: WantedModel[];
/** What was fetched, in order; and what a fetch does. */
let fetched: string[];
let fetch: (content: string) => Promise<void>;
let prefetcher: Prefetcher;

beforeEach(() => {
  clock = new VirtualClock();
  events = new LocalEvents();
  metrics = new CountingMetrics();
  metrics.register(CONTENT_METRICS);
  lines = [];
  names = [];
  fetched = [];
  fetch = async () => {};
  prefetcher = prefetcherOf();
});
afterEach(() => prefetcher.close());

function prefetcherOf(): Prefetcher {
  const there = new Set<string>();
  const files: readonly ContentFile[] = [
    { name: 'model.safetensors', bytes: 100, digest: 'sha256:0' },
  ];
  const cache = {
    has: async (content: string) => there.has(content),
    files: async (content: string) => {
      if (content === 'lost') throw new OperationError({ code: 'not_found', message: 'lost' });
      return files;
    },
    hold: async (content: string) => {
      fetched.push(content);
      await fetch(content);
      there.add(content);
      return { path: '', files, release() {} };
    },
  };
  const ports = { events, clock, log: recordingLog(lines), metrics };
  const named = async () => names;
  return new Prefetcher({ cache, named, announced: SUBJECT, bytesMax: 250, ...ports });
}

const model = (name: string, importedMs: number): WantedModel => ({
  name,
  importedMs,
  content: name,
});

test('the newest models come first, as many as fit the budget, and metrics say how far it is', async () => {
  names = [model('old', 1), model('new', 3), model('lost', 4), model('middle', 2)];

  await clock.run(prefetcher.start(BOUND_MS));

  assert.deepEqual(fetched, ['new', 'middle']);
  assert.equal(metrics.value('models_wanted_bytes'), 200);
  assert.equal(metrics.value('models_there_bytes'), 200);
  assert.ok(lines.some(({ level, fields }) => level === 'warn' && fields['model'] === 'lost'));
});

test('a model that cannot be had is told and tried twice, and the others are fetched', async () => {
  names = [model('bad', 2), model('good', 1)];
  fetch = async (content) => {
    if (content === 'bad') throw new OperationError({ code: 'unavailable', message: 'away' });
  };

  await clock.run(prefetcher.start(BOUND_MS));

  assert.deepEqual(fetched, ['bad', 'bad', 'good']);
  assert.equal(metrics.value('models_there_bytes'), 100);
  assert.equal(lines.filter(({ message }) => message === 'a model cannot be fetched').length, 2);
});

test('readiness waits for a bounded time, and what was late comes in the background', async () => {
  const gate = Promise.withResolvers<void>();
  names = [model('slow', 1)];
  fetch = () => gate.promise;

  const started = prefetcher.start(BOUND_MS);
  await clock.advance(BOUND_MS - 1);
  const early = await Promise.race([started.then(() => 'ready'), Promise.resolve('waits')]);
  await clock.advance(1);
  await started;

  assert.equal(early, 'waits');
  assert.equal(metrics.value('models_there_bytes'), 0);
  assert.ok(lines.some(({ message }) => message.startsWith('serving before every model')));
  gate.resolve();
  await clock.advance(0);
  assert.equal(metrics.value('models_there_bytes'), 100);
});

test('an announced model is fetched; one whose announcement was lost, minutes later', async () => {
  await clock.run(prefetcher.start(BOUND_MS));
  names = [model('announced', 1)];
  events.publish(SUBJECT, { type: 'named' });
  await clock.advance(0);
  assert.deepEqual(fetched, ['announced']);

  names = [...names, model('unheard', 2)];
  await clock.advance(5 * 60_000);
  assert.deepEqual(fetched, ['announced', 'unheard']);
});
