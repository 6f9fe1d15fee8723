import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '@heddle/adapters/clock';
import { folderHub, loadModel, openModelFolder } from '@heddle/adapters/hub';
import { OperationError } from '@heddle/core';
import { hookPoints, readModelConfig } from '@heddle/models';
import type { Init, Tokenizer } from '@heddle/ports';
import type { StartCacheActivationsRequest } from '@heddle/ports/proto/activation';
import { CountingMetrics, MemoryBlobs, silentLog, temporaryFolder } from '@heddle/testkit';
import { gpt2Config, writeRandomModel } from '@heddle/testkit/random-model';
import { ACTIVATION_METRICS } from '../metrics.ts';
import type { ModelRegistry } from '../model-registry.ts';
import type { OpenModel } from '../open-model.ts';
import { cacheHandlers } from './cache-handlers.ts';
import { Corpora } from './corpora.ts';
import { CACHE_SIZES, checkCacheSize, taskTokens } from './estimate-cache.ts';

const SIZES = { n_layer: 2, n_head: 2, n_embd: 16, vocab_size: 100, n_positions: 64 };
const TOKENIZER = { bosId: 0, eosId: 1, vocabularySize: 100 } as Tokenizer;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let open: OpenModel;

before(async () => {
  folder = await temporaryFolder();
  const path = join(folder.path, 'model');
  await writeRandomModel(path, gpt2Config(SIZES), 1);
  const model = await loadModel(await openModelFolder(path));
  open = { name: 'model', bundled: false, importedMs: 0, model, tokenizer: TOKENIZER };
});

after(() => folder.remove());

/** Asks with jobs that only count what is submitted; `taken`: what became of the job that has a name already. */
async function start(
  changes: Partial<Init<StartCacheActivationsRequest>>,
  tokenizer: Tokenizer | null = TOKENIZER,
  taken: (key: string) => object | undefined = () => undefined,
) {
  const submitted: unknown[] = [];
  const hub = folderHub({ roots: [folder.path] });
  const blobs = new MemoryBlobs(systemClock);
  const metrics = new CountingMetrics();
  metrics.register(ACTIVATION_METRICS);
  const jobs = {
    list: async () => ({ jobs: [] }),
    submit: async (_kind: string, request: unknown, { key }: { readonly key: string }) => {
      const there = taken(key);
      if (there instanceof OperationError) throw there;
      if (there) return there;
      submitted.push({ ...(request as object), key });
      return { id: 'job', status: 'queued' };
    },
  };
  const handlers = cacheHandlers({
    registry: {
      open: async () => ({ ...open, tokenizer: tokenizer ?? undefined }),
    } as unknown as ModelRegistry,
    corpora: new Corpora({ hub, blobs }),
    hub,
    blobs,
    jobs: jobs as never,
    metrics,
    sizes: CACHE_SIZES,
  });
  const request = {
    model: '',
    hooks: ['blocks.0.hook_attn_out'],
    corpus: '',
    tokens_max: 0,
    dtype: 'ELEMENT_TYPE_UNSPECIFIED',
    client_key: '',
    context: 16,
    prompts: [],
    options: null,
    ...changes,
  } as StartCacheActivationsRequest;
  const call = { signal: new AbortController().signal, log: silentLog, method: 'test' };
  try {
    await handlers.StartCacheActivations?.(request, call);
    return submitted[0] as { readonly [name: string]: unknown };
  } finally {
    const outcome = submitted.length > 0 ? 'started' : 'refused';
    assert.equal(metrics.value('activation_cache_requests_total', { outcome }), 1);
  }
}

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder.path, name);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, content);
  return path;
}

const refuses = (promise: Promise<unknown>, code: string, field: string, words: RegExp) =>
  assert.rejects(promise, (thrown: unknown) => {
    const error = OperationError.from(thrown);
    assert.equal(error.code, code, error.message);
    assert.equal(error.field, field, error.message);
    assert.match(error.message, words);
    return true;
  });

test('what cannot be cached is refused at once, with the field and what to do', async () => {
  const corpus = await file('refused.txt', 'a\n\nb\n\nc');
  const refused = (
    changes: Partial<Init<StartCacheActivationsRequest>>,
    code: string,
    field: string,
    words: RegExp,
  ) => refuses(start(changes), code, field, words);
  const invalid = 'invalid_argument';
  await refused({}, invalid, 'corpus', /corpus or prompts/);
  await refused({ corpus, prompts: [{ id: '', text: 'a' }] }, invalid, 'corpus', /not both/);
  await refused(
    { corpus, hooks: ['blocks.0.attn.hook_pattern'] },
    invalid,
    'hooks',
    /single tokens/,
  );
  await refused({ corpus, hooks: ['blocks.9.hook_attn_out'] }, invalid, 'hooks[0]', /blocks\.9/);
  await refused({ corpus, hooks: [] }, invalid, 'hooks', /0 hook points/);
  await refused({ corpus, context: 65 }, invalid, 'context', /2 to 64/);
  await refused({ corpus, tokens_max: 3 }, invalid, 'tokens_max', /at least 32/);
  await refused({ corpus, dtype: 'ELEMENT_TYPE_I64' }, invalid, 'dtype', /F32 or/);
  await refused(
    { corpus: join(folder.path, 'none.txt') },
    'not_found',
    'corpus',
    /no such file or folder/,
  );
  await refused({ corpus: '/etc/hostname' }, 'permission_denied', 'corpus', /outside/);
  await refused({ corpus: await file('empty.txt', ' \n\n') }, invalid, 'corpus', /no text in it/);
  const latin = await file('latin.txt', Uint8Array.of(0x61, 0xe9, 0x61));
  await refused({ corpus: latin }, invalid, 'corpus', /latin\.txt: byte 1 is no UTF-8/);
  const json = await file('bad/x.jsonl', '{"text":"a"}\n{"body":1}');
  await refused({ corpus: json }, invalid, 'corpus', /x\.jsonl line 2/);
  const table = await file('bad/x.parquet', 'no table');
  await refused({ corpus: table }, invalid, 'corpus', /x\.parquet: its footer/);
  await mkdir(join(folder.path, 'nothing'));
  await refused({ corpus: join(folder.path, 'nothing') }, invalid, 'corpus', /ends in \.txt/);
  await refused({ prompts: [{ id: '' }] }, invalid, 'prompts[0]', /neither text nor tokens/);
  const huge = 'x'.repeat(3 * 2 ** 20);
  await refused({ prompts: [{ id: '', text: huge }] }, invalid, 'prompts', /into a file/);
});

