import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readConfig } from 'heddle';
import { IMAGES } from '../../deploy/docker/images.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const dockerfile = read('deploy/docker/Dockerfile');
/** One line each, comments gone. */
const instructions = dockerfile
  .replace(/^#.*\n/gm, '')
  .replace(/\\\n\s*/g, '')
  .split('\n')
  .filter(Boolean);
const environment = Object.fromEntries(
  instructions
    .filter((line) => line.startsWith('ENV '))
    .flatMap((line) => [...line.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value])),
) as Record<string, string>;
const one = (name: string): string => {
  const found = instructions.filter((line) => line.startsWith(`${name} `));
  assert.equal(found.length, 1, name);
  return found[0]?.slice(name.length + 1) ?? '';
};

test('a process in an image runs as the launcher runs it: the same flags, the same memory allocator', () => {
  const launcher = read('services/embedded/bin/node24.js');
  const [, flags = ''] = /const V8 = \[([^\]]*)\]/.exec(launcher) ?? [];
  const [, malloc = ''] = /const MALLOC = \[([^\]]*)\]/.exec(launcher) ?? [];
  const words = (list: string): string[] => [...list.matchAll(/'([^']+)'/g)].map(([, w = '']) => w);
  const [program, ...args] = JSON.parse(one('ENTRYPOINT')) as string[];
  assert.equal(program, 'node');
  assert.deepEqual(args.slice(1, -1), words(flags));
  assert.equal(args.at(-1), '/app/services/embedded/src/main.ts');
  assert.equal(environment['GLIBC_TUNABLES'], words(malloc).join(':'));
});

test('every variable that an image sets is one that the program reads, with a value that it takes', () => {
  for (const variant of ['cpu', 'cuda']) {
    const set = { ...environment, HEDDLE_SERVICES: 'lorsa', HEDDLE_PROVIDERS: variant };
    const config = readConfig(set);
    assert.deepEqual(config.unread, []);
    assert.deepEqual(config.providers, [variant]);
    assert.equal(config.host, '0.0.0.0');
    const ports = [config.grpcPort, config.httpPort].map((port) => `${port}`);
    assert.deepEqual(one('EXPOSE').split(' '), ports);
    assert.deepEqual(JSON.parse(one('VOLUME')), [environment['HEDDLE_DATA']]);
  }
  const known = /const SERVICES = \[([^\]]*)\]/.exec(read('deploy/docker/prune-service.ts'))?.[1];
  assert.deepEqual(
    [...(known ?? '').matchAll(/'(\w+)'/g)].map(([, name]) => name),
    [...IMAGES],
  );
});

test('the oldest builder takes the Dockerfile: no syntax line, no mounts, no heredocs', () => {
  assert.doesNotMatch(dockerfile, /^#\s*syntax=|--mount|<<|--parents|--link/m);
});

test('the CUDA provider is of the ONNX Runtime that is installed', () => {
  const lock = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { version: string }>;
  };
  const installed = lock.packages['node_modules/onnxruntime-node']?.version;
  assert.match(
    read('deploy/docker/cuda-requirements.txt'),
    new RegExp(`^onnxruntime-gpu==${installed}$`, 'm'),
  );
});
