import { BATCH_DELAY_MS, EXPORT_TIMEOUT_MS } from './limits.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export const SAMPLERS = [
  ...['always_on', 'always_off', 'traceidratio'],
  ...['parentbased_always_on', 'parentbased_always_off', 'parentbased_traceidratio'],
] as const;

/** What OpenTelemetry's own variables ask for. Certificates and compression its exporter reads itself, of the process. */
export interface TracingSettings {
  /** The whole URL that spans are posted to. */
  readonly url: string;
  /** Of each export; may be secrets. */
  readonly headers: Readonly<Record<string, string>>;
  /** Undefined: what the process does decides. */
  readonly serviceName: string | undefined;
  readonly resource: Readonly<Record<string, string>>;
  readonly sampler: string;
  /** Of traces that begin here, for the samplers that take one. */
  readonly ratio: number;
  readonly batchDelayMs: number;
  readonly timeoutMs: number;
}

/**
 * Undefined: nothing is traced, because nobody asked for it, or because of what `problems` then says. A setting that cannot be used
 * is told and never an error: a process must not stay down for the sake of its traces.
 */
export function readTracing(environment: Environment): {
  readonly settings: TracingSettings | undefined;
  readonly problems: readonly string[];
} {
  const read = (name: string): string | undefined => environment[name]?.trim() || undefined;
  const own = read('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT');
  const shared = read('OTEL_EXPORTER_OTLP_ENDPOINT');
  const endpoint = own ?? shared?.replace(/\/?$/, '/v1/traces');
  const exporter = read('OTEL_TRACES_EXPORTER')?.toLowerCase() ?? 'otlp';
  const isDisabled = read('OTEL_SDK_DISABLED')?.toLowerCase() === 'true';
  if (endpoint === undefined || exporter === 'none' || isDisabled) return off();
  if (exporter !== 'otlp') return off(`OTEL_TRACES_EXPORTER=${exporter} is neither otlp nor none`);
  const protocol =
    read('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL') ?? read('OTEL_EXPORTER_OTLP_PROTOCOL');
  if (protocol === 'grpc') {
    return off('OTEL_EXPORTER_OTLP_PROTOCOL=grpc: heddle sends http/json, to port 4318 as a rule');
  }
  if (!/^https?:$/.test(URL.parse(endpoint)?.protocol ?? '')) {
    return off('OTEL_EXPORTER_OTLP_ENDPOINT is no http:// or https:// address');
  }
  const problems: string[] = [];
  const number = (name: string, fallback: number, max: number, min = 0): number => {
    const value = Number(read(name) ?? fallback);
    if (value >= min && value <= max) return value;
    problems.push(`${name}=${read(name)} is no number from ${min} to ${max}: ${fallback} it is`);
    return fallback;
  };
  const pairs = (name: string) => readPairs(name, read(name) ?? '', problems);
  const settings: TracingSettings = {
    url: endpoint,
    serviceName: read('OTEL_SERVICE_NAME'),
    headers: {
      ...pairs('OTEL_EXPORTER_OTLP_HEADERS'),
      ...pairs('OTEL_EXPORTER_OTLP_TRACES_HEADERS'),
    },
    resource: pairs('OTEL_RESOURCE_ATTRIBUTES'),
    sampler: readSampler(read('OTEL_TRACES_SAMPLER'), problems),
    ratio: number('OTEL_TRACES_SAMPLER_ARG', 1, 1),
    batchDelayMs: number('OTEL_BSP_SCHEDULE_DELAY', BATCH_DELAY_MS, 60_000, 1),
    timeoutMs: number('OTEL_EXPORTER_OTLP_TIMEOUT', EXPORT_TIMEOUT_MS, 60_000, 1),
  };
  return { settings, problems };
}

const off = (...problems: readonly string[]) => ({ settings: undefined, problems });

function readSampler(name: string | undefined, problems: string[]): string {
  const fallback = 'parentbased_always_on';
  if (name === undefined || SAMPLERS.some((known) => known === name)) return name ?? fallback;
  problems.push(`OTEL_TRACES_SAMPLER=${name} is none of ${SAMPLERS.join(', ')}: ${fallback} it is`);
  return fallback;
}

/** `key=value,key=value`, percent-encoded as W3C Baggage is. */
function readPairs(
  name: string,
  text: string,
  problems: string[],
): Readonly<Record<string, string>> {
  const attributes: Record<string, string> = {};
  for (const pair of text.split(',').filter((part) => part.trim() !== '')) {
    const [, key, value] = /^\s*([^=\s]+)\s*=(.*)$/.exec(pair) ?? [];
    try {
      if (key === undefined || value === undefined) throw new Error('no pair');
      attributes[key] = decodeURIComponent(value.trim());
    } catch {
      problems.push(`${name} has a part that is no key=value`);
    }
  }
  return attributes;
}
