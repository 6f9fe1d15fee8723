import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { launchCommand } from '../processes/launch.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { SERVERS, serverPath } from './binaries.ts';
import { freePort, until } from './free-port.ts';
import { isAnswered, untilUp } from './until-up.ts';

export interface PrometheusOptions {
  /** `scrape_configs`. */
  readonly scrapes: readonly object[];
  /** File name → text, as `rule_files` has them. Groups are evaluated as often as targets are scraped, whatever they say. */
  readonly rules: ReadonlyMap<string, string>;
  /** Between scrapes, and between evaluations. */
  readonly everySeconds: number;
}

export interface Prometheus {
  /** `data` of an answer of its API: `query`, `targets`. */
  ask<T>(path: string, parameters?: Readonly<Record<string, string>>): Promise<T>;
  /** The labels of what an expression gives now. */
  labelsOf(query: string): Promise<readonly Readonly<Record<string, string>>[]>;
  /** Every target is up and scraped, and every rule evaluated, after now. */
  caughtUp(): Promise<void>;
  stop(): Promise<void>;
}

const READY_MS = 30_000;
const CAUGHT_UP_MS = 60_000;

/** A real Prometheus, ready when this resolves. */
export async function startPrometheus(options: PrometheusOptions): Promise<Prometheus> {
  const folder = await temporaryFolder();
  const every = `${options.everySeconds}s`;
  for (const [name, text] of options.rules) {
    const quick = text.replaceAll(/interval: \w+/g, `interval: ${every}`);
    await writeFile(join(folder.path, `${name}.rules.yaml`), quick);
  }
  const config = {
    global: { scrape_interval: every, scrape_timeout: every, evaluation_interval: every },
    rule_files: ['*.rules.yaml'],
    scrape_configs: options.scrapes,
  };
  const file = join(folder.path, 'prometheus.yaml');
  await writeFile(file, JSON.stringify(config)); // JSON is YAML
  const address = `127.0.0.1:${await freePort()}`;
  const child = launchCommand([
    serverPath(SERVERS.prometheus),
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(folder.path, 'data')}`,
    `--web.listen-address=${address}`,
    '--log.level=warn',
  ]);
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await child.exited;
    await folder.remove();
  };
  const isReady = () => isAnswered(`http://${address}/-/ready`);
  try {
    await untilUp('Prometheus is ready', child, isReady, { withinMs: READY_MS });
  } catch (error) {
    await stop();
    throw error;
  }
  const ask: Prometheus['ask'] = (path, parameters = {}) =>
    answerOf(`http://${address}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const labelsOf: Prometheus['labelsOf'] = async (query) => {
    type Vector = { readonly metric: Readonly<Record<string, string>> };
    const { result } = await ask<{ readonly result: readonly Vector[] }>('query', { query });
    return result.map(({ metric }) => metric);
  };
  return { ask, labelsOf, caughtUp: () => caughtUp(ask), stop };
}

async function answerOf<T>(url: string): Promise<T> {
  type Answer = { readonly status: string; readonly data: T; readonly error?: string };
  const { status, data, error } = (await (await fetch(url)).json()) as Answer;
  if (status !== 'success') throw new Error(`${decodeURIComponent(url)}: ${error}`);
  return data;
}

/** Looks of every target, and then two of every rule: of the recordings, and of what rests on them. */
async function caughtUp(ask: Prometheus['ask']): Promise<void> {
  const scraped = async (): Promise<readonly string[]> => {
    const { activeTargets } = await ask<{
      readonly activeTargets: readonly { readonly lastScrape: string; readonly health: string }[];
    }>('targets');
    // One that was too late on a busy machine has not been seen.
    return activeTargets.map(({ lastScrape, health }) => (health === 'up' ? lastScrape : ''));
  };
  const evaluated = async (): Promise<readonly string[]> => {
    const { groups } = await ask<{
      readonly groups: readonly { readonly lastEvaluation: string }[];
    }>('rules');
    return groups.map(({ lastEvaluation }) => lastEvaluation);
  };
  for (const times of [scraped, evaluated, evaluated]) {
    const fromMs = Date.now();
    const isPast = async () => {
      const all = await times();
      return all.length > 0 && all.every((time) => Date.parse(time) > fromMs);
    };
    await until('Prometheus keeps up', isPast, { withinMs: CAUGHT_UP_MS });
  }
}
