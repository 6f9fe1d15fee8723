import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError, present } from '@heddle/core';
import type { Delivery, PullOptions, WorkQueue } from '@heddle/ports';

export interface QueueHarness {
  readonly queue: WorkQueue;
  /** Lets so much of the queue's time go by: a virtual clock moves, a real server is waited for. */
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The contract's ack wait; a real server must not be asked for less than it can time. */
const ACK_WAIT_MS = 600;
const NOW: PullOptions = { ackWaitMs: ACK_WAIT_MS, attemptsMax: 3, waitMs: 0 };

/** What every WorkQueue must do. `open(messagesMax)` gives each test a fresh one that holds so many messages. */
export function queueContract(
  name: string,
  open: (messagesMax: number) => Promise<QueueHarness>,
): void {
  const contract = (sentence: string, body: (harness: QueueHarness) => Promise<void>): void => {
    void test(`${name}: ${sentence}`, async () => {
      const harness = await open(10);
      try {
        await body(harness);
      } finally {
        await harness.close();
      }
    });
  };

  contract('what was pushed is pulled once, in order', async ({ queue }) => {
    await queue.push('tasks.a', 'k1', bytes('one'));
    await queue.push('tasks.a', 'k2', bytes('two'));
    await queue.push('tasks.b', 'k1', bytes('other queue'));

    const first = await take(queue);
    const second = await take(queue);

    assert.deepEqual([first.key, first.attempt, text(first)], ['k1', 1, 'one']);
    assert.deepEqual([second.key, second.queue, text(second)], ['k2', 'tasks.a', 'two']);
    assert.equal(await queue.pull('tasks.a', NOW), undefined);
  });

  contract('a key that waits or is in work is not pushed again', async ({ queue }) => {
    await queue.push('tasks.a', 'k', bytes('one'));
    await queue.push('tasks.a', 'k', bytes('again'));
    const delivery = await take(queue);
    await queue.push('tasks.a', 'k', bytes('while in work'));

    assert.equal(await queue.pull('tasks.a', NOW), undefined);
    assert.equal(text(delivery), 'one');
  });

  contract('an acknowledged message is gone, and its key is free again', async (harness) => {
    const { queue } = harness;
    await queue.push('tasks.a', 'k', bytes('one'));
    await (await take(queue)).ack();
    await harness.pass(3 * ACK_WAIT_MS);
    assert.equal(await queue.pull('tasks.a', NOW), undefined);
    assert.deepEqual(await queue.depth('tasks.a'), { waiting: 0, working: 0 });

    await queue.push('tasks.a', 'k', bytes('two'));
    assert.equal(text(await take(queue)), 'two');
  });

  contract('a message handed back comes again after its delay, counted', async (harness) => {
    const { queue } = harness;
    await queue.push('tasks.a', 'k', bytes('one'));
    await (await take(queue)).nak(ACK_WAIT_MS);
    assert.equal(await queue.pull('tasks.a', NOW), undefined, 'not before its delay');

    await harness.pass(ACK_WAIT_MS + 50);

    const again = await take(queue);
    assert.deepEqual([again.attempt, text(again)], [2, 'one']);
  });

  contract('a message pushed with a delay waits for it', async (harness) => {
    await harness.queue.push('tasks.a', 'k', bytes('one'), { delayMs: ACK_WAIT_MS });
    assert.equal(await harness.queue.pull('tasks.a', NOW), undefined);

    await harness.pass(ACK_WAIT_MS + 50);

    assert.equal((await take(harness.queue)).attempt, 1);
  });

  contract('a silent worker loses its message to the next', async (harness) => {
    const { queue } = harness;
    await queue.push('tasks.a', 'k', bytes('one'));
    await take(queue);

    await harness.pass(ACK_WAIT_MS + 50);

    assert.equal((await take(queue)).attempt, 2);
  });

  contract('a heartbeat keeps a message past its ack wait', async (harness) => {
    const { queue } = harness;
    await queue.push('tasks.a', 'k', bytes('one'));
    const delivery = await take(queue);
    for (let i = 0; i < 4; i++) {
      await harness.pass(ACK_WAIT_MS / 2);
      assert.equal(await delivery.heartbeat(), true);
      assert.equal(await queue.pull('tasks.a', NOW), undefined);
    }
  });

  contract('a delivery from before a redelivery holds nothing any more', async (harness) => {
    const { queue } = harness;
    await queue.push('tasks.a', 'k', bytes('one'));
    const old = await take(queue);
    await harness.pass(ACK_WAIT_MS + 50);
    const current = await take(queue);

    assert.equal(await old.heartbeat(), false);
    await old.ack();
    await old.nak(0);
    await old.terminate('too late');

    assert.equal(await current.heartbeat(), true);
    assert.equal(await queue.pull('tasks.a', NOW), undefined);
    assert.deepEqual(await queue.deadLetters('tasks.a', 10), []);
    await current.ack();
    assert.deepEqual(await queue.depth('tasks.a'), { waiting: 0, working: 0 });
  });

  contract('after the last attempt a message is a dead letter', async (harness) => {
    const { queue } = harness;
    await queue.push('tasks.a', 'k', bytes('one'));
    for (let i = 0; i < NOW.attemptsMax; i++) {
      await take(queue);
      await harness.pass(ACK_WAIT_MS + 50);
    }

    assert.equal(await queue.pull('tasks.a', NOW), undefined);
    const [letter, ...more] = await queue.deadLetters('tasks.a', 10);
    assert.deepEqual([letter?.key, letter?.attempts, more.length], ['k', 3, 0]);
    assert.deepEqual(await queue.depth('tasks.a'), { waiting: 0, working: 0 });
    await queue.push('tasks.a', 'k', bytes('a fresh start'));
    assert.equal((await take(queue)).attempt, 1);
  });

  contract('a terminated message is a dead letter with the reason', async ({ queue }) => {
    await queue.push('tasks.a', 'k', bytes('junk'));
    await (await take(queue)).terminate('names no task');

    const letters = await queue.deadLetters('tasks.a', 10);

    assert.deepEqual(
      letters.map(({ key, reason }) => [key, reason]),
      [['k', 'names no task']],
    );
    assert.equal(await queue.pull('tasks.a', NOW), undefined);
  });

  contract('a full queue refuses with a retry delay, but knows its keys', async ({ queue }) => {
    for (let i = 0; i < 10; i++) await queue.push('tasks.a', `k${i}`, bytes('x'));

    await assert.rejects(queue.push('tasks.a', 'one more', bytes('x')), (error) => {
      assert.ok(error instanceof OperationError);
      assert.equal(error.code, 'resource_exhausted');
      assert.ok((error.retryAfterMs ?? 0) > 0);
      return true;
    });
    await queue.push('tasks.a', 'k3', bytes('x'));
    await queue.push('tasks.b', 'another queue', bytes('x'));
    assert.deepEqual(await queue.depth('tasks.a'), { waiting: 10, working: 0 });
  });

  contract('the keys of a lane are those that wait or are in work', async (harness) => {
    const { queue } = harness;
    await queue.push('tasks.a', 'a1', bytes('x'), { lane: 'alice' });
    await queue.push('tasks.a', 'b1', bytes('x'), { lane: 'bob @ home.*' });
    await queue.push('tasks.a', 'a2', bytes('x'), { lane: 'alice' });
    await queue.push('tasks.a', 'n1', bytes('x'));
    await queue.push('tasks.b', 'a3', bytes('x'), { lane: 'alice' });
    await queue.push('tasks.a', 'a1', bytes('again'), { lane: 'alice' });
    const keys = async (lane: string) => [...(await queue.keys('tasks.a', lane))].sort();

    const first = await take(queue); // a1
    assert.deepEqual(await keys('alice'), ['a1', 'a2']);
    assert.deepEqual(await keys('bob @ home.*'), ['b1']);
    assert.deepEqual(await keys(''), ['n1']);
    assert.deepEqual(await keys('nobody'), []);

    await first.ack();
    await harness.pass(50); // a cluster tells of it some milliseconds later
    assert.deepEqual(await keys('alice'), ['a2']);
  });

  contract('messages of all lanes come in the order of their pushes', async ({ queue }) => {
    for (const [i, lane] of ['b', 'a', '', 'b', 'a'].entries()) {
      await queue.push('tasks.a', `k${i}`, bytes(lane), { lane });
    }

    const order: string[] = [];
    for (let i = 0; i < 5; i++) {
      const { key, queue: from } = await take(queue);
      order.push(`${from} ${key}`);
    }

    assert.deepEqual(
      order,
      [0, 1, 2, 3, 4].map((i) => `tasks.a k${i}`),
    );
  });

  contract('the depth tells waiting from working', async ({ queue }) => {
    for (let i = 0; i < 3; i++) await queue.push('tasks.a', `k${i}`, bytes('x'));
    await take(queue);

    assert.deepEqual(await queue.depth('tasks.a'), { waiting: 2, working: 1 });
  });

  contract(
    'a queue that was prepared is empty and can be used, prepared as often as one likes',
    async ({ queue }) => {
      for (let i = 0; i < 2; i++) await queue.prepare('tasks.a', { ackWaitMs: ACK_WAIT_MS });
      assert.deepEqual(await queue.depth('tasks.a'), { waiting: 0, working: 0 });

      await queue.push('tasks.a', 'k', bytes('one'));
      await queue.prepare('tasks.a', { ackWaitMs: ACK_WAIT_MS });
      assert.equal(text(await take(queue)), 'one');
    },
  );

  contract('a waiting pull is woken by a push, and ends with its signal', async ({ queue }) => {
    const stop = new AbortController();
    const waiting = { ...NOW, waitMs: 60_000, signal: stop.signal };
    const pulled = queue.pull('tasks.a', waiting);
    await queue.push('tasks.a', 'k', bytes('x'));
    assert.equal((await pulled)?.key, 'k');

    const idle = queue.pull('tasks.a', waiting);
    stop.abort();
    assert.equal(await idle, undefined);
  });

  contract('of many pulls each message reaches one', async ({ queue }) => {
    for (let i = 0; i < 10; i++) await queue.push('tasks.a', `k${i}`, bytes('x'));

    const pulled = await Promise.all(Array.from({ length: 15 }, () => queue.pull('tasks.a', NOW)));

    const keys = pulled.flatMap((delivery) => delivery?.key ?? []);
    assert.equal(keys.length, 10);
    assert.equal(new Set(keys).size, 10);
  });
}

async function take(queue: WorkQueue): Promise<Delivery> {
  return present(await queue.pull('tasks.a', NOW), 'a message of tasks.a');
}

function text(delivery: Delivery): string {
  return new TextDecoder().decode(delivery.bytes);
}
