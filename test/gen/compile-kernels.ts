/** The kernels' AssemblyScript → one WebAssembly file, the same bytes for the same source and compiler. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import asc from 'assemblyscript/asc';

/** Sources are named .as, so that neither TypeScript nor the linter takes them for its own. */
const SOURCE = 'libs/adapters/src/kernels/assembly';
export const KERNELS = 'libs/adapters/src/kernels/gen/kernels.wasm';

const OPTIONS = [
  '--optimizeLevel=3',
  '--noAssert',
  '--runtime=stub',
  '--enable=simd',
  '--enable=threads',
  // The caller makes the memory: as large as the training needs, shared by all threads.
  '--importMemory',
  '--sharedMemory',
  '--initialMemory=1',
  '--maximumMemory=65536',
  '--noExportMemory',
];

export async function compileKernels(root: string): Promise<Uint8Array> {
  let binary: Uint8Array | undefined;
  const words: string[] = [];
  const stream = { write: (text: string | Uint8Array) => void words.push(String(text)) };
  const { error } = await asc.main(['kernels.ts', '--outFile=kernels.wasm', ...OPTIONS], {
    stdout: stream,
    stderr: stream,
    readFile: (name) => {
      if (!/^[a-z-]+\.ts$/.test(name)) return null;
      try {
        return readFileSync(join(root, SOURCE, name.replace(/\.ts$/, '.as')), 'utf8');
      } catch {
        return null;
      }
    },
    writeFile: (_, contents) => {
      binary = contents as Uint8Array;
    },
    listFiles: () => [],
  });
  if (error !== null || binary === undefined) throw new Error(words.join('') || String(error));
  return binary;
}
