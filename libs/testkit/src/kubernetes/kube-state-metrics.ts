import { launchCommand } from '../processes/launch.ts';
import { SERVERS, serverPath } from '../servers/binaries.ts';
import { freePort, until } from '../servers/free-port.ts';
import type { ControlPlane } from './control-plane.ts';

export interface KubeStateMetrics {
  /** `HOST:PORT`; it answers `/metrics`. */
  readonly address: string;
  stop(): Promise<void>;
}

/** Of these objects it tells; the others only take time. */
const RESOURCES = 'deployments,horizontalpodautoscalers,pods';
const START_MS = 60_000;

/** The exporter of what the API server knows, beside a control plane; it answers when this resolves. */
export async function startKubeStateMetrics({
  kubeconfig,
}: Pick<ControlPlane, 'kubeconfig'>): Promise<KubeStateMetrics> {
  const [port, telemetryPort] = [await freePort(), await freePort()];
  const ended = { yet: false };
  const { kill, exited, stderr } = launchCommand([
    serverPath(SERVERS.kubeStateMetrics),
    `--kubeconfig=${kubeconfig}`,
    '--host=127.0.0.1',
    `--port=${port}`,
    '--telemetry-host=127.0.0.1',
    `--telemetry-port=${telemetryPort}`,
    `--resources=${RESOURCES}`,
  ]);
  void exited.then(() => {
    ended.yet = true;
  });
  const address = `127.0.0.1:${port}`;
  const answers = () =>
    fetch(`http://${address}/metrics`).then(
      ({ ok }) => ok,
      () => false,
    );
  await until('kube-state-metrics answers', answers, {
    ...{ withinMs: START_MS, ended: () => ended.yet },
  }).catch((error: Error) => {
    kill('SIGKILL');
    throw new Error(`${error.message}\n${stderr().slice(-600)}`);
  });
  return {
    address,
    stop: async () => {
      kill('SIGKILL');
      await exited;
    },
  };
}
