import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from './command.ts';
import type { GoRecipe } from './recipes.ts';

/** The largest (KEDA's operator) takes six minutes cold on two idle cores; a busy machine is allowed four times that. */
const BUILD_TIMEOUT_MS = 25 * 60_000;
const DOWNLOAD_TIMEOUT_MS = 10 * 60_000;

/** As `go mod edit -json` prints a module's file. */
interface ModFile {
  readonly Go: string;
  readonly Require: readonly { readonly Path: string; readonly Version: string }[] | null;
  readonly Replace:
    | readonly {
        readonly Old: { readonly Path: string; readonly Version?: string };
        readonly New: { readonly Path: string; readonly Version?: string };
      }[]
    | null;
}

interface Downloaded {
  readonly Path: string;
  readonly Version: string;
  readonly GoMod: string;
  readonly Dir: string;
}

const GO_ENV = { CGO_ENABLED: '0', GOTOOLCHAIN: 'local' };

async function download(module: string, scratch: string): Promise<Downloaded> {
  const printed = await command(['go', 'mod', 'download', '-json', module], {
    cwd: scratch,
    env: GO_ENV,
    timeoutMs: DOWNLOAD_TIMEOUT_MS,
    what: `downloading ${module}`,
  });
  return JSON.parse(printed) as Downloaded;
}

/** Builds a program of a module into a file. */
export async function buildGo(recipe: GoRecipe, into: string, scratch: string): Promise<void> {
  const module = await download(recipe.module, scratch);
  const wanted = [await required(module)];
  if (recipe.beside !== undefined) {
    wanted.push(await required(await download(recipe.beside, scratch)));
  }
  writeFileSync(join(scratch, 'go.mod'), wrapper(wanted));
  const stamps = Object.entries(recipe.stamp ?? {}).map(([name, value]) => `-X ${name}=${value}`);
  const args = ['-mod=mod', '-trimpath', '-ldflags', ['-s -w', ...stamps].join(' '), '-o', into];
  const tags = recipe.tags === undefined ? [] : ['-tags', recipe.tags];
  const programPath = recipe.folder === '' ? module.Path : `${module.Path}/${recipe.folder}`;
  await command(['go', 'build', ...args, ...tags, programPath], {
    cwd: scratch,
    env: GO_ENV,
    timeoutMs: BUILD_TIMEOUT_MS,
    what: `building ${programPath}`,
  });
}

/** What a module of ours says that requires another. */
interface Required {
  /** The least Go that it wants. */
  readonly go: string;
  readonly lines: readonly string[];
}

/**
 * Requires a module: what `go install MODULE@VERSION` does, but for modules with replacements, which it refuses. Replacements by
 * another module are taken over. One by a folder stands for a module that was released along with it: its requirement names the
 * version, or, in Kubernetes, v0.0.0, where v1.34.4 goes with v0.34.4 of all the others.
 */
async function required({ Path, Version, GoMod }: Downloaded): Promise<Required> {
  const printed = await command(['go', 'mod', 'edit', '-json', GoMod], {
    timeoutMs: DOWNLOAD_TIMEOUT_MS,
    what: `reading ${GoMod}`,
  });
  const { Go, Require, Replace } = JSON.parse(printed) as ModFile;
  const versions = new Map((Require ?? []).map((each) => [each.Path, each.Version]));
  const replaced = (Replace ?? []).flatMap(({ Old, New }) => {
    const old = Old.Version === undefined ? Old.Path : `${Old.Path} ${Old.Version}`;
    if (New.Version !== undefined) return [`replace ${old} => ${New.Path} ${New.Version}`];
    if (versions.get(Old.Path) !== 'v0.0.0') return [];
    return [`replace ${old} => ${Old.Path} ${Version.replace(/^v1\./, 'v0.')}`];
  });
  return { go: Go, lines: [`require ${Path} ${Version}`, ...replaced] };
}

/** A module of ours around the program's. Go raises the version that it says it wants by itself, if it is too low. */
function wrapper(wanted: readonly Required[]): string {
  const lines = wanted.flatMap(({ lines }) => lines);
  return ['module heddle.test/server', `go ${wanted[0]?.go}`, ...lines, ''].join('\n');
}

/** The YAML files of a module's folder as one text. */
export async function definitionsOf(
  module: string,
  folder: string,
  scratch: string,
): Promise<string> {
  const { Dir } = await download(module, scratch);
  const files = readdirSync(join(Dir, folder)).filter((name) => name.endsWith('.yaml'));
  if (files.length === 0) throw new Error(`no definitions in ${folder} of ${module}`);
  return files.map((name) => readFileSync(join(Dir, folder, name), 'utf8').trim()).join('\n---\n');
}
