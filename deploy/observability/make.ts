// Makes METRICS.md, rules/*.yaml and dashboards/*.json of the code beside it: node deploy/observability/make.ts

import { writeFileSync } from 'node:fs';
import { madeFiles } from './made-files.ts';

for (const [path, text] of await madeFiles()) {
  writeFileSync(new URL(path, import.meta.url), text);
  process.stdout.write(`deploy/observability/${path}\n`);
}
