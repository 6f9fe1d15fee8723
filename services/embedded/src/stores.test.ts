import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@heddle/adapters/clock';
import { PromMetrics } from '@heddle/adapters/prom';
import {
  type LogLine,
  launchCommand,
  listens,
  missingServer,
  recordingLog,
  SERVERS,
  serverPath,
  stablePort,
  temporaryFolder,
  until,
} from '@heddle/testkit';
import { readConfig } from './config.ts';
import { openStores } from './stores.ts';

const missing = missingServer(SERVERS.natsCurrent);
const skip = missing === undefined ? {} : { skip: missing };

test(
  'a NATS without JetStream is waited for as what it is, not as one that does not answer',
  skip,
  async () => {
    const { path, remove } = await temporaryFolder();
    const port = await stablePort();
    const listen = ['-a', '127.0.0.1', '-p', `${port}`];
    const server = launchCommand([serverPath(SERVERS.natsCurrent), ...listen]);
    await until(`nats-server on ${port}`, () => listens(port));
    const lines: LogLine[] = [];
    const told = new AbortController();
    const recorded = recordingLog(lines);
    const log = {
      ...recorded,
      warn: (message: string, fields = {}) => {
        recorded.warn(message, fields);
        told.abort('told');
      },
    };
    const opening = openStores(readConfig({ HEDDLE_NATS: `nats://127.0.0.1:${port}` }), {
      ...{ dataDirectory: path, clock: systemClock, log, metrics: new PromMetrics() },
      signal: told.signal,
    });
    await assert.rejects(opening, { code: 'unavailable', message: /must run with JetStream/ });
    assert.deepEqual(
      lines.map(({ message }) => message),
      ['NATS answers and cannot be used; trying again'],
    );
    server.kill('SIGKILL');
    await server.exited;
    await remove();
  },
);
