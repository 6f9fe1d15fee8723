import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT, sourceFiles } from './source-files.ts';

/** About a page; the longest that has to be read before one works in a room. */
const LINES_MAX = 80;

const folders = (path: string): string[] =>
  readdirSync(join(ROOT, path), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !/^(node_modules|\.)/.test(entry.name))
    .map(({ name }) => `${path}/${name}`);

const rooms = ['proto', ...['libs', 'services', 'test'].flatMap(folders)];
const pages = [...rooms, ...folders('libs/adapters/src'), ...folders('libs/interp/src')]
  .map((room) => `${room}/README.md`)
  .filter((path) => existsSync(join(ROOT, path)));

test('every room has a page about itself, and a page is a page', () => {
  assert.deepEqual(
    rooms.filter((room) => !existsSync(join(ROOT, room, 'README.md'))),
    [],
  );
  const long = pages.filter((path) => {
    const lines = readFileSync(join(ROOT, path), 'utf8').split('\n').length;
    return lines > LINES_MAX;
  });
  assert.deepEqual(long, []);
});

test('files that a page names are there', () => {
  const missing = pages.flatMap((page) => {
    const room = page.slice(0, -'/README.md'.length);
    const named = readFileSync(join(ROOT, page), 'utf8').matchAll(
      /[\w@./*-]+\.(?:test\.ts|ts|py)\b/g,
    );
    return [...named]
      .map(([path]) => path)
      .filter((path) => !path.includes('*') && !/^x\./.test(path))
      .filter((path) => !isThere(room, path))
      .map((path) => `${page}: ${path}`);
  });
  assert.deepEqual(missing, []);
});

/** From the root, from the room, or anywhere in it by its last words. */
function isThere(room: string, path: string): boolean {
  if ([path, `${room}/${path}`].some((each) => existsSync(join(ROOT, each)))) return true;
  return readdirSync(join(ROOT, room), { recursive: true }).some((file) =>
    `/${file}`.endsWith(`/${path}`),
  );
}

test('every variable of the environment that a process reads is in the table of services/embedded', () => {
  const table = readFileSync(join(ROOT, 'services/embedded/README.md'), 'utf8');
  const read = sourceFiles()
    .filter(({ path, isTest }) => !isTest && /^(libs|services)\//.test(path))
    .flatMap(({ text }) => text.match(/\bHEDDLE_[A-Z_]+\b/g) ?? []);
  assert.ok(read.length > 10, 'the search finds variables');
  assert.deepEqual(
    [...new Set(read)].filter((name) => !table.includes(`\`${name}\``)),
    [],
  );
});
