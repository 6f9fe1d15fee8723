import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { importsOf, ROOT, sourceFiles } from './source-files.ts';

interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** `@scope/name` or `name`, without what follows inside the package. */
function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

test('every package names exactly what its sources import', () => {
  const found: string[] = [];
  for (const path of globSync('{libs,services}/*/package.json', { cwd: ROOT }).sort()) {
    const folder = path.slice(0, -'/package.json'.length);
    const manifest = JSON.parse(readFileSync(`${ROOT}${path}`, 'utf8')) as Manifest;
    const files = sourceFiles([`${folder}/**/*.ts`]).filter((file) => !file.isTest);
    const used = new Set(
      files
        .flatMap((file) => importsOf(file))
        .filter((specifier) => !/^(\.|node:)/.test(specifier))
        .map(packageOf)
        .filter((name) => name !== manifest.name),
    );
    const named = new Set(Object.keys(manifest.dependencies ?? {}));
    for (const name of used) if (!named.has(name)) found.push(`${path} lacks ${name}`);
    for (const name of named) if (!used.has(name)) found.push(`${path} names ${name} without need`);
  }
  assert.deepEqual(found, []);
});

test('one protobuf runtime: exactly one copy of protobufjs is installed', () => {
  const lock = JSON.parse(readFileSync(`${ROOT}package-lock.json`, 'utf8')) as {
    packages: Record<string, unknown>;
  };
  const copies = Object.keys(lock.packages).filter((path) =>
    path.endsWith('node_modules/protobufjs'),
  );
  assert.deepEqual(copies, ['node_modules/protobufjs']);
});

test('the lock file has an entry for every optional package of every platform, or `npm ci` refuses it', () => {
  const { packages } = JSON.parse(readFileSync(`${ROOT}package-lock.json`, 'utf8')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const missing = Object.values(packages)
    .flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies))
    .filter((name) => packages[`node_modules/${name}`] === undefined);
  assert.deepEqual(missing, []);
});
