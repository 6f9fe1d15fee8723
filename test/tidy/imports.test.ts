import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { importsOf, ROOT, type SourceFile, sourceFiles } from './source-files.ts';

/** The floor of each room of `libs/`; imports go down, never sideways or up. */
const FLOORS: Readonly<Record<string, number>> = {
  core: 0,
  tensor: 1,
  linalg: 2,
  onnx: 2,
  formats: 2,
  models: 3,
  interp: 4,
  ports: 5,
  actor: 6,
  adapters: 7,
  client: 8,
  cli: 9,
  testkit: 9,
};
const SERVICE_FLOOR = 10;

/** Who may name a vendor: one door each. */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  'onnxruntime-node': ['libs/adapters/src/ort/'],
  '@huggingface/tokenizers': ['libs/adapters/src/tokenizers/'],
  '@huggingface/hub': ['libs/adapters/src/hf/'],
  jose: ['libs/adapters/src/tokens/'],
  '@peculiar/x509': ['libs/testkit/src/'],
  '@grpc/grpc-js': ['libs/adapters/src/grpc/'],
  '@grpc/proto-loader': ['libs/adapters/src/grpc/'],
  '@grpc/reflection': ['libs/adapters/src/grpc/'],
  'grpc-health-check': ['libs/adapters/src/grpc/'],
  protobufjs: ['libs/onnx/src/', 'libs/adapters/src/grpc/'],
  'node:sqlite': ['libs/adapters/src/sqlite/'],
  '@nats-io/transport-node': ['libs/adapters/src/nats/'],
  '@nats-io/jetstream': ['libs/adapters/src/nats/'],
  '@nats-io/obj': ['libs/adapters/src/nats/'],
  '@aws-sdk/client-s3': ['libs/adapters/src/s3/'],
  '@aws-sdk/lib-storage': ['libs/adapters/src/s3/'],
  'prom-client': ['libs/adapters/src/prom/'],
  pino: ['libs/adapters/src/log/'],
  '@opentelemetry/api': ['libs/adapters/src/otel/'],
  '@opentelemetry/context-async-hooks': ['libs/adapters/src/otel/'],
  '@opentelemetry/exporter-trace-otlp-http': ['libs/adapters/src/otel/'],
  '@opentelemetry/resources': ['libs/adapters/src/otel/'],
  '@opentelemetry/sdk-trace': ['libs/adapters/src/otel/'],
  commander: ['libs/cli/src/'],
  'cli-table3': ['libs/cli/src/'],
  'cli-progress': ['libs/cli/src/'],
  'fast-check': [],
  hyparquet: ['libs/formats/src/'],
  'hyparquet-compressors': ['libs/formats/src/'],
  assemblyscript: ['test/gen/'],
};

const PURE = ['core', 'tensor', 'linalg', 'onnx', 'formats', 'models', 'interp', 'ports'];

function roomOf(path: string): { kind: 'lib' | 'service' | 'test'; name: string; floor: number } {
  const [top = '', name = ''] = path.split('/');
  if (top === 'libs') return { kind: 'lib', name, floor: FLOORS[name] ?? -1 };
  if (top === 'services') return { kind: 'service', name, floor: SERVICE_FLOOR };
  return { kind: 'test', name: 'test', floor: SERVICE_FLOOR + 1 };
}

function complaints(check: (file: SourceFile, specifier: string) => string | undefined): string[] {
  return sourceFiles().flatMap((file) =>
    importsOf(file)
      .map((specifier) => check(file, specifier))
      .filter((complaint) => complaint !== undefined)
      .map((complaint) => `${file.path}: ${complaint}`),
  );
}

test('every room of libs has a floor', () => {
  const rooms = readdirSync(`${ROOT}libs`, { withFileTypes: true }).filter((d) => d.isDirectory());
  assert.deepEqual(rooms.map((d) => d.name).sort(), Object.keys(FLOORS).sort());
});

test('imports go down the floors, never up or sideways', () => {
  const found = complaints((file, specifier) => {
    const match = /^@heddle\/([a-z-]+)/.exec(specifier);
    if (!match) return undefined;
    const target = match[1] ?? '';
    const here = roomOf(file.path);
    if (here.kind === 'test') return undefined;
    // A test may use the testkit, which stands above the room it tests.
    if (file.isTest && target === 'testkit') return undefined;
    const floor = FLOORS[target];
    if (floor === undefined) {
      return here.name === 'embedded'
        ? undefined
        : `services do not import each other (${specifier})`;
    }
    if (here.kind === 'lib' && target === here.name) return `imports itself by name (${specifier})`;
    if (floor < here.floor || file.isTest) return undefined;
    return `floor ${here.floor} may not import ${specifier} (floor ${floor})`;
  });
  assert.deepEqual(found, []);
});

test('what we ship loads neither a fixture nor the testkit', () => {
  const found = complaints((file, specifier) => {
    if (file.isTest || file.path.startsWith('libs/testkit/')) return undefined;
    const testing = /^@heddle\/testkit\b|-fixture\.ts$/.test(specifier);
    return testing ? `${specifier} is for tests` : undefined;
  });
  assert.deepEqual(found, []);
});

test('a vendor is imported through its door alone', () => {
  const found = complaints((file, specifier) => {
    if (file.isTest) return undefined;
    const name = Object.keys(DOORS).find((v) => specifier === v || specifier.startsWith(`${v}/`));
    if (name === undefined) {
      const foreign = !/^(\.|node:|@heddle\/|heddle$)/.test(specifier);
      return foreign ? `${specifier} has no door in test/tidy/imports.test.ts` : undefined;
    }
    const open = DOORS[name]?.some((door) => file.path.startsWith(door));
    return open ? undefined : `${specifier} belongs behind ${DOORS[name]?.join(' or ')}`;
  });
  assert.deepEqual(found, []);
});

test('pure rooms import no node module', () => {
  const found = complaints((file, specifier) => {
    const here = roomOf(file.path);
    if (file.isTest || here.kind !== 'lib' || !PURE.includes(here.name)) return undefined;
    return specifier.startsWith('node:') ? `${specifier} in a pure room` : undefined;
  });
  assert.deepEqual(found, []);
});

test('relative imports stay in their package and carry their extension', () => {
  const found = complaints((file, specifier) => {
    if (!specifier.startsWith('.')) return undefined;
    const target = new URL(specifier, `file:///${file.path}`).pathname.slice(1);
    const home = file.path
      .split('/')
      .slice(0, file.path.startsWith('test/') ? 1 : 2)
      .join('/');
    if (!target.startsWith(`${home}/`) && !file.path.startsWith('test/'))
      return `${specifier} leaves ${home}`;
    return /\.(ts|js|json)$/.test(specifier) ? undefined : `${specifier} has no extension`;
  });
  assert.deepEqual(found, []);
});

test('in a service only main.ts and tests name adapters', () => {
  const found = complaints((file, specifier) => {
    if (file.isTest || !file.path.startsWith('services/')) return undefined;
    if (file.path.startsWith('services/embedded/') || file.path.endsWith('/src/main.ts'))
      return undefined;
    return specifier.startsWith('@heddle/adapters') ? `${specifier} is for main.ts` : undefined;
  });
  assert.deepEqual(found, []);
});
