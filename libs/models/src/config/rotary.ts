import { CONFIG_MAX } from '../limits.ts';
import { ConfigReader } from './config-reader.ts';
import type { Rotary } from './model-config.ts';

const KNOWN = new Set([
  'rope_type',
  'type',
  'rope_theta',
  'partial_rotary_factor',
  'factor',
  'low_freq_factor',
  'high_freq_factor',
  'original_max_position_embeddings',
  'attention_factor',
  'beta_fast',
  'beta_slow',
  'mscale',
  'mscale_all_dim',
  'truncate',
]);

export interface RotaryDefaults {
  readonly d_head: number;
  readonly n_ctx: number;
  /** Names of the base and of the share beside the object, in the family's older spellings. */
  readonly thetaFields: readonly string[];
  readonly partial: { readonly fields: readonly string[]; readonly standard: number } | undefined;
}

/**
 * *Rotary positions of a config* (Su et al. 2021, as transformers computes them): `frequencies[i] = theta^(−2i/dims)`, then
 * scaled by the type: `default`, `linear` (÷ factor), `llama3`, `yarn`. Others are refused by name.
 */
export function readRotary(config: ConfigReader, defaults: RotaryDefaults): Rotary {
  const scaling = ropeObject(config);
  const type = scaling.choice('rope_type', ROPE_TYPES, ropeType(scaling));
  const base =
    scaling.raw('rope_theta') === undefined
      ? config.positive(config.sameUnder(defaults.thetaFields), 10_000)
      : scaling.positive('rope_theta');
  const dims = rotaryDims(config, scaling, defaults);
  const plain = Array.from({ length: dims / 2 }, (_, i) => base ** ((-2 * i) / dims));
  const trained = config.whole('original_max_position_embeddings', {
    max: CONFIG_MAX.n_ctx,
    default: scaling.whole('original_max_position_embeddings', {
      max: CONFIG_MAX.n_ctx,
      default: defaults.n_ctx,
    }),
  });
  const { frequencies, amplitude } = type({ scaling, plain, base, dims, trained });
  return { kind: 'rotary', dims, frequencies, amplitude };
}

/** The object with the rotary fields, under either of its names; both only if they are equal. */
function ropeObject(config: ConfigReader): ConfigReader {
  const older = config.raw('rope_scaling');
  const newer = config.raw('rope_parameters');
  if (
    older !== undefined &&
    newer !== undefined &&
    JSON.stringify(older) !== JSON.stringify(newer)
  ) {
    throw config.wrong('rope_scaling', 'the same as rope_parameters');
  }
  const [name, value] = older !== undefined ? ['rope_scaling', older] : ['rope_parameters', newer];
  if (value === undefined) return new ConfigReader(config.file, {});
  if (typeof value !== 'object' || Array.isArray(value)) throw config.wrong(name, 'an object');
  const unknown = Object.keys(value as object).find((key) => !KNOWN.has(key));
  if (unknown !== undefined) {
    throw config.wrong(name, `an object without ${JSON.stringify(unknown)}`);
  }
  return new ConfigReader(`${config.file} ${name}`, value as Record<string, unknown>);
}

function ropeType(scaling: ConfigReader): string {
  const type = scaling.raw('rope_type') ?? scaling.raw('type') ?? 'default';
  if (scaling.raw('rope_type') === undefined && !Object.hasOwn(ROPE_TYPES, String(type))) {
    throw scaling.wrong('type', `one of ${Object.keys(ROPE_TYPES).join(', ')}`);
  }
  return String(type);
}

function rotaryDims(config: ConfigReader, scaling: ConfigReader, defaults: RotaryDefaults): number {
  const { d_head, partial } = defaults;
  let share = 1;
  if (scaling.raw('partial_rotary_factor') !== undefined) {
    share = scaling.positive('partial_rotary_factor');
  } else if (partial) share = config.positive(config.sameUnder(partial.fields), partial.standard);
  if (share > 1 || (!partial && share !== 1)) {
    throw scaling.wrong('partial_rotary_factor', partial ? 'at most 1' : '1');
  }
  const dims = Math.floor(d_head * share);
  if (dims < 2 || dims % 2 === 1) {
    throw config.wrong(
      partial?.fields[0] ?? 'head_dim',
      `an even number of turned dimensions (of ${d_head}, ${dims} would be turned)`,
    );
  }
  return dims;
}

interface Scaling {
  readonly scaling: ConfigReader;
  readonly plain: readonly number[];
  readonly base: number;
  readonly dims: number;
  /** Length that the model was first trained on. */
  readonly trained: number;
}

type Scaled = { readonly frequencies: readonly number[]; readonly amplitude: number };

const ROPE_TYPES: Readonly<Record<string, (s: Scaling) => Scaled>> = {
  default: ({ plain }) => ({ frequencies: plain, amplitude: 1 }),
  linear({ scaling, plain }) {
    const factor = scaling.positive('factor');
    return { frequencies: plain.map((f) => f / factor), amplitude: 1 };
  },
  llama3,
  yarn,
};

/** Slow waves are stretched by `factor`, fast ones kept, those between interpolated (Llama 3.1). */
function llama3({ scaling, plain, trained }: Scaling): Scaled {
  const factor = scaling.positive('factor');
  const low = scaling.positive('low_freq_factor');
  const high = scaling.positive('high_freq_factor');
  if (high <= low) throw scaling.wrong('high_freq_factor', `more than low_freq_factor (${low})`);
  const frequencies = plain.map((f) => {
    const wavelength = (2 * Math.PI) / f;
    if (wavelength > trained / low) return f / factor;
    if (wavelength < trained / high) return f;
    const smooth = (trained / wavelength - low) / (high - low);
    return ((1 - smooth) * f) / factor + smooth * f;
  });
  return { frequencies, amplitude: 1 };
}

/** NTK by parts (Peng et al. 2023): a linear ramp over the dimensions between interpolation and extrapolation. */
function yarn({ scaling, plain, base, dims, trained }: Scaling): Scaled {
  const factor = scaling.positive('factor');
  const turn = (rotations: number) =>
    (dims * Math.log(trained / (rotations * 2 * Math.PI))) / (2 * Math.log(base));
  const fast = turn(scaling.positive('beta_fast', 32));
  const slow = turn(scaling.positive('beta_slow', 1));
  const truncate = scaling.flag('truncate', true);
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const end = Math.min(truncate ? Math.ceil(slow) : slow, dims - 1);
  const high = end === low ? end + 0.001 : end;
  const frequencies = plain.map((f, i) => {
    const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1);
    return (f / factor) * ramp + f * (1 - ramp);
  });
  return { frequencies, amplitude: yarnAmplitude(scaling, factor) };
}

function yarnAmplitude(scaling: ConfigReader, factor: number): number {
  if (scaling.raw('attention_factor') !== undefined) return scaling.positive('attention_factor');
  const grow = (by: number) => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
  const [mscale, all] = [scaling.raw('mscale'), scaling.raw('mscale_all_dim')];
  if (!mscale || !all) return grow(1);
  return grow(scaling.positive('mscale')) / grow(scaling.positive('mscale_all_dim'));
}
