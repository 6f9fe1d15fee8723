import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from './config.ts';
import type { Environment } from './environment.ts';
import { describeStores } from './store-config.ts';

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
  assert.deepEqual([...config.peers], [['activation', ['10.0.0.1:7411']]]);
});

test('a contract that is named again has several addresses; a name of several is given alone', () => {
  const peers = 'qk=10.0.0.1:1,lorsa=dns:///lorsa:7411,qk=10.0.0.2:1';
  assert.deepEqual(
    [...readConfig({ HEDDLE_PEERS: peers }).peers],
    [
      ['qk', ['10.0.0.1:1', '10.0.0.2:1']],
      ['lorsa', ['dns:///lorsa:7411']],
    ],
  );
  assert.throws(() => readConfig({ HEDDLE_PEERS: 'qk=qk-0:1,qk=qk-1:1' }), /dns:\/\/\/NAME:PORT/);
});

test('without NATS a process keeps its own stores; with it, what replicas share', () => {
  assert.deepEqual(readConfig({}).stores, {
    nats: undefined,
    blobs: { kind: 'directory', path: undefined },
    blobCacheBytes: 8 * 2 ** 30,
  });
  const { nats, blobs } = readConfig({
    HEDDLE_NATS: 'nats://a:4222,tls://b:4222',
    HEDDLE_NATS_REPLICAS: '3',
    HEDDLE_NATS_SYNC_ALWAYS: '1',
    HEDDLE_NATS_MONITORS: 'http://a:8222',
  }).stores;
  assert.deepEqual(nats?.servers, ['nats://a:4222', 'tls://b:4222']);
  assert.equal(nats?.replicas, 3);
  assert.equal(nats?.syncAlways, true);
  assert.deepEqual(nats?.monitors, ['http://a:8222']);
  assert.equal(nats?.prefix, 'heddle');
  assert.deepEqual(
    blobs,
    { kind: 'nats' },
    'a folder of its own would be seen by no other replica',
  );
});

test('blobs are in a bucket under a prefix, in NATS, or in a directory', () => {
  const blobsOf = (HEDDLE_BLOBS: string, more = {}) =>
    readConfig({ HEDDLE_BLOBS, ...more }).stores.blobs;
  assert.deepEqual(blobsOf('s3://things'), {
    ...{ kind: 's3', bucket: 'things' },
    ...{ prefix: 'heddle/', endpoint: undefined, region: undefined },
  });
  assert.deepEqual(
    blobsOf('s3://things/of/ours/', {
      HEDDLE_S3_ENDPOINT: 'http://minio:9000',
      AWS_REGION: 'eu-west-1',
    }),
    {
      ...{ kind: 's3', bucket: 'things' },
      ...{ prefix: 'of/ours/', endpoint: 'http://minio:9000', region: 'eu-west-1' },
    },
  );
  assert.deepEqual(blobsOf('/mnt/shared'), { kind: 'directory', path: '/mnt/shared' });
  assert.throws(() => blobsOf('gs://things'), /HEDDLE_BLOBS=gs:\/\/things/);
  assert.throws(() => blobsOf('s3:things'), /HEDDLE_BLOBS=s3:things is neither/);
  assert.throws(() => blobsOf('nats'), /needs HEDDLE_NATS/);
});

test('what Kubernetes says of a Service that is called heddle is no port of ours', () => {
  const { grpcPort, httpPort } = readConfig({
    HEDDLE_PORT: 'tcp://10.96.0.7:7411',
    HEDDLE_HTTP_PORT: 'tcp://10.96.0.8:7412',
  });
  assert.deepEqual([grpcPort, httpPort], [7411, 7412]);
  assert.throws(() => readConfig({ HEDDLE_PORT: 'http://10.96.0.7:7411' }), /HEDDLE_PORT/);
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

test('variables that nothing reads are named with what was likely meant, but for those that others set', () => {
  const { unread } = readConfig({
    ...{ HEDDLE_NATZ: 'nats://a:4222', HEDDLE_THREADS: '2', HEDDLE_TOKEN: 'x' },
    ...{ HEDDLE_NATS_URL: 'nats://a:4222', HEDLE_BLOBS: 's3://b', heddle_peers: 'x' },
    ...{ HEDDLE_COLOUR: 'blue', HOME: '/', PATH: '/bin', OTEL_SERVICE_NAME: 'x' },
    ...{ HEDDLE_PORT_7411_TCP_ADDR: '10.0.0.1', HEDDLE_SERVICE_HOST: '10.0.0.1' },
    ...{ HEDDLE_EXPLORER_PORT: 'tcp://10.0.0.1:7411', HEDDLE_EXPLORER_SERVICE_PORT_GRPC: '7411' },
  });
  assert.deepEqual(unread, [
    'HEDDLE_COLOUR',
    'HEDDLE_NATS_URL (HEDDLE_NATS?)',
    'HEDDLE_NATZ (HEDDLE_NATS?)',
    'HEDLE_BLOBS (HEDDLE_BLOBS?)',
    'heddle_peers (HEDDLE_PEERS?)',
  ]);
});

test('a log says which stores a process uses, and no secret of their addresses', () => {
  const said = (environment: Environment) =>
    describeStores(readConfig(environment).stores, '/data');
  assert.deepEqual(said({}), { journal: '/data/heddle.sqlite', blobs: '/data/blobs' });
  const shared = said({
    HEDDLE_NATS: 'nats://user:secret@a:4222,tls://b:4222',
    HEDDLE_BLOBS: 's3://things',
    HEDDLE_S3_ENDPOINT: 'http://key:secret@minio:9000',
  });
  const blobs = 's3://things/heddle/ at http://minio:9000';
  assert.deepEqual(shared, { journal: 'nats://a:4222, tls://b:4222', blobs });
  const own = said({ HEDDLE_NATS: 'nats://a:4222' });
  assert.equal(own.blobs, 'NATS');
});

test('who only accepts jobs must share queues with whoever works on them', () => {
  assert.equal(readConfig({}).works, true);
  assert.equal(readConfig({ HEDDLE_WORK: 'none', HEDDLE_NATS: 'nats://a:4222' }).works, false);
  assert.throws(() => readConfig({ HEDDLE_WORK: 'none' }), /HEDDLE_WORK=none needs HEDDLE_NATS/);
  assert.throws(
    () => readConfig({ HEDDLE_WORK: 'some' }),
    /HEDDLE_WORK: some is none of all, none/,
  );
});
