import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTracing } from './settings.ts';

const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };
const settingsOf = (more: Readonly<Record<string, string>>) =>
  readTracing({ ...endpoint, ...more }).settings;

test('nothing is traced unless an endpoint is named, and not where it is switched off', () => {
  for (const environment of [
    {},
    { OTEL_EXPORTER_OTLP_ENDPOINT: '' },
    { OTEL_SERVICE_NAME: 'x', OTEL_TRACES_EXPORTER: 'otlp' },
    { ...endpoint, OTEL_TRACES_EXPORTER: 'none' },
    { ...endpoint, OTEL_SDK_DISABLED: 'TRUE' },
  ]) {
    assert.deepEqual(readTracing(environment), { settings: undefined, problems: [] });
  }
});

test('spans go to /v1/traces of the endpoint, or to the whole address where one is given', () => {
  assert.equal(settingsOf({})?.url, 'http://collector:4318/v1/traces');
  const slash = { OTEL_EXPORTER_OTLP_ENDPOINT: 'https://collector/otlp/' };
  assert.equal(settingsOf(slash)?.url, 'https://collector/otlp/v1/traces');
  const whole = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://tempo:4318/x' };
  assert.equal(settingsOf(whole)?.url, 'http://tempo:4318/x');
});

test('name, attributes, sampler and times are read as OpenTelemetry writes them', () => {
  const read = settingsOf({
    OTEL_SERVICE_NAME: 'heddle-x',
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20x,a=1',
    OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'a=2',
    OTEL_RESOURCE_ATTRIBUTES: 'k8s.pod.name=a-0, team = one%2Ctwo ,',
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.25',
    OTEL_BSP_SCHEDULE_DELAY: '50',
    OTEL_EXPORTER_OTLP_TIMEOUT: '700',
  });
  assert.deepEqual(read, {
    url: 'http://collector:4318/v1/traces',
    headers: { authorization: 'Bearer x', a: '2' },
    serviceName: 'heddle-x',
    resource: { 'k8s.pod.name': 'a-0', team: 'one,two' },
    sampler: 'parentbased_traceidratio',
    ratio: 0.25,
    batchDelayMs: 50,
    timeoutMs: 700,
  });
});

test('what cannot be used is told, with what happens instead, and stops nothing', () => {
  const problem = (more: Readonly<Record<string, string>>) => readTracing({ ...endpoint, ...more });
  const grpc = problem({ OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' });
  assert.equal(grpc.settings, undefined);
  assert.match(grpc.problems.join(), /4318/);
  assert.equal(problem({ OTEL_TRACES_EXPORTER: 'zipkin' }).settings, undefined);
  assert.equal(problem({ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317' }).settings, undefined);
  const odd = problem({
    OTEL_TRACES_SAMPLER: 'jaeger_remote',
    OTEL_TRACES_SAMPLER_ARG: '7',
    OTEL_RESOURCE_ATTRIBUTES: 'a',
    OTEL_BSP_SCHEDULE_DELAY: 'soon',
  });
  assert.equal(odd.problems.length, 4);
  assert.equal(odd.settings?.sampler, 'parentbased_always_on');
  assert.equal(odd.settings?.ratio, 1);
});
