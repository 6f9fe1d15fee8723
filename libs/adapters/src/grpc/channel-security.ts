import { isIP } from 'node:net';
import { Metadata } from '@grpc/grpc-js';
import { failedPrecondition } from '@heddle/core';
import type { Caller, Callers } from '@heddle/ports';
import { AUTHORIZATION, KEY, setCaller } from './caller-metadata.ts';
import type { ClientTls, ClusterTls } from './tls-credentials.ts';

/** How a channel says who calls, and whom it takes for the cluster. */
export interface ChannelSecurity {
  /** A service's certificate, or what a person checks the server with. */
  readonly tls?: ClusterTls | ClientTls | undefined;
  /** Shown with every call. Errors: over a network without TLS it is not sent, unless `insecure`. */
  readonly token?: string | undefined;
  /** Send a token although whoever listens on the way can take it. */
  readonly insecure?: boolean | undefined;
  /** Between services: every call is made in the name of who asks. */
  readonly callers?: Callers | undefined;
  /** `RunningServer.key`: this process calls itself. */
  readonly key?: string | undefined;
}

/**
 * `https://host:port`, `http://host:port` or `host:port`, the latter TLS where TLS is configured. Of several addresses
 * the first decides.
 */
export function destinationOf(
  addresses: readonly string[],
  { tls }: ChannelSecurity,
): { readonly addresses: readonly string[]; readonly tls: ChannelSecurity['tls'] } {
  const scheme = /^(https?):\/\//.exec(addresses[0] ?? '')?.[1];
  const bare = addresses.map((address) => address.replace(/^https?:\/\//, '').replace(/\/$/, ''));
  if (scheme === 'http') return { addresses: bare, tls: undefined };
  return { addresses: bare, tls: scheme === 'https' ? (tls ?? {}) : tls };
}

/** Errors: `failed_precondition` when a token would travel readable for others. */
export function checkTokenTravelsSafely(
  addresses: readonly string[],
  { tls, token, insecure }: ChannelSecurity,
): void {
  if (token === undefined || tls !== undefined || insecure === true) return;
  const far = addresses.find((address) => !isLoopback(address));
  if (far === undefined) return;
  throw failedPrecondition(
    `a token is not sent to ${far} without TLS, where anybody on the way could read it: give --tls-ca, or https://${far}; HEDDLE_INSECURE=1 sends it all the same`,
    { field: 'token' },
  );
}

/** The host of `host:port`, `[::1]:port` or `dns:///host:port`. */
export function hostOf(address: string): string {
  const [, host = ''] = /^(?:dns:\/\/\/)?(.*?)(?::\d+)?$/.exec(address) ?? [];
  return host.replace(/^\[(.*)\]$/, '$1');
}

function isLoopback(address: string): boolean {
  const host = hostOf(address);
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === '::1' || host === 'localhost';
}

/** Metadata of one call: the token, or in whose name it is made (by default, whoever asks at this moment). */
export function callMetadata(
  { token, callers, key }: ChannelSecurity,
  caller: Caller | undefined = callers?.current(),
): Metadata {
  const metadata = new Metadata();
  if (token !== undefined) metadata.set(AUTHORIZATION, `Bearer ${token}`);
  if (key !== undefined) metadata.set(KEY, key);
  if (caller !== undefined) setCaller(metadata, caller);
  return metadata;
}
