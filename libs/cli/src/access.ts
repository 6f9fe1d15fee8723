import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Access } from '@heddle/client';
import { failedPrecondition } from '@heddle/core';
import type { Log } from '@heddle/ports';
import { fileError } from './arguments/files.ts';
import type { CommandIo } from './cluster-host.ts';

export interface AccessOptions {
  readonly accessToken?: string;
  readonly tlsCa?: string;
}

type Io = Pick<CommandIo, 'environment' | 'workingDirectory'>;

/** How this command line says who it is, and knows whom it talks to. */
export async function accessOf(io: Io, options: AccessOptions): Promise<Access> {
  const { environment } = io;
  const tls = await tlsOf(io, options);
  const token = await tokenOf(io, options);
  return {
    ...(tls === undefined ? {} : { tls }),
    ...(token === undefined ? {} : { token }),
    insecure: environment['HEDDLE_INSECURE'] === '1',
  };
}

/** `--access-token`, else `HEDDLE_TOKEN`, else the content of the file `HEDDLE_TOKEN_FILE`. */
async function tokenOf(io: Io, { accessToken }: AccessOptions): Promise<string | undefined> {
  const given = accessToken ?? io.environment['HEDDLE_TOKEN'];
  if (given !== undefined && given !== '') return checked(given.trim());
  const path = io.environment['HEDDLE_TOKEN_FILE'];
  if (path === undefined || path === '') return undefined;
  return checked((await read(io, path, 'HEDDLE_TOKEN_FILE')).trim());
}

/** A header takes no spaces and no line ends: a whole file by mistake is said here, and not repeated. */
function checked(token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw failedPrecondition('the token has characters that a token has not: is it the right file?', {
    field: 'token',
  });
}

/**
 * The authority that servers are checked with; and, inside of a cluster (`HEDDLE_TLS_DIR`, as its services have it), the
 * certificate of a service: what runs there is trusted as one.
 */
async function tlsOf(io: Io, { tlsCa }: AccessOptions): Promise<Access['tls']> {
  const { environment } = io;
  const {
    HEDDLE_TLS_DIR: folder,
    HEDDLE_TLS_CERT: cert,
    HEDDLE_TLS_KEY: key,
    HEDDLE_TLS_NAME: serverName,
  } = environment;
  const ca = tlsCa ?? environment['HEDDLE_TLS_CA'];
  if (tlsCa === undefined && (folder || (ca && cert && key))) {
    const { TlsFiles, tlsPaths } = await import('@heddle/adapters/tls');
    const full = (path: string) => resolve(io.workingDirectory, path);
    const paths = folder
      ? tlsPaths(full(folder))
      : { ca: full(ca ?? ''), cert: full(cert ?? ''), key: full(key ?? '') };
    return { files: await TlsFiles.open(paths, { log: silent }) };
  }
  if (ca === undefined || ca === '') return serverName ? { serverName } : undefined;
  return { ca: await read(io, ca, 'tls-ca'), ...(serverName ? { serverName } : {}) };
}

async function read({ workingDirectory }: Io, path: string, option: string): Promise<string> {
  try {
    return await readFile(resolve(workingDirectory, path), 'utf8');
  } catch (thrown) {
    throw fileError(thrown, path, option);
  }
}

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
