/** Two workers against two bare engines: what a sharded job gains from the second, in one run on the same two cores. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingServer, SERVERS } from '@heddle/testkit';
import { median } from '../bench/figure.ts';
import { measureScaling } from './fixtures/measure-scaling.ts';

const SHARE_MIN = 0.9;
const missing = missingServer(SERVERS.natsCurrent) ?? missingServer(SERVERS.s3);

test(
  `two workers of a cluster gain at least ${SHARE_MIN} of what two bare engines gain`,
  missing === undefined ? {} : { skip: missing },
  async (t) => {
    const rounds = await measureScaling({ rounds: 3, jobSeconds: 24 });

    for (const { result, foreign } of rounds) {
      const [[e1, e2], [w1, w2]] = [result.bare, result.workers];
      t.diagnostic(
        `tokens/s: bare engine ${e1.toFixed(0)}, two ${e2.toFixed(0)} (x${(e2 / e1).toFixed(3)}); ` +
          `worker ${w1.toFixed(0)}, two ${w2.toFixed(0)} (x${(w2 / w1).toFixed(3)}); ` +
          `share ${result.share.toFixed(3)}; others used ${foreign.toFixed(2)} processors`,
      );
    }
    const share = median(rounds.map(({ result }) => result.share));
    t.diagnostic(`scaling_share ${share.toFixed(3)}, target at least ${SHARE_MIN}`);
    assert.ok(share >= SHARE_MIN, `${share}`);
  },
);
