import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { TourReport } from '@heddle/cli';

const HEDDLE = fileURLToPath(new URL('../../services/embedded/src/main.ts', import.meta.url));
const CHAPTERS = ['a', 'all', 'b', 'c', 'd', 'e', 'f'];

/** The main job as a user runs it on a cluster; seconds of each chapter. */
export async function mainJob(address: string): Promise<TourReport['seconds']> {
  const args = [HEDDLE, '--server', address, 'tour', '--exit', '--json'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk;
  });
  const [status] = await once(child, 'close');
  assert.equal(status, 0, out);
  const { seconds } = JSON.parse(out) as TourReport;
  assert.deepEqual(Object.keys(seconds).sort(), CHAPTERS);
  return seconds;
}
