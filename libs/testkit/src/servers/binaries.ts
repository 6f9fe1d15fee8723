import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** A server program that tests run against, and where the Go module registry has it. */
export interface ServerProgram {
  readonly name: string;
  readonly version: string;
  readonly goPackage: string;
}

const nats = (version: string): ServerProgram => ({
  name: 'nats-server',
  version,
  goPackage: 'github.com/nats-io/nats-server/v2',
});

export const SERVERS = {
  /** The oldest that we start on. */
  natsMinimum: nats('2.11.0'),
  natsCurrent: nats('2.15.2'),
  /** What Debian 12 ships: must be refused. */
  natsTooOld: nats('2.9.10'),
  s3: {
    name: 'versitygw',
    version: '1.8.0',
    goPackage: 'github.com/versity/versitygw/cmd/versitygw',
  },
} as const satisfies Record<string, ServerProgram>;

/** Where `npm run servers` puts them, outside of the repository. */
export function serversFolder(): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  return process.env['HEDDLE_SERVERS'] ?? join(cache, 'heddle', 'servers');
}

export function serverPath({ name, version }: ServerProgram): string {
  return join(serversFolder(), `${name}-${version}`);
}

/** Why a test that needs this program cannot run; undefined when it can. */
export function missingServer(program: ServerProgram): string | undefined {
  if (existsSync(serverPath(program))) return undefined;
  return `no ${program.name} ${program.version} in ${serversFolder()} (npm run servers)`;
}
