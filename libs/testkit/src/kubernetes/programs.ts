import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { type Launched, launchCommand } from '../processes/launch.ts';
import { SERVERS, type ServerProgram, serverPath } from '../servers/binaries.ts';

/** The ports of one control plane, all on loopback. */
export interface Ports {
  readonly etcd: number;
  readonly etcdPeer: number;
  readonly api: number;
  readonly kedaAdapter: number;
  readonly kedaAdapterMetrics: number;
  readonly kedaMetrics: number;
  readonly kedaHealth: number;
  readonly kedaService: number;
  /** kwok's, in the place of the kubelets': what pods use. */
  readonly kubelet: number;
  readonly metricsServer: number;
}

/** What all of the programs need to know. */
export interface Ground {
  readonly folder: string;
  readonly kubeconfig: string;
  readonly ports: Ports;
  /** Whether nodes say what their pods use. */
  readonly hasUsage: boolean;
}

/** What an HPA waits before it looks again, and before it takes back what it gave. */
const HPA_SYNC = '2s';
const HPA_STABILISATION = '5s';
/** A busy machine keeps kwok from its heartbeats: its nodes are not to be given up for that. */
const NODE_GRACE = '10m';
/** Any address that is not loopback: the API server wants one to publish, and nobody connects to it. */
const PUBLISHED = '10.250.0.1';

/** A program and its arguments. */
export type CommandLine = readonly [ServerProgram, ...string[]];

