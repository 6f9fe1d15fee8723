import { isMember } from '@heddle/adapters/tls';
import { NATS_USERS, readConfig } from 'heddle';
import type { INetworkPolicyPort } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicyPort';
import { type Labels, type Manifest, ofKind, selects, workloads } from './manifests.ts';

const { grpcPort, httpPort } = readConfig({});
/** Every contract that a service answers; the front door is told of all of them. */
const SERVICES = NATS_USERS.map(({ name }) => name).sort();

/** Whether everybody is found, let in and believed where the code looks for him. */
export function networkComplaints(manifests: readonly Manifest[]): readonly string[] {
  return [
    ...servicesFindPods(manifests),
    ...peersAreThere(manifests),
    ...certificatesName(manifests),
    ...policiesLetIn(manifests),
    ...waysInExist(manifests),
  ];
}

function servicesFindPods(manifests: readonly Manifest[]): string[] {
  const pods = workloads(manifests);
  return ofKind(manifests, 'Service').flatMap(({ metadata: { name }, spec }) => {
    const found = pods.filter(({ labels }) => selects(spec?.selector, labels));
    if (found.length !== 1) return [`Service ${name} selects ${found.length} Deployments`];
    return (spec?.ports ?? []).flatMap(({ port, targetPort, name: portName }) => {
      const target = found[0]?.container.ports?.find((each) => each.name === targetPort);
      return target?.containerPort === port
        ? []
        : [`Service ${name}: port ${portName} ${port} is ${target?.containerPort} in its pods`];
    });
  });
}

/** HEDDLE_PEERS names a headless Service of each contract, whose pods answer it. */
function peersAreThere(manifests: readonly Manifest[]): string[] {
  const pods = workloads(manifests);
  const services = ofKind(manifests, 'Service');
  return pods.flatMap(({ name, env }) => {
    const peers = env['HEDDLE_PEERS'] ?? '';
    const parts = peers.split(',').map((part) => /^(\w+)=dns:\/\/\/([^:]+):(\d+)$/.exec(part));
    const told = parts.map((part) => part?.[1] ?? '').sort();
    const complaints = told.join() === SERVICES.join() ? [] : [`${name} is told of ${told}`];
    for (const part of parts) {
      const [, contract = '', host = '', port = ''] = part ?? [];
      const service = services.find(({ metadata }) => metadata.name === host);
      const answering = pods.find(
        ({ service: answered, isWorker, labels }) =>
          answered === contract && !isWorker && selects(service?.spec?.selector ?? {}, labels),
      );
      const there = service?.spec?.clusterIP === 'None' && answering !== undefined;
      if (!there || Number(port) !== grpcPort)
        complaints.push(`${name} looks for ${contract} at ${host}:${port}`);
    }
    return complaints;
  });
}

/** A certificate is for the names that are called, and its owner is taken for a service of this cluster. */
function certificatesName(manifests: readonly Manifest[]): string[] {
  const certificates = ofKind(manifests, 'Certificate');
  if (certificates.length === 0) return [];
  return workloads(manifests).flatMap(({ name, service, env, pod }) => {
    const secret = pod.volumes?.find((volume) => volume.name === 'tls')?.secret?.secretName;
    const certificate = certificates.find(({ spec }) => spec?.secretName === secret);
    const names = certificate?.spec?.dnsNames ?? [];
    const members = (env['HEDDLE_TLS_PEERS'] ?? '').split(',');
    const own = name.replace(/-workers$/, '');
    return [
      ...(certificate === undefined ? [`${name}: nobody makes ${secret}`] : []),
      ...(isMember(names, members) ? [] : [`${name} (${service}) is no member of ${members}`]),
      ...[own, `${own}-pods`, `${own}.heddle.svc`]
        .filter((called) => !names.includes(called))
        .map((called) => `${name}: its certificate is not for ${called}`),
    ];
  });
}

interface Peer {
  readonly podSelector?: { readonly matchLabels?: Labels };
}

/** Service to service, door to service, service to NATS, Prometheus to all: both ends of each way are open. */
function policiesLetIn(manifests: readonly Manifest[]): string[] {
  const policies = ofKind(manifests, 'NetworkPolicy');
  if (policies.length === 0) return [];
  const pods = workloads(manifests);
  const opens = (of: Labels, way: 'ingress' | 'egress', other: Labels, port: number) =>
    policies
      .filter(({ spec }) => selects(spec?.podSelector?.matchLabels, of))
      .flatMap(({ spec }) => [...(spec?.[way] ?? [])])
      .some((rule) => {
        const peers = ('from' in rule ? rule.from : 'to' in rule ? rule.to : undefined) as
          | readonly Peer[]
          | undefined;
        const isFor = peers?.some(
          ({ podSelector }) => podSelector !== undefined && selects(podSelector.matchLabels, other),
        );
        return isFor === true && allows(rule.ports, port);
      });
  const callees = pods.filter(({ isWorker, isDoor }) => !isWorker && !isDoor);
  const calls = pods.flatMap((caller) =>
    callees
      .filter(
        (callee) =>
          !opens(caller.labels, 'egress', callee.labels, grpcPort) ||
          !opens(callee.labels, 'ingress', caller.labels, grpcPort),
      )
      .map((callee) => `no policy lets ${caller.name} call ${callee.name} on ${grpcPort}`),
  );
  const scrapes = pods
    .filter(
      ({ labels }) =>
        !policies
          .filter(({ spec }) => selects(spec?.podSelector?.matchLabels, labels))
          .some(({ spec }) =>
            spec?.ingress?.some(
              ({ from, ports }) =>
                allows(ports, httpPort) && from?.some((peer) => peer.namespaceSelector),
            ),
          ),
    )
    .map(({ name }) => `no policy lets Prometheus look at ${name} on ${httpPort}`);
  const shut = policies.some(
    ({ spec }) =>
      spec?.ingress === undefined &&
      spec?.egress === undefined &&
      spec?.policyTypes?.length === 2 &&
      pods.every(({ labels }) => selects(spec.podSelector?.matchLabels, labels)),
  );
  return [...calls, ...scrapes, ...(shut ? [] : ['no policy refuses what none allows'])];
}

function allows(ports: readonly INetworkPolicyPort[] | undefined, port: number): boolean {
  return ports === undefined || ports.some((each) => each.port === port);
}

function waysInExist(manifests: readonly Manifest[]): string[] {
  const services = ofKind(manifests, 'Service');
  return ofKind(manifests, 'Ingress').flatMap(({ metadata: { name }, spec }) =>
    (spec?.rules ?? [])
      .flatMap(({ http }) => http?.paths ?? [])
      .filter(({ backend: { service } }) => {
        const found = services.find(({ metadata }) => metadata.name === service?.name);
        return !found?.spec?.ports?.some((port) => port.name === service?.port?.name);
      })
      .map(
        ({ backend }) => `Ingress ${name} leads to ${backend.service?.name}, which is not there`,
      ),
  );
}
