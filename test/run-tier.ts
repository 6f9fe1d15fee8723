// One tier of the pyramid: its files under `node --test`, until it ends or hangs.

import { type ChildProcess, spawn } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { RUNNING, type Tally } from './tally-reporter.ts';
import type { Tier } from './tiers.ts';

export interface Outcome {
  readonly tier: Tier;
  readonly seconds: number;
  readonly files: number;
  readonly exit: number;
  readonly tally: Tally;
}

const NOTHING: Tally = { passed: 0, failed: 0, skips: [], slowest: [] };
/** What is told to end has so long for it. */
const END_MS = 15_000;
/** As `timeout` has it. */
const TIMED_OUT = 124;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function filesOf(tier: Tier): string[] {
  const except = new Set(globSync([...(tier.except ?? [])]));
  return globSync([...tier.files], { exclude: (name) => name === 'node_modules' })
    .filter((file) => !except.has(file))
    .sort();
}

/** Errors: none; a tier that hangs, or whose runner breaks, is one that failed. */
export async function runTier(
  tier: Tier,
  name: string | undefined,
  secondsLeft: number,
): Promise<Outcome> {
  const files = filesOf(tier);
  const started = performance.now();
  const nothing = { tier, seconds: 0, files: files.length, tally: NOTHING };
  if (files.length === 0) return { ...nothing, exit: 1 };
  if (secondsLeft <= 0) {
    process.stdout.write('not run: no time is left\n');
    return { ...nothing, exit: TIMED_OUT };
  }
  const scratch = mkdtempSync(join(tmpdir(), 'heddle-test-'));
  const [tallyFile, running] = [join(scratch, 'tally.json'), join(scratch, 'running')];
  const args = [
    '--disable-warning=ExperimentalWarning',
    '--test',
    `--test-concurrency=${tier.concurrency}`,
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${new URL('./tally-reporter.ts', import.meta.url).href}`,
    `--test-reporter-destination=${tallyFile}`,
    // A file of which no test is wanted opens in `before` what it would close after them, which never comes.
    ...(name === undefined ? [] : [`--test-name-pattern=${name}`, '--test-force-exit']),
    ...files,
  ];
  const limitMs = 1000 * Math.min(tier.minutes * 60, secondsLeft);
  const exit = await ended(args, { limitMs, running });
  const tally = readTally(tallyFile);
  rmSync(scratch, { recursive: true, force: true });
  return { tier, seconds: (performance.now() - started) / 1000, files: files.length, exit, tally };
}

/** The runner writes it at its end; it may have been killed before. */
function readTally(file: string): Tally {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Tally;
  } catch {
    return NOTHING;
  }
}

interface Limits {
  readonly limitMs: number;
  /** Where the runner writes what it is at. */
  readonly running: string;
}

/** Runs it to its end, or to the limit: then says what was running, and ends all of it. */
async function ended(args: readonly string[], { limitMs, running }: Limits): Promise<number> {
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, [RUNNING]: running },
    // A group of its own: files of tests, and what they started, can be ended together.
    detached: true,
  });
  let told: NodeJS.Signals | undefined;
  const relays = SIGNALS.map((signal) => {
    const relay = (): void => {
      told = signal;
      signalGroup(child, signal);
      setTimeout(() => signalGroup(child, 'SIGKILL'), END_MS).unref();
    };
    process.on(signal, relay);
    return () => process.off(signal, relay);
  });
  let isLate = false;
  const late = (): void => {
    isLate = true;
    process.stdout.write(`\n── hangs: after ${Math.round(limitMs / 1000)} s there still run ──\n`);
    process.stdout.write(read(running));
    signalGroup(child, 'SIGTERM');
    kill = setTimeout(() => signalGroup(child, 'SIGKILL'), END_MS);
  };
  const timer = Number.isFinite(limitMs) ? setTimeout(late, limitMs) : undefined;
  let kill: NodeJS.Timeout | undefined;
  const code = await new Promise<number>((resolve) => {
    child.on('exit', (status) => resolve(status ?? 1));
    child.on('error', () => resolve(1));
  });
  clearTimeout(timer);
  clearTimeout(kill);
  for (const off of relays) off();
  if (told !== undefined) process.exit(128 + constants.signals[told]);
  if (isLate) signalGroup(child, 'SIGKILL'); // whoever of it did not listen
  return isLate ? TIMED_OUT : code;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '(nothing had begun)\n';
  }
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // It has ended.
  }
}
