import { readConfig } from 'heddle';

/** Ports that a process listens on unless it is told otherwise: the chart leaves them as they are. */
const { grpcPort, httpPort } = readConfig({});
const NATS = { client: 4222, route: 6222, monitor: 8222 };
const S3 = [443, 9000];

const tcp = (...ports: readonly number[]) => ports.map((port) => ({ protocol: 'TCP', port }));
const dns = {
  to: [{ namespaceSelector: {}, podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } } }],
  ports: [53].flatMap((port) => ['UDP', 'TCP'].map((protocol) => ({ protocol, port }))),
};

/** Pods by what they are; `role` tells the front door from what stands behind it. */
const pods = (role: 'front-door' | 'service' | 'nats') => ({
  podSelector: {
    matchLabels: { 'app.kubernetes.io/part-of': 'heddle', 'heddle.dev/role': role },
  },
});
const monitoring = {
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } },
};
/** Anywhere but the machine's own metadata service, which gives out its credentials. */
const outside = { ipBlock: { cidr: '0.0.0.0/0', except: ['169.254.0.0/16'] } };

const policy = (name: string, spec: object) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: `heddle-${name}`, labels: { 'app.kubernetes.io/part-of': 'heddle' } },
  spec: { ...spec, policyTypes: ['Ingress', 'Egress'] },
});

/** Who may talk to whom; what is not said here is refused. */
export const NETWORK_POLICIES: readonly object[] = [
  policy('nothing-else', {
    podSelector: { matchLabels: { 'app.kubernetes.io/part-of': 'heddle' } },
  }),
  // People and programs come in here, with a token; it needs neither NATS nor blobs. 443: an identity provider's keys.
  policy('front-door', {
    ...pods('front-door'),
    ingress: [{ ports: tcp(grpcPort, httpPort) }],
    egress: [
      dns,
      { to: [pods('service')], ports: tcp(grpcPort) },
      { to: [outside], ports: tcp(443) },
    ],
  }),
  // Services call each other and work on NATS; blobs and models of the hub are outside.
  policy('service', {
    ...pods('service'),
    ingress: [
      { from: [pods('front-door'), pods('service')], ports: tcp(grpcPort) },
      { from: [monitoring], ports: tcp(httpPort) },
    ],
    egress: [
      dns,
      { to: [pods('service')], ports: tcp(grpcPort) },
      { to: [pods('nats')], ports: tcp(NATS.client, NATS.monitor) },
      { to: [outside], ports: tcp(...S3) },
    ],
  }),
  policy('nats', {
    ...pods('nats'),
    ingress: [
      { from: [pods('service')], ports: tcp(NATS.client, NATS.monitor) },
      { from: [pods('nats')], ports: tcp(NATS.route) },
      { from: [monitoring], ports: tcp(NATS.monitor) },
    ],
    egress: [dns, { to: [pods('nats')], ports: tcp(NATS.route) }],
  }),
];
