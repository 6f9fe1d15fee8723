import { readFileSync } from 'node:fs';
import { failedPrecondition, invalidArgument } from '@heddle/core';
import {
  type Authenticator,
  credsAuthenticator,
  nkeyAuthenticator,
  usernamePasswordAuthenticator,
} from '@nats-io/transport-node';
import type { NatsLinkOptions } from './nats-link.ts';

/** Who this process is to NATS: one way at most. Files are read again whenever it connects, so they may be renewed. */
export interface NatsCredentials {
  readonly user?: string | undefined;
  readonly passwordFile?: string | undefined;
  /** A `.creds` file: a user's JWT and its seed. */
  readonly credsFile?: string | undefined;
  /** A file with an nkey's seed (`SU…`). */
  readonly nkeyFile?: string | undefined;
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** Begins the subjects of answers. Default: `_INBOX.USER` with a user, because others may not hear his. */
  readonly inboxPrefix?: string | undefined;
}

/** Credentials as the NATS client takes them. Errors: `invalid_argument`, `failed_precondition` naming the file. */
export function natsConnection(
  credentials: NatsCredentials,
): NonNullable<NatsLinkOptions['connection']> {
  const { user, caFile, certFile, keyFile } = credentials;
  const { inboxPrefix = user === undefined ? undefined : `_INBOX.${user}` } = credentials;
  const authenticator = authenticatorOf(credentials);
  const tls = Object.entries({ caFile, certFile, keyFile }).filter(
    ([, path]) => path !== undefined,
  );
  for (const [, path] of tls) readSecret(String(path));
  return {
    ...(authenticator === undefined ? {} : { authenticator }),
    ...(tls.length === 0 ? {} : { tls: Object.fromEntries(tls) }),
    ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
  };
}

function authenticatorOf(credentials: NatsCredentials): Authenticator | undefined {
  const { user, passwordFile, credsFile, nkeyFile } = credentials;
  const ways = [user, credsFile, nkeyFile].filter((way) => way !== undefined);
  if (ways.length > 1) throw invalidArgument('NATS takes a user, creds or an nkey: one of them');
  if (credsFile !== undefined) return credsAuthenticator(fresh(credsFile));
  if (nkeyFile !== undefined) return nkeyAuthenticator(fresh(nkeyFile));
  if (user === undefined) return undefined;
  if (passwordFile === undefined) throw invalidArgument(`NATS' user ${user} needs a password file`);
  const password = fresh(passwordFile);
  return usernamePasswordAuthenticator(user, () => new TextDecoder().decode(password()));
}

/** The file's content, without the line end that editors add, at each call. */
function fresh(path: string): () => Uint8Array {
  const read = () => new TextEncoder().encode(readSecret(path).trimEnd());
  read();
  return read;
}

function readSecret(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const why = (cause as Error).message;
    throw failedPrecondition(`NATS: ${path} cannot be read: ${why}`, { cause });
  }
}
