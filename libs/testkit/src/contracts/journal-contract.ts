import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import type { Journal, JournalEvent } from '@heddle/ports';

export interface JournalHarness {
  readonly journal: Journal;
  close(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array): string => new TextDecoder().decode(value);

/** What every Journal must do. Each test gets a fresh one. */
export function journalContract(name: string, open: () => Promise<JournalHarness>): void {
  const contract = (sentence: string, body: (journal: Journal) => Promise<void>): void => {
    void test(`${name}: ${sentence}`, async () => {
      const harness = await open();
      try {
        await body(harness.journal);
      } finally {
        await harness.close();
      }
    });
  };

  contract('appended events are read back in order, numbered from 1', async (journal) => {
    assert.equal(await journal.append('job.a', 0, [bytes('one'), bytes('two')]), 2);
    assert.equal(await journal.append('job.a', 2, [bytes('three')]), 3);

    const events = await journal.read('job.a');

    assert.deepEqual(
      events.map(({ stream, sequence, bytes }) => [stream, sequence, text(bytes)]),
      [
        ['job.a', 1, 'one'],
        ['job.a', 2, 'two'],
        ['job.a', 3, 'three'],
      ],
    );
    assert.deepEqual(
      (await journal.read('job.a', 2)).map((e) => e.sequence),
      [3],
    );
    assert.deepEqual(await journal.read('job.a', 3), []);
    assert.deepEqual(await journal.read('job.nobody'), []);
  });

  contract('an append after a stale sequence is aborted and writes nothing', async (journal) => {
    await journal.append('job.a', 0, [bytes('one')]);

    for (const expected of [0, 2, 7]) {
      await assert.rejects(journal.append('job.a', expected, [bytes('x'), bytes('y')]), aborted);
    }
    await assert.rejects(journal.append('job.new', 1, [bytes('x')]), aborted);

    assert.deepEqual(
      (await journal.read('job.a')).map((e) => text(e.bytes)),
      ['one'],
    );
    assert.deepEqual(await journal.streams('job.', 10), ['job.a']);
  });

  contract('of many appends that expect the same sequence one wins', async (journal) => {
    const tries = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => journal.append('job.a', 0, [bytes(`${i}`)])),
    );

    const won = tries.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []));
    assert.equal(won.length, 1);
    assert.deepEqual(
      (await journal.read('job.a')).map((e) => text(e.bytes)),
      [`${won[0]}`],
    );
  });

  contract('a handler from before a redelivery cannot commit', async (journal) => {
    await journal.append('job.a', 0, [bytes('submitted')]);
    const folded = (await journal.read('job.a')).length; // both fold here; the first then pauses

    await journal.append('job.a', folded, [bytes('the second')]);

    await assert.rejects(journal.append('job.a', folded, [bytes('the first')]), aborted);
  });

  contract('what the caller does to its bytes later changes no event', async (journal) => {
    const mine = bytes('mine');
    await journal.append('job.a', 0, [mine]);
    mine.fill(0);
    const [read] = await journal.read('job.a');
    read?.bytes.fill(1);

    assert.deepEqual(
      (await journal.read('job.a')).map((e) => text(e.bytes)),
      ['mine'],
    );
  });

  contract('streams are listed by prefix, in order of creation, page by page', async (journal) => {
    for (const stream of ['job.b', 'other.x', 'job.a', 'job.c', 'job.A']) {
      await journal.append(stream, 0, [bytes('e')]);
    }

    assert.deepEqual(await journal.streams('job.', 10), ['job.b', 'job.a', 'job.c', 'job.A']);
    assert.deepEqual(await journal.streams('job.', 2), ['job.b', 'job.a']);
    assert.deepEqual(await journal.streams('job.', 2, 'job.a'), ['job.c', 'job.A']);
    assert.deepEqual(await journal.streams('job.a', 9), ['job.a']);
    assert.deepEqual(await journal.streams('job_', 9), []);
  });

  contract('a removed stream is gone and can begin again', async (journal) => {
    await journal.append('job.a', 0, [bytes('one'), bytes('two')]);
    await journal.append('job.b', 0, [bytes('other')]);

    await journal.remove('job.a');
    await journal.remove('job.never');

    assert.deepEqual(await journal.read('job.a'), []);
    assert.deepEqual(await journal.streams('job.', 10), ['job.b']);
    assert.equal(await journal.append('job.a', 0, [bytes('again')]), 1);
  });

  contract('whoever folded a stream that was removed since is told so', async (journal) => {
    await journal.append('job.a', 0, [bytes('one'), bytes('two')]);
    await journal.read('job.a');
    await journal.remove('job.a');
    await assert.rejects(journal.read('job.a', 2), aborted);

    await journal.append('job.a', 0, [bytes('another life')]);
    await assert.rejects(journal.read('job.a', 2), aborted);
    assert.deepEqual(
      (await journal.read('job.a')).map((e) => text(e.bytes)),
      ['another life'],
    );
  });

  contract(
    'an append that was decided on another life of the stream is aborted',
    async (journal) => {
      await journal.append('job.a', 0, [bytes('one'), bytes('two')]);
      const [old] = await journal.read('job.a');
      assert.equal(await journal.append('job.a', 2, [bytes('three')], old?.life), 3);
      await journal.remove('job.a');
      await journal.append('job.a', 0, [bytes('1'), bytes('2'), bytes('3')], old?.life);

      await assert.rejects(journal.append('job.a', 3, [bytes('four')], old?.life), aborted);

      const events = await journal.read('job.a');
      assert.deepEqual([events.length, new Set(events.map(({ life }) => life)).size], [3, 1]);
      assert.notEqual(events[0]?.life, old?.life);
      assert.equal(await journal.append('job.a', 3, [bytes('4')], events[0]?.life), 4);
    },
  );

  contract(
    'a stream is removed only while its last event is the one that was meant',
    async (journal) => {
      await journal.append('job.a', 0, [bytes('one'), bytes('end')]);
      await journal.append('job.b', 0, [bytes('one')]);
      await journal.append('job.b', 1, [bytes('two')]);
      const seen: [number, string][] = [];
      const isEnd = ({ sequence, bytes: last }: JournalEvent): boolean => {
        seen.push([sequence, text(last)]);
        return text(last) === 'end';
      };

      await Promise.all(['job.a', 'job.b', 'job.never'].map((name) => journal.remove(name, isEnd)));

      assert.deepEqual(seen.sort(), [
        [2, 'end'],
        [2, 'two'],
      ]);
      assert.deepEqual(await journal.read('job.a'), []);
      assert.equal((await journal.read('job.b')).length, 2);
      // A new life that is as long as the one before is another.
      await journal.append('job.a', 0, [bytes('new'), bytes('life')]);
      await journal.remove('job.a', isEnd);
      assert.equal((await journal.read('job.a')).length, 2);
    },
  );

  contract('the end of every stream changes with each append to it', async (journal) => {
    await journal.append('job.a', 0, [bytes('one'), bytes('two')]);
    await journal.append('job.b', 0, [bytes('one')]);
    await journal.append('other.c', 0, [bytes('one')]);
    const before = await journal.ends('job.');
    await journal.append('job.a', 2, [bytes('three')]);
    await journal.remove('job.b');
    await journal.append('job.d', 0, [bytes('new')]);

    const after = await journal.ends('job.');

    assert.deepEqual([...before.keys()].sort(), ['job.a', 'job.b']);
    assert.deepEqual([...after.keys()].sort(), ['job.a', 'job.d']);
    assert.notEqual(before.get('job.a'), after.get('job.a'));
    assert.deepEqual(await journal.ends('job.'), after);
    assert.equal((await journal.ends('nothing.')).size, 0);
  });

  contract('a follower sees what stands, then each event as it comes', async (journal) => {
    await journal.append('job.a', 0, [bytes('1'), bytes('2')]);
    const stop = new AbortController();
    const seen: string[] = [];
    const following = (async () => {
      for await (const event of journal.follow('job.a', 1, stop.signal)) {
        seen.push(text(event.bytes));
        if (seen.length === 1) await journal.append('job.a', 2, [bytes('3')]);
        if (seen.length === 2) await journal.append('job.a', 3, [bytes('4')]);
        if (seen.length === 3) stop.abort();
      }
    })();

    await following;
    assert.deepEqual(seen, ['2', '3', '4']);
  });

  contract('its size grows with what is appended', async (journal) => {
    const before = await journal.bytes();
    await journal.append('job.a', 0, [new Uint8Array(200_000)]);

    assert.ok((await journal.bytes()) >= before + 200_000);
  });
}

function aborted(error: unknown): boolean {
  assert.ok(error instanceof OperationError);
  assert.equal(error.code, 'aborted');
  assert.equal(error.retryable, true);
  return true;
}
