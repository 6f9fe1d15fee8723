import { mkdirSync, writeFileSync } from 'node:fs';
import { madeFiles } from './made-files.ts';

for (const [path, text] of madeFiles()) {
  const file = new URL(path, import.meta.url);
  mkdirSync(new URL('.', file), { recursive: true });
  writeFileSync(file, text);
  process.stdout.write(`deploy/${path}\n`);
}
