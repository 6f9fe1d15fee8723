import { assert } from '@heddle/core';
import type { Events, Log, MetricSpec, Metrics } from '@heddle/ports';

/** A log that nobody reads. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A log that a test reads. */
export function recordingLog(lines: LogLine[], bound: LogLine['fields'] = {}): Log {
  const at =
    (level: LogLine['level']) =>
    (message: string, fields: LogLine['fields'] = {}): void => {
      lines.push({ level, message, fields: { ...bound, ...fields } });
    };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => recordingLog(lines, { ...bound, ...fields }),
  };
}

/** Counts in memory; asserts, as the real registry does, that only what is in the catalogue is recorded. */
export class CountingMetrics implements Metrics {
  private readonly specs = new Map<string, MetricSpec>();
  private readonly values = new Map<string, number>();

  register(catalogue: readonly MetricSpec[]): void {
    for (const spec of catalogue) this.specs.set(spec.name, spec);
  }

  add(name: string, amount: number, labels: Readonly<Record<string, string>> = {}): void {
    const key = this.key(name, labels);
    this.values.set(key, (this.values.get(key) ?? 0) + amount);
  }

  set(name: string, value: number, labels: Readonly<Record<string, string>> = {}): void {
    this.values.set(this.key(name, labels), value);
  }

  observe(name: string, _value: number, labels: Readonly<Record<string, string>> = {}): void {
    this.add(name, 1, labels);
  }

  /** Sum over all labels that match. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number {
    let sum = 0;
    for (const [key, value] of this.values) {
      const [found, ...pairs] = key.split('|');
      const matches = Object.entries(labels).every(([k, v]) => pairs.includes(`${k}=${v}`));
      if (found === name && matches) sum += value;
    }
    return sum;
  }

  async text(): Promise<string> {
    return [...this.values].map(([key, value]) => `${key} ${value}`).join('\n');
  }

  private key(name: string, labels: Readonly<Record<string, string>>): string {
    const spec = this.specs.get(name);
    assert(spec !== undefined, () => `${name} is not in the catalogue`);
    for (const [label, value] of Object.entries(labels)) {
      assert(
        spec.labels?.[label]?.includes(value),
        () => `${name} has no ${label}=${value} in the catalogue`,
      );
    }
    return [name, ...Object.entries(labels).map(([k, v]) => `${k}=${v}`)].join('|');
  }
}

/** Events that reach nobody. */
export const deafEvents: Events = {
  publish: () => undefined,
  async *subscribe() {
    // nobody speaks
  },
};
