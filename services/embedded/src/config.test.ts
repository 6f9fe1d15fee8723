import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from './config.ts';

test('an empty environment is a laptop: loopback, CPU, one thread, models from anywhere', () => {
  const config = readConfig({});
  assert.equal(config.host, '127.0.0.1');
  assert.deepEqual(config.providers, ['cpu']);
  assert.equal(config.engineThreads, 1);
  assert.equal(config.jobBytesMax, undefined);
  assert.deepEqual(config.modelRoots, []);
  assert.ok(Object.isFrozen(config));
});

test('what is set is read, in its unit', () => {
  const config = readConfig({
    HEDDLE_PROVIDERS: 'cuda,cpu',
    HEDDLE_CACHE_GIB: '2',
    HEDDLE_JOB_GIB: '3',
    HEDDLE_MODEL_ROOTS: '/models:/more',
    HEDDLE_LOG_LEVEL: 'debug',
    HEDDLE_PEERS: 'activation=10.0.0.1:7411',
  });
  assert.deepEqual(config.providers, ['cuda', 'cpu']);
  assert.equal(config.engineCacheBytes, 2 ** 31);
  assert.equal(config.jobBytesMax, 3 * 2 ** 30);
  assert.deepEqual(config.modelRoots, ['/models', '/more']);
  assert.equal(config.logLevel, 'debug');
  assert.deepEqual([...config.peers], [['activation', '10.0.0.1:7411']]);
});

test('every variable that is wrong is named at once', () => {
  const environment = {
    HEDDLE_PORT: 'x',
    HEDDLE_THREADS: '0',
    HEDDLE_PROVIDERS: 'tpu',
    HEDDLE_PEERS: 'x',
  };
  assert.throws(() => readConfig(environment), {
    code: 'invalid_argument',
    message: /HEDDLE_PORT.*HEDDLE_PROVIDERS: tpu.*HEDDLE_THREADS.*HEDDLE_PEERS/,
  });
});
