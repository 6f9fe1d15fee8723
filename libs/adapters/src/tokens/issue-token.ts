import { invalidArgument } from '@heddle/core';
import { type Caller, TOKEN_DEFAULTS } from '@heddle/ports';
import {
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JSONWebKeySet,
  type JWK,
  SignJWT,
} from 'jose';
import { TENANT_CHARACTERS_MAX, TOKEN_DAYS_MAX } from './limits.ts';

export interface TokenKey {
  /** Signs: kept by whoever gives out tokens, never on a server. */
  readonly privateKey: JWK;
  /** Checks: what `HEDDLE_TOKENS_JWKS` names. */
  readonly jwks: JSONWebKeySet;
}

/** A key pair for those without an identity provider: Ed25519. */
export async function makeTokenKey(): Promise<TokenKey> {
  const pair = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  const [secret, open] = await Promise.all([exportJWK(pair.privateKey), exportJWK(pair.publicKey)]);
  const named = { kid: await calculateJwkThumbprint(open), alg: 'EdDSA', use: 'sig' };
  return { privateKey: { ...secret, ...named }, jwks: { keys: [{ ...open, ...named }] } };
}

export interface IssueOptions extends Caller {
  readonly key: JWK;
  readonly issuedMs: number;
  readonly expiresMs: number;
  readonly issuer?: string;
  readonly audience?: string;
}

/** A signed token. Errors: `invalid_argument` naming the field. */
export async function issueToken(options: IssueOptions): Promise<string> {
  const { tenant, role, key, issuedMs, expiresMs } = options;
  const { issuer = TOKEN_DEFAULTS.issuer, audience = TOKEN_DEFAULTS.audience } = options;
  if (tenant === '' || tenant.length > TENANT_CHARACTERS_MAX) {
    throw invalidArgument(`a tenant has 1 to ${TENANT_CHARACTERS_MAX} characters`, {
      field: 'tenant',
    });
  }
  const days = (expiresMs - issuedMs) / (24 * 3600 * 1000);
  if (!(days <= TOKEN_DAYS_MAX)) {
    throw invalidArgument(`a token is good for at most ${TOKEN_DAYS_MAX} days`, { field: 'days' });
  }
  const { alg, kid } = key;
  if (key.d === undefined || alg === undefined) {
    throw invalidArgument('the key is no private key: see `heddle token keygen`', { field: 'key' });
  }
  return new SignJWT({ [TOKEN_DEFAULTS.roleClaim]: role })
    .setProtectedHeader({ alg, typ: 'JWT', ...(kid === undefined ? {} : { kid }) })
    .setSubject(tenant)
    .setIssuer(issuer)
    .setAudience(audience)
    .setIssuedAt(Math.floor(issuedMs / 1000))
    .setExpirationTime(Math.floor(expiresMs / 1000))
    .sign(await importJWK(key, alg));
}
