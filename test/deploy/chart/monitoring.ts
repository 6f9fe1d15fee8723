import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { ruleFiles } from '../../../deploy/observability/rule-files.ts';
import { POD_RELABELINGS, SCRAPE_SECONDS } from '../../../deploy/observability/targets.ts';
import { PAGES } from './containers.ts';
import { type Manifest, ofKind, selects, workloads } from './manifests.ts';

/** Whether Prometheus finds every pod, and calls it as the rules and dashboards do. */
export function monitoringComplaints(manifests: readonly Manifest[]): readonly string[] {
  const monitors = ofKind(manifests, 'ServiceMonitor');
  const made = [...rulesAreOurs(manifests), ...dashboardsAreOurs(manifests)];
  if (monitors.length === 0) return made;
  const pods = workloads(manifests);
  const scraped = ofKind(manifests, 'Service').filter(({ metadata }) =>
    monitors.some(({ spec }) => selects(spec.selector.matchLabels, metadata.labels ?? {})),
  );
  const counts = pods.map(({ name, labels }) => {
    const count = scraped.filter(({ spec }) => selects(spec?.selector, labels)).length;
    return count === 1 ? [] : [`${name} is scraped ${count} times`];
  });
  const endpoints = monitors.flatMap(({ spec }) => spec.endpoints);
  return [
    ...counts.flat(),
    ...made,
    ...scraped
      .filter(({ spec }) => !spec?.ports?.some(({ name }) => name === endpoints[0]?.port))
      .map(({ metadata }) => `${metadata.name} has no port ${endpoints[0]?.port}`),
    ...endpoints.flatMap(({ path, scheme, interval, relabelings, tlsConfig }) => [
      ...(PAGES.some((page) => page === path) ? [] : [`Prometheus asks for ${path}`]),
      ...(scheme === (pods[0]?.env['HEDDLE_TLS_DIR'] === undefined ? 'http' : 'https')
        ? []
        : [`Prometheus speaks ${scheme}`]),
      ...(interval === `${SCRAPE_SECONDS}s` ? [] : [`every ${interval}`]),
      ...(isDeepStrictEqual(relabelings, POD_RELABELINGS) ? [] : ['targets have other labels']),
      ...certified(manifests, tlsConfig?.serverName),
    ]),
  ];
}

/** The one name that Prometheus expects of all is in every certificate. */
function certified(manifests: readonly Manifest[], serverName: string | undefined): string[] {
  return ofKind(manifests, 'Certificate')
    .filter(({ spec }) => !spec?.dnsNames?.includes(serverName ?? ''))
    .map(({ metadata }) => `Prometheus expects ${serverName} of ${metadata.name}`);
}

/** Rules are those that promtool was asked about, metric by metric: `monitoring-rules.test.ts`. */
function rulesAreOurs(manifests: readonly Manifest[]): string[] {
  const files = ruleFiles();
  return ofKind(manifests, 'PrometheusRule').flatMap(({ metadata: { name }, spec }) => {
    const file = [...files].find(([path]) =>
      name.endsWith(`-${path.replace(/^rules\/|\.yaml$/g, '')}`),
    );
    const same = file !== undefined && isDeepStrictEqual(spec, parse(file[1]));
    return same ? [] : [`the rules of ${name} are not those of deploy/observability`];
  });
}

const DASHBOARDS = new URL('../../../deploy/observability/dashboards/', import.meta.url);

/** Every dashboard is in a ConfigMap that Grafana's sidecar finds, whole. */
function dashboardsAreOurs(manifests: readonly Manifest[]): string[] {
  const files = existsSync(DASHBOARDS) ? readdirSync(DASHBOARDS) : [];
  const maps = ofKind(manifests, 'ConfigMap').filter(
    ({ metadata }) => metadata.labels?.['grafana_dashboard'] === '1',
  );
  return files
    .filter((file) => file.endsWith('.json'))
    .filter((file) => {
      const text = maps.map(({ data }) => data?.[file]).find((found) => found !== undefined);
      return text !== readFileSync(new URL(file, DASHBOARDS), 'utf8');
    })
    .map((file) => `dashboard ${file} is in no ConfigMap, or is another`);
}
