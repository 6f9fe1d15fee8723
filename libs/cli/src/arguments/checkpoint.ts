import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Invocation } from '../invocation.ts';

/** A path by its full name where there is one; else a job's id. */
export function checkpointReference(invocation: Invocation, checkpoint: string): string {
  const path = resolve(invocation.io.workingDirectory, checkpoint);
  return /[/\\.]/.test(checkpoint) || existsSync(path) ? path : checkpoint;
}
