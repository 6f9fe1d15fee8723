import { readFile, stat } from 'node:fs/promises';
import { failedPrecondition } from '@heddle/core';
import type { Log } from '@heddle/ports';
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
} from 'jose';
import {
  KEYS_AGE_MS,
  KEYS_BYTES_MAX,
  KEYS_PAUSE_MS,
  KEYS_POLL_MS,
  KEYS_TIMEOUT_MS,
} from './limits.ts';

const SECRET_PARTS = ['d', 'k', 'p', 'q'];

/** Public keys from a file, read again when it changes, or from an identity provider's address. */
export async function openKeys(source: string, log: Log): Promise<JWTVerifyGetKey> {
  if (!/^https?:/.test(source)) return fileKeys(source, log);
  return createRemoteJWKSet(new URL(source), {
    timeoutDuration: KEYS_TIMEOUT_MS,
    cooldownDuration: KEYS_PAUSE_MS,
    cacheMaxAge: KEYS_AGE_MS,
  });
}

async function fileKeys(path: string, log: Log): Promise<JWTVerifyGetKey> {
  let text = await readKeys(path);
  let keys = createLocalJWKSet(parseKeys(path, text));
  let lookedMs = performance.now();
  let complaint = '';
  const look = async (): Promise<void> => {
    if (performance.now() - lookedMs < KEYS_POLL_MS) return;
    lookedMs = performance.now();
    try {
      const found = await readKeys(path);
      if (found === text) return;
      keys = createLocalJWKSet(parseKeys(path, found));
      text = found;
      complaint = '';
      log.info('tokens are checked with new keys', { path });
    } catch (thrown) {
      const { message } = thrown as Error;
      if (message !== complaint) log.warn('tokens keep the keys they have', { message });
      complaint = message;
    }
  };
  return async (header, token) => {
    await look();
    return keys(header, token);
  };
}

async function readKeys(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > KEYS_BYTES_MAX) throw new Error(`it has ${size} bytes`);
    return await readFile(path, 'utf8');
  } catch (cause) {
    const why = (cause as Error).message;
    throw failedPrecondition(`the keys of tokens (HEDDLE_TOKENS_JWKS) cannot be read: ${why}`, {
      cause,
    });
  }
}

/** Errors: `failed_precondition`; a private key among them, too: servers must not be able to sign. */
function parseKeys(path: string, text: string): JSONWebKeySet {
  const wrong = (why: string) => failedPrecondition(`${path} is no JWKS: ${why}`);
  let value: { readonly keys?: unknown };
  try {
    value = JSON.parse(text) as { readonly keys?: unknown };
  } catch {
    throw wrong('no JSON');
  }
  const { keys } = value ?? {};
  if (!Array.isArray(keys) || keys.length === 0) throw wrong('it has no list `keys`');
  if (keys.some((key) => typeof key !== 'object' || key === null)) throw wrong('a key is none');
  if (keys.some((key) => SECRET_PARTS.some((part) => part in key))) {
    throw wrong('it has a private key; only public ones belong on a server');
  }
  return value as JSONWebKeySet;
}
