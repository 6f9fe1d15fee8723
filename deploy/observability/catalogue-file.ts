import type { MetricSpec } from '@heddle/ports';
import { RECORDINGS } from './alerts/index.ts';
import { metricsOf, nodeMetrics, SERVICES } from './catalogue.ts';
import { OUTSIDE_METRICS } from './outside.ts';

/** Labels of which a table shows all values; of more it shows how many. */
const VALUES_MAX = 8;

const HEAD = `# Metrics

Made by \`node deploy/observability/make.ts\` of the catalogues in the code; a test compares, and another compares these with what
every service exposes when it runs. Labels are closed sets: no ids, prompts or tenants. Counters of few series begin at 0.
What a scrape adds to each (\`job\`, \`service\`, \`role\`, \`namespace\`, \`instance\`) is in [\`targets.ts\`](targets.ts).
`;

/** METRICS.md: which metric is what, and who exposes it. */
export async function catalogueFile(): Promise<string> {
  const rows = new Map<string, { readonly spec: MetricSpec; readonly services: string[] }>();
  for (const service of SERVICES) {
    for (const spec of metricsOf(service, { tls: true })) {
      const known = rows.get(spec.name) ?? { spec, services: [] };
      known.services.push(service);
      rows.set(spec.name, known);
    }
  }
  const sections = new Map<string, string[]>();
  for (const { spec, services } of rows.values()) {
    const room = roomOf(spec.name);
    const section = sections.get(room) ?? [];
    sections.set(room, section);
    section.push(rowOf(spec, services));
  }
  const own = [...sections].map(([room, lines]) => [
    `## ${room}\n`,
    '| metric | kind | unit | labels | exposed by | what it says |',
    '| --- | --- | --- | --- | --- | --- |',
    ...lines,
  ]);
  return `${[HEAD, ...own.map((lines) => `${lines.join('\n')}\n`), await nodeSection(), recordingSection(), outsideSection()].join('\n')}`;
}

const roomOf = (name: string): string =>
  /^(attribution_service|circuit_tracer|lorsa_trainer|qk_analyzer|nats_server)_/.exec(name)?.[1] ??
  (name.split('_')[0] as string);

function rowOf({ name, kind, unit, help, labels = {} }: MetricSpec, services: string[]): string {
  const shown = Object.entries(labels).map(
    ([label, values]) => `\`${label}\`: ${valuesOf(label, values)}`,
  );
  return `| \`${name}\` | ${kind} | ${unit} | ${shown.join('<br>')} | ${whoOf(services)} | ${help} |`;
}

function whoOf(services: readonly string[]): string {
  if (services.length === SERVICES.length) return 'all';
  return services.length === SERVICES.length - 1 && !services.includes('explorer')
    ? 'all but explorer'
    : services.join(', ');
}

function valuesOf(label: string, values: readonly string[]): string {
  if (label === 'version' || label === 'node') return 'of the process';
  if (label === 'kind') return 'kinds of the service';
  return values.length > VALUES_MAX ? `${values.length} values` : values.join(', ');
}

async function nodeSection(): Promise<string> {
  const lines = (await nodeMetrics()).map(
    ({ name, kind, help }) => `| \`${name}\` | ${kind} | ${help} |`,
  );
  const head = '## Node, in every process\n\n| metric | kind | what it says |\n| --- | --- | --- |';
  return `${[head, ...lines].join('\n')}\n`;
}

function recordingSection(): string {
  const lines = RECORDINGS.map(
    ({ record, expr }) => `| \`${record}\` | \`${expr.replaceAll('|', '\\|')}\` |`,
  );
  const head = '## Recorded by rules/recording.yaml\n\n| series | of |\n| --- | --- |';
  return `${[head, ...lines].join('\n')}\n`;
}

function outsideSection(): string {
  const lines = OUTSIDE_METRICS.map(
    ({ name, source, labels }) => `| \`${name}\` | ${source} | ${labels.join(', ')} |`,
  );
  const head =
    '## From others, where they are installed\n\n| metric | source | labels that we use |\n| --- | --- | --- |';
  return `${[head, ...lines].join('\n')}\n`;
}
