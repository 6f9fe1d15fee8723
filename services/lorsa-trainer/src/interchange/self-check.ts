import { failedPrecondition } from '@heddle/core';
import {
  addSums,
  applyLorsa,
  emptySums,
  figures,
  type LorsaLayer,
  type MeanNorms,
  measure,
  type Normalisation,
} from '@heddle/interp/lorsa';
import { applyOnEngine, type OnEngine } from '../apply/apply-on-engine.ts';
import type { HostSample } from './host-sample.ts';
import {
  CHECK_TOKENS,
  CHECK_TOKENS_MIN,
  CHECK_WORK,
  FVU_FITS_BELOW,
  FVU_TIE,
  NORM_RATIO_MAX,
} from './limits.ts';

/** A way to read a checkpoint's numbers: in which units its weights take and give activations. */
export interface Reading {
  readonly normalisation: Normalisation;
  readonly norms: MeanNorms | undefined;
}

/** How well a reading reconstructs the host's layer. */
export interface Fit extends Reading {
  readonly fvu: number;
  readonly l0: number;
}

/** What the check found: a fit for each reading that can be tried, and why one cannot. */
export interface Check {
  readonly declared: Normalisation;
  readonly fits: readonly Fit[];
  /** Why there is no dataset-wise reading; undefined where there is one. */
  readonly withoutNorms: string | undefined;
}

/** Tokens on which a layer of this size is checked. */
export function checkTokens({ config }: Pick<LorsaLayer, 'config'>): number {
  const { d_model, n_ov_heads, n_qk_heads, d_qk_head } = config;
  const perToken = d_model * (n_ov_heads + 2 * n_qk_heads * d_qk_head);
  return Math.min(CHECK_TOKENS, Math.max(CHECK_TOKENS_MIN, Math.floor(CHECK_WORK / perToken)));
}

/**
 * Why stored norms cannot be used; undefined where they can. The reference writes uninitialised memory where nothing
 * was measured, which is anything: only the host says whether a number can be its mean norm.
 */
export function normsProblem(stored: Partial<MeanNorms>, measured: MeanNorms): string | undefined {
  for (const side of ['input', 'output'] as const) {
    const value = stored[side];
    const own = measured[side];
    if (value === undefined || !(value > 0) || !Number.isFinite(value)) {
      return `the ${side}'s mean norm is ${value ?? 'absent'}: it was never measured`;
    }
    const ratio = value / own;
    if (ratio > NORM_RATIO_MAX || ratio < 1 / NORM_RATIO_MAX) {
      return `the ${side}'s mean norm is ${short(value)} and the host's is ${short(own)}: it was never measured (uninitialised memory), or on another host`;
    }
  }
  return undefined;
}

/** The layer's FVU on real tokens under each reading: folded (`inference`), dataset-wise where norms are there, and the declared one. */
export async function checkReadings(
  on: CheckOn,
  layer: LorsaLayer,
  declared: Reading,
  sample: HostSample,
): Promise<Check> {
  const withoutNorms = normsProblem(declared.norms ?? {}, sample.norms);
  const readings: Reading[] = [{ normalisation: 'inference', norms: undefined }];
  if (withoutNorms === undefined) {
    readings.push({ normalisation: 'dataset-wise', norms: declared.norms });
  }
  if (declared.normalisation === 'token-wise' || declared.normalisation === 'batch-wise') {
    readings.push({ normalisation: declared.normalisation, norms: undefined });
  }
  const fits: Fit[] = [];
  for (const reading of readings) {
    const { fvu, l0 } = await measured(on, { ...layer, ...reading }, sample);
    fits.push({ ...reading, fvu, l0 });
  }
  return { declared: declared.normalisation, fits, withoutNorms };
}

/** Where the check computes: without an engine that has double precision, on the twin. */
export interface CheckOn extends Omit<OnEngine, 'engine'> {
  readonly engine: OnEngine['engine'] | undefined;
}

async function measured({ engine, ...on }: CheckOn, layer: LorsaLayer, sample: HostSample) {
  const { d_model } = layer.config;
  let sums = emptySums(d_model);
  for (const { x, y, valid } of sample.sequences) {
    await on.breathe();
    const wanted = { pattern: false, values: false };
    const { featureActs, reconstruction } = engine
      ? await applyOnEngine({ ...on, engine }, layer, { x, y, wanted })
      : applyLorsa(layer, x, y);
    const found = { y: y.data, reconstruction: reconstruction.data, featureActs: featureActs.data };
    sums = addSums(sums, measure(d_model, { ...found, valid }));
  }
  return figures(sums);
}

/**
 * The reading that fits best; the declared one where it is as good. Errors: `failed_precondition` with every number when
 * none fits.
 */
export function choose(check: Check): Fit {
  const those = fitting(check);
  const [best] = those.toSorted((a, b) => a.fvu - b.fvu);
  if (best === undefined) throw neitherFits(check);
  const own = those.find(({ normalisation }) => normalisation === check.declared);
  return own !== undefined && own.fvu <= best.fvu + FVU_TIE ? own : best;
}

/** The readings under which the layer is better than nothing. */
export function fitting({ fits }: Check): readonly Fit[] {
  return fits.filter(({ fvu }) => fvu < FVU_FITS_BELOW);
}

/** `FVU 0.12 as dataset-wise, 84 as inference (folded)`: what a person compares. */
export function showFits({ fits, withoutNorms }: Pick<Check, 'fits' | 'withoutNorms'>): string {
  const numbers = fits.map(
    ({ normalisation, fvu }) =>
      `${short(fvu)} as ${normalisation}${normalisation === 'inference' ? ' (folded)' : ''}`,
  );
  return `FVU ${numbers.join(', ')}${withoutNorms === undefined ? '' : `; not as dataset-wise: ${withoutNorms}`}`;
}

/** The refusal of an import, with every number; `before`: the same with the input taken before the norm's gain. */
export function neitherFits(check: Check, before?: Check): Error {
  const { declared, withoutNorms, fits } = check;
  const never = declared === 'dataset-wise' && withoutNorms !== undefined;
  const what = never
    ? 'the checkpoint is dataset-wise and its norms are no measurement'
    : 'the checkpoint does not reconstruct its layer of this host under any reading';
  const also = before === undefined ? '' : `; read before the norm's gain: ${showFits(before)}`;
  return failedPrecondition(
    `${what}: ${showFits(check)}${also}; less than ${FVU_FITS_BELOW} is taken. It is of another host or layer, or damaged`,
    {
      field: 'checkpoint',
      details: {
        ...Object.fromEntries(
          fits.map(({ normalisation, fvu }) => [`fvu_${normalisation}`, String(fvu)]),
        ),
        limit: FVU_FITS_BELOW,
      },
    },
  );
}

const short = (value: number): string => String(Number(value.toPrecision(4)));
