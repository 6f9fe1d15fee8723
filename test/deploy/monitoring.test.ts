/**
 * A real Prometheus beside a cluster as the chart deploys it: every process exposes its catalogue, and what rules and
 * dashboards name is there, with data.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { missingServer, SERVERS, serverPath } from '@heddle/testkit';
import { ALERTS, RECORDINGS } from '../../deploy/observability/alerts/index.ts';
import {
  familiesOf,
  metricsOf,
  nodeMetrics,
  SERVICES,
  type Service,
} from '../../deploy/observability/catalogue.ts';
import { OUTSIDE_METRICS } from '../../deploy/observability/outside.ts';
import { DASHBOARDS } from '../../deploy/observability/panels/index.ts';
import { TARGET_LABELS } from '../../deploy/observability/targets.ts';
import {
  expositionOf,
  type MonitoringWorld,
  OUTSIDE,
  openMonitoringWorld,
} from './monitoring-world.ts';
import { type Selector, selectorsOf } from './promql.ts';

const missing =
  missingServer(SERVERS.natsCurrent) ??
  missingServer(SERVERS.prometheus) ??
  missingServer(SERVERS.promtool);
const skip = missing === undefined ? {} : { skip: missing };

let world: MonitoringWorld;
before(
  async () => {
    if (missing !== undefined) return;
    world = await openMonitoringWorld();
    await world.tour();
  },
  { timeout: 300_000 },
);
after(() => world?.remove());

/** Grafana fills these in. */
const asked = (expr: string): string =>
  expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$(namespace|service|kind|node)/g, '.*');

interface Expression {
  readonly where: string;
  readonly expr: string;
}

const EXPRESSIONS: readonly Expression[] = [
  ...ALERTS.map(({ name, expr }) => ({ where: name, expr })),
  ...RECORDINGS.map(({ record, expr }) => ({ where: record, expr })),
  ...DASHBOARDS.flatMap(({ uid, rows, variables }) => [
    ...variables.map(({ name, metric }) => ({ where: `${uid} $${name}`, expr: asked(metric) })),
    ...rows.flatMap(({ panels }) =>
      panels.flatMap(({ title, queries }) =>
        queries.map(({ expr }) => ({ where: `${uid}: ${title}`, expr: asked(expr) })),
      ),
    ),
  ]),
];

test(
  'every process of every service exposes its catalogue, each metric as its kind with its help, and beside it only Node’s own',
  skip,
  async () => {
    const node = await nodeMetrics();
    for (const process of world.cluster.processes.filter((each) => each !== world.encrypted)) {
      const [service] = process.services as readonly Service[];
      const expected = [...metricsOf(service ?? 'explorer'), ...node];
      const byName = ({ name }: { readonly name: string }, b: { readonly name: string }) =>
        name < b.name ? -1 : 1;
      assert.deepEqual(
        [...familiesOf(await process.metrics())].sort(byName),
        expected.map(({ name, kind, help }) => ({ name, help, kind })).sort(byName),
        process.name,
      );
    }
    const seen = new Set(world.cluster.processes.flatMap(({ services }) => services));
    assert.deepEqual([...seen].sort(), [...SERVICES].sort());
  },
);

/** What promtool says of an exposition. */
async function checkMetrics(text: string): Promise<string> {
  const child = spawn(serverPath(SERVERS.promtool), ['check', 'metrics']);
  child.stdin.end(text);
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (piece: string) => said.push(piece));
  }
  await once(child, 'close');
  return said.join('');
}

/** What others named so: prom-client's gauges that end in total, and labels of NVIDIA's and KEDA's. */
const KNOWN =
  /^(nodejs_active_(handles|requests|resources)_total|(DCGM|keda)_\w+ label names should be) /;

