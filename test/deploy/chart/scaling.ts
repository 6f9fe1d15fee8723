import { WORKERS, workStream } from '@heddle/adapters/nats';
import type { IScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject';
import { NATS_USERS } from 'heddle';
import { type Manifest, ofKind, selects, type Workload, workloads } from './manifests.ts';

/** What KEDA needs to know of a queue; the rest has defaults that are not meant. */
const TRIGGER_KEYS = [
  'account',
  'activationLagThreshold',
  'consumer',
  'lagThreshold',
  'natsServerMonitoringEndpoint',
  'stream',
  'useHttps',
];

/** Who scales whom, and by which streams and consumers, against the names that the services make. */
export function scalingComplaints(manifests: readonly Manifest[]): readonly string[] {
  return [
    ...workersFollowTheirQueues(manifests),
    ...onePerDeployment(manifests),
    ...drainsAreHeld(manifests),
  ];
}

/**
 * A stream or consumer that is not there stops its ScaledObject: work waits for ever, and nobody is told. Before KEDA 2.20 such a
 * consumer's lag was the stream's last sequence: as many workers as there may be.
 */
function workersFollowTheirQueues(manifests: readonly Manifest[]): string[] {
  const pods = workloads(manifests);
  const workers = pods.filter(({ isWorker }) => isWorker);
  if (workers.length === 0) {
    return pods
      .filter(({ env }) => env['HEDDLE_WORK'] === 'none')
      .map(({ name }) => `${name} accepts jobs that nobody works on`);
  }
  return NATS_USERS.flatMap(({ name, queues }) => {
    const workload = workers.find(({ service }) => service === name);
    if (workload === undefined) return [`nobody works on ${queues}`];
    const scaled = ofKind(manifests, 'ScaledObject').find(
      ({ spec }) => spec.scaleTargetRef.name === workload.name,
    );
    if (scaled === undefined) return [`nobody scales ${workload.name}`];
    const prefix = workload.env['HEDDLE_NATS_PREFIX'] ?? 'heddle';
    const wanted = queues.map((queue) => workStream(prefix, queue)).sort();
    return [
      ...triggers(scaled, wanted),
      ...restful(scaled, workload),
      ...(pods.some(({ service, isWorker }) => service === name && !isWorker)
        ? []
        : [`nobody makes the queues of ${name}`]),
    ].map((complaint) => `${workload.name}: ${complaint}`);
  });
}

function triggers({ spec }: IScaledObject, wanted: readonly string[]): string[] {
  const streams = spec.triggers.map(({ metadata }) => metadata['stream'] ?? '').sort();
  const complaints = spec.triggers.flatMap(({ type, metadata }) => {
    const { stream, consumer, lagThreshold = '', natsServerMonitoringEndpoint = '' } = metadata;
    return [
      ...(type === 'nats-jetstream' ? [] : [`a trigger of type ${type}`]),
      ...(Object.keys(metadata).sort().join() === TRIGGER_KEYS.join()
        ? []
        : [`a trigger says ${Object.keys(metadata)}`]),
      ...(consumer === WORKERS ? [] : [`consumer ${consumer} of ${stream} is ${WORKERS}`]),
      ...(/^[1-9]\d*$/.test(lagThreshold) ? [] : [`a lag of ${lagThreshold}`]),
      // KEDA puts the scheme before it.
      ...(/^[^/:]+:\d+$/.test(natsServerMonitoringEndpoint)
        ? []
        : [`NATS is looked at at ${natsServerMonitoringEndpoint}`]),
    ];
  });
  if (streams.join() !== wanted.join()) complaints.push(`follows ${streams}, not ${wanted}`);
  return complaints;
}

/** Going down, it waits, and takes one at a time. */
function restful({ spec }: IScaledObject, { deployment, pod }: Workload): string[] {
  const down = spec.advanced?.horizontalPodAutoscalerConfig?.behavior?.scaleDown;
  const { minReplicaCount = 0, maxReplicaCount = 100 } = spec;
  return [
    ...(down?.stabilizationWindowSeconds === undefined ? ['goes down without waiting'] : []),
    ...(down?.policies?.every(({ type, value }) => type === 'Pods' && value === 1)
      ? []
      : ['several workers go at a time']),
    ...(minReplicaCount <= maxReplicaCount ? [] : ['more at least than at most']),
    ...(deployment.spec?.replicas === undefined ? [] : ['an upgrade would set its replicas']),
    ...(pod.containers[0]?.lifecycle === undefined ? [] : ['waits for calls that never come']),
  ];
}

/** Two that scale one Deployment fight; one that scales none is a mistake. */
function onePerDeployment(manifests: readonly Manifest[]): string[] {
  const targets = [
    ...ofKind(manifests, 'ScaledObject').map(({ spec }) => spec.scaleTargetRef.name),
    ...ofKind(manifests, 'HorizontalPodAutoscaler').map(({ spec }) => spec?.scaleTargetRef.name),
  ];
  const pods = workloads(manifests);
  return [
    ...targets
      .filter((target, index) => targets.indexOf(target) !== index)
      .map((target) => `${target} is scaled by two`),
    ...targets
      .filter((target) => !pods.some(({ name }) => name === target))
      .map((target) => `there is no ${target} to scale`),
    ...pods
      .filter(({ name, deployment }) => {
        const isScaled = targets.includes(name);
        return isScaled === (deployment.spec?.replicas !== undefined);
      })
      .map(({ name }) => `${name}: replicas are said by two, or by nobody`),
  ];
}

/** Every pod has one budget, which lets a drain go on one pod at a time, also where there is one. */
function drainsAreHeld(manifests: readonly Manifest[]): string[] {
  const budgets = ofKind(manifests, 'PodDisruptionBudget');
  if (budgets.length === 0) return [];
  return workloads(manifests)
    .filter(({ labels }) => {
      const own = budgets.filter(({ spec }) => selects(spec?.selector?.matchLabels, labels));
      return own.length !== 1 || own[0]?.spec?.maxUnavailable !== 1;
    })
    .map(({ name }) => `${name} has no budget of its own`);
}
