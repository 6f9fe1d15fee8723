import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { passwordVariable } from '@heddle/adapters/nats';
import { NATS_USERS } from 'heddle';
import { parse, parseAllDocuments } from 'yaml';
import { type Manifest, ofKind, workloads } from './chart/manifests.ts';
import { missingHelm, render } from './chart/render.ts';
import { modelComplaints } from './chart/schema.ts';

const skip = missingHelm();
const read = (path: string) =>
  readFileSync(new URL(`../../deploy/${path}`, import.meta.url), 'utf8');

interface NatsValues {
  readonly config: {
    readonly cluster: { readonly replicas: number; readonly tls: { readonly secretName: string } };
    readonly jetstream: { readonly fileStore: { readonly pvc: { readonly size: string } } };
    readonly merge: { readonly jetstream: { readonly sync_interval: string } };
    readonly monitor: { readonly port: number };
  };
  readonly container: {
    readonly env: Readonly<
      Record<string, { readonly valueFrom: { readonly secretKeyRef: SecretKey } }>
    >;
  };
}

interface SecretKey {
  readonly name: string;
  readonly key: string;
}

const alone = parse(read('nats/values-nats.yaml')) as NatsValues;
const prod = parse(read('nats/values-nats-prod.yaml')) as NatsValues;

test('NATS has a password in its environment for everybody that accounts.conf knows, out of the secret that Heddle mounts', {
  skip,
}, () => {
  const users = [...NATS_USERS.map(({ name }) => name), 'operator', 'system'].sort();
  const named = [...read('nats/accounts.conf').matchAll(/password: \$(\w+)/g)];
  assert.deepEqual(
    named.map(([, variable]) => variable).sort(),
    users.map(passwordVariable).sort(),
  );
  const env = Object.entries(prod.container.env);
  assert.deepEqual(env.map(([variable]) => variable).sort(), users.map(passwordVariable).sort());
  for (const [variable, { valueFrom }] of env) {
    assert.equal(passwordVariable(valueFrom.secretKeyRef.key), variable);
  }
  const secrets = new Set(env.map(([, { valueFrom }]) => valueFrom.secretKeyRef.name));
  const mounted = workloads(render({ files: ['values-prod.yaml'] }))
    .filter(({ isDoor }) => !isDoor)
    .map(({ service, pod }) => {
      const volume = pod.volumes?.find(({ name }) => name === 'nats')?.secret;
      assert.deepEqual(volume?.items, [{ key: service, path: 'password' }], 'its own alone');
      return volume?.secretName;
    });
  assert.deepEqual(new Set(mounted), secrets);
});

test('NATS is as many, as careful and as watched as the chart’s values say', { skip }, () => {
  const pods = workloads(render({ files: ['values-prod.yaml'] }));
  const env = pods.find(({ component }) => component === 'lorsa')?.env ?? {};
  assert.equal(env['HEDDLE_NATS_REPLICAS'], `${prod.config.cluster.replicas}`);
  assert.equal(env['HEDDLE_NATS_MONITORS']?.split(',').length, prod.config.cluster.replicas);
  assert.equal(env['HEDDLE_NATS_SYNC_ALWAYS'] === '1', true);
  assert.equal(alone.config.merge.jetstream.sync_interval, 'always');
  for (const { spec } of ofKind(render(), 'ScaledObject')) {
    for (const { metadata } of spec.triggers) {
      const endpoint = metadata['natsServerMonitoringEndpoint'] ?? '';
      // In a cluster KEDA puts a server's name before it: only the headless Service has such names.
      assert.equal(endpoint, `nats-headless.heddle.svc:${alone.config.monitor.port}`);
    }
  }
});

test('the disk of NATS holds what JetStream reserves for the journal and the queues', {
  skip,
}, () => {
  const queues = NATS_USERS.flatMap((user) => user.queues).length;
  const size = Number.parseInt(alone.config.jetstream.fileStore.pvc.size, 10);
  for (const files of [[], ['values-prod.yaml']]) {
    const { env } = workloads(render({ files }))[0] ?? { env: {} as Record<string, string> };
    const reservedGib = Number(env['HEDDLE_JOURNAL_GIB']) + (queues + 1) * 0.25;
    assert.ok(size > reservedGib * 1.5, `${size} GiB for ${reservedGib} GiB`);
  }
});

test('the authority signs for the names that NATS is called by, and for the issuer that the chart asks', {
  skip,
}, async () => {
  const manifests = parseAllDocuments(read('kubernetes/authority.yaml')).map(
    (document) => document.toJS() as Manifest,
  );
  assert.deepEqual(await modelComplaints(manifests), []);
  const nats = ofKind(manifests, 'Certificate').find(
    ({ spec }) => spec?.secretName === prod.config.cluster.tls.secretName,
  );
  const rendered = render({ files: ['values-prod.yaml'] });
  const url = workloads(rendered)[0]?.env['HEDDLE_NATS'] ?? '';
  assert.ok(nats?.spec?.dnsNames?.includes(new URL(url).hostname), url);
  const issuers = manifests
    .filter(({ kind }) => kind === 'Issuer')
    .map((each) => each.metadata.name);
  for (const { spec } of ofKind(rendered, 'Certificate')) {
    assert.ok(issuers.includes(spec?.issuerRef.name ?? ''));
  }
});
