import type { CommandIo } from '@heddle/cli';

/**
 * A terminal's Ctrl-C reaches us, npm and the launcher at once, and those may pass theirs on: what follows within this
 * time is the same key press.
 */
const SAME_PRESS_MS = 500;
/** Standard input is read whole; more than any prompt file. */
const STDIN_BYTES_MAX = 2 ** 30;

// `heddle job ls | head`: who has read enough has not been failed.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

export const processIo: CommandIo = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  stdin: readStdin,
  terminal: process.stderr.isTTY === true,
  stdoutColumns: process.stdout.isTTY ? process.stdout.columns : undefined,
  environment: process.env,
  workingDirectory: process.cwd(),
  onInterrupt(listener) {
    let last = Number.NEGATIVE_INFINITY;
    const hear = () => {
      const now = performance.now();
      if (now - last > SAME_PRESS_MS) listener();
      last = now;
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
    for (const signal of signals) process.on(signal, hear);
    return () => {
      for (const signal of signals) process.off(signal, hear);
    };
  },
  exit: (status) => process.exit(status),
};

async function readStdin(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer);
    bytes += (chunk as Buffer).byteLength;
    if (bytes > STDIN_BYTES_MAX) throw new Error('standard input is larger than 1 GiB');
  }
  return Buffer.concat(chunks, bytes);
}
