import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serversFolder } from '@heddle/testkit';

const fetched = (): string => join(serversFolder(), 'docker-compose');
const FETCH_TIMEOUT_MS = 3 * 60_000;

/** How `docker compose` is said here: the plugin, the program of its own, or the one that `engine.ts` fetched. */
export function composeProgram(): readonly string[] | undefined {
  const candidates = [['docker', 'compose'], ['docker-compose'], [fetched()]];
  return candidates.find(([program = '', ...args]) => {
    const { status, stdout } = spawnSync(program, [...args, 'version', '--short'], {
      encoding: 'utf8',
    });
    // The first generation, in Python, does not know all of the specification.
    return status === 0 && !stdout.startsWith('1.');
  });
}

/** Compose 2 out of Debian's next release: one program that needs libc alone. Says what is there, or why nothing is. */
export async function fetchCompose(): Promise<string> {
  const there = composeProgram();
  if (there !== undefined) return `docker compose: ${there.join(' ')}`;
  const folder = mkdtempSync(join(tmpdir(), 'heddle-compose-'));
  try {
    const script = fileURLToPath(new URL('fetch-deb.sh', import.meta.url));
    const { status, stderr } = spawnSync('sh', [script, 'trixie', 'docker-compose', folder], {
      encoding: 'utf8',
      timeout: FETCH_TIMEOUT_MS,
    });
    const program = join(folder, 'usr/libexec/docker/cli-plugins/docker-compose');
    if (status !== 0 || !existsSync(program)) return `no docker compose: ${stderr.trim()}`;
    copyFileSync(program, `${fetched()}.part`);
    chmodSync(`${fetched()}.part`, 0o755);
    renameSync(`${fetched()}.part`, fetched());
    return `docker compose: ${fetched()}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
