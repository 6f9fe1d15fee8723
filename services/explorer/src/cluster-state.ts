import { OperationError } from '@heddle/core';
import type { ExplorerDeps } from './explorer.ts';

/** Jobs on the page; older ones are for `heddle job ls`. */
const JOBS_SHOWN = 50;
/** A page that waits longer looks dead. */
const TIMEOUT_MS = 5000;

export interface ClusterState {
  readonly services: readonly string[];
  readonly models: readonly ModelRow[];
  readonly jobs: readonly JobRow[];
  /** Parts that could not be had, with the reason. */
  readonly missing: readonly string[];
}

interface ModelRow {
  readonly name: string;
  readonly family: string;
  readonly n_layers: number;
  readonly n_heads: number;
  readonly d_model: number;
  readonly parameters: number;
}

interface JobRow {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly done: number;
  readonly total: number;
  readonly unit: string;
  readonly message: string;
  readonly created_ms: number;
  readonly error: string;
}

/** What the page shows, gathered in one answer. A part that fails is named, the others still stand. */
export async function clusterState({ clients, contracts }: ExplorerDeps): Promise<ClusterState> {
  const missing: string[] = [];
  const part = async <T>(name: string, rows: Promise<readonly T[]>): Promise<readonly T[]> => {
    try {
      return await rows;
    } catch (thrown) {
      missing.push(`${name}: ${OperationError.from(thrown).message}`);
      return [];
    }
  };
  const runsModels = contracts.includes('activation');
  const [models, jobs] = await Promise.all([
    part('models', runsModels ? modelRows(clients) : Promise.resolve([])),
    part('jobs', jobRows(clients)),
  ]);
  return { services: contracts, models, jobs, missing };
}

async function modelRows({ activation }: ExplorerDeps['clients']): Promise<ModelRow[]> {
  const { models } = await activation.ListModels({}, { timeoutMs: TIMEOUT_MS });
  return models.map(({ name, family, n_layers, n_heads, d_model, parameters }) => ({
    name,
    family,
    n_layers,
    n_heads,
    d_model,
    parameters,
  }));
}

async function jobRows({ jobs }: ExplorerDeps['clients']): Promise<JobRow[]> {
  const { jobs: list } = await jobs.List({ limit: JOBS_SHOWN }, { timeoutMs: TIMEOUT_MS });
  return list.map(({ id, kind, state, progress, created_ms, error }) => ({
    id,
    kind,
    state: state.replace('JOB_STATE_', '').toLowerCase(),
    done: progress?.done ?? 0,
    total: progress?.total ?? 0,
    unit: progress?.unit ?? '',
    message: progress?.message ?? '',
    created_ms,
    error: error?.message ?? '',
  }));
}
