import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { present } from '@heddle/core';
import { SPINS_MAX } from './limits.ts';
import {
  CONTROL,
  type FromLeader,
  INTEGERS,
  KERNEL_NAMES,
  type Kernel,
  LEAVE,
  type Phase,
  type ThreadSetup,
  type ToLeader,
} from './protocol.ts';

/**
 * One thread of the kernels. The leader hears phases from the caller; in each phase all threads take turns until no item is
 * left. Which thread takes which turn does not matter: items write apart from each other.
 */

const setup = workerData as ThreadSetup;
const control = new Int32Array(setup.control);
const integers = new Int32Array(setup.memory.buffer, setup.arguments, INTEGERS);
const floats = new Float32Array(setup.memory.buffer, setup.arguments + 4 * INTEGERS, 8);
const { exports } = new WebAssembly.Instance(setup.module, {
  env: {
    memory: setup.memory,
    abort: () => {
      throw new Error('a kernel aborted');
    },
  },
});
// Exports have no types; the names are those that were compiled, `present` sees that each is there.
const kernels = KERNEL_NAMES.map((name) => present(exports[name], name) as unknown as Kernel);

function takeTurns(): void {
  const kernel = present(kernels[Atomics.load(control, CONTROL.kernel)], 'the kernel');
  const items = Atomics.load(control, CONTROL.items);
  const turn = Atomics.load(control, CONTROL.turn);
  for (;;) {
    const from = Atomics.add(control, CONTROL.turns, 1) * turn;
    if (from >= items) return;
    kernel(from, Math.min(from + turn, items), setup.arguments, setup.scratch);
  }
}

/** Waits while the cell has this value: looks for some microseconds, then sleeps. */
function waitWhile(cell: number, value: number): void {
  for (let spins = 0; spins < SPINS_MAX; spins++) {
    if (Atomics.load(control, cell) !== value) return;
  }
  while (Atomics.load(control, cell) === value) Atomics.wait(control, cell, value);
}

function runPhase(phase: Phase): void {
  integers.set(phase.integers);
  floats.set(phase.floats ?? []);
  Atomics.store(control, CONTROL.kernel, KERNEL_NAMES.indexOf(phase.kernel));
  Atomics.store(control, CONTROL.items, phase.items);
  Atomics.store(control, CONTROL.turn, phase.turn);
  Atomics.store(control, CONTROL.turns, 0);
  const helpers = phase.items > phase.turn ? setup.threads - 1 : 0;
  if (helpers > 0) wakeHelpers();
  takeTurns();
  for (let done = 0; done < helpers; done = Atomics.load(control, CONTROL.done)) {
    waitWhile(CONTROL.done, done);
  }
  if (Atomics.load(control, CONTROL.fallen) !== 0) throw new Error('a thread of the kernels fell');
}

function wakeHelpers(): void {
  Atomics.store(control, CONTROL.done, 0);
  Atomics.add(control, CONTROL.phase, 1);
  Atomics.notify(control, CONTROL.phase);
}

function lead(): void {
  const port = present(parentPort, 'the parent port');
  const answer = (message: FromLeader) => port.postMessage(message);
  port.on('message', (message: ToLeader) => {
    if (message === 'close') {
      Atomics.store(control, CONTROL.kernel, LEAVE);
      wakeHelpers();
      port.close();
      return;
    }
    try {
      const times = message.map((phase) => {
        const start = performance.now();
        runPhase(phase);
        return performance.now() - start;
      });
      answer({ type: 'done', times });
    } catch (thrown) {
      answer({ type: 'failed', message: thrown instanceof Error ? thrown.message : `${thrown}` });
    }
  });
  answer({ type: 'ready' });
}

function help(): void {
  for (let phase = 0; ; phase++) {
    waitWhile(CONTROL.phase, phase);
    if (Atomics.load(control, CONTROL.kernel) === LEAVE) return;
    try {
      takeTurns();
    } catch {
      Atomics.store(control, CONTROL.fallen, 1);
    }
    Atomics.add(control, CONTROL.done, 1);
    Atomics.notify(control, CONTROL.done);
  }
}

if (!isMainThread) {
  if (setup.thread === 0) lead();
  else help();
}
