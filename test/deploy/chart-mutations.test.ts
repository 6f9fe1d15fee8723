import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeComplaints } from './chart/complaints.ts';
import type { Manifest } from './chart/manifests.ts';
import { missingHelm, render } from './chart/render.ts';

const skip = missingHelm();

/** One thing that goes wrong by hand: in the objects of this kind and name, one text in another's place. */
interface Mutation {
  readonly what: string;
  readonly kind: string;
  readonly name: string;
  readonly from: string;
  readonly to: string;
  /** The complaint. */
  readonly caught: RegExp;
}

const MUTATIONS: readonly Mutation[] = [
  {
    what: 'a container’s port',
    ...{ kind: 'Deployment', name: 'heddle-qk', from: '7411', to: '7410' },
    caught: /heddle-qk: port grpc is 7410/,
  },
  {
    what: 'a Service’s port',
    ...{ kind: 'Service', name: 'heddle-lorsa-pods', from: '"port":7411', to: '"port":7413' },
    caught: /heddle-lorsa-pods: port grpc 7413/,
  },
  {
    what: 'the port that a policy opens',
    ...{ kind: 'NetworkPolicy', name: 'heddle-service', from: '7411', to: '7421' },
    caught: /no policy lets heddle-explorer call heddle-lorsa on 7411/,
  },
  {
    what: 'the port that Prometheus is let in by',
    ...{ kind: 'NetworkPolicy', name: 'heddle-front-door', from: '7412', to: '8080' },
    caught: /look at heddle-explorer/,
  },
  {
    what: 'whom a policy is for',
    ...{ kind: 'NetworkPolicy', name: 'heddle-service' },
    ...{ from: '"heddle.dev/role":"service"', to: '"heddle.dev/role":"services"' },
    caught: /no policy lets heddle-circuit call heddle-activation/,
  },
  {
    what: 'the port of a gRPC probe',
    ...{ kind: 'Deployment', name: 'heddle-lorsa' },
    ...{ from: '"grpc":{"port":7411}', to: '"grpc":{"port":7412}' },
    caught: /readinessProbe: gRPC port 7412/,
  },
  {
    what: 'the path of a probe',
    ...{ kind: 'Deployment', name: 'heddle-lorsa', from: '/healthz', to: '/health' },
    caught: /livenessProbe: asks \/health,/,
  },
  {
    what: 'a probe that kills while NATS is away',
    ...{ kind: 'Deployment', name: 'heddle-lorsa', from: '/healthz', to: '/readyz' },
    caught: /livenessProbe: asks \/readyz/,
  },
  {
    what: 'the name of a variable',
    ...{ kind: 'Deployment', name: 'heddle-lorsa-workers' },
    ...{ from: 'HEDDLE_NATS_MONITORS', to: 'HEDDLE_NATS_MONITOR' },
    caught: /heddle-lorsa-workers: no process reads HEDDLE_NATS_MONITOR/,
  },
  {
    what: 'a variable that no process of ours reads',
    ...{ kind: 'Deployment', name: 'heddle-qk', from: 'HEDDLE_DATA', to: 'DATA' },
    caught: /nothing reads DATA/,
  },
  {
    what: 'what a variable says',
    ...{ kind: 'Deployment', name: 'heddle-qk' },
    ...{ from: '"name":"HEDDLE_THREADS","value":"1"', to: '"name":"HEDDLE_THREADS","value":"one"' },
    caught: /HEDDLE_THREADS=one is no whole number/,
  },
  {
    what: 'where a peer is looked for',
    ...{ kind: 'Deployment', name: 'heddle-circuit' },
    ...{
      from: 'activation=dns:///heddle-activation-pods',
      to: 'activation=dns:///heddle-activation',
    },
    caught: /heddle-circuit looks for activation at heddle-activation:7411/,
  },
  {
    what: 'a contract that nobody answers',
    ...{ kind: 'Deployment', name: 'heddle-explorer', from: 'qk=dns:', to: 'jobs=dns:' },
    caught: /heddle-explorer is told of activation,attribution,circuit,jobs,lorsa/,
  },
  {
    what: 'workers that do not work',
    ...{ kind: 'Deployment', name: 'heddle-qk-workers' },
    ...{ from: '"name":"HEDDLE_WORK","value":"all"', to: '"name":"HEDDLE_WORK","value":"none"' },
    caught: /workers that do not work/,
  },
  {
    what: 'which service a pod is',
    ...{ kind: 'Deployment', name: 'heddle-attribution-workers' },
    ...{ from: '"attribution"]', to: '"attributions"]' },
    caught: /is told up --services attributions/,
  },
  {
    what: 'the image of a pod',
    ...{ kind: 'Deployment', name: 'heddle-activation' },
    ...{ from: 'heddle-activation:', to: 'heddle-activation-server:' },
    caught: /image heddle-activation-server/,
  },
  {
    what: 'a pod that is killed while it drains',
    ...{ kind: 'Deployment', name: 'heddle-lorsa-workers' },
    ...{ from: '"terminationGracePeriodSeconds":60', to: '"terminationGracePeriodSeconds":20' },
    caught: /killed after 20 s, and needs 30/,
  },
  {
    what: 'a pod that may run as root',
    ...{ kind: 'Deployment', name: 'heddle-explorer' },
    ...{ from: '"runAsNonRoot":true', to: '"runAsNonRoot":false' },
    caught: /lacks not root/,
  },
  {
    what: 'a root that can be written to',
    ...{ kind: 'Deployment', name: 'heddle-explorer' },
    ...{ from: '"readOnlyRootFilesystem":true', to: '"readOnlyRootFilesystem":false' },
    caught: /lacks a read-only root/,
  },
  {
    what: 'scratch that is smaller than the caches in it',
    ...{ kind: 'Deployment', name: 'heddle-qk', from: '20Gi', to: '12Gi' },
    caught: /caches of 14 GiB in 12 GiB/,
  },
  {
    what: 'more weights than memory',
    ...{ kind: 'Deployment', name: 'heddle-qk', from: '8Gi', to: '4Gi' },
    caught: /4 GiB of weights in 4 GiB/,
  },
  {
    what: 'the consumer of a trigger',
    ...{ kind: 'ScaledObject', name: 'heddle-lorsa-workers' },
    ...{ from: '"consumer":"workers"', to: '"consumer":"worker"' },
    caught: /consumer worker of HEDDLE_WORK_tasks_lorsa_train is workers/,
  },
  {
    what: 'the stream of a trigger',
    ...{ kind: 'ScaledObject', name: 'heddle-lorsa-workers' },
    ...{ from: 'tasks_lorsa_train', to: 'tasks_lorsa_trains' },
    caught: /heddle-lorsa-workers: follows .*tasks_lorsa_trains/,
  },
  {
    what: 'the prefix of the streams',
    ...{ kind: 'ScaledObject', name: 'heddle-qk-workers', from: 'HEDDLE_WORK', to: 'heddle_WORK' },
    caught: /heddle-qk-workers: follows heddle_WORK/,
  },
  {
    what: 'the type of a trigger',
    ...{ kind: 'ScaledObject', name: 'heddle-qk-workers', from: 'nats-jetstream', to: 'stan' },
    caught: /type stan/,
  },
  {
    what: 'where KEDA looks',
    ...{ kind: 'ScaledObject', name: 'heddle-qk-workers' },
    ...{ from: 'nats-headless.heddle.svc:8222', to: 'http://nats-headless.heddle.svc:8222' },
    caught: /NATS is looked at at http:/,
  },
  {
    what: 'whom KEDA scales',
    ...{ kind: 'ScaledObject', name: 'heddle-qk-workers' },
    ...{
      from: '"scaleTargetRef":{"name":"heddle-qk-workers"}',
      to: '"scaleTargetRef":{"name":"heddle-qk"}',
    },
    caught: /nobody scales heddle-qk-workers/,
  },
  {
    what: 'many workers that go at once',
    ...{ kind: 'ScaledObject', name: 'heddle-lorsa-workers' },
    ...{ from: '"type":"Pods","value":1', to: '"type":"Percent","value":100' },
    caught: /several workers go at a time/,
  },
  {
    what: 'a budget for nobody',
    ...{ kind: 'PodDisruptionBudget', name: 'heddle-lorsa' },
    ...{
      from: '"app.kubernetes.io/component":"lorsa"}',
      to: '"app.kubernetes.io/component":"losra"}',
    },
    caught: /heddle-lorsa has no budget/,
  },
  {
    what: 'where Prometheus asks',
    ...{ kind: 'ServiceMonitor', name: 'heddle', from: '/metrics', to: '/metric' },
    caught: /Prometheus asks for \/metric/,
  },
  {
    what: 'what Prometheus calls its targets',
    ...{ kind: 'ServiceMonitor', name: 'heddle', from: '(.+?)(-workers)?', to: '(.+)(-workers)?' },
    caught: /targets have other labels/,
  },
  {
    what: 'whom Prometheus scrapes',
    ...{ kind: 'Service', name: 'heddle-qk-workers' },
    ...{ from: '"heddle.dev/service":"pods"', to: '"heddle.dev/service":"clients"' },
    caught: /heddle-qk-workers is scraped 0 times/,
  },
  {
    what: 'a metric of a dashboard',
    ...{ kind: 'ConfigMap', name: 'heddle-dashboard-cluster' },
    ...{ from: 'jobs_refused_total', to: 'jobs_refused' },
    caught: /dashboard heddle-cluster.json/,
  },
  {
    what: 'a metric of a rule',
    ...{ kind: 'PrometheusRule', name: 'heddle-recording' },
    ...{ from: 'jobs_queue_messages', to: 'jobs_queue_message' },
    caught: /rules of heddle-recording/,
  },
];

