// Takes out of an image what its service never opens: node prune-service.ts SERVICE, in the folder of the packages.
import { rmSync } from 'node:fs';

const SERVICES = ['activation', 'lorsa', 'qk', 'circuit', 'attribution', 'explorer'];
/** The front door computes nothing. */
const OF_ENGINES = [
  'node_modules/onnxruntime-node',
  'node_modules/onnxruntime-common',
  'libs/models/bundled',
];
const OF_TESTS = ['libs/testkit', 'node_modules/@heddle/testkit'];

const [, , service = ''] = process.argv;
if (!SERVICES.includes(service)) {
  throw new Error(`--build-arg SERVICE=${service}: it is one of ${SERVICES.join(', ')}`);
}
for (const path of service === 'explorer' ? [...OF_ENGINES, ...OF_TESTS] : OF_TESTS) {
  rmSync(path, { recursive: true, force: true });
}
