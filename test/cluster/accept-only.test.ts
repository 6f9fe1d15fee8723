/** A service whose calls are answered by one process and whose jobs are worked on by others, as an autoscaler has it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '@heddle/client';
import { missingServer, SERVERS, startCluster } from '@heddle/testkit';

const missing = missingServer(SERVERS.natsCurrent);

interface Jsz {
  readonly account_details?: readonly {
    readonly stream_detail: readonly {
      readonly name: string;
      readonly consumer_detail?: readonly {
        readonly name: string;
        readonly num_pending: number;
        readonly num_ack_pending: number;
      }[];
    }[];
  }[];
}

/** What an autoscaler reads: what waits and what is worked on, of the consumer that workers share. */
async function lag(monitor: string): Promise<number | undefined> {
  const answer = await fetch(`${monitor}/jsz?acc=$G&consumers=true`);
  const { account_details: accounts = [] } = (await answer.json()) as Jsz;
  const found = accounts
    .flatMap(({ stream_detail: streams }) => streams)
    .find(({ name }) => name === 'HEDDLE_WORK_tasks_attribution_why')
    ?.consumer_detail?.find(({ name }) => name === 'workers');
  return found && found.num_pending + found.num_ack_pending;
}

test(
  'a process that only accepts jobs makes their queue, and the job waits in it until a worker comes',
  missing === undefined ? {} : { skip: missing },
  async () => {
    const cluster = await startCluster({
      processes: [
        { services: ['activation'] },
        { services: ['attribution'], name: 'accepts', env: { HEDDLE_WORK: 'none' } },
        { services: ['explorer'] },
      ],
    });
    const heddle = connect(cluster.address);
    try {
      const { monitor } = cluster.nats;
      assert.equal(await lag(monitor), 0, 'the consumer is there before any job is');

      const request = { prompt: { text: 'Mary and John' }, logit: {} };
      const { job } = await heddle.attribution.StartWhy(request);
      assert.equal(await lag(monitor), 1);

      await cluster.add({ services: ['attribution'], name: 'works' });
      assert.equal((await heddle.waitForJob(job?.id ?? '')).state, 'JOB_STATE_SUCCEEDED');
      assert.equal(await lag(monitor), 0);
    } finally {
      heddle.close();
      await cluster.remove();
    }
  },
);
