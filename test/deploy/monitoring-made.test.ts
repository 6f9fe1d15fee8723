/** What is made of code under deploy/observability: nothing is changed by hand, and dashboards are whole. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ALERTS } from '../../deploy/observability/alerts/index.ts';
import { madeFiles } from '../../deploy/observability/made-files.ts';
import { DASHBOARDS } from '../../deploy/observability/panels/index.ts';
import { RUNBOOK_URL } from '../../deploy/observability/rule-files.ts';

const HOME = fileURLToPath(new URL('../../deploy/observability/', import.meta.url));
/** A ConfigMap takes a mebibyte, and kubectl's annotation of it a quarter of that. */
const DASHBOARD_BYTES_MAX = 200 * 1024;

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly { readonly expr: string; readonly refId: string }[];
  readonly panels?: readonly Panel[];
  readonly links?: readonly { readonly url: string }[];
}

interface Dashboard {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string }[];
  };
}

const dashboards = (): readonly Dashboard[] =>
  DASHBOARDS.map(({ uid }) =>
    JSON.parse(readFileSync(join(HOME, 'dashboards', `${uid}.json`), 'utf8')),
  );

const all = (panels: readonly Panel[]): readonly Panel[] =>
  panels.flatMap((panel) => [panel, ...all(panel.panels ?? [])]);

test('made again, catalogue, rules and dashboards are what is there, and nothing else is there', async () => {
  const made = await madeFiles();
  for (const [path, text] of made) {
    const there = readFileSync(join(HOME, path), 'utf8');
    assert.equal(there, text, `${path}: run \`node deploy/observability/make.ts\``);
  }
  for (const folder of ['rules', 'dashboards']) {
    for (const name of readdirSync(join(HOME, folder)))
      assert.ok(made.has(`${folder}/${name}`), name);
  }
});

test('every panel says what it shows, asks the chosen Prometheus, and has a place of its own', () => {
  for (const { uid, panels, templating } of dashboards()) {
    const ids = all(panels).map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length, uid);
    const [first] = templating.list;
    assert.deepEqual([first?.name, first?.type], ['datasource', 'datasource'], uid);
    const taken = new Map<string, string>();
    for (const panel of all(panels)) {
      const { x, y, w, h } = panel.gridPos;
      assert.ok(w > 0 && h > 0 && x + w <= 24, `${uid}: ${panel.title}`);
      if (panel.type === 'row') continue;
      assert.ok((panel.description ?? '').length > 5, `${uid}: ${panel.title} says nothing`);
      assert.equal(panel.datasource?.uid, '$datasource', `${uid}: ${panel.title}`);
      assert.ok((panel.targets ?? []).length > 0, `${uid}: ${panel.title} asks nothing`);
      for (let row = y; row < y + h; row++) {
        for (let column = x; column < x + w; column++) {
          const cell = `${column},${row}`;
          assert.equal(taken.get(cell), undefined, `${uid}: ${panel.title} lies over another`);
          taken.set(cell, panel.title);
        }
      }
    }
  }
});

test('panels ask only for variables that their dashboard has, and link to entries that the runbook has', () => {
  const anchors = new Set(ALERTS.map(({ name }) => `${RUNBOOK_URL}#${name.toLowerCase()}`));
  for (const { uid, panels, templating } of dashboards()) {
    const variables = new Set(['__rate_interval', ...templating.list.map(({ name }) => name)]);
    let linked = 0;
    for (const { title, targets = [], links = [] } of all(panels)) {
      for (const { expr } of targets) {
        for (const [, name = ''] of expr.matchAll(/\$(\w+)/g)) {
          assert.ok(variables.has(name), `${uid}: ${title} asks for $${name}`);
        }
      }
      for (const { url } of links) {
        assert.ok(anchors.has(url), `${uid}: ${title} links to ${url}`);
        linked += 1;
      }
    }
    assert.ok(linked >= 5, `${uid} has ${linked} links to the runbook`);
  }
});

test('a dashboard fits into a ConfigMap', () => {
  for (const { uid } of DASHBOARDS) {
    const { length } = readFileSync(join(HOME, 'dashboards', `${uid}.json`));
    assert.ok(length < DASHBOARD_BYTES_MAX, `${uid}: ${length}`);
  }
});
