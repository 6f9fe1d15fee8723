/** Against a server that speaks the hub's API, and everything that goes wrong between here and one. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import type { OperationError } from '@heddle/core';
import type { ModelSource, SourceFile } from '@heddle/ports';
import { freePort } from '@heddle/testkit/servers/free-port';
import { HUB_TOKEN, type HubServer, startHub } from '@heddle/testkit/servers/hub-server';
import { hfModels } from './index.ts';

const COMMIT = 'a'.repeat(40);
const WEIGHTS = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251);
const text = (value: string) => new TextEncoder().encode(value);
const files = new Map([
  ['.gitattributes', text('*.safetensors filter=lfs')],
  ['README.md', text('a card')],
  ['config.json', text('{"model_type":"gpt2"}')],
  ['modeling_evil.py', text('import os')],
  ['model.safetensors', WEIGHTS],
  ['pytorch_model.bin', WEIGHTS.slice(0, 5000)],
  ['tokenizer.json', text('{}')],
  ['model.fp16.safetensors', WEIGHTS.slice(0, 9000)],
]);

let hub: HubServer;
before(async () => {
  const open = { commit: COMMIT, files };
  hub = await startHub([
    { ...open, name: 'o/plain', tags: ['v1', 'refs/pr/1'] },
    { ...open, name: 'o/private', isPrivate: true },
    { ...open, name: 'o/gated', isGated: true },
  ]);
});
after(() => hub.close());
beforeEach(() => {
  hub.requests.length = 0;
  hub.fault = () => undefined;
});

const models = (options: { token?: string; idleMs?: number } = {}) =>
  hfModels({ endpoint: hub.endpoint, ...options });

const fileOf = ({ files }: ModelSource, name: string) =>
  files.find((file) => file.name === name) as SourceFile;

async function bytesFrom(
  source: ModelSource,
  name: string,
  offset = 0,
  options = {},
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of models(options).read(source.source, fileOf(source, name), offset)) {
    chunks.push(chunk);
  }
  return Uint8Array.from(Buffer.concat(chunks));
}

test('a branch, a tag and no revision become the commit; a commit is itself and asks nobody', async () => {
  for (const reference of [
    'hf:o/plain',
    'hf:o/plain@main',
    'hf:o/plain@v1',
    'hf:o/plain@refs/pr/1',
  ]) {
    assert.equal(await models().pin(reference), `hf:o/plain@${COMMIT}`);
  }
  hub.requests.length = 0;
  assert.equal(await models().pin(`hf:o/plain@${COMMIT}`), `hf:o/plain@${COMMIT}`);
  assert.equal(hub.requests.length, 0);
});

test('what is no reference of a model is refused before anybody is asked', async () => {
  for (const wrong of [
    'hf:plain',
    'hf:o/plain@',
    'hf:o/../x',
    'hf:o/a..b',
    'hf:/x',
    'hf:o/x@../y',
    'hf:o/x?y',
  ]) {
    await assert.rejects(models().pin(wrong), { code: 'invalid_argument' }, wrong);
  }
  assert.equal(hub.requests.length, 0);
});

test('of a repository only the model is listed, over all pages: no code, no pickles, no second weights', async () => {
  const { source, files: listed } = await models().list(`hf:o/plain@${COMMIT}`);

  assert.equal(source, `hf:o/plain@${COMMIT}`);
  assert.deepEqual(
    listed.map(({ name }) => name),
    ['config.json', 'model.safetensors', 'tokenizer.json'],
  );
  assert.match(
    fileOf({ source, files: listed }, 'model.safetensors').check,
    /^sha256:[0-9a-f]{64}$/,
  );
  assert.match(fileOf({ source, files: listed }, 'config.json').check, /^git:[0-9a-f]{40}$/);
});

test('bytes come from the beginning, or from where they broke off, and no byte before', async () => {
  const source = await models().list(`hf:o/plain@${COMMIT}`);

  assert.deepEqual(await bytesFrom(source, 'model.safetensors'), WEIGHTS);
  hub.requests.length = 0;
  assert.deepEqual(await bytesFrom(source, 'model.safetensors', 150_001), WEIGHTS.slice(150_001));
  assert.equal(hub.sentBytes('model.safetensors'), 49_999);
  assert.deepEqual(await bytesFrom(source, 'config.json', 3), files.get('config.json')?.slice(3));
});

test('the token goes to the hub and not to where it redirects', async () => {
  const source = await models({ token: HUB_TOKEN }).list(`hf:o/private@${COMMIT}`);
  assert.deepEqual(await bytesFrom(source, 'model.safetensors', 0, { token: HUB_TOKEN }), WEIGHTS);

  const sent = (part: string) => hub.requests.filter((request) => request.part === part);
  assert.ok(sent('resolve').length > 0);
  assert.ok(sent('resolve').every(({ authorization }) => authorization === `Bearer ${HUB_TOKEN}`));
  assert.ok(sent('cdn').length > 0);
  assert.ok(sent('cdn').every(({ authorization }) => authorization === undefined));
});

const REFUSALS: readonly (readonly [string, string, string | undefined, string, RegExp])[] = [
  ['a model that is not there', 'hf:o/none', undefined, 'not_found', /check the name; .*HF_TOKEN/],
  ['a private model', 'hf:o/private', undefined, 'not_found', /HF_TOKEN/],
  ['a model that is not there, with a token', 'hf:o/none', HUB_TOKEN, 'not_found', /no such model/],
  ['a wrong token', 'hf:o/plain', 'hf_wrong', 'unauthenticated', /HF_TOKEN is not accepted/],
  [
    'a gated model',
    'hf:o/gated',
    HUB_TOKEN,
    'permission_denied',
    /consent: give it at http.*o\/gated/,
  ],
  ['a revision that is not there', 'hf:o/plain@v9', undefined, 'not_found', /no such revision/],
];
for (const [what, reference, token, code, words] of REFUSALS) {
  test(`${what} is refused in words that say what to do`, async () => {
    await assert.rejects(models(token ? { token } : {}).pin(reference), (error: OperationError) => {
      assert.equal(error.code, code, error.message);
      assert.match(error.message, words);
      assert.equal(error.retryable, false);
      return true;
    });
  });
}

test('too many requests and a server in trouble are retryable, with the delay that the server asks for', async () => {
  const cases = [
    [429, 'resource_exhausted'],
    [500, 'unavailable'],
    [503, 'unavailable'],
  ] as const;
  for (const [status, code] of cases) {
    hub.fault = () => ({ status, headers: { 'retry-after': '7' } });
    await assert.rejects(models().pin('hf:o/plain'), { code, retryable: true, retryAfterMs: 7000 });
  }
});

test('a cut connection, a silent one and an absent hub are unavailable and retryable', async () => {
  const source = await models().list(`hf:o/plain@${COMMIT}`);
  hub.fault = ({ range }) => (range === 'bytes=0-0' ? undefined : { cutAfter: 70_000 });
  await assert.rejects(bytesFrom(source, 'model.safetensors'), {
    code: 'unavailable',
    retryable: true,
  });

  hub.fault = ({ range }) => (range === 'bytes=0-0' ? undefined : { stallAfter: 70_000 });
  const idle = bytesFrom(source, 'model.safetensors', 0, { idleMs: 50 });
  await assert.rejects(idle, { code: 'unavailable', retryable: true });

  const absent = hfModels({ endpoint: `http://127.0.0.1:${await freePort()}` });
  await assert.rejects(absent.pin('hf:o/plain'), {
    code: 'unavailable',
    message: /127\.0\.0\.1:\d+ cannot be reached: ECONNREFUSED/,
  });
});

test('a server that sends other bytes than those asked for is told from one that goes on', async () => {
  const source = await models().list(`hf:o/plain@${COMMIT}`);
  hub.fault = ({ range }) => (range === 'bytes=0-0' ? undefined : { noRanges: true });

  await assert.rejects(bytesFrom(source, 'model.safetensors', 9), {
    code: 'failed_precondition',
    message: /serves no ranges/,
  });
});

test('a reader that has enough ends the download', async () => {
  const source = await models().list(`hf:o/plain@${COMMIT}`);
  hub.fault = ({ range }) => (range === 'bytes=0-0' ? undefined : { stallAfter: 70_000 });
  const controller = new AbortController();
  const reading = models().read(
    source.source,
    fileOf(source, 'model.safetensors'),
    0,
    controller.signal,
  );
  await assert.rejects(
    async () => {
      for await (const _ of reading) controller.abort();
    },
    { name: 'AbortError' },
  );
});
