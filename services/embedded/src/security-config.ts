import { MEMBERS } from '@heddle/adapters/grpc';
import { checkMemberPattern, type TlsPaths, tlsPaths } from '@heddle/adapters/tls';
import { OperationError } from '@heddle/core';
import { ROLES, type Role, TOKEN_DEFAULTS } from '@heddle/ports';
import type { EnvironmentReader } from './environment.ts';

export interface TokensConfig {
  /** A file, or an address, with the public keys. */
  readonly jwks: string;
  readonly issuer: string;
  readonly audience: string;
  readonly tenantClaim: string;
  readonly roleClaim: string;
  readonly roles: ReadonlyMap<string, Role>;
}

/** Who may call. Neither: everybody who can connect, so it listens on loopback unless told otherwise. */
export interface SecurityConfig {
  readonly tls: TlsPaths | undefined;
  /** Names of certificates that are services of this cluster. */
  readonly members: readonly string[];
  readonly tokens: TokensConfig | undefined;
}

export function readSecurityConfig(read: EnvironmentReader): SecurityConfig {
  return { tls: readTls(read), members: readMembers(read), tokens: readTokens(read) };
}

/** An authority alone is for clients, which check a server with it; a server needs all three. */
function readTls(read: EnvironmentReader): TlsPaths | undefined {
  const folder = read.text('HEDDLE_TLS_DIR');
  if (folder !== undefined) return tlsPaths(folder);
  const [ca, cert, key] = ['HEDDLE_TLS_CA', 'HEDDLE_TLS_CERT', 'HEDDLE_TLS_KEY'].map((name) =>
    read.text(name),
  );
  if (cert === undefined && key === undefined) return undefined;
  if (ca !== undefined && cert !== undefined && key !== undefined) return { ca, cert, key };
  read.problems.push(
    'HEDDLE_TLS_CA, HEDDLE_TLS_CERT and HEDDLE_TLS_KEY belong together; or give HEDDLE_TLS_DIR',
  );
  return undefined;
}

function readMembers(read: EnvironmentReader): readonly string[] {
  const named = read.list('HEDDLE_TLS_PEERS');
  for (const pattern of named) {
    try {
      checkMemberPattern(pattern);
    } catch (thrown) {
      read.problems.push(`HEDDLE_TLS_PEERS: ${OperationError.from(thrown).message}`);
    }
  }
  return named.length === 0 ? MEMBERS : named;
}

function readTokens(read: EnvironmentReader): TokensConfig | undefined {
  const jwks = read.text('HEDDLE_TOKENS_JWKS');
  const config = {
    issuer: read.text('HEDDLE_TOKENS_ISSUER') ?? TOKEN_DEFAULTS.issuer,
    audience: read.text('HEDDLE_TOKENS_AUDIENCE') ?? TOKEN_DEFAULTS.audience,
    tenantClaim: read.text('HEDDLE_TOKENS_TENANT_CLAIM') ?? TOKEN_DEFAULTS.tenantClaim,
    roleClaim: read.text('HEDDLE_TOKENS_ROLE_CLAIM') ?? TOKEN_DEFAULTS.roleClaim,
    roles: readRoles(read),
  };
  if (jwks === undefined) return undefined;
  // Whoever can change the keys on the way decides who is let in.
  if (/^\w+:\/\//.test(jwks) && !/^https:|^http:\/\/(127\.0\.0\.1|localhost)[:/]/.test(jwks)) {
    read.problems.push('HEDDLE_TOKENS_JWKS is neither a file nor an https address');
  }
  return { jwks, ...config };
}

/** `viewers=read,ml=run`: what the identity provider calls the roles; by default, what we do. */
function readRoles(read: EnvironmentReader): ReadonlyMap<string, Role> {
  const named = read.list('HEDDLE_TOKENS_ROLES');
  if (named.length === 0) return new Map(ROLES.map((role) => [role, role]));
  const roles = new Map<string, Role>();
  for (const part of named) {
    const at = part.lastIndexOf('=');
    const role = ROLES.find((each) => each === part.slice(at + 1));
    if (at > 0 && role !== undefined) roles.set(part.slice(0, at), role);
    else {
      read.problems.push(`HEDDLE_TOKENS_ROLES: ${part} is no NAME=ROLE of ${ROLES.join(', ')}`);
    }
  }
  return roles;
}