test('defaults fit the model, and what is asked is named by its digest', async () => {
  const corpus = await file('asked.txt', 'one\n\ntwo');
  const asked = await start({ corpus, context: 0 });
  assert.equal(asked['context'], 64, 'what the model reads');
  assert.equal(asked['dtype'], 'f32');
  assert.deepEqual(asked['hooks'], ['blocks.0.hook_attn_out']);
  const again = await start({ corpus, context: 64, hooks: ['blocks.[0]*.hook_attn_out'] });
  assert.equal(again['question'], asked['question']);
  await file('asked.txt', 'one\n\ntwo!');
  assert.notEqual((await start({ corpus, context: 0 }))['question'], asked['question']);
});

test('a name that an ended pass still has is not given out again', async () => {
  const corpus = await file('names.txt', 'one\n\ntwo');
  const { key, question } = await start({ corpus });
  assert.equal(key, question);
  const ended: Readonly<Record<string, object>> = {
    [`${question}`]: { id: 'first', status: 'cancelled' },
    // The same text under another path: the runtime takes it for another request.
    [`${question}.2`]: new OperationError({ code: 'already_exists', message: 'another request' }),
  };
  const next = await start({ corpus }, TOKENIZER, (name) => ended[name]);
  assert.equal(next['key'], `${question}.3`);
});

test('a model without a tokenizer takes ids and refuses text', async () => {
  const ids = await file('ids.jsonl', '{"tokens":[1,2]}\n'.repeat(3));
  assert.equal((await start({ corpus: ids }, null))['tokenizer_digest'], '');
  const text = await file('words.txt', 'words\n\nand words');
  await refuses(start({ corpus: text }, null), 'invalid_argument', 'corpus', /no tokenizer\.json/);
});

test('a pass that no store or journal would hold is refused with what would fit', () => {
  const asked = { context: 16, tokens_max: 0, dtype: 'f32' as const };
  const size = (hooks: readonly string[], bytes: number) => () =>
    checkCacheSize(
      open.model,
      { ...asked, hooks },
      { bytes, files: [], documents: 1, digest: 'sha256:' },
    );
  const exhausted = { code: 'resource_exhausted', retryable: false };
  size(['blocks.0.hook_attn_out'], 8e7)();
  assert.throws(size(['blocks.0.hook_attn_out'], 1e12), {
    ...exhausted,
    field: 'tokens_max',
    message: /which 536870912 tokens fill: ask for tokens_max/,
  });
  const many = hookPoints(open.model.config).map(({ name }) => name);
  const narrow = many.filter((name) => /attn\.hook_[qkvz]$|hook_resid_(pre|post)$/.test(name));
  assert.throws(size(narrow, 8e7), {
    ...exhausted,
    field: 'hooks',
    message: /blobs; one pass .* tokens_max \d{7}/,
  });
});

test('a pass is divided so that workers share it: by seconds, by tokens, and never into more than blobs allow', async () => {
  const gpt2Small = { n_layer: 12, n_head: 12, n_embd: 768, vocab_size: 50257, n_positions: 1024 };
  const { config } = readModelConfig('config.json', gpt2Config(gpt2Small));
  const large = { ...open.model, config };
  const asked = {
    hooks: ['blocks.11.hook_attn_out'],
    context: 128,
    tokens_max: 0,
    dtype: 'f32' as const,
  };
  const corpus = { bytes: 4 * 100_000 };
  const everywhere = hookPoints(config).map(({ name }) => name);

  assert.equal(taskTokens(open.model, { ...asked, hooks: HOOK }, corpus), CACHE_SIZES.taskTokens);
  const seconds = taskTokens(large, asked, corpus);
  assert.ok(seconds >= 2000 && seconds <= 4000, `${seconds}`); // 85 million weights, two operations each
  // 30 000 tokens are ten such tasks: two workers would wait for the last of them.
  const shared = 30_000 / taskTokens(large, asked, { bytes: 4 * 30_000 });
  assert.ok(shared >= 16 && shared < 20, `${shared}`);
  const short = taskTokens(large, asked, { bytes: 4 * 3000 });
  assert.ok(short >= seconds / 3 && short < seconds / 2, `${short}: not below some seconds`);
  const spared = taskTokens(large, { ...asked, hooks: everywhere }, corpus);
  assert.ok((100_000 / spared) * (everywhere.length + 1) <= 1500);
});

const HOOK = ['blocks.0.hook_attn_out'];