test(
  'promtool finds nothing wrong with what is exposed but three names of prom-client, and labels of NVIDIA’s and KEDA’s',
  skip,
  async () => {
    const texts = await Promise.all(
      world.cluster.processes
        .filter((each) => each !== world.encrypted)
        .map((each) => each.metrics()),
    );
    for (const text of [...texts, ...OUTSIDE.map(expositionOf)]) {
      const complaints = (await checkMetrics(text))
        .split('\n')
        .filter((line) => line !== '' && !KNOWN.test(line));
      assert.deepEqual(complaints, []);
    }
  },
);

test('Prometheus reaches every target, and has the labels that rules rest on', skip, async () => {
  await world.caughtUp();
  const { activeTargets } = await world.ask<{
    readonly activeTargets: readonly { readonly labels: Readonly<Record<string, string>> }[];
  }>('targets');
  assert.equal(activeTargets.length, world.cluster.processes.length + OUTSIDE.length);
  for (const { labels } of activeTargets) {
    if (labels['job'] !== 'heddle') continue;
    for (const name of Object.keys(TARGET_LABELS)) assert.ok(labels[name], name);
  }
});

test(
  'every expression of rules and panels is evaluated without an error, and every metric that it names is there, with data',
  skip,
  async () => {
    const names = new Set<string>();
    for (const { where, expr } of EXPRESSIONS) {
      await world.ask('query', { query: expr }).catch((error: unknown) => {
        throw new Error(`${where}: ${(error as Error).message}`);
      });
      for (const { name } of await selectors(expr)) names.add(name);
    }
    assert.ok(names.size > 100, `${names.size} metrics are named`);
    const absent: string[] = [];
    for (const name of names) {
      const { result } = await world.ask<{ readonly result: readonly unknown[] }>('query', {
        query: `count(last_over_time({__name__="${name}"}[5m]))`,
      });
      if (result.length === 0) absent.push(name);
    }
    assert.deepEqual(absent, []);
  },
);

const selectors = async (expr: string): Promise<readonly Selector[]> =>
  selectorsOf(await world.ask('parse_query', { query: expr }));

/** Panels of what goes wrong: nothing is what they should show. */
const EMPTY_WHEN_WELL = [
  'Firing alerts',
  'Refused',
  'Not OK',
  'Operations that failed',
  'Failures',
  'Fenced appends',
  'Starts in an hour',
];

test(
  'every panel shows numbers after the main job, but those of what goes wrong',
  skip,
  async () => {
    await world.caughtUp();
    const blank: string[] = [];
    for (const { uid, rows } of DASHBOARDS) {
      for (const { title, queries } of rows.flatMap(({ panels }) => panels)) {
        if (EMPTY_WHEN_WELL.includes(title)) continue;
        const shown = await Promise.all(queries.map(({ expr }) => numbers(asked(expr))));
        if (shown.every((values) => values.length === 0)) blank.push(`${uid}: ${title}`);
      }
    }
    assert.deepEqual(blank, []);
  },
);

async function numbers(query: string): Promise<readonly number[]> {
  const { result } = await world.ask<{
    readonly result: readonly { readonly value: readonly [number, string] }[];
  }>('query', { query });
  return result.map(({ value: [, text] }) => Number(text)).filter((value) => !Number.isNaN(value));
}

test('labels that expressions ask for exist, with the values that they ask for', skip, async () => {
  const known = knownLabels();
  for (const { where, expr } of EXPRESSIONS) {
    for (const { name, matchers } of await selectors(expr)) {
      for (const { label, type, value } of matchers) {
        const values = known(name)?.[label];
        assert.ok(values, `${where}: ${name} has no label ${label}`);
        if (values === 'any' || type === '!=' || type === '!~') continue;
        const wanted = type === '=' ? [value] : value.split('|');
        for (const each of wanted) {
          const isThere = values.some((there) => new RegExp(`^(?:${each})$`).test(there));
          assert.ok(isThere, `${where}: ${name} never has ${label}="${each}"`);
        }
      }
    }
  }
});