export const etcd = ({ folder, ports }: Ground): CommandLine => {
  const listen = `http://127.0.0.1:${ports.etcd}`;
  const peer = `http://127.0.0.1:${ports.etcdPeer}`;
  return [
    SERVERS.etcd,
    `--data-dir=${folder}/etcd`,
    `--listen-client-urls=${listen}`,
    `--advertise-client-urls=${listen}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    '--unsafe-no-fsync', // it need not survive us
    '--log-level=error',
  ];
};

export const apiserver = ({ folder, ports }: Ground): CommandLine => [
  SERVERS.apiserver,
  `--etcd-servers=http://127.0.0.1:${ports.etcd}`,
  '--bind-address=127.0.0.1',
  `--secure-port=${ports.api}`,
  `--advertise-address=${PUBLISHED}`,
  '--endpoint-reconciler-type=none',
  `--tls-cert-file=${folder}/tls.crt`,
  `--tls-private-key-file=${folder}/tls.key`,
  `--service-account-key-file=${folder}/accounts/tls.crt`,
  `--service-account-signing-key-file=${folder}/accounts/tls.key`,
  '--service-account-issuer=https://kubernetes.default.svc',
  `--token-auth-file=${folder}/tokens.csv`,
  '--authorization-mode=RBAC',
  '--service-cluster-ip-range=10.96.0.0/16',
  `--client-ca-file=${folder}/ca.crt`,
  // Whom the aggregated API (KEDA's metrics) believes that we are the API server.
  `--requestheader-client-ca-file=${folder}/ca.crt`,
  '--requestheader-allowed-names=proxy',
  '--requestheader-extra-headers-prefix=X-Remote-Extra-',
  '--requestheader-group-headers=X-Remote-Group',
  '--requestheader-username-headers=X-Remote-User',
  `--proxy-client-cert-file=${folder}/proxy/tls.crt`,
  `--proxy-client-key-file=${folder}/proxy/tls.key`,
  '--profiling=false',
];

export const controllers = ({ folder, kubeconfig }: Ground): CommandLine => [
  SERVERS.controllers,
  `--kubeconfig=${kubeconfig}`,
  `--service-account-private-key-file=${folder}/accounts/tls.key`,
  '--use-service-account-credentials=true',
  `--root-ca-file=${folder}/ca.crt`,
  '--leader-elect=false',
  '--secure-port=0',
  `--horizontal-pod-autoscaler-sync-period=${HPA_SYNC}`,
  `--horizontal-pod-autoscaler-downscale-stabilization=${HPA_STABILISATION}`,
  `--node-monitor-grace-period=${NODE_GRACE}`,
];

export const scheduler = ({ kubeconfig }: Ground): CommandLine => [
  SERVERS.scheduler,
  `--kubeconfig=${kubeconfig}`,
  '--leader-elect=false',
  '--secure-port=0',
];

export const kwok = ({ folder, kubeconfig, ports, hasUsage }: Ground): CommandLine => [
  SERVERS.kwok,
  `--kubeconfig=${kubeconfig}`,
  '--manage-all-nodes=true',
  ...(hasUsage
    ? [
        `--config=${folder}/usage.yaml`,
        `--server-address=127.0.0.1:${ports.kubelet}`,
        // What nodes say of where their kubelet is.
        '--node-ip=127.0.0.1',
        `--node-port=${ports.kubelet}`,
        `--tls-cert-file=${folder}/tls.crt`,
        `--tls-private-key-file=${folder}/tls.key`,
      ]
    : ['--server-address=']),
];

/** Looks as often as it can be told to. The first look finds nothing to compare with: figures come with the second. */
export const metricsServer = ({ folder, kubeconfig, ports }: Ground): CommandLine => [
  SERVERS.metricsServer,
  `--kubeconfig=${kubeconfig}`,
  `--authentication-kubeconfig=${kubeconfig}`,
  `--authorization-kubeconfig=${kubeconfig}`,
  '--bind-address=127.0.0.1',
  `--secure-port=${ports.metricsServer}`,
  `--tls-cert-file=${folder}/tls.crt`,
  `--tls-private-key-file=${folder}/tls.key`,
  '--metric-resolution=10s',
  '--kubelet-request-timeout=9s',
  '--kubelet-preferred-address-types=InternalIP',
  '--kubelet-use-node-status-port',
  `--kubelet-certificate-authority=${folder}/ca.crt`,
];

export const kedaOperator = ({ folder, kubeconfig, ports }: Ground): CommandLine => [
  SERVERS.kedaOperator,
  `--kubeconfig=${kubeconfig}`,
  `--cert-dir=${folder}`,
  `--metrics-bind-address=127.0.0.1:${ports.kedaMetrics}`,
  `--health-probe-bind-address=127.0.0.1:${ports.kedaHealth}`,
  `--metrics-service-bind-address=127.0.0.1:${ports.kedaService}`,
  '--enable-webhook-patching=false',
  '--enable-apiservice-patching=false',
];

export const kedaAdapter = ({ folder, kubeconfig, ports }: Ground): CommandLine => [
  SERVERS.kedaAdapter,
  `--kubeconfig=${kubeconfig}`,
  `--lister-kubeconfig=${kubeconfig}`,
  `--authentication-kubeconfig=${kubeconfig}`,
  `--authorization-kubeconfig=${kubeconfig}`,
  '--bind-address=127.0.0.1',
  `--secure-port=${ports.kedaAdapter}`,
  `--port=${ports.kedaAdapterMetrics}`,
  `--client-ca-file=${folder}/ca.crt`,
  `--tls-cert-file=${folder}/tls.crt`,
  `--tls-private-key-file=${folder}/tls.key`,
  `--cert-dir=${folder}`,
  `--metrics-service-address=localhost:${ports.kedaService}`,
];

/** Where KEDA lives, as its chart has it. */
const KEDA_ENVIRONMENT = {
  POD_NAMESPACE: 'keda',
  WATCH_NAMESPACE: '',
  KEDA_CLUSTER_OBJECT_NAMESPACE: 'keda',
};

/** Starts a program that the kernel kills when we die, by whatever signal. */
export async function launchProgram(
  [program, ...args]: CommandLine,
  { folder }: Ground,
): Promise<Launched> {
  const dying = (await isOnPath('setpriv')) ? ['setpriv', '--pdeathsig', 'KILL', '--'] : [];
  const env = KEDA_ENVIRONMENT;
  return launchCommand([...dying, serverPath(program), ...args], { cwd: folder, env });
}

async function isOnPath(name: string): Promise<boolean> {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const found = await Promise.all(
    folders.map((folder) =>
      access(join(folder, name), constants.X_OK).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.includes(true);
}
