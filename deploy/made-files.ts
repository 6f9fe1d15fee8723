import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { accountsConfig, WORKERS, workStream } from '@heddle/adapters/nats';
import { DRAIN_MS } from '@heddle/cli';
import { VERSION } from '@heddle/core';
import { NATS_USERS, readConfig } from 'heddle';
import { stringify } from 'yaml';
import { RUNBOOK_URL } from './observability/rule-files.ts';

const MADE =
  '# Made by `node deploy/make.ts` of what the code uses; a test compares. Change that, not this.\n';
const CHART = 'helm/heddle/files';

/** Files of this folder that say what the code says: path from here → text. */
export function madeFiles(): ReadonlyMap<string, string> {
  return new Map([
    ['nats/accounts.conf', MADE + accountsConfig(NATS_USERS)],
    [`${CHART}/facts.yaml`, MADE + stringify(chartFacts())],
    ...observability('rules', '.yaml'),
    ...observability('dashboards', '.json'),
  ]);
}

/** What the chart must not say by itself: its templates read it here. */
export function chartFacts() {
  const { grpcPort, httpPort } = readConfig({});
  const queueOf = (queue: string) => ({
    kind: queue.replace(/^tasks\./, ''),
    // Without the prefix, which is a value of the chart.
    stream: workStream('', queue),
  });
  return {
    version: VERSION,
    drainSeconds: DRAIN_MS / 1000,
    consumer: WORKERS,
    runbookUrl: RUNBOOK_URL,
    // NATS' own, as deploy/nats and the official chart leave them.
    ports: { grpc: grpcPort, http: httpPort, natsClient: 4222, natsRoute: 6222, natsMonitor: 8222 },
    services: Object.fromEntries(
      NATS_USERS.map(({ name, queues }) => [name, { queues: queues.map(queueOf) }]),
    ),
  };
}

/** Helm packs what lies in the chart's folder and nothing else. */
function observability(folder: string, ending: string): (readonly [string, string])[] {
  const from = new URL(`observability/${folder}/`, import.meta.url);
  if (!existsSync(from)) return [];
  const names = readdirSync(from).filter((name) => name.endsWith(ending));
  return names.map((name) => [
    `${CHART}/${folder}/${name}`,
    readFileSync(new URL(name, from), 'utf8'),
  ]);
}
