import { CLUSTER } from './cluster.ts';
import { GPUS } from './gpu.ts';
import { KIND } from './kind.ts';
import type { DashboardSpec } from './panel.ts';
import { SERVICE } from './service.ts';

export type { DashboardSpec, PanelSpec, RowSpec, VariableSpec } from './panel.ts';

export const DASHBOARDS: readonly DashboardSpec[] = [CLUSTER, SERVICE, KIND, GPUS];
