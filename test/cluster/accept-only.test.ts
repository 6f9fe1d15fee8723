/** A service whose calls are answered by one process and whose jobs are worked on by others, as an autoscaler has it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '@heddle/client';
import { consumersOf, missingServer, SERVERS, startCluster, until } from '@heddle/testkit';

const missing = missingServer(SERVERS.natsCurrent);

/** What waits and what is worked on, of the consumer that workers share; undefined: there is none. */
async function lag(monitor: string): Promise<number | undefined> {
  const found = (await consumersOf(monitor)).find(
    ({ stream, name }) => stream === 'HEDDLE_WORK_tasks_attribution_why' && name === 'workers',
  );
  return found && found.pending + found.inFlight;
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
      await until('the job in the queue', async () => (await lag(monitor)) === 1);

      await cluster.add({ services: ['attribution'], name: 'works' });
      assert.equal((await heddle.waitForJob(job?.id ?? '')).state, 'JOB_STATE_SUCCEEDED');
      // A job has ended once that is in its journal; its task is taken from the queue after.
      await until('an empty queue', async () => (await lag(monitor)) === 0);
    } finally {
      heddle.close();
      await cluster.remove();
    }
  },
);
