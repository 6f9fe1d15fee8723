import { parameterNames, parameterShape, stateFeeds } from '@heddle/interp/lorsa';
import type { SparseSizes } from '@heddle/ports';
import { elementCount } from '@heddle/tensor';
import { ALIGNMENT_BYTES, SUM_NUMBERS, SUM_ROWS } from './limits.ts';
import { ARGUMENT_BYTES } from './protocol.ts';

export type Kind = 'f32' | 'i32' | 'f64';

export interface Region {
  readonly kind: Kind;
  readonly length: number;
  /** From the start of the memory. */
  readonly address: number;
}

/** Where everything lies in the kernels' memory. Made once for the largest step; smaller ones use the front of each region. */
export interface Layout {
  readonly regions: ReadonlyMap<string, Region>;
  readonly bytes: number;
  readonly scratchBytes: number;
}

const BYTES: Readonly<Record<Kind, number>> = { f32: 4, i32: 4, f64: 8 };
/** Of one entry of a list of rows: address and factor. */
const ENTRY_BYTES = 8;
export const gradientName = (parameter: string): string => `gradient.${parameter}`;
export const squaresName = (parameter: string): string => `squares.${parameter}`;
export const scratchName = (thread: number): string => `scratch.${thread}`;

/** Lays the regions one after the other. Pure: the estimate is this, and so is the truth. */
export function layoutOf(sizes: SparseSizes, threads: number): Layout {
  const regions = new Map<string, Region>();
  // Address 0 stays empty: it is the kernels' "there is none".
  let bytes = ALIGNMENT_BYTES;
  const place = (name: string, kind: Kind, length: number) => {
    regions.set(name, { kind, length, address: bytes });
    const end = bytes + length * BYTES[kind];
    bytes = Math.ceil(end / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
  };
  const scratchBytes = scratchOf(sizes);
  place('arguments', 'i32', ARGUMENT_BYTES / 4);
  for (let thread = 0; thread < threads; thread++) {
    place(scratchName(thread), 'f32', scratchBytes / 4);
  }
  placeParameters(sizes, place);
  placeStep(sizes, place);
  placePairs(sizes, place);
  return { regions, bytes, scratchBytes };
}

type Place = (name: string, kind: Kind, length: number) => void;

/** Parameters that the pairs touch: their gradients are sums over pairs. */
export const ROW_PARAMETERS: ReadonlySet<string> = new Set(['W_V', 'b_V', 'W_O']);

function placeParameters({ config, keepsGradients }: SparseSizes, place: Place): void {
  for (const name of parameterNames(config)) {
    const length = elementCount(parameterShape(config, name));
    for (const feed of Object.values(stateFeeds(name))) place(feed, 'f32', length);
    if (ROW_PARAMETERS.has(name) && !keepsGradients) continue;
    place(gradientName(name), 'f32', length);
    place(squaresName(name), 'f64', Math.ceil(length / SUM_NUMBERS));
  }
}

/** One row per token and group, or per token. */
function placeStep(sizes: SparseSizes, place: Place): void {
  const { config, tokensMax, auxSlotsMax } = sizes;
  const { d_model, n_qk_heads, n_ov_heads } = config;
  place('mixed', 'f32', n_qk_heads * tokensMax * d_model);
  place('cotangent', 'f32', n_qk_heads * tokensMax * d_model);
  place('reads', 'f32', tokensMax * n_ov_heads);
  // What ranks are weighed with where it is not the decoder norm, and the same with living heads at 0.
  place('gains', 'f32', n_ov_heads);
  place('dead_gains', 'f32', auxSlotsMax > 0 ? n_ov_heads : 0);
  place('y', 'f32', tokensMax * d_model);
  place('valid', 'f32', tokensMax);
  place('error', 'f32', tokensMax * d_model * (auxSlotsMax > 0 ? 2 : 1));
  place('error_squares', 'f64', tokensMax);
  place('y_squares', 'f64', tokensMax);
  place('auxiliary_squares', 'f64', tokensMax);
  const sums = Math.ceil(tokensMax / SUM_ROWS) * d_model;
  place('y_sums', 'f32', sums);
  place('error_sums', 'f32', sums);
  place('decoder_norms', 'f32', n_ov_heads);
  place('head_squares', 'f64', n_ov_heads);
  place('fired', 'f32', n_ov_heads);
}

function placePairs(sizes: SparseSizes, place: Place): void {
  const { config, tokensMax, slotsMax, auxSlotsMax } = sizes;
  for (const [list, slots] of [
    ['active', slotsMax],
    ['auxiliary', auxSlotsMax],
  ] as const) {
    place(`${list}.indices`, 'i32', tokensMax * slots);
    place(`${list}.z`, 'f32', tokensMax * slots);
    place(`${list}.dz`, 'f32', tokensMax * slots);
  }
  const pairs = tokensMax * (slotsMax + auxSlotsMax);
  place('by_head.starts', 'i32', config.n_ov_heads + 2);
  place('by_head.token', 'i32', pairs);
  place('by_head.z', 'f32', pairs);
  place('by_head.dz', 'f32', pairs);
  place('by_group.starts', 'i32', config.n_qk_heads * tokensMax + 2);
  place('by_group.head', 'i32', pairs);
  place('by_group.dz', 'f32', pairs);
}

/** A row, and the longest list: a head that is active, or revived, on every token; or the candidates of a large K. */
function scratchOf({ config, tokensMax, slotsMax, auxSlotsMax }: SparseSizes): number {
  const perHead = tokensMax * (auxSlotsMax > 0 ? 2 : 1);
  const perToken = slotsMax + auxSlotsMax + 2;
  // Of the gate: candidates, the bound's sets, and a token's ranks.
  const candidates = 3 * Math.max(slotsMax, auxSlotsMax) + 48 + Math.ceil(config.n_ov_heads / 2);
  const entries = Math.max(perHead, perToken, candidates, SUM_ROWS);
  return 4 * config.d_model + ENTRY_BYTES * entries;
}
