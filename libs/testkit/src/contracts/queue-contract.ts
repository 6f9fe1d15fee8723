import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError, present } from '@heddle/core';
import type { Delivery, PullOptions, WorkQueue } from '@heddle/ports';

export interface QueueHarness {
  readonly queue: WorkQueue;
  /** Lets so much of the queue's time go by: a virtual clock moves, a real server is waited for. */
  pass(ms: number): Promise<void>;
  /** What was acknowledged is counted and listed until the other servers have heard of it. */
  readonly isCluster?: boolean;
  close(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The contract's ack wait; a real server must not be asked for less than it can time. */
const ACK_WAIT_MS = 600;
/** A machine on which no round of half a minute can be told is no machine to test on. */
const ACK_WAIT_MOST_MS = 40_000;
const ATTEMPTS = 3;
/** What must come, or come to hold, on any machine; on a quiet one it takes milliseconds. */
const COMES_MS = 30_000;

/** A queue under a contract, with the ack wait of this round. */
interface Round {
  readonly queue: WorkQueue;
  readonly ackWaitMs: number;
  /** Pulls what is there now. */
  readonly now: PullOptions;
  pass(ms: number): Promise<void>;
  /** The next message, which must come. */
  take(): Promise<Delivery>;
  /** It is so; at once, or where other servers must hear of it, after a while. */
  holds(is: () => Promise<void>): Promise<void>;
  depthIs(waiting: number, working: number): Promise<void>;
}

/** What every WorkQueue must do. `open(messagesMax)` gives each test a fresh one that holds so many messages. */
export function queueContract(
  name: string,
  open: (messagesMax: number) => Promise<QueueHarness>,
): void {
  const contract = (sentence: string, body: (round: Round) => Promise<void>): void => {
    void test(`${name}: ${sentence}`, () => decide(open, body));
  };

  contract('what was pushed is pulled once, in order', async ({ queue, now, take }) => {
    await queue.push('tasks.a', 'k1', bytes('one'));
    await queue.push('tasks.a', 'k2', bytes('two'));
    await queue.push('tasks.b', 'k1', bytes('other queue'));

    const first = await take();
    const second = await take();

    assert.deepEqual([first.key, first.attempt, text(first)], ['k1', 1, 'one']);
    assert.deepEqual([second.key, second.queue, text(second)], ['k2', 'tasks.a', 'two']);
    assert.equal(await queue.pull('tasks.a', now), undefined);
  });

  contract('a key that waits or is in work is not pushed again', async ({ queue, now, take }) => {
    await queue.push('tasks.a', 'k', bytes('one'));
    await queue.push('tasks.a', 'k', bytes('again'));
    const delivery = await take();
    await queue.push('tasks.a', 'k', bytes('while in work'));

    assert.equal(await queue.pull('tasks.a', now), undefined);
    assert.equal(text(delivery), 'one');
  });

  contract(
    'an acknowledged message is gone, and its key is free again',
    async ({ queue, ackWaitMs, now, pass, take, depthIs }) => {
      await queue.push('tasks.a', 'k', bytes('one'));
      await (await take()).ack();
      await pass(3 * ackWaitMs);
      assert.equal(await queue.pull('tasks.a', now), undefined);
      await depthIs(0, 0);

      await queue.push('tasks.a', 'k', bytes('two'));
      assert.equal(text(await take()), 'two');
    },
  );

  contract(
    'a message handed back comes again after its delay, counted',
    async ({ queue, ackWaitMs, now, pass, take }) => {
      await queue.push('tasks.a', 'k', bytes('one'));
      await (await take()).nak(ackWaitMs);
      assert.equal(await queue.pull('tasks.a', now), undefined, 'not before its delay');

      await pass(ackWaitMs + 50);

      const again = await take();
      assert.deepEqual([again.attempt, text(again)], [2, 'one']);
    },
  );

  contract(
    'a message pushed with a delay waits for it',
    async ({ queue, ackWaitMs, now, pass, take }) => {
      await queue.push('tasks.a', 'k', bytes('one'), { delayMs: ackWaitMs });
      assert.equal(await queue.pull('tasks.a', now), undefined);

      await pass(ackWaitMs + 50);

      assert.equal((await take()).attempt, 1);
    },
  );

  contract(
    'a silent worker loses its message to the next',
    async ({ queue, ackWaitMs, pass, take }) => {
      await queue.push('tasks.a', 'k', bytes('one'));
      await take();

      await pass(ackWaitMs + 50);

      assert.equal((await take()).attempt, 2);
    },
  );

  contract(
    'a heartbeat keeps a message past its ack wait',
    async ({ queue, ackWaitMs, now, pass, take }) => {
      await queue.push('tasks.a', 'k', bytes('one'));
      const delivery = await take();
      for (let i = 0; i < 4; i++) {
        await pass(ackWaitMs / 2);
        assert.equal(await delivery.heartbeat(), true);
        assert.equal(await queue.pull('tasks.a', now), undefined);
      }
    },
  );

  contract(
    'a delivery from before a redelivery holds nothing any more',
    async ({ queue, ackWaitMs, now, pass, take, depthIs }) => {
      await queue.push('tasks.a', 'k', bytes('one'));
      const old = await take();
      await pass(ackWaitMs + 50);
      const current = await take();

      assert.equal(await old.heartbeat(), false);
      await old.ack();
      await old.nak(0);
      await old.terminate('too late');

      assert.equal(await current.heartbeat(), true);
      assert.equal(await queue.pull('tasks.a', now), undefined);
      assert.deepEqual(await queue.deadLetters('tasks.a', 10), []);
      await current.ack();
      await depthIs(0, 0);
    },
  );

  contract(
    'after the last attempt a message is a dead letter',
    async ({ queue, ackWaitMs, now, pass, take, depthIs }) => {
      await queue.push('tasks.a', 'k', bytes('one'));
      for (let i = 0; i < ATTEMPTS; i++) {
        await take();
        await pass(ackWaitMs + 50);
      }

      // Who is given it once more buries it.
      await comes(async () => {
        assert.equal(await queue.pull('tasks.a', now), undefined);
        const [letter, ...more] = await queue.deadLetters('tasks.a', 10);
        assert.deepEqual([letter?.key, letter?.attempts, more.length], ['k', ATTEMPTS, 0]);
      });
      await depthIs(0, 0);
      await queue.push('tasks.a', 'k', bytes('a fresh start'));
      assert.equal((await take()).attempt, 1);
    },
  );

  contract(
    'dead letters are counted by their queue, as often as there is one',
    async ({ queue, now, holds }) => {
      const counts = async () => [...(await queue.deadLetterCounts())].toSorted();
      const bury = async (name: string, key: string): Promise<void> => {
        await queue.push(name, key, bytes(key));
        const delivery = await queue.pull(name, { ...now, waitMs: COMES_MS });
        assert.equal(delivery?.key, key);
        await delivery?.terminate('names no task');
      };
      assert.deepEqual(await counts(), []);
      await bury('tasks.a', 'k1');
      await bury('tasks.a', 'k2');
      await bury('tasks.b c', 'k1');
      await queue.push('tasks.d', 'alive', bytes('x'));

      await holds(async () =>
        assert.deepEqual(await counts(), [
          ['tasks.a', 2],
          ['tasks.b c', 1],
        ]),
      );
      assert.equal((await queue.deadLetters('tasks.a', 10)).length, 2);
    },
  );

  contract(
    'a terminated message is a dead letter with the reason',
    async ({ queue, now, take, holds }) => {
      await queue.push('tasks.a', 'k', bytes('junk'));
      await (await take()).terminate('names no task');

      await holds(async () => {
        const letters = await queue.deadLetters('tasks.a', 10);
        assert.deepEqual(
          letters.map(({ key, reason }) => [key, reason]),
          [['k', 'names no task']],
        );
      });
      assert.equal(await queue.pull('tasks.a', now), undefined);
    },
  );

  contract(
    'a full queue refuses with a retry delay, but knows its keys',
    async ({ queue, depthIs }) => {
      for (let i = 0; i < 10; i++) await queue.push('tasks.a', `k${i}`, bytes('x'));

      await assert.rejects(queue.push('tasks.a', 'one more', bytes('x')), (error) => {
        assert.ok(error instanceof OperationError);
        assert.equal(error.code, 'resource_exhausted');
        assert.ok((error.retryAfterMs ?? 0) > 0);
        return true;
      });
      await queue.push('tasks.a', 'k3', bytes('x'));
      await queue.push('tasks.b', 'another queue', bytes('x'));
      await depthIs(10, 0);
    },
  );

  contract(
    'the keys of a lane are those that wait or are in work',
    async ({ queue, take, holds }) => {
      await queue.push('tasks.a', 'a1', bytes('x'), { lane: 'alice' });
      await queue.push('tasks.a', 'b1', bytes('x'), { lane: 'bob @ home.*' });
      await queue.push('tasks.a', 'a2', bytes('x'), { lane: 'alice' });
      await queue.push('tasks.a', 'n1', bytes('x'));
      await queue.push('tasks.b', 'a3', bytes('x'), { lane: 'alice' });
      await queue.push('tasks.a', 'a1', bytes('again'), { lane: 'alice' });
      const keys = async (lane: string) => [...(await queue.keys('tasks.a', lane))].sort();

      const first = await take(); // a1
      assert.deepEqual(await keys('alice'), ['a1', 'a2']);
      assert.deepEqual(await keys('bob @ home.*'), ['b1']);
      assert.deepEqual(await keys(''), ['n1']);
      assert.deepEqual(await keys('nobody'), []);

      await first.ack();
      await holds(async () => assert.deepEqual(await keys('alice'), ['a2']));
    },
  );

  contract('messages of all lanes come in the order of their pushes', async ({ queue, take }) => {
    for (const [i, lane] of ['b', 'a', '', 'b', 'a'].entries()) {
      await queue.push('tasks.a', `k${i}`, bytes(lane), { lane });
    }

    const order: string[] = [];
    for (let i = 0; i < 5; i++) {
      const { key, queue: from } = await take();
      order.push(`${from} ${key}`);
    }

    assert.deepEqual(
      order,
      [0, 1, 2, 3, 4].map((i) => `tasks.a k${i}`),
    );
  });

  contract('the depth tells waiting from working', async ({ queue, take, depthIs }) => {
    for (let i = 0; i < 3; i++) await queue.push('tasks.a', `k${i}`, bytes('x'));
    await take();

    await depthIs(2, 1);
  });

  contract(
    'a queue that was prepared is empty and can be used, prepared as often as one likes',
    async ({ queue, ackWaitMs, take, depthIs }) => {
      for (let i = 0; i < 2; i++) await queue.prepare('tasks.a', { ackWaitMs });
      await depthIs(0, 0);

      await queue.push('tasks.a', 'k', bytes('one'));
      await queue.prepare('tasks.a', { ackWaitMs });
      assert.equal(text(await take()), 'one');
    },
  );

  contract(
    'a waiting pull is woken by a push, and ends with its signal',
    async ({ queue, now }) => {
      const stop = new AbortController();
      const waiting = { ...now, waitMs: 60_000, signal: stop.signal };
      const pulled = queue.pull('tasks.a', waiting);
      await queue.push('tasks.a', 'k', bytes('x'));
      assert.equal((await pulled)?.key, 'k');

      const idle = queue.pull('tasks.a', waiting);
      stop.abort();
      assert.equal(await idle, undefined);
    },
  );

  contract('of many pulls each message reaches one', async ({ queue, now }) => {
    for (let i = 0; i < 10; i++) await queue.push('tasks.a', `k${i}`, bytes('x'));

    const all = new AbortController();
    const keys: string[] = [];
    const pull = async (): Promise<void> => {
      const waiting = { ...now, waitMs: COMES_MS, signal: all.signal };
      const delivery = await queue.pull('tasks.a', waiting);
      if (delivery !== undefined && keys.push(delivery.key) === 10) all.abort('all came');
    };
    await Promise.all(Array.from({ length: 15 }, pull));

    assert.equal(await queue.pull('tasks.a', now), undefined);
    assert.equal(keys.length, 10);
    assert.equal(new Set(keys).size, 10);
  });
}

/**
 * Rounds until the sentence is decided. A server counts real time: where this machine took a good part of the ack wait for
 * anything but waiting, a failure may be the machine's, and is asked for again with twice the wait.
 */
async function decide(
  open: (messagesMax: number) => Promise<QueueHarness>,
  body: (round: Round) => Promise<void>,
): Promise<void> {
  for (let ackWaitMs = ACK_WAIT_MS; ; ackWaitMs *= 2) {
    const harness = await open(10);
    const startedMs = performance.now();
    let waitedMs = 0;
    const pass = async (ms: number): Promise<void> => {
      const beganMs = performance.now();
      await harness.pass(ms);
      waitedMs += Math.min(ms, performance.now() - beganMs);
    };
    try {
      return await body({ ...surroundings(harness, ackWaitMs), pass });
    } catch (error) {
      const lostMs = performance.now() - startedMs - waitedMs;
      if (lostMs < ackWaitMs / 4 || ackWaitMs > ACK_WAIT_MOST_MS) throw error;
    } finally {
      await harness.close();
    }
  }
}

function surroundings({ queue, isCluster = false }: QueueHarness, ackWaitMs: number) {
  const holds = (is: () => Promise<void>): Promise<void> => (isCluster ? comes(is) : is());
  const now: PullOptions = { ackWaitMs, attemptsMax: ATTEMPTS, waitMs: 0 };
  return {
    ...{ queue, ackWaitMs, now },
    take: async () =>
      present(await queue.pull('tasks.a', { ...now, waitMs: COMES_MS }), 'a message of tasks.a'),
    holds,
    depthIs: (waiting: number, working: number) =>
      holds(async () => assert.deepEqual(await queue.depth('tasks.a'), { waiting, working })),
  };
}

/** Asks until it is so. */
async function comes(is: () => Promise<void>): Promise<void> {
  for (const untilMs = performance.now() + COMES_MS; ; ) {
    try {
      return await is();
    } catch (error) {
      if (performance.now() > untilMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

function text(delivery: Delivery): string {
  return new TextDecoder().decode(delivery.bytes);
}
