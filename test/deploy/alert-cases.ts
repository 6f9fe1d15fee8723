/** What promtool is fed with: series → values (`start+stepxtimes`, one a minute), and what must come of it. */
export interface AlertCase {
  readonly series: Readonly<Record<string, string>>;
  /** When it is looked at. */
  readonly at: string;
  /** Of the alert that fires; none: nothing fires. */
  readonly fires?: Readonly<Record<string, string>>;
}

/** One instance of a service, with the labels of `deploy/observability/targets.ts`. */
export const of = (service: string, instance = `${service}-0`, role = 'service'): string =>
  `namespace="h", service="${service}", role="${role}", instance="${instance}", job="heddle"`;

export const LORSA = of('lorsa');
export const WORKER = of('lorsa', 'lorsa-workers-0', 'workers');

/** A value that stays. */
export const still = (value: number | string): string => `${value}+0x180`;
/** A counter that stands until minute 60 and then grows by so much a minute. */
export const grows = (byMinute: number): string => `0+0x59 ${byMinute}+${byMinute}x120`;

export interface AlertCases {
  readonly fires: AlertCase & { readonly fires: Readonly<Record<string, string>> };
  /** Looks alike, and is nothing: short, harmless, or somebody else's. */
  readonly silent: AlertCase;
}
