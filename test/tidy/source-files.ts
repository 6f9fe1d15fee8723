import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface SourceFile {
  /** From the root, with slashes: `libs/core/src/rng.ts`. */
  readonly path: string;
  readonly text: string;
  /** A test, or what only tests load: `x-fixture.ts`. */
  readonly isTest: boolean;
}

/** Every TypeScript file that we wrote; generated code is not ours to tidy. */
export function sourceFiles(
  globs: readonly string[] = ['{libs,services,test}/**/*.ts'],
): SourceFile[] {
  return globSync([...globs], {
    cwd: ROOT,
    exclude: (name) => name === 'node_modules' || name === 'gen',
  })
    .filter((path) => !path.endsWith('.d.ts'))
    .sort()
    .map((path) => ({
      path,
      text: readFileSync(`${ROOT}${path}`, 'utf8'),
      isTest: /(\.test|-fixture)\.ts$/.test(path) || path.startsWith('test/'),
    }));
}

const IMPORT =
  /^(?:import|export)\s[^;']*?\bfrom\s+'([^']+)'|\bimport\s*\(\s*'([^']+)'|^import\s+'([^']+)'/gm;

/** What a file imports, static and dynamic, types too. */
export function importsOf(file: SourceFile): string[] {
  return [...file.text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}
