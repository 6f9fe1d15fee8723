import {
  type ChannelConfig,
  type ClusterTls,
  callContext,
  type ServerSecurity,
} from '@heddle/adapters/grpc';
import { isMember, TlsFiles } from '@heddle/adapters/tls';
import { failedPrecondition } from '@heddle/core';
import type { Callers, Log, Tokens } from '@heddle/ports';
import type { Config } from './config.ts';
import type { TokensConfig } from './security-config.ts';

/** Who may call this process, and how it calls others. */
export interface Security {
  readonly callers: Callers;
  /** Undefined: everybody who can connect. */
  readonly server: ServerSecurity | undefined;
  /** How this process calls services of its cluster. */
  readonly channel: ChannelConfig;
  readonly tls: ClusterTls | undefined;
  readonly tokens: Tokens | undefined;
  /** `https://` where callers need TLS. */
  readonly scheme: '' | 'https://';
  close(): void;
}

/** Errors: `failed_precondition` for files that cannot be used, or settings that would let nobody, or anybody, in. */
export async function openSecurity(
  { security, peers, host }: Pick<Config, 'security' | 'peers' | 'host'>,
  log: Log,
): Promise<Security> {
  const callers = callContext();
  const { members } = security;
  if (security.tls === undefined && security.tokens !== undefined && peers.size > 0) {
    throw failedPrecondition(
      'tokens for a cluster of several processes need TLS (HEDDLE_TLS_DIR): without certificates its services cannot tell each other from anybody else',
    );
  }
  warnOfOpenDoors(security, host, log);
  const tokens = security.tokens && (await openTokens(security.tokens, log));
  const files = security.tls && (await TlsFiles.open(security.tls, { log }));
  const tls = files && { files, members };
  if (files !== undefined && !isMember(files.current.names, members)) {
    files.close();
    throw failedPrecondition(
      `the certificate is for ${files.current.names.join(', ') || 'no DNS name'}, and services of this cluster are ${members.join(', ')} (HEDDLE_TLS_PEERS): no other would let this one in`,
    );
  }
  return {
    callers,
    server: tls === undefined && tokens === undefined ? undefined : { tls, tokens },
    channel: { tls, callers },
    tls,
    tokens,
    scheme: tls === undefined ? '' : 'https://',
    close: () => files?.close(),
  };
}

/** The library that reads tokens is loaded where there are some. */
async function openTokens(config: TokensConfig, log: Log): Promise<Tokens> {
  const { JwtTokens } = await import('@heddle/adapters/tokens');
  return JwtTokens.open({ ...config, log });
}

function warnOfOpenDoors({ tls, tokens }: Config['security'], host: string, log: Log): void {
  if (/^(127\.|localhost$|::1$)/.test(host) || tls !== undefined) return;
  if (tokens === undefined) {
    log.warn('everybody who can reach this address may do everything: no TLS, no tokens', { host });
  } else log.warn('tokens come in readable for whoever listens on the way: no TLS', { host });
}
