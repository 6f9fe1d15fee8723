/**
 * Hostile and damaged requests to all methods of a whole cluster, over the real wire: each ends with a typed status within its
 * time, or with the fp64 interpreter's values; afterwards the same process answers an ordinary request with the same bits.
 *
 *   HEDDLE_FUZZ_SEED=7 HEDDLE_FUZZ_COUNT=20000 node --test test/fuzz/requests.test.ts
 *   HEDDLE_FUZZ_ONE=1234 node --test test/fuzz/requests.test.ts     # that mutant alone
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fuzzSettings, MutantTally } from './mutant-tally.ts';
import { MODELS } from './requests/base-requests.ts';
import { FuzzedCluster } from './requests/fuzzed-cluster.ts';
import { judgeJob, judgeReply } from './requests/judge-reply.ts';
import { RunOracle } from './requests/judge-run.ts';
import { requestMutant } from './requests/request-mutants.ts';

const { seed, numbers } = fuzzSettings(2000);

/** Requests take 10 ms; a busy machine may be a thousand times slower, and none may wait without an end. */
const LIMIT_MS = 15_000;

/** How often memory is read: often enough for a median. */
const RSS_EVERY = 20;

let cluster: FuzzedCluster;
let oracle: RunOracle;
before(async () => {
  oracle = await RunOracle.open(MODELS);
  cluster = await FuzzedCluster.start(MODELS);
});
after(() => cluster.close());

test('every hostile request ends with a typed status or with the right values, and the cluster goes on', async () => {
  const tally = new MutantTally(`requests, seed ${seed}`);
  const ordinary = await cluster.ordinaryRun();

  for (const number of numbers) {
    const mutant = requestMutant(seed, number);
    const reply = await cluster.raw.call({ ...mutant, limitMs: LIMIT_MS });
    const judged = judgeReply(oracle, mutant, reply);
    const judgement = judgeJob(judged, await cluster.endStarted(mutant, reply));
    await cluster.restore(mutant, reply);
    const rss = number % RSS_EVERY === 0 ? { rssBytes: await cluster.rssBytes() } : {};
    const { what, request } = mutant;
    tally.add({ number, what, decodable: request !== undefined, ...judgement, ...rss });
    assert.equal(cluster.died, undefined, `mutant ${number} (${mutant.what}) ended the process`);
  }

  console.log(tally.table());
  assert.deepEqual(tally.failures, []);
  assert.deepEqual(await cluster.ordinaryRun(), ordinary);
  if (numbers.length < 1000) return;
  assert.ok(tally.decodableShare >= 0.5, `${tally.decodableShare} of the mutants are decodable`);
  assert.ok(tally.count('equal') >= 0.1 * numbers.length, 'mutants that are still answered');
  const lenient = tally.count('beyond fp32') + tally.count('equal, ill-conditioned');
  assert.ok(lenient <= 0.02 * numbers.length, `${lenient} answers were judged leniently`);
  assert.ok(tally.rssGrowthBytes <= 256 * 2 ** 20, `RSS grew by ${tally.rssGrowthBytes} bytes`);
});
