import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError, resourceExhausted } from '@heddle/core';
import type { Clients } from '@heddle/ports';
import { PATIENCE_MS } from './limits.ts';
import { patientClients, whileAnswering } from './patient-clients.ts';

/** A clock whose sleeps are written down and take no time. */
function sleepless() {
  let ms = 0;
  const slept: number[] = [];
  const sleep = async (forMs: number): Promise<void> => {
    slept.push(forMs);
    ms += forMs;
  };
  return { slept, clock: { monotonic: () => ms, sleep } };
}

const full = () => resourceExhausted('full', { retryAfterMs: 700 });
const away = () => new OperationError({ code: 'unavailable', message: 'away' });

/** Clients that fail so often before they answer. */
function failing(times: number, error: () => OperationError) {
  const calls = { count: 0 };
  const fail = (): void => {
    calls.count += 1;
    if (calls.count <= times) throw error();
  };
  const activation = {
    async Tokenize() {
      fail();
      return { tokens: [] };
    },
    async StartCacheActivations() {
      fail();
      return { job: null };
    },
    async *Run() {
      fail();
      yield { part: 1 };
      yield { part: 2 };
    },
  };
  return { calls, clients: { activation } as unknown as Clients };
}

const parts = async (stream: AsyncIterable<unknown>): Promise<number> => {
  let count = 0;
  for await (const _ of stream) count += 1;
  return count;
};

test('a peer that is full is asked again when it said to, whatever the method', async () => {
  const { clock, slept } = sleepless();
  const unary = failing(3, full);
  await patientClients(unary.clients, clock).activation.StartCacheActivations({});
  assert.equal(unary.calls.count, 4);
  assert.deepEqual(slept, [700, 700, 700]);

  const stream = failing(2, full);
  assert.equal(await parts(patientClients(stream.clients, clock).activation.Run({})), 2);
});

test('a peer that is away is asked again only where twice is the same as once', async () => {
  const { clock } = sleepless();
  const again = failing(5, away);
  await patientClients(again.clients, clock).activation.Tokenize({});
  assert.equal(again.calls.count, 6);

  const once = failing(5, away);
  await assert.rejects(patientClients(once.clients, clock).activation.StartCacheActivations({}));
  assert.equal(once.calls.count, 1);
});

test('a stream that broke after its first message is the reader’s to begin anew', async () => {
  const activation = {
    async *Run() {
      yield {};
      throw away();
    },
  };
  const clients = { activation } as unknown as Clients;
  await assert.rejects(
    parts(patientClients(clients, sleepless().clock).activation.Run({})),
    /away/,
  );
});

test('patience ends, with its signal too, and while somebody’s call is answered there is none', async () => {
  const { clock } = sleepless();
  const always = failing(Number.POSITIVE_INFINITY, away);
  const asked = patientClients(always.clients, clock).activation;
  await assert.rejects(asked.Tokenize({}), /away/);
  assert.ok(clock.monotonic() < 15_000, 'nobody could end it');
  const { signal: never } = new AbortController();
  await assert.rejects(asked.Tokenize({}, { signal: never }), /away/);
  assert.ok(clock.monotonic() >= PATIENCE_MS);

  const told = failing(1, full);
  const asking = patientClients(told.clients, clock);
  await assert.rejects(
    whileAnswering(() => asking.activation.Tokenize({})),
    /full/,
  );
  await asking.activation.Tokenize({});

  const gone = new AbortController();
  gone.abort(new Error('gone'));
  const left = failing(1, full);
  const { signal } = gone;
  await assert.rejects(patientClients(left.clients, clock).activation.Tokenize({}, { signal }));
  assert.equal(left.calls.count, 1);
});
