import { launchCommand } from '../processes/launch.ts';
import { SERVERS, serverPath } from '../servers/binaries.ts';
import { freePort } from '../servers/free-port.ts';
import { isAnswered, untilUp } from '../servers/until-up.ts';
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
  const child = launchCommand([
    serverPath(SERVERS.kubeStateMetrics),
    `--kubeconfig=${kubeconfig}`,
    '--host=127.0.0.1',
    `--port=${port}`,
    '--telemetry-host=127.0.0.1',
    `--telemetry-port=${telemetryPort}`,
    `--resources=${RESOURCES}`,
  ]);
  const address = `127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await child.exited;
  };
  const answers = () => isAnswered(`http://${address}/metrics`);
  try {
    await untilUp('kube-state-metrics answers', child, answers, { withinMs: START_MS });
  } catch (error) {
    await stop();
    throw error;
  }
  return { address, stop };
}
