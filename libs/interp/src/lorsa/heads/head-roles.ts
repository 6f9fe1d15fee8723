import type { HeadStatistics } from './head-statistics.ts';
import type { TokenTops } from './token-effects.ts';

/** How a token can matter to a head. */
export const TOKEN_ROLES = ['fires_on', 'reads_from', 'raises', 'lowers'] as const;
export type TokenRole = (typeof TOKEN_ROLES)[number];

export interface RoleToken {
  readonly token: number;
  /** Share of its activity or of what it reads; or what it adds to the token's logit per unit of z, over the vocabulary's mean. */
  readonly weight: number;
}

export type HeadRoles = Readonly<Record<TokenRole, readonly RoleToken[]>>;

/** The tokens that matter to a head, heaviest first; raised ones add to a logit, lowered ones take from it. */
export function headRoles(
  { statistics, tops }: { readonly statistics: HeadStatistics; readonly tops: TokenTops },
  head: number,
  limit = 10,
): HeadRoles {
  const effects = (list: ReturnType<TokenTops['top']>, sign: number) =>
    list
      .filter(({ effect }) => sign * effect > 0)
      .slice(0, limit)
      .map(({ token, effect }) => ({ token, weight: effect }));
  const shares = (list: readonly RoleToken[]) =>
    list.map(({ token, weight }) => ({ token, weight }));
  return {
    fires_on: shares(statistics.firesOn(head, limit)),
    reads_from: shares(statistics.readsFrom(head, limit)),
    raises: effects(tops.top(head), 1),
    lowers: effects(tops.bottom(head), -1),
  };
}
