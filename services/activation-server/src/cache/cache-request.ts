import { createHash } from 'node:crypto';
import { canonicalJson } from '@heddle/core';
import { type HookPoint, hookPoints, type ModelConfig, resolveHooks } from '@heddle/models';
import type { BlobDigest } from '@heddle/ports';
import type { StartCacheActivationsRequest } from '@heddle/ports/proto/activation';
import type { Prompt } from '@heddle/ports/proto/common';
import {
  CACHE_CONTEXT,
  CACHE_CONTEXT_MAX,
  CACHE_HOOKS_MAX,
  CACHE_PROMPTS_BYTES_MAX,
  CACHE_TOKENS_MIN,
} from '../limits.ts';
import { refuse } from '../refuse-field.ts';
import type { CorpusSource } from './corpora.ts';

/** The job's request. A type, not an interface: it is JSON in the journal. */
export type CacheRequest = {
  readonly model: string;
  readonly model_digest: string;
  readonly tokenizer_digest: string;
  /** Full names, in the order in which the model computes them. */
  readonly hooks: readonly string[];
  /** A path; empty where the request brought prompts. */
  readonly corpus: string;
  /** The blob of those prompts. */
  readonly prompts: string;
  readonly corpus_digest: string;
  readonly context: number;
  readonly tokens_max: number;
  readonly dtype: 'f32' | 'f16';
  readonly options: { readonly bos: boolean; readonly no_special: boolean };
  /** Of a model so large that its tasks have fewer tokens than others'. Cuts the shards, so it is part of the question. */
  readonly task_tokens?: number;
  /** Digest of what is asked: all of the above but for how model and corpus are reached. */
  readonly question: string;
};

/** Shards of another layout are another question. */
const LAYOUT = 1;

export function questionOf(request: Omit<CacheRequest, 'question'>): string {
  const { model: _model, corpus: _corpus, prompts, ...asked } = request;
  const text = canonicalJson({ ...asked, prompts: prompts !== '', layout: LAYOUT });
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

export const sourceOf = ({ corpus, prompts }: CacheRequest): CorpusSource =>
  prompts === '' ? { path: corpus } : { prompts: prompts as BlobDigest };

/** What of a request needs no corpus to be checked. */
export type CheckedCache = Pick<
  CacheRequest,
  'hooks' | 'context' | 'tokens_max' | 'dtype' | 'options'
>;

/** Errors: `invalid_argument` with the field, its limit and what to do. */
export function checkCache(
  request: StartCacheActivationsRequest,
  config: ModelConfig,
): CheckedCache {
  const { bos = false, no_special = false } = request.options ?? {};
  if (bos && no_special) throw refuse('options.bos', 'excludes options.no_special');
  if ((request.corpus === '') === (request.prompts.length === 0)) {
    throw refuse('corpus', 'a corpus or prompts are needed, and not both');
  }
  const most = Math.min(CACHE_CONTEXT_MAX, config.n_ctx);
  const context = request.context === 0 ? Math.min(CACHE_CONTEXT, most) : request.context;
  if (context < 2 || context > most) {
    throw refuse('context', `${context} tokens; 2 to ${most} are a sequence`, { limit: most });
  }
  const { tokens_max } = request;
  const least = Math.max(context, CACHE_TOKENS_MIN);
  if (tokens_max !== 0 && tokens_max < least) {
    throw refuse('tokens_max', `${tokens_max}; at least ${least}, or 0 for all`, { limit: least });
  }
  return {
    hooks: checkHooks(request.hooks, config),
    context,
    tokens_max,
    dtype: checkDType(request.dtype),
    options: { bos, no_special },
  };
}

function checkHooks(patterns: readonly string[], config: ModelConfig): readonly string[] {
  const names = resolveHooks(config, patterns);
  if (names.length === 0 || names.length > CACHE_HOOKS_MAX) {
    throw refuse(
      'hooks',
      `${names.length} hook points; 1 to ${CACHE_HOOKS_MAX} are cached at once`,
      {
        limit: CACHE_HOOKS_MAX,
      },
    );
  }
  for (const { name, axes } of pointsOf(config, names)) {
    if (axes[0] === 'pos' && !axes.includes('key_pos')) continue;
    throw refuse(
      'hooks',
      `${name} has the axes ${axes.join(' ')}: only values of single tokens are cached; ask Run for it`,
    );
  }
  return names;
}

/** Hook points by name, in the order in which the model computes them. */
export function pointsOf(config: ModelConfig, names: readonly string[]): readonly HookPoint[] {
  const wanted = new Set(names);
  return hookPoints(config).filter(({ name }) => wanted.has(name));
}

/** Values of one token at a hook. */
export const widthOf = ({ shape }: HookPoint): number =>
  shape.slice(1).reduce<number>((product, size) => product * Number(size), 1);

function checkDType(dtype: StartCacheActivationsRequest['dtype']): 'f32' | 'f16' {
  if (dtype === 'ELEMENT_TYPE_UNSPECIFIED' || dtype === 'ELEMENT_TYPE_F32') return 'f32';
  if (dtype === 'ELEMENT_TYPE_F16') return 'f16';
  throw refuse('dtype', `${dtype} is not cached: ELEMENT_TYPE_F32 or ELEMENT_TYPE_F16`);
}

/** The request's prompts as a file of jsonl. Errors: `invalid_argument` for one without content, or too many bytes. */
export function promptsFileBytes(prompts: readonly Prompt[]): Uint8Array {
  const lines = prompts.map(({ text, tokens }, i) => {
    if (tokens) return JSON.stringify({ tokens: tokens.ids });
    if (text !== undefined) return JSON.stringify({ text });
    throw refuse(`prompts[${i}]`, 'neither text nor tokens');
  });
  const bytes = new TextEncoder().encode(lines.join('\n'));
  if (bytes.length <= CACHE_PROMPTS_BYTES_MAX) return bytes;
  throw refuse(
    'prompts',
    `${bytes.length} bytes; at most ${CACHE_PROMPTS_BYTES_MAX}: put them into a file and name it as corpus`,
    { limit: CACHE_PROMPTS_BYTES_MAX, bytes: bytes.length },
  );
}
