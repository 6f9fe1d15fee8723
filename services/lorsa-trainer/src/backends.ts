import type { Estimate } from '@heddle/actor';
import { OperationError, resourceExhausted } from '@heddle/core';
import {
  type BackendOptions,
  graphBackend,
  type SparseSizes,
  sparseBackend,
  sparseSizes,
  type TrainBackend,
} from '@heddle/interp/lorsa';
import type { Engine, Kernels, Program, Provider } from '@heddle/ports';
import { estimateSparse, estimateTraining, stepSeconds } from './estimate-training.ts';
import { PLAN_STEPS } from './limits.ts';
import type { TrainSettings } from './lorsa-settings.ts';
import { graphProgram } from './programs.ts';
import type { Backend, TrainRequest } from './train-request.ts';

/** An estimate is not good enough to give up the usual backend for less. */
const SLOWER_MAX = 1.5;

export interface ChosenBackend {
  readonly backend: Backend;
  /** Why it is not what one would expect here; else empty. */
  readonly reason: string;
}

type Sizes = Pick<
  TrainSettings,
  'config' | 'batch' | 'context' | 'topK' | 'auxiliary' | 'clipNorm'
>;

const common = ({ config, batch, context, topK, auxiliary }: Sizes) => ({
  config,
  auxiliary,
  tokensMax: batch * context,
  topKMax: Math.max(topK.from, topK.to),
});

/** What memory the sparse backend would hold for this training. */
const sizesOf = (settings: Sizes): SparseSizes =>
  sparseSizes({ ...common(settings), clips: Number.isFinite(settings.clipNorm) });

/** Errors: `resource_exhausted` with the estimate for `sparse` demanded of a training that is too large for it. */
export async function requireBackend(
  kernels: () => Promise<Pick<Kernels, 'estimate'>>,
  asked: Backend | '',
  settings: Sizes,
): Promise<void> {
  if (asked !== 'sparse') return;
  const { bytes, limitBytes, fits } = (await kernels()).estimate(sizesOf(settings));
  if (fits) return;
  throw resourceExhausted(
    `the sparse backend would need ${bytes} bytes in one memory; at most ${limitBytes}: choose backend graph, fewer heads or a smaller batch`,
    { field: 'backend', retryable: false, details: { bytes, limit: limitBytes } },
  );
}

/**
 * What was asked for; else `sparse` on a CPU if its memory holds the training and it is not much the slower one, `graph`
 * elsewhere. Errors: as `requireBackend`.
 */
export async function chooseBackend(
  kernels: () => Promise<Pick<Kernels, 'estimate'>>,
  asked: Backend | '',
  { settings, provider }: { readonly settings: Sizes; readonly provider: Provider },
): Promise<ChosenBackend> {
  await requireBackend(kernels, asked, settings);
  if (asked !== '') return { backend: asked, reason: '' };
  if (provider !== 'cpu') return { backend: 'graph', reason: '' };
  const { bytes, limitBytes, fits } = (await kernels()).estimate(sizesOf(settings));
  const graph = (reason: string): ChosenBackend => ({ backend: 'graph', reason });
  if (!fits) return graph(`sparse would need ${bytes} bytes of one memory; at most ${limitBytes}`);
  const seconds = stepSeconds(settings);
  if (seconds.sparse <= SLOWER_MAX * seconds.graph) return { backend: 'sparse', reason: '' };
  const times = (seconds.sparse / seconds.graph).toFixed(1);
  return graph(
    `with so many shared heads on so long sequences sparse takes ${times} times as long`,
  );
}

/** What a training will cost on a CPU. Errors: as `requireBackend`. */
export async function estimateFor(
  { kernels }: { readonly kernels: () => Promise<Pick<Kernels, 'estimate'>> },
  { backend: asked }: Pick<TrainRequest, 'backend'>,
  settings: TrainSettings,
): Promise<Estimate> {
  const { backend } = await chooseBackend(kernels, asked, { settings, provider: 'cpu' });
  if (backend === 'graph') return estimateTraining(settings);
  return estimateSparse(settings, (await kernels()).estimate(sizesOf(settings)).bytes);
}

/** Opens a backend; the caller closes it. Errors: `resource_exhausted`. */
export async function openBackend(
  {
    engine,
    kernels,
  }: { readonly engine: Engine; readonly kernels: () => Promise<Pick<Kernels, 'open'>> },
  backend: Backend,
  settings: Sizes,
): Promise<TrainBackend> {
  const options: BackendOptions<Program> = {
    ...common(settings),
    engine,
    program: graphProgram,
    stepsMax: PLAN_STEPS,
  };
  if (backend === 'graph') return graphBackend(options);
  return sparseBackend({ ...options, kernels: await (await kernels()).open(sizesOf(settings)) });
}

/**
 * Opens what was asked for, or what is usual here; and `graph` where the usual one turns out not to have its memory. Errors:
 * `resource_exhausted` for what was demanded.
 */
export async function openUsual(
  deps: { readonly engine: Engine; readonly kernels: () => Promise<Kernels> },
  asked: Backend | '',
  { settings, provider }: { readonly settings: Sizes; readonly provider: Provider },
): Promise<{ readonly backend: TrainBackend; readonly reason: string }> {
  const { backend, reason } = await chooseBackend(deps.kernels, asked, { settings, provider });
  try {
    return { backend: await openBackend(deps, backend, settings), reason };
  } catch (thrown) {
    const { code, message } = OperationError.from(thrown);
    if (asked !== '' || backend === 'graph' || code !== 'resource_exhausted') throw thrown;
    return { backend: await openBackend(deps, 'graph', settings), reason: message };
  }
}
