/** Rules, each alert fed with what it is for and with what looks like it, and the runbook: promtool's own unit tests. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { missingServer, SERVERS, serverPath, temporaryFolder } from '@heddle/testkit';
import { parse, stringify } from 'yaml';
import { ALERTS, RECORDINGS } from '../../deploy/observability/alerts/index.ts';
import { RUNBOOK_URL, ruleFiles } from '../../deploy/observability/rule-files.ts';
import type { AlertCase, AlertCases } from './alert-cases.ts';
import { AVAILABILITY_CASES } from './alert-cases-availability.ts';
import { COMPUTE_CASES } from './alert-cases-compute.ts';
import { JOB_CASES } from './alert-cases-jobs.ts';
import { OUTSIDE_CASES } from './alert-cases-outside.ts';
import { STORE_CASES } from './alert-cases-stores.ts';

const HOME = fileURLToPath(new URL('../../deploy/observability/', import.meta.url));
const CASES: Readonly<Record<string, AlertCases>> = {
  ...AVAILABILITY_CASES,
  ...STORE_CASES,
  ...JOB_CASES,
  ...COMPUTE_CASES,
  ...OUTSIDE_CASES,
};
const missing = missingServer(SERVERS.promtool);
const skip = missing === undefined ? {} : { skip: missing };

const promtool = (...args: readonly string[]) =>
  spawnSync(serverPath(SERVERS.promtool), args, { encoding: 'utf8' });

test('promtool finds nothing wrong with the rules, and each says something once', skip, () => {
  const files = [...ruleFiles().keys()].map((path) => join(HOME, path));
  const { status, stdout, stderr } = promtool(
    'check',
    'rules',
    '--lint=all',
    '--lint-fatal',
    ...files,
  );
  assert.equal(status, 0, stdout + stderr);
  const names = [...ALERTS.map(({ name }) => name), ...RECORDINGS.map(({ record }) => record)];
  assert.equal(new Set(names).size, names.length);
});

interface Rule {
  readonly alert?: string;
  readonly expr: string;
}

/** Rules as they stand in the files. */
function rulesOf(paths: readonly string[]): readonly Rule[] {
  return paths.flatMap((path) => {
    const { groups } = parse(readFileSync(join(HOME, path), 'utf8')) as {
      readonly groups: readonly { readonly rules: readonly Rule[] }[];
    };
    return groups.flatMap(({ rules }) => rules);
  });
}

/** One test of promtool: what Prometheus would say is firing at that time. */
function ruleTest(alert: string, severity: string, { series, at, fires }: AlertCase) {
  const labels = Object.entries({ alertname: alert, alertstate: 'firing', severity, ...fires });
  const shown = labels.map(([name, value]) => `${name}="${value}"`).join(', ');
  return {
    name: `${alert} ${fires === undefined ? 'is silent' : 'fires'}`,
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    promql_expr_test: [
      {
        expr: `ALERTS{alertname="${alert}", alertstate="firing"}`,
        eval_time: at,
        exp_samples: fires === undefined ? [] : [{ labels: `ALERTS{${shown}}`, value: 1 }],
      },
    ],
  };
}

test(
  'every alert fires when it should, with the labels that it is told by, and is silent when what happens only looks like it',
  skip,
  async () => {
    assert.deepEqual(Object.keys(CASES).sort(), ALERTS.map(({ name }) => name).sort());
    const rules = rulesOf([...ruleFiles().keys()]);
    const recordings = rules.filter(({ alert }) => alert === undefined);
    const folder = await temporaryFolder();
    // An alert with the recordings alone: with all others beside each, promtool takes six times as long.
    const paths = ALERTS.map(({ name, severity }) => {
      const { fires, silent } = CASES[name] as AlertCases;
      assert.equal(silent.fires, undefined, name);
      const own = rules.filter(({ alert }) => alert === name);
      assert.equal(own.length, 1, `${name} is not in the files`);
      const groups = [
        { name: 'recordings', rules: recordings },
        { name: 'alert', rules: own },
      ];
      writeFileSync(join(folder.path, `${name}.rules.yaml`), stringify({ groups }));
      const path = join(folder.path, `${name}.test.yaml`);
      const tests = [ruleTest(name, severity, fires), ruleTest(name, severity, silent)];
      const test = { rule_files: [`${name}.rules.yaml`], evaluation_interval: '1m', tests };
      writeFileSync(path, stringify(test));
      return path;
    });
    try {
      const { status, stdout, stderr } = promtool('test', 'rules', ...paths);
      assert.equal(status, 0, stdout + stderr);
      assert.equal(stdout.match(/SUCCESS/g)?.length, ALERTS.length);
    } finally {
      await folder.remove();
    }
  },
);

test('what an alert says can be rendered: it names labels that it has when it fires', () => {
  const forms = /\{\{(.*?)\}\}/g;
  for (const { name, summary, description } of ALERTS) {
    const known = Object.keys(CASES[name]?.fires.fires ?? {});
    for (const [, form = ''] of `${summary} ${description}`.matchAll(forms)) {
      const [, label] = /^ \$labels\.(\w+) $/.exec(form) ?? [];
      if (label !== undefined) assert.ok(known.includes(label), `${name}: ${label}`);
      else assert.match(form, /^ \$value( \| humanize(Percentage|Duration)?)? $/, name);
    }
    assert.ok(description.length > 60 && summary.length < 120, name);
  }
});

test('the runbook has an entry for every alert and for nothing else, each with what it means, how to look, what to do and when it is harmless', () => {
  const text = readFileSync(join(HOME, 'RUNBOOK.md'), 'utf8');
  const entries = text.split(/^## /m).slice(1);
  const titles = entries.map((entry) => entry.split('\n')[0] ?? '');
  assert.deepEqual(
    titles.filter((title) => title.startsWith('Heddle')).sort(),
    ALERTS.map(({ name }) => name).sort(),
  );
  for (const entry of entries.filter((each) => each.startsWith('Heddle'))) {
    const [title] = entry.split('\n');
    for (const part of ['**Means**', '**Look**', '**Do**', '**Harmless**']) {
      assert.ok(entry.includes(part), `${title} lacks ${part}`);
    }
    assert.match(entry, /```sh\n/, `${title} has no command to copy`);
  }
  for (const { name } of ALERTS) assert.ok(`${RUNBOOK_URL}#${name}`.length > 0);
});
