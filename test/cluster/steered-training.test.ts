/** A running training is paused, resumed and cancelled from another terminal. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { temporaryFolder } from '@heddle/testkit';
import { digestsOf, down, stepsReached, type Up, up } from './fixtures/served-training.ts';

const HEDDLE = fileURLToPath(new URL('../../services/embedded/bin/heddle.js', import.meta.url));
/** Some seconds: a command of another process must find it running. */
const STEPS = 1_200;
/** What a worker that hears of a cancellation at once has in flight, and what it does while we ask how many it has done. */
const IN_FLIGHT_MOST = STEPS / 8;
const run = promisify(execFile);

const LINES = Array.from({ length: 20 }, (_, i) => ({
  tokens: Array.from({ length: 16 }, (_unused, j) => (i * 7 + j * 3) % 50),
}));

/** A command on the running server, as a user types it; its JSON document. */
async function typed({ address }: Up, ...argv: string[]): Promise<Record<string, unknown>> {
  const env = { ...process.env, HEDDLE_SERVER: address };
  const { stdout } = await run(process.execPath, [HEDDLE, ...argv, '--json'], { env });
  return JSON.parse(stdout) as Record<string, unknown>;
}

/**
 * The same while it computes: on a machine that does much else a command needs longer to begin than the training to end. So the
 * server stands still until the command is at its door.
 */
async function typedMeanwhile(one: Up, ...argv: string[]): Promise<Record<string, unknown>> {
  const server = new URL(`tcp://${one.address}`);
  const door = createServer((client) => {
    one.process.kill('SIGCONT');
    const behind = connect(Number(server.port), server.hostname);
    for (const socket of [client, behind]) socket.on('error', () => undefined); // `close` follows
    client.pipe(behind).pipe(client);
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  one.process.kill('SIGSTOP');
  try {
    const { port } = door.address() as AddressInfo;
    return await typed({ ...one, address: `127.0.0.1:${port}` }, ...argv);
  } finally {
    one.process.kill('SIGCONT');
    door.close();
  }
}

const stateIn = (document: Record<string, unknown>) => (document['job'] as { state: string }).state;

async function trained(one: Up, folder: string, seed: number): Promise<string> {
  const corpus = join(folder, 'corpus.jsonl');
  writeFileSync(corpus, LINES.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const sizes = ['--heads', '288', '--top-k', '16', '--batch', '2', '--context', '16'];
  const run = ['lorsa', 'train', '--layer', '1', '--steps', `${STEPS}`, '--seed', `${seed}`];
  const { job } = await typed(one, ...run, ...sizes, '--corpus', corpus, '--detach');
  return String(job);
}

/** How many attempts of trainings have ended in this way, as the metrics say. */
async function attempts(one: Up, outcome: string): Promise<number> {
  const text = await one.metrics();
  const line = new RegExp(
    `^jobs_attempts_total\\{(?=[^}]*kind="lorsa.train")(?=[^}]*outcome="${outcome}")[^}]*\\} (\\d+)$`,
    'm',
  );
  return Number(line.exec(text)?.[1] ?? 0);
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds()));
}

test('a paused training keeps every step, does none meanwhile, and resumed it ends with the same bits', async (t) => {
  const data = await temporaryFolder();
  const one = await up(data.path);
  const undisturbed = await digestsOf(one, await trained(one, data.path, 1));
  assert.equal(await one.steps(), STEPS);
  const other = await temporaryFolder();
  const two = await up(other.path);
  const id = await trained(two, other.path, 1);
  await stepsReached(two, id, STEPS / 12);

  assert.equal(stateIn(await typedMeanwhile(two, 'job', 'pause', id)), 'paused');
  await until(async () => (await attempts(two, 'released')) === 1);
  const steps = await two.steps();
  assert.equal(stateIn(await typed(two, 'job', 'show', id)), 'paused');
  assert.equal(await two.steps(), steps, 'nothing is computed');
  assert.ok(steps < STEPS, 'it was in the middle');

  const resumed = stateIn(await typed(two, 'job', 'resume', id));
  assert.ok(resumed === 'running' || resumed === 'queued', resumed);
  assert.equal(stateIn(await typed(two, 'job', 'watch', id)), 'succeeded');
  t.diagnostic(`paused after ${steps} steps; ${await two.steps()} in all for ${STEPS}`);
  assert.equal(await two.steps(), STEPS, 'no step was lost and none done twice');
  assert.deepEqual(await digestsOf(two, id), undisturbed);
  await Promise.all([down(one), down(two)]);
  await Promise.all([data.remove(), other.remove()]);
});

test('a cancelled training is cancelled at once and computes nothing after the stated bound', async (t) => {
  const data = await temporaryFolder();
  const one = await up(data.path);
  const id = await trained(one, data.path, 2);
  await stepsReached(one, id, STEPS / 12);

  assert.equal(stateIn(await typedMeanwhile(one, 'job', 'cancel', id)), 'cancelled');
  const [told, toldMs] = [await one.steps(), performance.now()];
  await until(async () => (await attempts(one, 'lost')) === 1);
  const ms = performance.now() - toldMs;
  const steps = await one.steps();

  // In steps, which a machine that is late makes fewer of: a few in flight. Somebody who does not hear goes on to the end.
  t.diagnostic(
    `the worker had stopped ${ms.toFixed(0)} ms and ${steps - told} steps after the command had said so`,
  );
  assert.ok(steps - told <= IN_FLIGHT_MOST, `${steps - told} steps`);
  assert.ok(steps < STEPS);
  assert.equal(stateIn(await typed(one, 'job', 'show', id)), 'cancelled');
  const refused = await typed(one, 'job', 'resume', id).catch((error: { code: number }) => error);
  assert.equal((refused as { code: number }).code, 3, 'a cancelled job cannot be resumed');
  assert.equal(await one.steps(), steps, 'nothing is computed any more');
  await down(one);
  await data.remove();
});
