import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AXES } from '@heddle/tensor';
import { sourceFiles } from './source-files.ts';

const AXIS_WORDS = new Set<string>(AXES);

/** `[a, b]` of words and numbers in a comment is a shape; its words come from the closed vocabulary. */
function shapeComplaints(path: string, text: string): string[] {
  const found: string[] = [];
  text.split('\n').forEach((line, index) => {
    const comment = /^\s*\*\s(.*)$|\/\*\*(.*)$|(?:^|\s)\/\/\s(.*)$/.exec(line);
    const prose = comment?.[1] ?? comment?.[2] ?? comment?.[3];
    if (prose === undefined) return;
    for (const match of prose.matchAll(/\[([a-z_]+(?:, ?[a-z_0-9·+*]+)+)\]/g)) {
      for (const word of (match[1] ?? '').split(/, ?/)) {
        for (const part of word.split(/[·+*]/)) {
          if (part !== '' && !/^\d+$/.test(part) && !AXIS_WORDS.has(part)) {
            found.push(`${path}:${index + 1}: ${part} is not an axis`);
          }
        }
      }
    }
  });
  return found;
}

test('shapes in comments of libs speak the closed vocabulary of axes', () => {
  const found = sourceFiles(['libs/**/*.ts']).flatMap((f) => shapeComplaints(f.path, f.text));
  assert.deepEqual(found, []);
});

test('files are kebab-case and named after their subject', () => {
  const drawers = /(^|\/)(utils?|helpers?|types|common|misc|manager|data|info)\.ts$/;
  const found = sourceFiles()
    .map((f) => f.path)
    .filter((path) => {
      const name = path.split('/').at(-1) ?? '';
      const plain = name.replace(/\.(test|laws|golden|contract|reference|fuzz)(?=\.)/g, '');
      return drawers.test(path) || !/^[a-z0-9]+(?:[-_][a-z0-9]+)*\.ts$/.test(plain);
    });
  assert.deepEqual(found, []);
});

test('nothing is left over: no open ends, no tests switched off', () => {
  const leftovers =
    /\b(TODO|FIXME|XXX|HACK)\b|\b(test|it|describe)\.(only|skip|todo)\(|@ts-ignore|@ts-nocheck/;
  const found = sourceFiles().flatMap((f) =>
    f.path.startsWith('test/tidy/')
      ? []
      : f.text
          .split('\n')
          .map((line, i) => (leftovers.test(line) ? `${f.path}:${i + 1}: ${line.trim()}` : ''))
          .filter((line) => line !== ''),
  );
  assert.deepEqual(found, []);
});

test('a file is one subject: at most 500 lines', () => {
  const found = sourceFiles()
    .filter((f) => f.text.split('\n').length > 500)
    .map((f) => `${f.path}: ${f.text.split('\n').length} lines`);
  assert.deepEqual(found, []);
});
