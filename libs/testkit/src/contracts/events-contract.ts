import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Events } from '@heddle/ports';

export interface EventsHarness {
  readonly events: Events;
  /** Resolves when what was subscribed before is known wherever events are published. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

/** What every Events must do. Each test gets fresh ones. */
export function eventsContract(name: string, open: () => Promise<EventsHarness>): void {
  const contract = (sentence: string, body: (harness: EventsHarness) => Promise<void>): void => {
    void test(`${name}: ${sentence}`, async () => {
      const harness = await open();
      try {
        await body(harness);
      } finally {
        await harness.close();
      }
    });
  };
  const forever = (): AbortSignal => new AbortController().signal;

  contract(
    'a subscriber hears what begins with its prefix, once it subscribed',
    async (harness) => {
      const { events } = harness;
      events.publish('jobs.v1.a', 'before');
      await harness.settled();
      const heard = events.subscribe('jobs.v1.', forever());
      await harness.settled();
      events.publish('lorsa.v1.a', 'another subject');
      events.publish('jobs.v1.a', 1);
      events.publish('jobs.v1.b', { done: 2 });

      assert.deepEqual(await take(heard, 2), [
        ['jobs.v1.a', 1],
        ['jobs.v1.b', { done: 2 }],
      ]);
    },
  );

  contract('a prefix may end within a word, or be empty', async (harness) => {
    const { events } = harness;
    const within = events.subscribe('jobs.v1.ab', forever());
    const all = events.subscribe('', forever());
    await harness.settled();
    for (const subject of ['jobs.v1.a', 'jobs.v1.ab', 'jobs.v1.abc.d', 'x'])
      events.publish(subject, 0);

    assert.deepEqual(
      (await take(within, 2)).map(([subject]) => subject),
      ['jobs.v1.ab', 'jobs.v1.abc.d'],
    );
    assert.equal((await take(all, 4)).length, 4);
  });

  contract('a subject may hold any characters', async (harness) => {
    const heard = harness.events.subscribe('jobs.v1.progress.', forever());
    await harness.settled();
    const subject = 'jobs.v1.progress.job 7/*>ä..x';
    harness.events.publish(subject, null);

    assert.deepEqual(await take(heard, 1), [[subject, null]]);
  });

  contract('what the publisher changes afterwards is not what was heard', async (harness) => {
    const heard = harness.events.subscribe('', forever());
    await harness.settled();
    const mine = { done: 1 };
    harness.events.publish('s', mine);
    mine.done = 2;

    assert.deepEqual(await take(heard, 1), [['s', { done: 1 }]]);
  });

  contract('a subscriber that falls behind loses the oldest, not the memory', async (harness) => {
    const heard = harness.events.subscribe('', forever());
    await harness.settled();
    for (let i = 0; i < 1_000; i++) harness.events.publish('s', i);
    await harness.settled();

    const [[, first] = []] = await take(heard, 256);
    assert.equal(first, 1_000 - 256);
  });

  contract('a subscription ends with its signal, also while it waits', async (harness) => {
    const stop = new AbortController();
    const ended = take(harness.events.subscribe('', stop.signal), 1);
    stop.abort();

    assert.deepEqual(await ended, []);
  });
}

async function take(
  heard: AsyncIterable<{ readonly subject: string; readonly event: unknown }>,
  count: number,
): Promise<readonly (readonly [string, unknown])[]> {
  const taken: [string, unknown][] = [];
  for await (const { subject, event } of heard) {
    taken.push([subject, event]);
    if (taken.length === count) break;
  }
  return taken;
}
