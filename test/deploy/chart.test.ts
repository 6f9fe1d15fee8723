import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { VERSION } from '@heddle/core';
import { temporaryFolder } from '@heddle/testkit';
import { parse } from 'yaml';
import { RUNBOOK_URL, ruleFiles } from '../../deploy/observability/rule-files.ts';
import { codeComplaints } from './chart/complaints.ts';
import { type Manifest, ofKind, workloads } from './chart/manifests.ts';
import {
  CHART,
  EVERYTHING,
  lint,
  missingHelm,
  refusal,
  render,
  VALUES_FILES,
} from './chart/render.ts';
import { modelComplaints, unknownFields } from './chart/schema.ts';

const skip = missingHelm();

interface Variant {
  readonly name: string;
  readonly files: readonly string[];
  readonly set?: readonly string[];
  /** Of the values file itself. */
  readonly extraEnv?: readonly string[];
}

const VARIANTS: readonly Variant[] = [
  { name: 'values.yaml', files: [] },
  ...VALUES_FILES.map((file) => ({ name: file, files: [file] })),
  {
    name: 'values-gpu.yaml under values-prod.yaml',
    files: ['values-gpu.yaml', 'values-prod.yaml'],
  },
  { name: 'mode hpa', files: [], set: ['autoscaling.mode="hpa"'] },
  { name: 'mode off', files: [], set: ['autoscaling.mode="off"'] },
  {
    name: 'everything',
    files: ['values-prod.yaml', EVERYTHING],
    extraEnv: ['AWS_CA_BUNDLE', 'GREETING'],
  },
  {
    name: 'NATS with creds, elsewhere, under another prefix',
    files: [],
    set: [
      'nats={"auth":{"kind":"creds","secret":"creds"},"namespace":"nats","prefix":"lab-2","replicas":5}',
    ],
  },
  {
    name: 'NATS with nkeys, by an address',
    files: [],
    set: [
      'nats={"auth":{"kind":"nkey","secret":"k"},"url":"tls://nats.example.org:4222","monitoringEndpoint":"10.0.0.1:8222"}',
    ],
  },
];

for (const { name, files, set = [], extraEnv = [] } of VARIANTS) {
  test(`${name}: lint is content, and the manifests say what the code says`, { skip }, async () => {
    const { ok, said } = lint(files);
    assert.ok(ok, said);

    const manifests = render({ files, set });

    assert.deepEqual(await modelComplaints(manifests), []);
    assert.deepEqual(codeComplaints(manifests, { extraEnv }), []);
    const names = manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    assert.equal(new Set(names).size, names.length, 'two objects of one name');
  });
}

test('no manifest of any variant has a field that Kubernetes does not know', {
  skip,
}, async (t) => {
  const folder = await temporaryFolder();
  t.after(folder.remove);
  const manifests = VARIANTS.flatMap(({ files, set = [] }) => render({ files, set }));
  assert.ok(manifests.length > 400, 'all of them');
  assert.deepEqual(unknownFields(manifests, folder.path), []);
});

test('a field that is misspelt is found, and so is one of the wrong type', { skip }, async (t) => {
  const { path: folder, remove } = await temporaryFolder();
  t.after(remove);
  const misspelt = changed('Deployment', '"readOnlyRootFilesystem"', '"readOnlyRootFileSystem"');
  assert.match(unknownFields(misspelt, folder).join(), /readOnlyRootFileSystem/);
  const scaled = changed('ScaledObject', '"cooldownPeriod"', '"coolDownPeriod"');
  assert.match(unknownFields(scaled, folder).join(), /coolDownPeriod/);
  const wrong = changed('Deployment', '"containerPort":7411', '"containerPort":"7411"');
  assert.match((await modelComplaints(wrong)).join(), /containerPort/);
});

/** The chart's manifests of a kind, with one text in another's place. */
function changed(kind: string, from: string, to: string): readonly Manifest[] {
  const text = JSON.stringify(render().filter((manifest) => manifest.kind === kind));
  assert.ok(text.includes(from), from);
  return JSON.parse(text.replaceAll(from, to)) as readonly Manifest[];
}

test('the chart is of the version that its images are', { skip }, () => {
  const { appVersion } = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8'));
  assert.equal(appVersion, VERSION);
});

test('without the operators there are none of their objects; told to make them all the same, there are', {
  skip,
}, () => {
  const kindsOf = (set: readonly string[]) =>
    new Set(render({ operators: false, set }).map(({ kind }) => kind));
  assert.ok(!kindsOf([]).has('ServiceMonitor'));
  assert.ok(kindsOf(['metrics.serviceMonitor.enabled=true']).has('ServiceMonitor'));
});

