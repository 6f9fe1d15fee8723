import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import {
  GenericContainer,
  type StartedNetwork,
  type StartedTestContainer,
  Wait,
} from 'testcontainers';
import { type ImageName, imageName } from '../../deploy/docker/images.ts';

/** Prefetch, stores and a first engine, on a machine that does something else as well. */
const HEALTHY_MS = 120_000;

/** As a platform runs it: nothing to write to but /data and /tmp, no capabilities, no way to more. */
export class ServiceContainer extends GenericContainer {
  constructor(service: ImageName, network: StartedNetwork, environment: Record<string, string>) {
    super(imageName(service));
    this.hostConfig.ReadonlyRootfs = true;
    this.withNetwork(network)
      .withNetworkAliases(service)
      .withEnvironment(environment)
      .withDroppedCapabilities('ALL')
      .withSecurityOpt('no-new-privileges:true')
      .withTmpFs({ '/tmp': 'rw,size=64m,mode=1777' })
      .withExposedPorts(7411, 7412)
      .withWaitStrategy(Wait.forHealthCheck())
      .withStartupTimeout(HEALTHY_MS);
  }
}

/** All that a container has logged. */
export async function logsOf(container: StartedTestContainer): Promise<string> {
  const stream = await container.logs();
  return text(Readable.from(stream));
}
