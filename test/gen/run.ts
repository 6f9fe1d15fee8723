/**
 * `npm run gen [-- --check | --landed]`: proto/heddle → the descriptor set that gRPC loads and reflection serves, and the
 * TypeScript types of its messages and services; the kernels' AssemblyScript → WebAssembly. With --check nothing is written; a difference exits 1. With
 * --landed also what `buf breaking` compares with: the contracts as promised when main last landed.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileKernels, KERNELS } from './compile-kernels.ts';
import { generateIdempotency, generateTypes } from './generate-types.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Not made anew by every run: a promise is kept until it is given again. */
const LANDED = 'proto/gen/landed.binpb';
const DESCRIPTORS = 'libs/adapters/src/grpc/gen/heddle.binpb';

function buf(...args: string[]): Buffer {
  const manifest = createRequire(import.meta.url).resolve('@bufbuild/buf/package.json');
  const script = join(manifest, '..', 'bin', 'buf');
  return execFileSync(process.execPath, [script, ...args], { cwd: ROOT, maxBuffer: 2 ** 26 });
}

async function outputs(): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  const descriptors = buf('build', '--exclude-source-info', '--output', '-#format=binpb');
  files.set(DESCRIPTORS, descriptors);
  if (process.argv.includes('--landed')) files.set(LANDED, descriptors);
  const commented = JSON.parse(buf('build', '--output', '-#format=json').toString());
  const encoder = new TextEncoder();
  for (const [name, text] of generateTypes(commented)) {
    files.set(`libs/ports/src/proto/gen/${name}.ts`, encoder.encode(text));
  }
  files.set('libs/adapters/src/grpc/gen/idempotency.ts', encoder.encode(generateIdempotency(commented)));
  files.set(KERNELS, await compileKernels(ROOT));
  return files;
}

function read(path: string): Uint8Array | undefined {
  try {
    return readFileSync(join(ROOT, path));
  } catch {
    return undefined;
  }
}

const check = process.argv.includes('--check');
buf('lint');
let stale = 0;
for (const [path, bytes] of await outputs()) {
  const old = read(path);
  if (old !== undefined && Buffer.compare(old, bytes) === 0) continue;
  stale++;
  if (check) console.error(`${path} is not what its source says: run \`npm run gen\` and commit it`);
  else {
    writeFileSync(join(ROOT, path), bytes);
    console.log(`wrote ${path}`);
  }
}
if (check && stale > 0) process.exitCode = 1;
else if (stale === 0) console.log('generated files are up to date');
