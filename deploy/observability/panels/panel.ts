/** One question to Prometheus, and what its lines are called. */
export interface Query {
  readonly expr: string;
  /** Grafana's form: `{{label}}`. */
  readonly legend: string;
}

/** What a panel shows, said without Grafana: `grafana.ts` makes its JSON. */
export interface PanelSpec {
  readonly title: string;
  /** What it tells who does not know the metric. */
  readonly description: string;
  readonly kind: 'timeseries' | 'stat' | 'table';
  /** Grafana's name of a unit. */
  readonly unit: Unit;
  readonly queries: readonly Query[];
  /** Of 24. Default 8; a stat 4. */
  readonly width?: number;
  readonly stacked?: true;
  /** From where on it is yellow, and red; `below`: low is bad. */
  readonly thresholds?: { readonly warn: number; readonly bad: number; readonly below?: true };
  /** The alert whose entry of the runbook explains it. */
  readonly alert?: string;
}

export type Unit =
  | 'short'
  | 'none'
  | 's'
  | 'bytes'
  | 'Bps'
  | 'percentunit'
  | 'percent'
  | 'reqps'
  | 'ops'
  | 'cps'
  | 'celsius'
  | 'watt'
  | 'mbytes'
  | 'dateTimeFromNow'
  | 'bool_yes_no';

export interface RowSpec {
  readonly title: string;
  readonly panels: readonly PanelSpec[];
  /** Shown when it is opened. */
  readonly collapsed?: true;
}

export interface VariableSpec {
  readonly name: string;
  readonly label: string;
  /** `label_values(METRIC, LABEL)`. */
  readonly metric: string;
  readonly of: string;
  readonly multi?: true;
}

export interface DashboardSpec {
  /** Also the name of its file, and of its address in Grafana. */
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly variables: readonly VariableSpec[];
  readonly rows: readonly RowSpec[];
}

type Rest = Partial<Omit<PanelSpec, 'kind' | 'title' | 'queries'>> &
  Pick<PanelSpec, 'description' | 'unit'>;

const queriesOf = (queries: Readonly<Record<string, string>>): readonly Query[] =>
  Object.entries(queries).map(([legend, expr]) => ({ legend, expr }));

/** `queries` is legend → expression. */
export const lines = (
  title: string,
  queries: Readonly<Record<string, string>>,
  rest: Rest,
): PanelSpec => ({ kind: 'timeseries', title, queries: queriesOf(queries), ...rest });

export const stat = (title: string, expr: string, rest: Rest): PanelSpec => ({
  ...{ kind: 'stat', title, queries: [{ expr, legend: '' }], width: 4 },
  ...rest,
});

export const table = (title: string, expr: string, rest: Rest): PanelSpec => ({
  ...{ kind: 'table', title, queries: [{ expr, legend: '' }] },
  ...rest,
});

/** Of the chosen namespace. */
export const NS = 'namespace=~"$namespace"';

export const NAMESPACE: VariableSpec = {
  name: 'namespace',
  label: 'Namespace',
  metric: 'heddle_build_info',
  of: 'namespace',
};

/** `quantile` of a histogram, by labels. */
export const quantile = (q: number, metric: string, selector: string, by = ''): string =>
  `histogram_quantile(${q}, sum by (le${by === '' ? '' : `, ${by}`}) (rate(${metric}_bucket{${selector}}[$__rate_interval])))`;
