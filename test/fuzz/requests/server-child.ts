/** The whole cluster in one process, as `heddle up` brings it up, on a data directory of its own; answers `rss` to its parent. */
import { join } from 'node:path';
import { CONTRACTS } from '@heddle/adapters/grpc';
import { bringUp, readConfig } from '../../../services/embedded/src/index.ts';

const [root = ''] = process.argv.slice(2);

/** A small one, so that evictions are part of the run and memory can be told from cache. */
const ENGINE_CACHE_BYTES = 64 * 1024 * 1024;

const config = {
  ...readConfig({
    HEDDLE_MODEL_ROOTS: join(root, 'models'),
    HF_ENDPOINT: 'http://127.0.0.1:9', // nobody: a mutant that names a hub must not find one
  }),
  engineCacheBytes: ENGINE_CACHE_BYTES,
};
const cluster = await bringUp(
  {
    dataDirectory: join(root, 'data'),
    contracts: CONTRACTS,
    standing: false,
    log: false,
    port: 0,
  },
  config,
);

process.on('message', () => {
  globalThis.gc?.(); // what is only waiting to be collected is no growth
  process.send?.({ rssBytes: process.memoryUsage.rss() });
});
process.on('disconnect', () => void cluster.close(0).finally(() => process.exit(0)));
process.send?.({ address: cluster.address });
