/** A job of a minute on a cluster and in one process, in turns: processor time of everything, and time on the wall. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingServer, SERVERS } from '@heddle/testkit';
import { median } from '../bench/figure.ts';
import { measureOverhead } from './fixtures/measure-overhead.ts';

const CPU_MAX = 1.05;
const WALL_MAX = 1.1;
const missing = missingServer(SERVERS.natsCurrent) ?? missingServer(SERVERS.s3);

test(
  `a job of a minute costs a whole cluster at most ${CPU_MAX} of the processor time and ${WALL_MAX} of the time of one process`,
  missing === undefined ? {} : { skip: missing },
  async (t) => {
    const pairs = await measureOverhead({ pairs: 5, jobSeconds: 60 });

    for (const { result, foreign } of pairs) {
      const { embedded, cluster } = result;
      t.diagnostic(
        `one process ${embedded.cpu.toFixed(1)} s of CPU, ${embedded.wall.toFixed(1)} s; ` +
          `cluster ${cluster.cpu.toFixed(1)} s, ${cluster.wall.toFixed(1)} s; ` +
          `others used ${foreign.toFixed(2)} processors`,
      );
    }
    const cpu = median(
      pairs.map(({ result: { embedded, cluster } }) => cluster.cpu / embedded.cpu),
    );
    const wall = median(
      pairs.map(({ result: { embedded, cluster } }) => cluster.wall / embedded.wall),
    );
    t.diagnostic(`overhead_cpu ${cpu.toFixed(3)}, target at most ${CPU_MAX}`);
    t.diagnostic(`overhead_wall ${wall.toFixed(3)}, target at most ${WALL_MAX}`);
    assert.ok(cpu <= CPU_MAX, `processor time x${cpu}`);
    assert.ok(wall <= WALL_MAX, `time x${wall}`);
  },
);
