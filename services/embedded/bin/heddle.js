#!/usr/bin/env node
// The `heddle` command: finds Node 24 and runs the embedded composition root under it.

import { fileURLToPath } from 'node:url';
import { runUnderNode24 } from './node24.js';

runUnderNode24(fileURLToPath(new URL('../src/main.ts', import.meta.url)), process.argv.slice(2));