/** With TLS, other things can go wrong. */
const TLS_MUTATIONS: readonly Mutation[] = [
  {
    what: 'a certificate for another name',
    ...{ kind: 'Certificate', name: 'heddle-qk-tls', from: 'heddle-qk-pods', to: 'qk-pods' },
    caught: /its certificate is not for heddle-qk-pods/,
  },
  {
    what: 'names of the cluster’s services that its certificates have not',
    ...{
      kind: 'Deployment',
      name: 'heddle-qk',
      from: 'heddle-*.heddle.svc',
      to: 'hd-*.heddle.svc',
    },
    caught: /heddle-qk \(qk\) is no member of hd-/,
  },
  {
    what: 'a secret that nobody makes',
    ...{ kind: 'Certificate', name: 'heddle-lorsa-tls' },
    ...{ from: '"secretName":"heddle-lorsa-tls"', to: '"secretName":"heddle-lorsa-cert"' },
    caught: /nobody makes heddle-lorsa-tls/,
  },
  {
    what: 'a probe without TLS',
    ...{ kind: 'Deployment', name: 'heddle-qk', from: '"HTTPS"', to: '"HTTP"' },
    caught: /by HTTP, and the process speaks HTTPS/,
  },
  {
    what: 'a file on no volume',
    ...{ kind: 'Deployment', name: 'heddle-qk' },
    ...{ from: '"mountPath":"/etc/heddle/nats"', to: '"mountPath":"/etc/nats"' },
    caught: /HEDDLE_NATS_PASSWORD_FILE=\/etc\/heddle\/nats\/password is on no volume/,
  },
  {
    what: 'another service’s name towards NATS',
    ...{ kind: 'Deployment', name: 'heddle-qk' },
    ...{
      from: '"name":"HEDDLE_NATS_USER","value":"qk"',
      to: '"name":"HEDDLE_NATS_USER","value":"lorsa"',
    },
    caught: /is lorsa to NATS/,
  },
  {
    what: 'the name that Prometheus expects',
    ...{ kind: 'ServiceMonitor', name: 'heddle' },
    ...{ from: '"serverName":"heddle.heddle.svc"', to: '"serverName":"heddle"' },
    caught: /Prometheus expects heddle of heddle-activation-tls/,
  },
];

for (const [files, mutations] of [
  [[], MUTATIONS],
  [['values-prod.yaml'], TLS_MUTATIONS],
] as const) {
  const rendered = skip === undefined ? render({ files }) : [];
  for (const mutation of mutations) {
    test(`${mutation.what}, changed alone, is caught`, { skip }, () => {
      assert.deepEqual(codeComplaints(rendered), [], 'before');

      const complaints = codeComplaints(mutated(rendered, mutation));

      assert.match(complaints.join('\n'), mutation.caught);
    });
  }
}

function mutated(
  manifests: readonly Manifest[],
  { kind, name, from, to }: Mutation,
): readonly Manifest[] {
  return manifests.map((manifest) => {
    if (manifest.kind !== kind || manifest.metadata.name !== name) return manifest;
    const text = JSON.stringify(manifest);
    assert.ok(text.includes(from), `${kind} ${name} has ${from}`);
    return JSON.parse(text.replaceAll(from, to)) as Manifest;
  });
}
