// The loop of whoever works on Heddle without a cluster: all services in one process, begun again when a file that it has loaded changes.
//   npm run dev [-- --services lorsa,activation] [-- --port 7500]
// What was running is handed back first, and goes on from its checkpoint. `npx heddle …` beside it finds it by its folder.

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const HEDDLE = fileURLToPath(new URL('../../services/embedded/src/main.ts', import.meta.url));
/** Both ask the process to save and end; it is waited for. */
const WATCH = ['--watch', '--watch-preserve-output'];
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const child = spawn(
  process.execPath,
  [...WATCH, ...process.execArgv, HEDDLE, 'up', ...process.argv.slice(2)],
  { stdio: 'inherit', env: { ...process.env, HEDDLE_SERVER: '' } },
);
for (const signal of SIGNALS) {
  // A terminal's Ctrl-C has reached the child as well; a `kill` has not.
  process.on(signal, () => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on('exit', (code, signal) => {
  process.exit(signal === null ? (code ?? 1) : 128 + constants.signals[signal]);
});
