import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type Heddle } from '@heddle/client';
import { bringUp, readConfig } from 'heddle';

/** All services in this process on a folder of their own, for as long as `body` runs. A notebook connects to `heddle up`. */
export async function withHeddle(body: (heddle: Heddle) => Promise<void>): Promise<void> {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'heddle-example-'));
  const contracts = ['activation', 'lorsa', 'qk', 'circuit', 'attribution'] as const;
  const cluster = await bringUp({ dataDirectory, contracts }, readConfig(process.env));
  const heddle = connect(cluster.address);
  try {
    await body(heddle);
  } finally {
    heddle.close();
    await cluster.close(0);
    await rm(dataDirectory, { recursive: true, force: true });
  }
}
