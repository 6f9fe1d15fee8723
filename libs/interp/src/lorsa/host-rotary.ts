import { type Json, OperationError } from '@heddle/core';
import { type RotaryConfig, rotaryFrequencies } from './rotary.ts';

/** The rotary positions of a host as libs/models reads them: frequencies with any scaling already applied. */
export interface HostPositions {
  readonly dims: number;
  readonly frequencies: readonly number[];
  readonly amplitude: number;
}

/** Frequencies come from the same formulas in the same precision: what is left is the order of operations. */
const FREQUENCY_TOLERANCE = 1e-12;

/**
 * The host's rotary positions in the words of the published format (base, layout, Llama 3's rescaling), derived from its
 * config.json and checked against the frequencies that the host really uses: never typed by hand. All families that we
 * read pair the two halves. Errors: `unimplemented` for a scaling that the format cannot say (linear, YaRN).
 */
export function rotaryOfHost(positions: HostPositions, configJson: Json): RotaryConfig {
  const config = recordOf(configJson);
  const scaling = recordOf(config['rope_scaling'] ?? config['rope_parameters'] ?? {});
  const number = (from: Record<string, Json>, ...names: string[]) =>
    names.map((name) => from[name]).find((value) => typeof value === 'number');
  // base^(-2/dims) is the second frequency unless something rescaled it: a base of last resort that is checked below.
  const fromFrequencies = (positions.frequencies[1] ?? 1) ** (-positions.dims / 2);
  const base =
    number(scaling, 'rope_theta') ??
    number(config, 'rope_theta', 'rotary_emb_base') ??
    Math.round(fromFrequencies);
  const factor = number(scaling, 'factor');
  const low = number(scaling, 'low_freq_factor');
  const high = number(scaling, 'high_freq_factor');
  const old =
    number(scaling, 'original_max_position_embeddings') ??
    number(config, 'original_max_position_embeddings', 'max_position_embeddings');
  const plain: RotaryConfig = { dim: positions.dims, base: Number(base), layout: 'half' };
  const candidates: RotaryConfig[] = [plain];
  if (factor !== undefined && low !== undefined && high !== undefined && old !== undefined) {
    candidates.push({
      ...plain,
      scaling: {
        factor: Number(factor),
        lowFreqFactor: Number(low),
        highFreqFactor: Number(high),
        oldContextLength: Number(old),
      },
    });
  }
  const fitting = candidates.find((candidate) => fits(candidate, positions));
  if (!fitting || positions.amplitude !== 1) {
    throw new OperationError({
      code: 'unimplemented',
      message:
        'the host scales its rotary positions in a way that a Lorsa layer cannot say; plain and llama3 are known',
      field: 'model',
    });
  }
  return fitting;
}

function recordOf(value: Json): Record<string, Json> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, Json>)
    : {};
}

function fits(candidate: RotaryConfig, { frequencies }: HostPositions): boolean {
  return rotaryFrequencies(candidate).every(
    (f, m) => Math.abs(f - (frequencies[m] ?? Number.NaN)) <= FREQUENCY_TOLERANCE * f,
  );
}
