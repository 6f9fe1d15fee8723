import { OperationError } from '@heddle/core';
import { type Caller, type Log, ROLES, type Role, type Tokens } from '@heddle/ports';
import { errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { openKeys } from './keys.ts';
import { CLOCK_SKEW_SECONDS, TENANT_CHARACTERS_MAX, TOKEN_CHARACTERS_MAX } from './limits.ts';

/** Signatures that are accepted: none with a shared secret, which every server could sign with itself. */
const ALGORITHMS = ['EdDSA', 'Ed25519', 'ES256', 'RS256'];

export interface JwtOptions {
  /** A file, or an address, with the public keys as a JWKS. */
  readonly jwks: string;
  readonly issuer: string;
  readonly audience: string;
  /** Claims with whose jobs and what role; dots go into objects (`realm_access.roles`). */
  readonly tenantClaim: string;
  readonly roleClaim: string;
  /** What the identity provider calls the roles. */
  readonly roles: ReadonlyMap<string, Role>;
  readonly log: Log;
  readonly now?: () => number;
}

/** Signed tokens of people and programs, checked against public keys that may change while this runs. */
export class JwtTokens implements Tokens {
  private readonly options: JwtOptions;
  private readonly keys: JWTVerifyGetKey;

  private constructor(options: JwtOptions, keys: JWTVerifyGetKey) {
    this.options = options;
    this.keys = keys;
  }

  /** Errors: `failed_precondition` when a file of keys cannot be used; an address is asked when first needed. */
  static async open(options: JwtOptions): Promise<JwtTokens> {
    return new JwtTokens(options, await openKeys(options.jwks, options.log));
  }

  async verify(token: string): Promise<Caller> {
    if (token.length > TOKEN_CHARACTERS_MAX) {
      throw unauthenticated(`a token has at most ${TOKEN_CHARACTERS_MAX} characters`);
    }
    return this.callerOf(await this.claims(token));
  }

  private async claims(token: string): Promise<JWTPayload> {
    const { issuer, audience, now = Date.now } = this.options;
    try {
      const { payload } = await jwtVerify(token, this.keys, {
        algorithms: ALGORITHMS,
        issuer,
        audience,
        requiredClaims: ['exp'],
        clockTolerance: CLOCK_SKEW_SECONDS,
        currentDate: new Date(now()),
      });
      return payload;
    } catch (thrown) {
      throw refusal(thrown, this.options);
    }
  }

  private callerOf(payload: JWTPayload): Caller {
    const { tenantClaim, roleClaim, roles } = this.options;
    const tenant = claimOf(payload, tenantClaim);
    if (!isTenant(tenant)) {
      throw unauthenticated(
        `the token's claim ${tenantClaim} says for whom it is, with 1 to ${TENANT_CHARACTERS_MAX} characters; it has none such`,
      );
    }
    const named = [claimOf(payload, roleClaim)].flat();
    const granted = named.map((name) => roles.get(String(name)));
    const role = ROLES.findLast((each) => granted.includes(each));
    if (role !== undefined) return { tenant, role };
    throw unauthenticated(
      `the token's claim ${roleClaim} gives none of the roles that are known here: ${[...roles.keys()].join(', ')}`,
    );
  }
}

/** Half a character can be in no record and no metadata. */
function isTenant(value: unknown): value is string {
  if (typeof value !== 'string' || !value.isWellFormed()) return false;
  return value !== '' && value.length <= TENANT_CHARACTERS_MAX;
}

/** By its own name, or else along the dots. */
function claimOf(payload: JWTPayload, name: string): unknown {
  if (Object.hasOwn(payload, name)) return payload[name];
  return name.split('.').reduce<unknown>((value, part) => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part))
      return undefined;
    return (value as Record<string, unknown>)[part];
  }, payload);
}

/** Why a token is none: says what to do, and never repeats the token. */
function refusal(thrown: unknown, { issuer, audience, now = Date.now }: JwtOptions): Error {
  if (thrown instanceof OperationError) return thrown;
  if (thrown instanceof errors.JWTExpired) {
    const expiredMs = Number(thrown.payload.exp) * 1000;
    const when = new Date(expiredMs).toISOString();
    const minutes = Math.max(1, Math.round((now() - expiredMs) / 60_000));
    return unauthenticated(`the token expired at ${when}, ${minutes} min ago: get a new one`, {
      expired_ms: expiredMs,
    });
  }
  if (thrown instanceof errors.JWTClaimValidationFailed) {
    return unauthenticated(wrongClaim(thrown, issuer, audience), { claim: thrown.claim });
  }
  if (thrown instanceof errors.JWSSignatureVerificationFailed) {
    return unauthenticated('the token was not signed with the key that it names, or was changed');
  }
  if (thrown instanceof errors.JWKSNoMatchingKey) {
    return unauthenticated('the token is signed with a key that this cluster does not know');
  }
  const malformed = [
    errors.JOSEAlgNotAllowed,
    errors.JWSInvalid,
    errors.JWTInvalid,
    errors.JOSENotSupported,
    errors.JWKSMultipleMatchingKeys,
  ];
  if (malformed.some((kind) => thrown instanceof kind)) {
    return unauthenticated(
      `that is no token: a JWT signed with one of ${ALGORITHMS.join(', ')} is needed`,
    );
  }
  return new OperationError({
    code: 'unavailable',
    message: 'the keys that tokens are checked with cannot be had now; try again',
    cause: thrown,
  });
}

function wrongClaim(
  { claim, reason }: errors.JWTClaimValidationFailed,
  issuer: string,
  audience: string,
): string {
  if (reason === 'missing') return `the token has no claim ${claim}`;
  if (claim === 'aud') return `the token is not for this cluster: its audience must be ${audience}`;
  if (claim === 'iss') return `the token is not of this cluster's issuer, ${issuer}`;
  if (claim === 'nbf') return 'the token is not valid yet: compare the clocks';
  return `the token's claim ${claim} is wrong`;
}

function unauthenticated(
  message: string,
  details: Readonly<Record<string, string | number>> = {},
): OperationError {
  return new OperationError({ code: 'unauthenticated', message, field: 'token', details });
}
