import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Invocation } from '../invocation.ts';

/**
 * MODEL as requests name it: a folder by its full path (the server has another working directory), `hf:…` and
 * registered names as they are; absent, the bundled model. A word that is also a folder here is the folder, unless a server is
 * named: that one may lie anywhere, and `model add` has given the folder just this name.
 */
export function modelReference(invocation: Invocation, model: string | undefined): string {
  if (model === undefined || model === '') return '';
  if (model.startsWith('hf:')) return model;
  const path = resolve(invocation.io.workingDirectory, model);
  if (/[/\\]/.test(model) || model.startsWith('.')) return path;
  if (invocation.server !== undefined) return model;
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ? path : model;
}
