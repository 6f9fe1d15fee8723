import type { Caller } from './callers.ts';

/** What our own tokens say, and servers expect where they are not told otherwise. */
export const TOKEN_DEFAULTS = {
  issuer: 'heddle',
  audience: 'heddle',
  tenantClaim: 'sub',
  roleClaim: 'heddle_role',
} as const;

/** What tells from a token who shows it. */
export interface Tokens {
  /**
   * Errors: `unauthenticated` when it is none of ours, with the reason: expired (and when), a wrong signature, another
   * audience or issuer, no role. `unavailable` when the keys cannot be had now.
   */
  verify(token: string): Promise<Caller>;
}
