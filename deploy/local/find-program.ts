import { spawnSync } from 'node:child_process';
import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { serversFolder } from '@heddle/testkit';

export interface FoundProgram {
  readonly path: string;
  readonly version: string;
}

/** `2.11.0` → numbers that compare; what is no version is older than all. */
function rankOf(version: string): number {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number);
  return (major * 1000 + minor) * 1000 + patch || 0;
}

/** The newest program of this name, on PATH or where `npm run servers` puts it, that says it is new enough. */
export function findProgram(
  name: string,
  versionFlag: string,
  versionMin = '0.0.0',
): { readonly found: FoundProgram | undefined; readonly tooOld: readonly FoundProgram[] } {
  const programs = [...onPath(name), ...inCache(name)]
    .map((path) => ({ path, version: versionOf(path, versionFlag) }))
    .filter(({ version }) => version !== '')
    .sort((a, b) => rankOf(b.version) - rankOf(a.version));
  const isEnough = ({ version }: FoundProgram): boolean => rankOf(version) >= rankOf(versionMin);
  return {
    found: programs.find(isEnough),
    tooOld: programs.filter((program) => !isEnough(program)),
  };
}

function onPath(name: string): string[] {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, name)).filter(isProgram);
}

function inCache(name: string): string[] {
  const folder = serversFolder();
  try {
    return readdirSync(folder)
      .filter((file) => file.startsWith(`${name}-`))
      .map((file) => join(folder, file))
      .filter(isProgram);
  } catch {
    return []; // nobody has run it
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** What it says of itself, else what its file is called; empty when it does not run. */
function versionOf(path: string, flag: string): string {
  const { status, stdout, stderr } = spawnSync(path, [flag], { encoding: 'utf8', timeout: 10_000 });
  if (status !== 0) return '';
  const [version = 'unknown'] = /\d+\.\d+\.\d+/.exec(`${stdout}\n${stderr}\n${path}`) ?? [];
  return version;
}