test('every file of rules has its switch, and one that is not there is told', { skip }, () => {
  const { metrics } = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as {
    readonly metrics: { readonly rules: { readonly files: Readonly<Record<string, boolean>> } };
  };
  const files = [...ruleFiles().keys()].map((path) => path.replace(/^rules\/|\.yaml$/g, ''));
  assert.deepEqual(Object.keys(metrics.rules.files).sort(), files.sort());
  const set = ['metrics.rules.files.alert=true'];
  assert.match(refusal({ set }) ?? '', /there is no rules file alert/);
});

test('alerts lead to the runbook that an installation says', { skip }, () => {
  const url = 'https://wiki.example.org/heddle';
  const said = (set: readonly string[]) =>
    JSON.stringify(ofKind(render({ set }), 'PrometheusRule'));
  const links = said([]).split(`${RUNBOOK_URL}#`).length;
  assert.ok(links > 40, `${links} alerts`);
  const moved = said([`metrics.rules.runbookUrl="${url}"`]);
  assert.equal(moved.split(`${url}#`).length, links);
  assert.ok(!moved.includes(RUNBOOK_URL));
});

test('a rollout of what answers calls leaves a replica, and wants no spare GPU where each has one', {
  skip,
}, () => {
  const files = ['values-gpu.yaml', 'values-prod.yaml'];
  for (const { name, isWorker, deployment } of workloads(render({ files }))) {
    const { replicas = 0, strategy } = deployment.spec ?? {};
    const { maxUnavailable, maxSurge } = strategy?.rollingUpdate ?? {};
    if (isWorker) assert.deepEqual([maxUnavailable, maxSurge], [1, 0], name);
    else {
      assert.ok(replicas > Number(maxUnavailable), name);
      assert.equal(maxSurge, name === 'heddle-activation' ? 0 : 1, name);
    }
  }
  const single = workloads(render({ files: ['values-gpu.yaml'] }));
  const activation = single.find(({ component }) => component === 'activation');
  assert.equal(activation?.deployment.spec?.strategy?.type, 'Recreate');
});

test('where KEDA scales, services accept and workers work; else services do both', { skip }, () => {
  const kedas = workloads(render());
  const works = (mode: string) =>
    workloads(render({ set: [`autoscaling.mode="${mode}"`] })).filter(({ isDoor }) => !isDoor);
  assert.equal(kedas.filter(({ env }) => env['HEDDLE_WORK'] === 'none').length, 5);
  assert.equal(kedas.filter(({ isWorker }) => isWorker).length, 5);
  for (const mode of ['hpa', 'off']) {
    assert.deepEqual(
      works(mode).map(({ env }) => env['HEDDLE_WORK']),
      ['all', 'all', 'all', 'all', 'all'],
    );
  }
});

test('a worker may have no GPU where its service has one, and a larger one', { skip }, () => {
  const gpuOf = (files: readonly string[], component: string) => {
    const found = workloads(render({ files })).find((each) => each.component === component);
    const limits = Object.keys(found?.container.resources?.limits ?? {});
    return limits.filter((name) => name.includes('/')).join();
  };
  const everything = ['values-prod.yaml', EVERYTHING];
  assert.equal(gpuOf(everything, 'activation'), 'nvidia.com/gpu');
  assert.equal(gpuOf(everything, 'activation-workers'), '');
  assert.equal(gpuOf(['values-gpu.yaml'], 'lorsa'), '');
  assert.equal(gpuOf(['values-gpu.yaml'], 'lorsa-workers'), 'nvidia.com/gpu');
  assert.equal(gpuOf(['values-shared-gpu.yaml'], 'lorsa-workers'), 'nvidia.com/mig-2g.20gb');
  assert.equal(gpuOf(['values-shared-gpu.yaml'], 'qk-workers'), 'nvidia.com/mig-1g.10gb');
});

test('names of a release stay within what Kubernetes and KEDA allow', { skip }, () => {
  const release = 'a-release-of-the-longest-name-that-helm-will-take-53x';
  const manifests = render({ release });
  for (const { metadata } of manifests) assert.ok(metadata.name.length <= 63, metadata.name);
  const scaled = ofKind(manifests, 'ScaledObject').map(({ metadata }) => metadata.name);
  for (const name of scaled) assert.ok(`keda-hpa-${name}`.length <= 63, name);
});
