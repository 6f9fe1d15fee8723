import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Launched, launch } from '@heddle/testkit';
import { RawClient } from '../fuzz/requests/raw-client.ts';

/** Of this repository; a recorder is told another one. */
export const TODAY: string = fileURLToPath(new URL('../..', import.meta.url));

export interface Up {
  readonly raw: RawClient;
  readonly address: string;
  readonly process: Launched;
  /** Of a counter, as `/metrics` has it; 0 before it was counted. */
  counted(name: string): Promise<number>;
  /** Drains. */
  down(): Promise<void>;
  /** `kill -9`. */
  kill(): Promise<void>;
}

/** `heddle up` of a checkout, with `folder` as its working directory: what requests name there is named without a path. */
export async function heddleUp(
  checkout: string,
  folder: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Up> {
  const process = launch(
    join(checkout, 'services/embedded/src/main.ts'),
    ['up', '--json', '--data', join(folder, 'data')],
    { cwd: folder, env: { HEDDLE_PORT: '0', HEDDLE_HTTP_PORT: '0', HEDDLE_THREADS: '1', ...env } },
  );
  const [line] = await process.line(/^\{.*"address":.*"pages".*/);
  const { address, pages } = JSON.parse(line) as { address: string; pages: string };
  const raw = new RawClient(address);
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    raw.close();
    process.kill(signal);
    await process.exited;
  };
  const counted = async (name: string): Promise<number> => {
    const text = await (await fetch(`${pages}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  };
  return { raw, address, process, counted, down: () => end('SIGTERM'), kill: () => end('SIGKILL') };
}
