// Builds the images of all services, or of some: npm run images [-- --services lorsa,qk] [--variant cuda] [--registry REGISTRY/] [--tag TAG] [--push]
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import {
  BUILD_DEFAULTS,
  buildImage,
  IMAGES,
  type ImageName,
  VARIANTS,
  type Variant,
} from './images.ts';

const { values } = parseArgs({
  options: {
    services: { type: 'string', default: IMAGES.join(',') },
    variant: { type: 'string', default: BUILD_DEFAULTS.variant },
    registry: { type: 'string', default: BUILD_DEFAULTS.registry },
    tag: { type: 'string', default: BUILD_DEFAULTS.tag },
    push: { type: 'boolean', default: false },
  },
});
const { registry, tag, push } = values;
const variant = values.variant as Variant;
const services = values.services.split(',') as ImageName[];
const unknown = services.find((name) => !IMAGES.includes(name));
if (unknown !== undefined || !VARIANTS.includes(variant)) {
  const known = `--services: some of ${IMAGES.join(',')}; --variant: one of ${VARIANTS.join(',')}`;
  process.stderr.write(`there is no ${unknown ?? variant}; ${known}\n`);
  process.exit(2);
}
for (const service of services) {
  const started = performance.now();
  const name = await buildImage(service, { variant, registry, tag });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${name}  ${seconds} s\n`);
  if (push) execFileSync('docker', ['push', name], { stdio: 'inherit' });
}
