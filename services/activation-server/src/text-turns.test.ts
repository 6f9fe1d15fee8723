import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { TextTurns } from './text-turns.ts';

/** A clock that moves when a text is read, and counts how often the event loop had a turn. */
class ReadingClock {
  ms = 0;
  loops = 0;
  /** What each turn of the loop takes for others. */
  otherMs = 0;

  monotonic(): number {
    return this.ms;
  }

  async sleep(): Promise<void> {
    this.loops += 1;
    this.ms += this.otherMs;
  }
}

const never = new AbortController().signal;

test('texts are read in the order of their arrival, with the event loop let go after each slice', async () => {
  const clock = new ReadingClock();
  const turns = new TextTurns(clock, { waitMsMax: 1e9, sliceMs: 10, atOnceBytes: 0 });
  const read: number[] = [];

  await Promise.all(
    Array.from({ length: 12 }, (_, i) =>
      turns.take(1000, never, () => {
        clock.ms += 4;
        read.push(i);
      }),
    ),
  );

  assert.deepEqual(
    read,
    Array.from({ length: 12 }, (_, i) => i),
  );
  // Two turns for the first slice, which found new arrivals; then one each.
  assert.equal(clock.loops, 5, 'three texts of 4 ms make a slice of 10');
});

test('who would wait longer than the bound is told, and when to come again', async () => {
  const clock = new ReadingClock();
  const turns = new TextTurns(clock, { waitMsMax: 1000, sliceMs: 10, atOnceBytes: 0 });
  const read = (): void => {
    clock.ms += 100;
  };
  // A hundred milliseconds for 100 kB is what it begins with.
  const taken = await Promise.allSettled(
    Array.from({ length: 40 }, () => turns.take(100_000, never, read)),
  );
  const refused = taken.flatMap((each) =>
    each.status === 'rejected' ? [OperationError.from(each.reason)] : [],
  );

  assert.equal(refused.length, 29);
  for (const { code, retryAfterMs = 0 } of refused) {
    assert.equal(code, 'resource_exhausted');
    assert.ok(retryAfterMs >= 1000, `${retryAfterMs}`);
  }
  assert.equal(await turns.take(100_000, never, () => 'read'), 'read');
});

test('a loop that is busy with others is waited for too: fewer texts are let in', async () => {
  const admitted = async (otherMs: number): Promise<number> => {
    const clock = new ReadingClock();
    clock.otherMs = otherMs;
    const turns = new TextTurns(clock, { waitMsMax: 1000, sliceMs: 10, atOnceBytes: 0 });
    const read = (): void => {
      clock.ms += 100;
    };
    for (let i = 0; i < 100; i++) await turns.take(100_000, never, read);
    const taken = await Promise.allSettled(
      Array.from({ length: 40 }, () => turns.take(100_000, never, read)),
    );
    return taken.filter(({ status }) => status === 'fulfilled').length;
  };

  const [alone, beside] = [await admitted(0), await admitted(100)];
  assert.ok(alone >= 10 && alone <= 11, `${alone}`);
  assert.ok(beside >= 4 && beside <= 6, `${beside}`);
});

test('a short text does not wait behind long ones', async () => {
  const turns = new TextTurns(new ReadingClock(), { waitMsMax: 0, sliceMs: 10, atOnceBytes: 100 });
  const order: string[] = [];
  const read = (name: string) => () => order.push(name);
  const long = [turns.take(101, never, read('long')), turns.take(101, never, read('longer'))];
  await turns.take(100, never, read('short'));
  await Promise.allSettled(long);

  assert.equal(order[0], 'short');
});

test('a text whose caller went away is not read, and an error is its own caller’s alone', async () => {
  const turns = new TextTurns(new ReadingClock(), { waitMsMax: 1000, sliceMs: 10, atOnceBytes: 0 });
  const gone = new AbortController();
  const kept = turns.take(1, never, () => {
    throw new Error('no text');
  });
  const left = turns.take(1, gone.signal, () => assert.fail('it was read'));
  const last = turns.take(1, never, () => 1);
  gone.abort(new OperationError({ code: 'cancelled', message: 'gone' }));

  await assert.rejects(kept, /no text/);
  await assert.rejects(left, /gone/);
  assert.equal(await last, 1);
});
