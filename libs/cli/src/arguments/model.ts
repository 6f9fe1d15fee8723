import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Invocation } from '../invocation.ts';

/**
 * MODEL as requests name it: a folder by its full path (the server has another working directory), `hf:…` and
 * registered names as they are; absent, the bundled model.
 */
export function modelReference(invocation: Invocation, model: string | undefined): string {
  if (model === undefined || model === '') return '';
  if (model.startsWith('hf:')) return model;
  const path = resolve(invocation.io.workingDirectory, model);
  if (/[/\\]/.test(model) || model.startsWith('.')) return path;
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ? path : model;
}
