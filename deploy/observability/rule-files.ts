import { stringify } from 'yaml';
import { ALERT_FILES, type Alert, RECORDINGS } from './alerts/index.ts';

const MADE =
  '# Made by `node deploy/observability/make.ts` of alerts/*.ts; a test compares. Change those, not this.\n';
/** Where a runbook's section is read; an installation with a copy of its own replaces it in the files. */
export const RUNBOOK_URL =
  'https://github.com/heddle/heddle/blob/main/deploy/observability/RUNBOOK.md';

/** How often rules are evaluated: that of the scrapes is soon enough, and twice as often is no more. */
const EVERY = '30s';

const yaml = (document: unknown): string => MADE + stringify(document, { lineWidth: 0 });

/** GitHub's anchor of a heading. */
export const anchorOf = (alert: string): string => alert.toLowerCase();

function ruleOf({ name, severity, expr, for: duration, summary, description }: Alert) {
  return {
    alert: name,
    expr,
    for: duration,
    labels: { severity },
    annotations: { summary, description, runbook_url: `${RUNBOOK_URL}#${anchorOf(name)}` },
  };
}

/** Files of rules as Prometheus reads them, and as the `spec` of a PrometheusRule: path from here → text. */
export function ruleFiles(): ReadonlyMap<string, string> {
  const recording = {
    groups: [{ name: 'heddle-recording', interval: EVERY, rules: [...RECORDINGS] }],
  };
  const alerts = Object.entries(ALERT_FILES).map(([file, groups]): [string, string] => [
    `rules/${file}.yaml`,
    yaml({
      groups: groups.map(({ name, alerts: all }) => ({
        name,
        interval: EVERY,
        rules: all.map(ruleOf),
      })),
    }),
  ]);
  return new Map([['rules/recording.yaml', yaml(recording)], ...alerts]);
}
