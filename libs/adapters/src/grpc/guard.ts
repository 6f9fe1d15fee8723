import { timingSafeEqual } from 'node:crypto';
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import { OperationError } from '@heddle/core';
import type { Caller, Log, Metrics, Tokens } from '@heddle/ports';
import { dnsNames, isMember } from '../tls/index.ts';
import {
  AUTHORIZATION,
  callerOf,
  includes,
  KEY,
  ROLE,
  setCaller,
  TENANT,
} from './caller-metadata.ts';
import { isMethodLabel } from './metrics.ts';
import { roleOf } from './roles.ts';
import { toStatus } from './status.ts';
import { type ClusterTls, MEMBERS } from './tls-credentials.ts';

export interface ServerSecurity {
  /** TLS, and whose certificates are services of this cluster. */
  readonly tls?: ClusterTls | undefined;
  /** Tells whose calls those are that come without such a certificate; absent: they are refused. */
  readonly tokens?: Tokens | undefined;
}

interface GuardDeps {
  readonly security: ServerSecurity;
  /** Known to this process alone. */
  readonly key: string;
  readonly log: Log;
  readonly metrics: Metrics | undefined;
}

interface Identity {
  readonly caller: Caller;
  /** A service of the cluster, which may call in anybody's name. */
  readonly isPeer: boolean;
}

/**
 * Stands before every method of a server. Behind it a call's metadata says in whose name it is made, and that is true:
 * what came from outside under these names was taken off.
 */
export class Guard {
  private readonly deps: GuardDeps;

  constructor(deps: GuardDeps) {
    this.deps = deps;
  }

  get interceptor(): ServerInterceptor {
    return ({ path }, call) =>
      new ServerInterceptingCall(call, {
        start: (next) =>
          next({
            onReceiveMetadata: (metadata, pass) => {
              this.admit(path, metadata, call).then(
                () => pass(metadata),
                (thrown: unknown) => this.refuse(path, call, OperationError.from(thrown)),
              );
            },
          }),
      });
  }

  /** Leaves in the metadata who asks. Errors: `unauthenticated`, `permission_denied`. */
  private async admit(
    path: string,
    metadata: Metadata,
    call: ServerInterceptingCallInterface,
  ): Promise<void> {
    const needs = roleOf(path);
    const { caller, isPeer } = needs === undefined ? PROBE : await this.identify(metadata, call);
    for (const name of [AUTHORIZATION, KEY, TENANT, ROLE]) metadata.remove(name);
    setCaller(metadata, caller);
    // Between services it was checked where the call came in: what they ask of each other to answer it is their own.
    if (isPeer || needs === undefined || includes(caller.role, needs)) return;
    const method = path.slice(1);
    throw new OperationError({
      code: 'permission_denied',
      message: `${method} needs the role ${needs}, and this token has ${caller.role}: ask for another`,
      field: 'token',
      details: { method, needs, has: caller.role },
    });
  }

  private async identify(
    metadata: Metadata,
    call: ServerInterceptingCallInterface,
  ): Promise<Identity> {
    const { security, key } = this.deps;
    const peer = () => ({ caller: callerOf(metadata), isPeer: true });
    if (equal(String(metadata.get(KEY)[0] ?? ''), key)) return peer();
    const token = /^Bearer +(\S+)$/i.exec(String(metadata.get(AUTHORIZATION)[0] ?? ''))?.[1];
    // A person at a service's place who shows a token wants to be that person.
    if (token !== undefined && security.tokens !== undefined) {
      return { caller: await security.tokens.verify(token), isPeer: false };
    }
    if (security.tls === undefined) throw nobody(NO_TOKEN);
    const { sslPeerCertificate: certificate } = call.getAuthContext();
    const members = security.tls.members ?? MEMBERS;
    if (certificate !== undefined) {
      const names = dnsNames(certificate.subjectaltname);
      if (isMember(names, members)) return peer();
      throw nobody(
        `the certificate is for ${names.join(', ') || 'no DNS name'}, and services of this cluster are ${members.join(', ')}`,
      );
    }
    throw nobody(security.tokens === undefined ? NO_CERTIFICATE : NO_TOKEN);
  }

  private refuse(path: string, call: ServerInterceptingCallInterface, error: OperationError): void {
    const { log, metrics } = this.deps;
    const method = path.slice(1);
    if (isMethodLabel(method)) metrics?.add('grpc_calls_total', 1, { method, code: error.code });
    log.info('a call is refused', {
      method: method.slice(0, 200),
      code: error.code,
      reason: error.message,
      peer: call.getPeer(),
    });
    call.sendStatus(toStatus(error));
  }
}

/** Everybody may ask whether a server is well. */
const PROBE: Identity = { caller: { tenant: '', role: 'read' }, isPeer: false };

const NO_TOKEN =
  'no token came with the call: give one with --access-token, HEDDLE_TOKEN or HEDDLE_TOKEN_FILE (and TLS with --tls-ca)';
const NO_CERTIFICATE =
  'this server answers services of its cluster, and no certificate came that its authority signed and that holds today: people and programs ask the front door';

function nobody(message: string): OperationError {
  return new OperationError({ code: 'unauthenticated', message, field: 'token' });
}

function equal(shown: string, key: string): boolean {
  const [a, b] = [Buffer.from(shown), Buffer.from(key)];
  return a.length === b.length && timingSafeEqual(a, b);
}
