// The images that ours and compose.yaml begin with: pulled, or, where no registry answers, made here of Debian's packages and the
// servers of `npm run servers`, under the same names. Stand-ins are for tests alone: nothing of them is published.
//   node test/containers/base-images.ts

import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { SERVERS, type ServerProgram, serverPath } from '@heddle/testkit';
import { command } from '../servers/command.ts';
import { docker, hasImage, missingEngine } from './docker.ts';

const DEBIAN = 'heddle-stand-in/debian:bookworm';
const RELEASE = 'bookworm';
/** What our stand-ins need over the smallest Debian: certificates for npm, libstdc++ for Node, wget for health checks. */
const INCLUDED = 'ca-certificates,libstdc++6,busybox';
const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt';
const PULL_TIMEOUT_MS = 5 * 60_000;
const BOOTSTRAP_TIMEOUT_MS = 10 * 60_000;

/** Files of a build's context by the name they get there, and its Dockerfile. */
interface StandIn {
  readonly files: Readonly<Record<string, string>>;
  readonly dockerfile: readonly string[];
}

export interface BaseImage {
  readonly name: string;
  /** Throws, naming it, when something that it is made of is not here. */
  readonly standIn: () => StandIn;
}

const oneProgram = (server: ServerProgram, program: string, more: readonly string[]): StandIn => {
  const path = serverPath(server);
  if (!existsSync(path)) throw new Error(`no ${server.name} ${server.version} (npm run servers)`);
  return {
    files: { [program]: path },
    dockerfile: [`FROM ${DEBIAN}`, `COPY ${program} /usr/local/bin/${program}`, ...more],
  };
};

/** Node out of the workspace's package, npm of this machine, and the authorities that this machine's way to the registry needs. */
function nodeStandIn(): StandIn {
  const npm = process.env['npm_execpath'] ?? '/usr/bin/npm';
  return {
    files: {
      node: process.execPath,
      npm: resolve(dirname(realpathSync(npm)), '..'),
      'authorities.crt': process.env['NODE_EXTRA_CA_CERTS'] ?? AUTHORITIES,
    },
    dockerfile: [
      `FROM ${DEBIAN}`,
      'COPY node /usr/local/bin/node',
      'COPY npm /usr/local/lib/node_modules/npm',
      `COPY authorities.crt ${AUTHORITIES}`,
      `ENV NODE_EXTRA_CA_CERTS=${AUTHORITIES} PIP_CERT=${AUTHORITIES}`,
      'RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && groupadd -g 1000 node && useradd -u 1000 -g node -m node',
      'CMD ["node"]',
    ],
  };
}

export const NODE_IMAGE: BaseImage = { name: 'node:24-bookworm-slim', standIn: nodeStandIn };
export const NATS_IMAGE: BaseImage = {
  name: `nats:${SERVERS.natsCurrent.version}-alpine`,
  standIn: () =>
    oneProgram(SERVERS.natsCurrent, 'nats-server', [
      'EXPOSE 4222 8222',
      'CMD ["nats-server", "--js"]',
    ]),
};
export const S3_IMAGE: BaseImage = {
  name: `versity/versitygw:v${SERVERS.s3.version}`,
  standIn: () => oneProgram(SERVERS.s3, 'versitygw', ['ENTRYPOINT ["/usr/local/bin/versitygw"]']),
};
export const PROMETHEUS_IMAGE: BaseImage = {
  name: `prom/prometheus:v${SERVERS.prometheus.version}`,
  standIn: () =>
    oneProgram(SERVERS.prometheus, 'prometheus', [
      'RUN install -d -o 65534 -g 65534 /prometheus',
      'USER 65534:65534',
      'WORKDIR /prometheus',
      'ENTRYPOINT ["prometheus"]',
    ]),
};

export const BASE_IMAGES: readonly BaseImage[] = [
  NODE_IMAGE,
  NATS_IMAGE,
  S3_IMAGE,
  PROMETHEUS_IMAGE,
];

const say = (line: string): boolean => process.stdout.write(`${line}\n`);

async function inScratch<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-image-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function makeDebian(): Promise<void> {
  if (await hasImage(DEBIAN)) return;
  await inScratch(async (folder) => {
    const root = join(folder, 'root');
    await command(['debootstrap', '--variant=minbase', `--include=${INCLUDED}`, RELEASE, root], {
      what: `debootstrap ${RELEASE}`,
      timeoutMs: BOOTSTRAP_TIMEOUT_MS,
    });
    const links = 'ln -sf busybox root/bin/wget && rm -rf root/var/cache/apt/archives/*.deb';
    const pack = `tar -C root -c . | docker import --change 'CMD ["bash"]' - ${DEBIAN}`;
    await command(['sh', '-ec', `${links}; ${pack}`], {
      what: `import of ${DEBIAN}`,
      timeoutMs: BOOTSTRAP_TIMEOUT_MS,
      cwd: folder,
    });
  });
}

async function makeStandIn({ name, standIn }: BaseImage): Promise<void> {
  const { files, dockerfile } = standIn();
  await makeDebian();
  await inScratch(async (folder) => {
    mkdirSync(folder, { recursive: true });
    for (const [there, here] of Object.entries(files)) {
      cpSync(here, join(folder, there), { recursive: true, dereference: true });
    }
    writeFileSync(join(folder, 'Dockerfile'), `${dockerfile.join('\n')}\n`);
    await docker('build', '-q', '-t', name, folder);
  });
}

/** Undefined when it is there in the end, else why not. */
async function ensure(image: BaseImage): Promise<string | undefined> {
  if (await hasImage(image.name)) return undefined;
  try {
    await command(['docker', 'pull', '-q', image.name], {
      what: `pull of ${image.name}`,
      timeoutMs: PULL_TIMEOUT_MS,
    });
    return undefined;
  } catch (pulled) {
    try {
      await makeStandIn(image);
      say(`made here, because ${(pulled as Error).message}`);
      return undefined;
    } catch (made) {
      return `${(pulled as Error).message}; nor made here: ${(made as Error).message}`;
    }
  }
}

if (import.meta.main) {
  const missing = await missingEngine();
  if (missing !== undefined) {
    say(missing);
    process.exitCode = 1;
  } else {
    for (const image of BASE_IMAGES) {
      const started = performance.now();
      const failure = await ensure(image);
      say(`${image.name}  ${failure ?? `${((performance.now() - started) / 1000).toFixed(1)} s`}`);
      if (failure !== undefined) process.exitCode = 1;
    }
  }
}
