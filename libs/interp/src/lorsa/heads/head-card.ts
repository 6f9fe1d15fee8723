import { groupSize, type LorsaConfig } from '../lorsa-config.ts';
import type { HeadScore, ProbeTally } from './detectors/probe-tally.ts';
import { type HeadRule, learnRule } from './head-rule.ts';
import type { HeadStatistics } from './head-statistics.ts';
import type { OriginalHeads, OriginalShares } from './original-heads.ts';
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

/** What is known about one head, without samples: those need the text once more. */
export interface HeadCard {
  readonly head: number;
  readonly qkHead: number;
  /** Share of valid tokens on which it is active. */
  readonly frequency: number;
  readonly activationMean: number;
  readonly activationMax: number;
  readonly dead: boolean;
  readonly dense: boolean;
  readonly roles: HeadRoles;
  readonly original: OriginalShares | undefined;
  /** One per detector that applies, in the order of the probes. */
  readonly scores: readonly HeadScore[];
  readonly rule: HeadRule;
}

export interface CardSources {
  readonly config: LorsaConfig;
  /** Of the half of the text that rules are read off. */
  readonly learnt: HeadStatistics;
  /** Of all of it. */
  readonly statistics: HeadStatistics;
  readonly tops: TokenTops;
  readonly originals?: OriginalHeads | undefined;
  readonly tallies: readonly ProbeTally[];
}

/** *A head's card.* `tokens`: how many a role lists at most. */
export function headCard(from: CardSources, head: number, tokens = 10): HeadCard {
  const { config, statistics, originals, tallies } = from;
  return {
    head,
    qkHead: Math.floor(head / groupSize(config)),
    frequency: statistics.frequency(head),
    activationMean: statistics.mean(head),
    activationMax: statistics.max(head),
    dead: statistics.dead(head),
    dense: statistics.dense(head),
    roles: headRoles(from, head, tokens),
    original: originals?.of(head),
    scores: tallies.map((tally) => tally.score(head)),
    rule: learnRule(from.learnt, head),
  };
}

/** The tokens that matter to a head, heaviest first; raised ones add to a logit, lowered ones take from it. */
export function headRoles(
  { statistics, tops }: Pick<CardSources, 'statistics' | 'tops'>,
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

export interface TokenMatter {
  readonly head: number;
  readonly role: TokenRole;
  readonly weight: number;
  /** 0 for the heaviest token of that role. */
  readonly rank: number;
}

/** *Which heads a token matters to*: an index over the roles of all heads of a layer. */
export class TokenIndex {
  private readonly byToken = new Map<number, TokenMatter[]>();

  /** Heads by their number. */
  constructor(roles: Iterable<readonly [head: number, roles: HeadRoles]>) {
    for (const [head, of] of roles) {
      for (const role of TOKEN_ROLES) {
        of[role].forEach(({ token, weight }, rank) => {
          const known = this.byToken.get(token) ?? [];
          known.push({ head, role, weight, rank });
          this.byToken.set(token, known);
        });
      }
    }
  }

  /** Those to which it matters most first: by its rank among the head's tokens, then by size, then by head. */
  matters(token: number, role?: TokenRole): TokenMatter[] {
    const all = this.byToken.get(token) ?? [];
    return all
      .filter((matter) => role === undefined || matter.role === role)
      .sort(
        (a, b) => a.rank - b.rank || Math.abs(b.weight) - Math.abs(a.weight) || a.head - b.head,
      );
  }
}
