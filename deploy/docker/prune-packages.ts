// Takes out of node_modules what no service opens: node prune-packages.ts PROVIDERS, beside node_modules. Files of the folder PROVIDERS
// are moved to where ONNX Runtime looks for its providers: beside itself.
import { cpSync, existsSync, globSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** ONNX Runtime's binaries: folders of platforms, of architectures. */
const BINARIES = 'node_modules/onnxruntime-node/bin/napi-v6';
/** What only people and compilers read. Licences stay. */
const READING = ['d.ts', 'd.mts', 'd.cts', 'map', 'md', 'tsbuildinfo'];

const remove = (path: string): void => rmSync(path, { recursive: true, force: true });

const own = join(BINARIES, process.platform, process.arch);
if (!existsSync(own)) throw new Error(`onnxruntime-node has nothing for ${own}`);
for (const platform of readdirSync(BINARIES)) {
  for (const arch of readdirSync(join(BINARIES, platform))) {
    const path = join(BINARIES, platform, arch);
    if (path !== own) remove(path);
  }
}
const [, , providers = ''] = process.argv;
cpSync(providers, own, { recursive: true });
remove(providers);
for (const path of globSync(`node_modules/**/*.{${READING.join(',')}}`)) remove(path);
remove('node_modules/.package-lock.json');
