import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { missingServer, SERVERS, serverPath } from '@heddle/testkit';
import { parseAllDocuments } from 'yaml';
import { IMAGES } from '../../deploy/docker/images.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const tiltfile = readFileSync(join(ROOT, 'Tiltfile'), 'utf8');
const missing = missingServer(SERVERS.helm);

/** Words between quotes in what follows `name = [`. */
function listOf(name: string): string[] {
  const [, list = ''] = new RegExp(`^${name} = \\[([^\\]]*)\\]`, 'm').exec(tiltfile) ?? [];
  return [...list.matchAll(/'([^']+)'/g)].map(([, word = '']) => word);
}

const textOf = (name: string): string =>
  new RegExp(`^${name} = '([^']*)'`, 'm').exec(tiltfile)?.[1] ?? '';

test('the Tiltfile builds every image of ours, of files that are there', () => {
  assert.deepEqual(listOf('SERVICES').sort(), [...IMAGES].sort());
  const [, dockerfile = ''] = /dockerfile='([^']+)'/.exec(tiltfile) ?? [];
  for (const path of [dockerfile, textOf('CHART')]) {
    assert.ok(path !== '' && existsSync(join(ROOT, path)), path);
  }
});

test('npm scripts and ports that the Tiltfile names are there', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const [, script = ''] of tiltfile.matchAll(/npm run ([a-z:]+)/g)) {
    assert.ok(scripts[script], `npm run ${script}`);
  }
  assert.match(tiltfile, /7411:7411.*7412:7412/);
});

test(
  'what the chart makes with the Tiltfile’s values are the workloads and the images that it names',
  missing === undefined ? {} : { skip: missing },
  () => {
    const [, values = ''] = /helm\(CHART, name='heddle', set=\['([^']+)'\]\)/.exec(tiltfile) ?? [];
    const args = ['template', 'heddle', join(ROOT, textOf('CHART')), '--set', values];
    const { status, stdout, stderr } = spawnSync(serverPath(SERVERS.helm), args, {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    const deployments = parseAllDocuments(stdout)
      .map((document) => document.toJS() as Workload | null)
      .filter((each) => each?.kind === 'Deployment');
    const names = deployments.map((each) => each?.metadata.name).sort();
    assert.deepEqual(names, IMAGES.map((service) => `heddle-${service}`).sort());
    for (const deployment of deployments) {
      const [container] = deployment?.spec.template.spec.containers ?? [];
      assert.equal(container?.image.split(':')[0], deployment?.metadata.name);
    }
  },
);

interface Workload {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly { image: string }[] } };
  };
}
