import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { missingServer, SERVERS, serverPath } from '@heddle/testkit';
import { parseAllDocuments } from 'yaml';
import type { Manifest } from './manifests.ts';

export const CHART = fileURLToPath(new URL('../../../deploy/helm/heddle', import.meta.url));
/** `values-prod.yaml` …: what operators begin with, beside values.yaml alone. */
export const VALUES_FILES: readonly string[] = readdirSync(CHART)
  .filter((name) => /^values-.*\.yaml$/.test(name))
  .sort();

/** Everything that can be turned on, at once. */
export const EVERYTHING = fileURLToPath(new URL('everything.yaml', import.meta.url));

/** Why there is no helm; undefined: there is. */
export const missingHelm = (): string | undefined => missingServer(SERVERS.helm);

/** Kinds of a cluster with the operators that the chart knows. */
const OPERATORS = ['ServiceMonitor', 'PrometheusRule'].flatMap((kind) => [
  '--api-versions',
  `monitoring.coreos.com/v1/${kind}`,
]);

export interface RenderOptions {
  readonly chart?: string;
  readonly files?: readonly string[];
  /** `a.b=c`, as JSON: `--set-json`. */
  readonly set?: readonly string[];
  readonly release?: string;
  /** Without: no custom resource of the Prometheus operator. */
  readonly operators?: boolean;
}

const OUTPUT_BYTES_MAX = 64 * 2 ** 20;

function args({ chart = CHART, files = [], set = [], operators = true }: RenderOptions): string[] {
  return [
    ...[chart, '--namespace', 'heddle'],
    ...files.flatMap((file) => ['-f', resolve(CHART, file)]),
    ...set.flatMap((value) => ['--set-json', value]),
    ...(operators ? OPERATORS : []),
  ];
}

export function renderText(options: RenderOptions = {}): string {
  const command = ['template', options.release ?? 'heddle', ...args(options)];
  return execFileSync(serverPath(SERVERS.helm), command, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: OUTPUT_BYTES_MAX,
  });
}

/** The documents of the rendered chart, as the API server would read them. */
export function render(options: RenderOptions = {}): readonly Manifest[] {
  // Helm and the API server read YAML 1.1: 0440 is octal there.
  return parseAllDocuments(renderText(options), { version: '1.1' })
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);
}

/** What helm says to these values; undefined: nothing, it takes them. */
export function refusal(options: RenderOptions): string | undefined {
  const command = ['template', 'heddle', ...args(options)];
  const { status, stderr } = spawnSync(serverPath(SERVERS.helm), command, {
    encoding: 'utf8',
    maxBuffer: OUTPUT_BYTES_MAX,
  });
  return status === 0 ? undefined : stderr;
}

/** `helm lint --strict`: what it says, and whether it is content. */
export function lint(files: readonly string[]): { readonly ok: boolean; readonly said: string } {
  const values = files.flatMap((file) => ['-f', resolve(CHART, file)]);
  const command = ['lint', '--strict', CHART, '--namespace', 'heddle', ...values];
  const { status, stdout, stderr } = spawnSync(serverPath(SERVERS.helm), command, {
    encoding: 'utf8',
  });
  return { ok: status === 0, said: stdout + stderr };
}
