import { writeFileSync } from 'node:fs';
import { madeFiles } from './made-files.ts';

for (const [path, text] of madeFiles()) {
  writeFileSync(new URL(path, import.meta.url), text);
  process.stdout.write(`deploy/${path}\n`);
}
