import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog';
import {
  BigValueColorMode,
  BigValueGraphMode,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  type Panel,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import {
  PromQueryFormat,
  DataqueryBuilder as PromqlBuilder,
} from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as TimeseriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';
import { DASHBOARDS, type DashboardSpec, type PanelSpec, type RowSpec } from './panels/index.ts';
import { anchorOf, RUNBOOK_URL } from './rule-files.ts';
import { SCRAPE_SECONDS } from './targets.ts';

/** Which Prometheus is asked is chosen in the dashboard, and is the default one at first. */
const PROMETHEUS = { type: 'prometheus', uid: '$datasource' };
const GRID = { height: 8, width: 8, statHeight: 4 } as const;

/** Dashboards as Grafana reads them: path from here → JSON. */
export function dashboardFiles(): ReadonlyMap<string, string> {
  return new Map(
    DASHBOARDS.map((spec) => [
      `dashboards/${spec.uid}.json`,
      `${JSON.stringify(dashboardOf(spec).build(), undefined, 2)}\n`,
    ]),
  );
}

function dashboardOf(spec: DashboardSpec): DashboardBuilder {
  const dashboard = new DashboardBuilder(spec.title)
    .uid(spec.uid)
    .description(`${spec.description} Made by deploy/observability; changes here are lost.`)
    .tags(['heddle'])
    .tooltip(DashboardCursorSync.Crosshair)
    .time({ from: 'now-3h', to: 'now' })
    .refresh('30s')
    .timezone('browser')
    .withVariable(
      new DatasourceVariableBuilder('datasource').label('Prometheus').type('prometheus'),
    )
    .links([
      new DashboardLinkBuilder('Heddle')
        .type(DashboardLinkType.Dashboards)
        .tags(['heddle'])
        .asDropdown(true)
        .includeVars(true)
        .keepTime(true),
      new DashboardLinkBuilder('Runbook')
        .type(DashboardLinkType.Link)
        .url(RUNBOOK_URL)
        .targetBlank(true),
    ]);
  for (const { name, label, metric, of, multi } of spec.variables) {
    dashboard.withVariable(
      new QueryVariableBuilder(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query(`label_values(${metric}, ${of})`)
        .refresh(VariableRefresh.OnTimeRangeChanged)
        .sort(VariableSort.AlphabeticalAsc)
        .multi(multi ?? false)
        .includeAll(multi ?? false),
    );
  }
  let id = 1;
  const next = (): number => id++;
  for (const row of spec.rows) addRow(dashboard, row, next);
  return dashboard;
}

function addRow(dashboard: DashboardBuilder, row: RowSpec, next: () => number): void {
  const header = new RowBuilder(row.title).id(next()).collapsed(row.collapsed ?? false);
  const panels = row.panels.map((panel) => panelOf(panel, next()));
  if (row.collapsed === true) {
    for (const panel of panels) header.withPanel(panel);
    dashboard.withRow(header);
    return;
  }
  dashboard.withRow(header);
  for (const panel of panels) dashboard.withPanel(panel);
}

function panelOf(panel: PanelSpec, id: number): Builder<Panel> {
  const { alert } = panel;
  const links =
    alert === undefined
      ? []
      : [
          new DashboardLinkBuilder(`Runbook: ${alert}`)
            .type(DashboardLinkType.Link)
            .url(`${RUNBOOK_URL}#${anchorOf(alert)}`)
            .targetBlank(true),
        ];
  return builderOf(panel)
    .id(id)
    .title(panel.title)
    .description(panel.description)
    .datasource(PROMETHEUS)
    .targets(panel.queries.map((query, place) => queryOf(panel, query, place)))
    .links(links);
}

function queryOf(
  { kind }: PanelSpec,
  { expr, legend }: PanelSpec['queries'][number],
  place: number,
): Builder<Dataquery> {
  const query = new PromqlBuilder()
    .refId(String.fromCharCode('A'.charCodeAt(0) + place))
    .expr(expr)
    .legendFormat(legend === '' ? '__auto' : legend)
    .datasource(PROMETHEUS)
    .interval(`${SCRAPE_SECONDS}s`);
  return kind === 'table'
    ? query.instant().format(PromQueryFormat.Table)
    : kind === 'stat'
      ? query.instant()
      : query.range();
}

function builderOf(panel: PanelSpec): TimeseriesBuilder | StatBuilder | TableBuilder {
  switch (panel.kind) {
    case 'timeseries':
      return timeseriesOf(panel);
    case 'stat':
      return new StatBuilder()
        .unit(panel.unit)
        .thresholds(thresholdsOf(panel))
        .colorMode(panel.thresholds ? BigValueColorMode.Background : BigValueColorMode.Value)
        .graphMode(BigValueGraphMode.None)
        .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
        .noValue('–')
        .height(GRID.statHeight)
        .span(panel.width ?? 4);
    case 'table':
      return new TableBuilder()
        .unit(panel.unit)
        .noValue('none')
        .withTransformation({
          id: 'organize',
          options: {
            excludeByName: {
              Time: true,
              __name__: true,
              alertstate: true,
              job: true,
              Value: panel.unit === 'none' && panel.title.includes('alerts'),
            },
          },
        })
        .overrideByName('alertname', [
          {
            id: 'links',
            value: [
              {
                title: 'Runbook',
                url: `${RUNBOOK_URL}#\${__value.text}`,
                targetBlank: true,
              },
            ],
          },
        ])
        .height(GRID.height)
        .span(panel.width ?? GRID.width);
  }
}

function timeseriesOf(panel: PanelSpec): TimeseriesBuilder {
  const builder = new TimeseriesBuilder()
    .unit(panel.unit)
    .thresholds(thresholdsOf(panel))
    .min(0)
    .lineWidth(1)
    .fillOpacity(panel.stacked ? 40 : 8)
    .showPoints(VisibilityMode.Never)
    .spanNulls(false)
    .legend(
      new VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.Table)
        .placement(LegendPlacement.Bottom)
        .showLegend(true)
        .calcs(['lastNotNull', 'max']),
    )
    .tooltip(
      new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending),
    )
    .height(GRID.height)
    .span(panel.width ?? GRID.width);
  if (panel.stacked) builder.stacking(new StackingConfigBuilder().mode(StackingMode.Normal));
  if (panel.thresholds !== undefined) {
    const style = new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed);
    builder.thresholdsStyle(style);
  }
  return builder;
}

function thresholdsOf({ thresholds }: PanelSpec): ThresholdsConfigBuilder {
  const steps = (...values: readonly [number | null, string][]) =>
    new ThresholdsConfigBuilder()
      .mode(ThresholdsMode.Absolute)
      .steps(values.map(([value, color]) => ({ value, color })));
  if (thresholds === undefined) return steps([null, 'green']);
  const { warn, bad, below } = thresholds;
  if (!below) return steps([null, 'green'], [warn, 'yellow'], [bad, 'red']);
  // Red up to and including `bad`, yellow below `warn`.
  return steps([null, 'red'], [bad + Number.EPSILON, 'yellow'], [warn, 'green']);
}
