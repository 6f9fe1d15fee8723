// Builds the servers that tests run against, through the Go module registry, into a folder outside of the repository.
//   npm run servers            all that are missing; prints where each is
// A server that cannot be had is said, and the exit code is 1; tests that want it then skip with its name.

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { SERVERS, type ServerProgram, serverPath, serversFolder } from '@heddle/testkit';

/** A cold build of the largest takes two minutes on two cores. */
const BUILD_TIMEOUT_MS = 15 * 60_000;

const say = (line: string): boolean => process.stdout.write(`${line}\n`);

/** Undefined when it stands, else why not. */
function get(program: ServerProgram): string | undefined {
  const path = serverPath(program);
  if (existsSync(path)) return undefined;
  const scratch = mkdtempSync(join(tmpdir(), 'heddle-servers-'));
  try {
    const module = `${program.goPackage}@v${program.version}`;
    say(`building ${module}`);
    const { error, status, stderr } = spawnSync('go', ['install', '-trimpath', module], {
      env: { ...process.env, GOBIN: scratch, CGO_ENABLED: '0', GOTOOLCHAIN: 'local' },
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
      timeout: BUILD_TIMEOUT_MS,
    });
    if (error) return `Go did not run: ${error.message}`;
    if (status !== 0) return stderr.trim().split('\n').slice(-3).join(' ');
    // The registry's programs are named after their folder, or the one before a version.
    const built = join(scratch, basename(program.goPackage.replace(/\/v\d+$/, '')));
    copyFileSync(built, `${path}.part`);
    renameSync(`${path}.part`, path); // whole or not at all: another run may be at it too
    return undefined;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

mkdirSync(serversFolder(), { recursive: true });
for (const program of Object.values(SERVERS)) {
  const failure = get(program);
  say(
    failure === undefined ? serverPath(program) : `${program.name} ${program.version}: ${failure}`,
  );
  if (failure !== undefined) process.exitCode = 1;
}
