import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ACTIVATION_METRICS } from '@heddle/activation-server';
import { jobMetrics } from '@heddle/actor';
import { CONTENT_METRICS } from '@heddle/adapters/content';
import { grpcMetrics } from '@heddle/adapters/grpc';
import { ATTRIBUTION_METRICS } from '@heddle/attribution-service';
import { CIRCUIT_METRICS } from '@heddle/circuit-tracer';
import type { LocalCluster } from '@heddle/cli';
import { connect, type Heddle } from '@heddle/client';
import { LORSA_METRICS } from '@heddle/lorsa-trainer';
import { QK_METRICS } from '@heddle/qk-analyzer';
import { startTraceReceiver, type TraceReceiver, temporaryFolder, until } from '@heddle/testkit';
import { bringUp } from './bring-up.ts';
import { readConfig } from './config.ts';
import {
  ENGINE_METRICS,
  NATS_METRICS,
  PROCESS_METRICS,
  STORE_METRICS,
  TLS_METRICS,
} from './metrics.ts';

const KINDS = ['lorsa.train', 'qk.fit', 'circuit.trace', 'attribution.why'];
const CATALOGUES = {
  activation: ACTIVATION_METRICS,
  attribution_service: ATTRIBUTION_METRICS,
  circuit_tracer: CIRCUIT_METRICS,
  lorsa_trainer: LORSA_METRICS,
  qk_analyzer: QK_METRICS,
  jobs: jobMetrics(KINDS),
  grpc: grpcMetrics(),
  models: CONTENT_METRICS,
  heddle: PROCESS_METRICS,
  stores: STORE_METRICS,
  engine: ENGINE_METRICS,
};
/** Of clusters; test/deploy/monitoring compares those. */
const ELSEWHERE = { nats: NATS_METRICS, heddle: TLS_METRICS };

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let receiver: TraceReceiver;
let cluster: LocalCluster;
let heddle: Heddle;

before(async () => {
  folder = await temporaryFolder();
  receiver = await startTraceReceiver();
  const config = readConfig({
    HEDDLE_PORT: '0',
    HEDDLE_HTTP_PORT: '0',
    HEDDLE_LOG_LEVEL: 'silent',
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
    OTEL_BSP_SCHEDULE_DELAY: '5',
    OTEL_EXPORTER_OTLP_TIMEOUT: '60000', // late is not lost, on a busy machine
  });
  const contracts = ['activation', 'lorsa', 'qk', 'circuit', 'attribution'] as const;
  const dataDirectory = join(folder.path, 'data');
  cluster = await bringUp({ dataDirectory, contracts, standing: true }, config);
  heddle = connect(cluster.address);
});

after(async () => {
  heddle?.close();
  await cluster?.close(0);
  await receiver?.close();
  await folder.remove();
});

const scrape = async () => (await fetch(`${cluster.pages}/metrics`)).text();

test('/metrics exposes what the catalogues of all services list, each as its kind, and beside it only the process', async () => {
  const exposed = new Map(
    [...(await scrape()).matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', kind]) => [
      name,
      kind,
    ]),
  );
  const listed = Object.values(CATALOGUES).flat();
  for (const { name, kind } of listed) assert.equal(exposed.get(name), kind, name);
  const names = new Set(listed.map(({ name }) => name));
  const foreign = [...exposed.keys()].filter(
    (name) => !names.has(name) && !/^(process|nodejs)_/.test(name),
  );
  assert.deepEqual(foreign, []);
});

test('names say the service, the noun and the unit; counters end in total; labels are closed sets', () => {
  for (const [service, catalogue] of [
    ...Object.entries(CATALOGUES),
    ...Object.entries(ELSEWHERE),
  ]) {
    for (const { name, kind, unit, help, labels = {}, buckets } of catalogue) {
      assert.ok(name.startsWith(`${service}_`), name);
      assert.equal(name.endsWith('_total'), kind === 'counter', name);
      if (unit === 'seconds' || unit === 'bytes') assert.ok(name.includes(`_${unit}`), name);
      assert.ok(help.length > 10, name);
      assert.equal(buckets !== undefined, kind === 'histogram', name);
      for (const values of Object.values(labels)) assert.ok(values.length > 0, name);
    }
  }
});

test('a run and a job are seen: seconds by family and provider, tokens, queue, outcome, cache, event-loop lag', async () => {
  const before = await scrape();
  for (const kind of KINDS) {
    assert.match(
      before,
      new RegExp(`^jobs_queue_messages\\{kind="${kind}",state="waiting"\\} 0$`, 'm'),
    );
  }
  const { job } = await heddle.attribution.StartWhy({
    prompt: { text: 'Mary and John' },
    logit: {},
  });
  const { state } = await heddle.waitForJob(job?.id ?? '');
  assert.equal(state, 'JOB_STATE_SUCCEEDED');

  const text = await scrape();
  const value = (series: string): number => {
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    assert.ok(line, `${series} is not exposed`);
    return Number(line.split(' ').at(-1));
  };
  assert.equal(value('activation_run_seconds_count{family="gpt2",provider="cpu"}'), 1);
  assert.ok(value('activation_run_seconds_sum{family="gpt2",provider="cpu"}') > 0);
  assert.ok(value('activation_tokens_total{family="gpt2"}') >= 3);
  assert.ok(value('activation_session_lookups_total{result="miss"}') > 0);
  assert.equal(value('activation_waiting_prompts'), 0);
  assert.equal(value('engine_provider_info{provider="cpu"}'), 1);
  assert.ok(value('engine_runs_total{provider="cpu",outcome="ok"}') > 0);
  assert.ok(value('engine_session_bytes') > 0);
  assert.equal(value('engine_plans_open'), 0);
  assert.ok(value('stores_operations_total{operation="journal.append",outcome="ok"}') >= 3);
  assert.ok(value('stores_blob_bytes_total{direction="written"}') > 0);
  assert.ok(value('stores_journal_bytes') > 0);
  assert.ok(value('stores_scratch_free_bytes') > 0);
  assert.equal(value('heddle_ready'), 1);
  const done = '{kind="attribution.why",outcome="completed"}';
  assert.equal(value(`jobs_settled_total${done}`), 1);
  assert.equal(value(`jobs_duration_seconds_count${done}`), 1);
  assert.ok(value('nodejs_eventloop_lag_seconds') >= 0);
});

test('what became of spans is counted, once each', async () => {
  const spans = async (outcome: string): Promise<number> => {
    const line = new RegExp(`^heddle_spans_total\\{outcome="${outcome}"\\} (\\d+)$`, 'm');
    return Number((await scrape()).match(line)?.[1]);
  };
  const all = async () => (await spans('sent')) === receiver.spans.length;
  await until('all that was received is counted', all);
  assert.ok(receiver.spans.length > 0);
  assert.deepEqual([await spans('lost'), await spans('dropped')], [0, 0]);
});
