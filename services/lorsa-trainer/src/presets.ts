import type { KShape } from '@heddle/interp/lorsa';
import type { Init } from './train-request.ts';

/** Where a number of a preset comes from (methods 1.7). */
export type PresetSource =
  | 'paper' // stated for the published dictionaries, read in second-hand sources
  | 'script' // the authors' launch script of the paper's time
  | 'example' // the authors' present example or documentation
  | 'ours';

interface Sourced<T> {
  readonly value: T;
  readonly source: PresetSource;
}

const from =
  (source: PresetSource) =>
  <T>(value: T): Sourced<T> => ({ value, source });
const paper = from('paper');
const script = from('script');
const example = from('example');
const ours = from('ours');

/** Numbers of one preset; 'host' means what the host layer has. */
export interface Preset {
  readonly n_ov_heads: Sourced<number | { readonly perDModel: number }>;
  readonly n_qk_heads: Sourced<number | 'host'>;
  readonly d_qk_head: Sourced<number | 'host'>;
  readonly top_k: Sourced<number | 'host'>;
  readonly init: Sourced<Init>;
  readonly context: Sourced<number>;
  readonly batch: Sourced<number>;
  readonly steps: Sourced<number>;
  readonly learning_rate: Sourced<number>;
  readonly warmup_steps: Sourced<number>;
  readonly decay_share: Sourced<number>;
  readonly end_share: Sourced<number>;
  /** 0: no clipping. */
  readonly clip_norm: Sourced<number>;
  readonly k_shape: Sourced<KShape>;
  readonly k_from: Sourced<number>;
  readonly k_steps: Sourced<number>;
}

/** Steps in which a training of the published length, 800 M tokens, and of its shares pass. */
const stepsOf = (tokens: number, tokensPerStep: number) => Math.round(tokens / tokensPerStep);
const PYTHIA_STEP = 32 * 256;
const LLAMA_STEP = 32 * 2048;

/**
 * What the published trainings were given. Initialisation is ours throughout: starting from the host's own heads is what
 * the authors came to recommend; of their time's Kaiming draw nothing is left in their code.
 */
export const PRESETS = {
  'paper-pythia-160m': {
    n_ov_heads: paper(6144),
    n_qk_heads: paper(96),
    d_qk_head: paper(64),
    top_k: paper(64),
    init: ours('active_subspace'),
    context: script(256),
    batch: script(32),
    steps: paper(stepsOf(800e6, PYTHIA_STEP)),
    learning_rate: script(2e-3),
    warmup_steps: script(stepsOf(20e6, PYTHIA_STEP)),
    decay_share: script(0.2),
    end_share: script(0.01),
    clip_norm: script(0.15),
    k_shape: script('exponential-ratio'),
    k_from: script(768),
    k_steps: script(stepsOf(50e6, PYTHIA_STEP)),
  },
  'paper-llama-3.1-8b': {
    n_ov_heads: paper(32_768),
    n_qk_heads: paper(256),
    d_qk_head: paper(128),
    top_k: paper(128),
    init: ours('active_subspace'),
    context: example(2048),
    batch: example(32),
    steps: paper(stepsOf(800e6, LLAMA_STEP)),
    learning_rate: example(2e-4),
    warmup_steps: example(5000),
    decay_share: example(0.2),
    end_share: example(1 / 32),
    clip_norm: example(0),
    k_shape: example('constant'),
    k_from: example(0),
    k_steps: example(0),
  },
  // A first look that ends in a minute or two on two cores, on any host.
  small: {
    n_ov_heads: ours({ perDModel: 1 }),
    n_qk_heads: ours('host'),
    d_qk_head: ours('host'),
    top_k: ours('host'),
    init: ours('active_subspace'),
    context: ours(64),
    batch: ours(16),
    steps: ours(300),
    learning_rate: ours(2e-3),
    warmup_steps: ours(15),
    decay_share: ours(0.2),
    end_share: ours(1 / 32),
    clip_norm: ours(0),
    k_shape: ours('constant'),
    k_from: ours(0),
    k_steps: ours(0),
  },
} as const satisfies Readonly<Record<string, Preset>>;

export type PresetName = keyof typeof PRESETS;

/** What a request without a preset is given: sizes that fit the host. */
export const DEFAULTS: Preset = {
  // Rank-one heads per d_model: the published dictionaries have 8 to 32, a first look 4.
  n_ov_heads: ours({ perDModel: 4 }),
  n_qk_heads: ours('host'),
  d_qk_head: ours('host'),
  top_k: ours('host'),
  init: ours('active_subspace'),
  context: ours(128),
  batch: ours(16),
  steps: ours(500),
  // Ten times the published 2e-4, which is for 800 M tokens; a first training sees about one.
  learning_rate: ours(2e-3),
  warmup_steps: ours(0),
  decay_share: example(0.2),
  end_share: example(1 / 32),
  clip_norm: example(0),
  k_shape: example('constant'),
  k_from: ours(0),
  k_steps: ours(0),
};
