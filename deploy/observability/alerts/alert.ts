/** How soon somebody must look. `critical` wakes people: work is lost, refused or stands still now. */
export type Severity = 'critical' | 'warning' | 'info';

export interface Alert {
  /** `Heddle…`; the runbook has a section of this name. */
  readonly name: string;
  readonly severity: Severity;
  /** PromQL; what it gives are the instances of the alert. */
  readonly expr: string;
  /** How long it must hold: a rollout, an election of a leader or one bad scrape is nothing. */
  readonly for: string;
  /** One line for a phone, with what is affected. */
  readonly summary: string;
  /** What it means and the number; `{{ $value }}` is the expression's. */
  readonly description: string;
}

/** A file of rules, so that whoever lacks its source of metrics can leave it out. */
export interface AlertGroup {
  readonly name: string;
  readonly alerts: readonly Alert[];
}

export interface Recording {
  /** `labels:metric:operation`, as Prometheus' own convention has it. */
  readonly record: string;
  readonly expr: string;
}
