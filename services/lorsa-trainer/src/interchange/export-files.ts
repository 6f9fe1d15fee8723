import { canonicalJson, failedPrecondition } from '@heddle/core';
import {
  LORSA_CONFIG_FILE,
  LORSA_WEIGHTS_FILE,
  readLorsaConfigJson,
  writeLorsaConfigJson,
  writeSafetensors,
} from '@heddle/formats';
import {
  foldLayerNormalisation,
  type LorsaLayer,
  layerToCheckpoint,
  scaleFactors,
} from '@heddle/interp/lorsa';
import type { Tensor } from '@heddle/tensor';
import { type CheckpointFiles, fileProvenance, openedFiles } from '../checkpoint-files.ts';

/** One file of the published format. */
export interface ExportedFile {
  readonly name: string;
  readonly content: Uint8Array;
}

/** What the reference writes into `__metadata__` beside our provenance: the version of its package. */
const FORMAT_VERSION = '2.0.0';

/**
 * A checkpoint as the files of the published format: `config.json` with every key, `sae_weights.safetensors` with every
 * tensor and buffer that the reference's strict loader demands, each as it is stored, to the byte. With `fold` the
 * normalisation goes into W_Q, W_K, W_V, W_O, b_D and thresholds, `norm_activation` becomes `inference`, and what was folded in
 * stands in the metadata. Errors: `failed_precondition` for a signed layer, which the format cannot say, and for
 * folding a normalisation that every token has its own of; `invalid_argument` of a damaged file.
 */
export function exportFiles(files: CheckpointFiles, fold: boolean): readonly ExportedFile[] {
  const { layer } = openedFiles(files); // strict: nothing is exported that could not be read again
  const parts = layerToCheckpoint(layer); // refuses what the format cannot say
  const { weights } = files;
  const stored = Object.fromEntries(weights.names().map((name) => [name, weights.tensor(name)]));
  const provenance = fileProvenance(weights);
  const version = weights.header.metadata.get('version') ?? FORMAT_VERSION;
  if (!fold || layer.normalisation === 'inference') {
    const { config } = readLorsaConfigJson(LORSA_CONFIG_FILE, files.configText);
    const heddle = canonicalJson(provenance);
    return bothFiles(writeLorsaConfigJson(config), stored, { version, heddle });
  }
  const { norms } = layer;
  if (norms === undefined) {
    throw failedPrecondition(
      `${layer.normalisation} normalisation cannot be folded: each token or sequence has its own scale. Export it as it is`,
      { field: 'fold' },
    );
  }
  const folded = layerToCheckpoint(foldedLayer(layer, norms));
  const heddle = canonicalJson({ ...provenance, folded: { ...norms } });
  // What folding does not touch stays as it is stored: masks, tables, biases of q, k and v, the measured norms.
  const tensors = { ...stored, ...pick(folded.tensors, FOLDED) };
  const config = { ...parts.config, norm_activation: 'inference' } as const;
  return bothFiles(writeLorsaConfigJson(config), tensors, { version, heddle });
}

/** What folding changes. */
const FOLDED = [
  ...['W_Q', 'W_K', 'W_V', 'W_O', 'b_D'],
  'activation_function.log_jumprelu_threshold',
];

function foldedLayer(layer: LorsaLayer, norms: NonNullable<LorsaLayer['norms']>): LorsaLayer {
  const factors = scaleFactors(layer.config.d_model, norms);
  return {
    ...layer,
    weights: foldLayerNormalisation(layer.config, layer.weights, factors),
    normalisation: 'inference',
    norms: undefined,
  };
}

function pick(
  tensors: Readonly<Record<string, Tensor>>,
  names: readonly string[],
): Readonly<Record<string, Tensor>> {
  return Object.fromEntries(Object.entries(tensors).filter(([name]) => names.includes(name)));
}

function bothFiles(
  configText: string,
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>>,
): readonly ExportedFile[] {
  return [
    { name: LORSA_CONFIG_FILE, content: new TextEncoder().encode(configText) },
    { name: LORSA_WEIGHTS_FILE, content: writeSafetensors(tensors, metadata) },
  ];
}