type Labels = Readonly<Record<string, readonly string[] | 'any'>>;

/** Name of a series → its labels, with their closed sets. */
function knownLabels(): (name: string) => Labels | undefined {
  const target = Object.fromEntries(
    Object.keys(TARGET_LABELS).map((name) => [name, 'any' as const]),
  );
  const own = new Map<string, Record<string, readonly string[] | 'any'>>();
  for (const service of SERVICES) {
    for (const { name, labels = {} } of metricsOf(service, { tls: true })) {
      const before = own.get(name) ?? { ...target, le: 'any' };
      for (const [label, values] of Object.entries(labels)) {
        const there = before[label] ?? [];
        before[label] = there === 'any' ? there : [...there, ...values];
      }
      own.set(name, before);
    }
  }
  const outside = new Map(
    OUTSIDE_METRICS.map(({ name, labels }) => [
      name,
      Object.fromEntries(labels.map((label) => [label, 'any' as const])),
    ]),
  );
  const recorded = new Map(
    RECORDINGS.map(({ record }) => {
      const [labels = ''] = record.split(':');
      return [
        record,
        Object.fromEntries(labels.split('_').map((label) => [label, 'any' as const])),
      ];
    }),
  );
  const alerts: Labels = {
    ...target,
    ...{ alertname: 'any', severity: ['critical', 'warning', 'info'] },
    alertstate: ['firing', 'pending'],
  };
  return (name) => {
    if (name === 'ALERTS') return alerts;
    if (/^(up|process_|nodejs_)/.test(name)) return { ...target, kind: 'any' };
    const family = name.replace(/_(bucket|sum|count)$/, '');
    return own.get(name) ?? own.get(family) ?? outside.get(name) ?? recorded.get(name);
  };
}

test(
  'what others expose has the labels that are listed for it, and the list names what rules and panels use and no more',
  skip,
  async () => {
    const used = new Set<string>();
    for (const { expr } of EXPRESSIONS) {
      for (const { name } of await selectors(expr)) used.add(name);
    }
    const foreign = [...used].filter((name) => /^(kube_|keda_|DCGM_)/.test(name)).sort();
    assert.deepEqual(foreign, OUTSIDE_METRICS.map(({ name }) => name).sort());
    for (const { name, source, labels } of OUTSIDE_METRICS) {
      const samples = expositionOf(source)
        .split('\n')
        .filter((line) => line.startsWith(`${name}{`));
      assert.ok(samples.length > 0, name);
      for (const sample of samples) {
        for (const label of labels) assert.match(sample, new RegExp(`[{,]${label}="`), name);
      }
    }
  },
);

test(
  'what the tour did is seen: jobs of its kinds ended well, and nothing critical fires',
  skip,
  async () => {
    const { result } = await world.ask<{
      readonly result: readonly { readonly metric: Readonly<Record<string, string>> }[];
    }>('query', {
      query: 'sum by (kind) (jobs_settled_total{outcome="completed", role="workers"}) > 0',
    });
    const kinds = result.map(({ metric }) => metric['kind']);
    for (const kind of ['lorsa.train', 'qk.fit', 'circuit.trace', 'attribution.why']) {
      assert.ok(kinds.includes(kind), `${kind} of ${kinds.join(', ')}`);
    }
    const firing = await world.ask<{ readonly result: readonly { readonly metric: unknown }[] }>(
      'query',
      {
        query: 'ALERTS{alertstate="firing", severity="critical"}',
      },
    );
    assert.deepEqual(firing.result, []);
  },
);

test('a process that drains is still scraped, and says so', skip, async () => {
  const process = world.cluster.process('qk');
  const stopped = process.stop();
  let text = '';
  // It answers until its work is handed back; then this fails.
  while (!/^heddle_draining 1$/m.test(text)) text = await process.metrics();
  assert.match(text, /^heddle_ready 0$/m);
  assert.equal((await stopped).code, 0);
});
