// npm run example [NN]: runs the example whose name starts so; without a number, lists them.

import { readdirSync, readFileSync } from 'node:fs';

const here = new URL('./', import.meta.url);
const examples = readdirSync(here).filter((name) => /^\d\d_.*\.ts$/.test(name));
const [wanted] = process.argv.slice(2);
const found = examples.find((name) => wanted !== undefined && name.startsWith(wanted));
if (found) await import(new URL(found, here).href);
else {
  for (const name of examples) {
    const [title = ''] = readFileSync(new URL(name, here), 'utf8').split('\n\n');
    console.log(`${name.slice(0, 2)}  ${title.replaceAll(/^\/\/ ?|\n\/\/ ?/g, ' ').trim()}\n`);
  }
  if (wanted !== undefined) {
    console.error(`no example ${wanted}`);
    process.exitCode = 2;
  }
}
