import { assert, present } from '@heddle/core';
import type { MetricSpec, Metrics } from '@heddle/ports';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

type Labels = Readonly<Record<string, string>>;
type Metric = Counter | Gauge | Histogram;

/** Most label combinations that one metric may have: beyond it a catalogue has an open set among its labels. */
const SERIES_MAX = 2000;
/**
 * Counters of at most so many series begin at 0: one that first appears at 1 has not grown in Prometheus' eyes, so the first
 * failure of all would be missed. The largest of ours, calls by method and code, would be a thousand lines of nothing.
 */
const ZEROED_SERIES_MAX = 100;
/** So do histograms, each of whose series is a line for every bucket: a worker that came for one job shows how long it took. */
const ZEROED_HISTOGRAMS_MAX = 24;
/**
 * How often the event loop's delay is sampled, and the least delay that its percentiles can show. At prom-client's 10 ms
 * an idle process wakes a hundred times a second, half a percent of a core; a stall worth an alert is longer than this.
 */
const LOOP_SAMPLE_MS = 100;

/** The Metrics port over prom-client, with Node's own (event-loop lag, memory) beside the catalogues. */
export class PromMetrics implements Metrics {
  private readonly registry = new Registry();
  private readonly specs = new Map<string, MetricSpec>();
  private readonly metrics = new Map<string, Metric>();
  private readonly readings: (() => void)[] = [];

  constructor() {
    collectDefaultMetrics({
      register: this.registry,
      eventLoopMonitoringPrecision: LOOP_SAMPLE_MS,
    });
  }

  /** Asserts that names are new (or the same spec again) and that labels are closed sets of bounded size. */
  register(catalogue: readonly MetricSpec[]): void {
    for (const spec of catalogue) {
      const known = this.specs.get(spec.name);
      if (known === spec) continue;
      assert(known === undefined, `metric ${spec.name} is in two catalogues`);
      const series = Object.values(spec.labels ?? {}).reduce((n, values) => n * values.length, 1);
      assert(series <= SERIES_MAX, `metric ${spec.name} would have ${series} series`);
      this.specs.set(spec.name, spec);
      const metric = this.create(spec);
      this.metrics.set(spec.name, metric);
      zero(metric, spec, series);
    }
  }

  add(name: string, amount: number, labels: Labels = {}): void {
    const metric = this.find(name, labels);
    assert(metric instanceof Counter || metric instanceof Gauge, `${name} is no counter or gauge`);
    metric.inc(labels, amount);
  }

  set(name: string, value: number, labels: Labels = {}): void {
    const metric = this.find(name, labels);
    assert(metric instanceof Gauge, `${name} is no gauge`);
    metric.set(labels, value);
  }

  observe(name: string, value: number, labels: Labels = {}): void {
    const metric = this.find(name, labels);
    assert(metric instanceof Histogram, `${name} is no histogram`);
    metric.observe(labels, value);
  }

  /** What is true at a moment is read at each scrape, and costs nothing between. */
  onScrape(read: () => void): void {
    this.readings.push(read);
  }

  text(): Promise<string> {
    for (const read of this.readings) read();
    return this.registry.metrics();
  }

  private create({ name, kind, help, labels = {}, buckets }: MetricSpec): Metric {
    const common = { name, help, labelNames: Object.keys(labels), registers: [this.registry] };
    if (kind === 'counter') return new Counter(common);
    if (kind === 'gauge') return new Gauge(common);
    return new Histogram(buckets === undefined ? common : { ...common, buckets: [...buckets] });
  }

  private find(name: string, labels: Labels): Metric {
    const spec = present(this.specs.get(name), `metric ${name}`);
    for (const [label, value] of Object.entries(labels)) {
      assert(
        spec.labels?.[label]?.includes(value),
        () => `metric ${name}: ${label}=${value} is not in its catalogue`,
      );
    }
    return present(this.metrics.get(name), `metric ${name}`);
  }
}

function zero(metric: Metric, { labels: sets = {} }: MetricSpec, series: number): void {
  if (metric instanceof Counter && series <= ZEROED_SERIES_MAX) {
    for (const labels of combinations(sets)) metric.inc(labels, 0);
  }
  if (metric instanceof Histogram && series <= ZEROED_HISTOGRAMS_MAX) {
    for (const labels of combinations(sets)) metric.zero(labels);
  }
}

/** Every choice of one value for each label. */
function combinations(labels: NonNullable<MetricSpec['labels']>): readonly Labels[] {
  return Object.entries(labels).reduce<readonly Labels[]>(
    (chosen, [label, values]) =>
      chosen.flatMap((before) => values.map((value) => ({ ...before, [label]: value }))),
    [{}],
  );
}
