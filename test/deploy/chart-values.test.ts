import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingHelm, refusal } from './chart/render.ts';

const skip = missingHelm();

/** A value that is wrong, and what helm says of it: where it stands, and what may stand there. */
const WRONG: readonly (readonly [string, RegExp])[] = [
  ['replicas=2', /additional properties 'replicas' not allowed/],
  ['logLevel="verbose"', /'\/logLevel'.*one of 'debug', 'info'/],
  ['image.tag="a b"', /'\/image\/tag'.*does not match/],
  ['image.pulPolicy="Always"', /'\/image'.*'pulPolicy' not allowed/],
  ['fullnameOverride="Heddle"', /'\/fullnameOverride'.*does not match/],
  ['env={"heddle-log":"x"}', /invalid propertyName 'heddle-log'/],
  ['nats.url="nats.heddle"', /'\/nats\/url'.*does not match/],
  ['nats.monitors=["nats:8222"]', /'\/nats\/monitors\/0'.*does not match/],
  ['nats.monitoringEndpoint="http://nats:8222"', /'\/nats\/monitoringEndpoint'.*does not match/],
  ['nats.replicas=2', /'\/nats\/replicas'.*one of 1, 3, 5/],
  ['nats.replicas="3"', /'\/nats\/replicas'/],
  ['nats.prefix="Heddle"', /'\/nats\/prefix'.*does not match/],
  ['nats.auth.kind="token"', /'\/nats\/auth\/kind'.*one of 'none', 'password'/],
  ['nats.auth.kind="password"', /'\/nats\/auth\/secret'.*minLength: got 0, want 1/],
  ['nats.journalGib=0', /'\/nats\/journalGib'.*minimum: got 0, want 1/],
  ['blobs.kind="gcs"', /'\/blobs\/kind'.*one of 'nats', 's3', 'volume'/],
  ['blobs.kind="s3"', /'\/blobs\/s3\/bucket'.*minLength/],
  ['blobs={"kind":"s3","s3":{"bucket":"Heddle_Bucket"}}', /'\/blobs\/s3\/bucket'.*does not match/],
  ['tls.enabled="yes"', /'\/tls\/enabled'.*got string, want boolean/],
  ['tls.issuer.kind="CA"', /'\/tls\/issuer\/kind'.*'Issuer', 'ClusterIssuer'/],
  ['tls.duration="90 days"', /'\/tls\/duration'.*does not match/],
  ['tokens.jwks.url="http://login.example.org/jwks"', /'\/tokens\/jwks\/url'.*does not match/],
  [
    'tokens.roles={"viewers":"reader"}',
    /'\/tokens\/roles\/viewers'.*one of 'read', 'run', 'admin'/,
  ],
  ['quotas={"default":{"job":3}}', /'\/quotas\/default'.*'job' not allowed/],
  ['autoscaling.mode="vpa"', /'\/autoscaling\/mode'.*one of 'keda', 'hpa', 'off'/],
  ['autoscaling.pollingInterval=0', /'\/autoscaling\/pollingInterval'.*minimum/],
  ['autoscaling.cooldown=3', /'\/autoscaling'.*'cooldown' not allowed/],
  ['defaults.terminationGracePeriodSeconds=10', /terminationGracePeriodSeconds'.*minimum: got 10/],
  [
    'defaults.strategy="BlueGreen"',
    /'\/defaults\/strategy'.*'RollingUpdate', 'InPlace', 'Recreate'/,
  ],
  ['defaults.resources.limits.memory="8 GB"', /'\/defaults\/resources\/limits\/memory'/],
  ['services.lorsa.gpu.count="one"', /'\/services\/lorsa\/gpu\/count'.*want integer/],
  ['services.lorsa.gpu.resource="gpu"', /'\/services\/lorsa\/gpu\/resource'.*does not match/],
  ['services.sae={}', /'\/services'.*'sae' not allowed/],
  [
    'services.lorsa.workers.tasksPerWorker={"lorsa.fit":1}',
    /tasksPerWorker'.*'lorsa.fit' not allowed/,
  ],
  [
    'services.qk.workers.tasksPerWorker={"qk.fit":0}',
    /'\/services\/qk\/workers\/tasksPerWorker\/qk.fit'/,
  ],
  ['services.qk.workers.replicas=3', /'\/services\/qk\/workers'.*'replicas' not allowed/],
  ['frontDoor.gpu.count=1', /'\/frontDoor'.*'gpu' not allowed/],
  ['frontDoor.service.type="External"', /'\/frontDoor\/service\/type'/],
  ['frontDoor.gateway={"enabled":true}', /'\/frontDoor\/gateway\/parentRefs'.*minItems/],
  ['topologySpread=[{"topologyKey":"zone"}]', /'\/topologySpread\/0'.*missing properties/],
  ['networkPolicy.blobPorts=["https"]', /'\/networkPolicy\/blobPorts\/0'.*want integer/],
  [
    'metrics.serviceMonitor.enabled="on"',
    /'\/metrics\/serviceMonitor\/enabled'.*one of 'auto', true/,
  ],
  ['tracing.ratio=2', /'\/tracing\/ratio'.*maximum: got 2, want 1/],
  ['tracing.endpoint="collector:4318"', /'\/tracing\/endpoint'.*does not match/],
];

for (const [set, said] of WRONG) {
  test(`${set} is refused, and helm says where and why`, { skip }, () => {
    assert.match(refusal({ set: [set] }) ?? 'it was taken', said);
  });
}

test('values that say the same as the defaults are taken', { skip }, () => {
  const set = ['nats.replicas=1', 'services.lorsa.workers.min=0', 'quotas={}', 'global={}'];
  assert.equal(refusal({ set }), undefined);
});
