import { encodeModel, type Graph, GraphBuilder } from '@heddle/onnx';
import type { SaeConfig } from '../sae/sae-config.ts';
import { saeGraph, saeParameterInputs } from '../sae/sae-graph.ts';
import { measureGraph, targetInputs } from './measures.ts';

/**
 * An autoencoder measured at several K, as `buildLorsaEvaluation` does a layer: the same outputs. Feeds: y, valid, centre,
 * the parameters (of a file: in the host's units), and k, k_1, ….
 */
export function buildSaeEvaluation(config: SaeConfig, kCount: number): Graph {
  const g = new GraphBuilder('sae_measures');
  const { d_model } = config;
  const parameters = saeParameterInputs(g, config);
  const target = targetInputs(g, d_model);
  const rows = g.reshape(target.y, [-1, d_model]);
  const reconstructions = Array.from({ length: kCount }, (_, j) => {
    const k = j === 0 ? 'k' : `k_${j}`;
    g.sizeInput(k);
    return g.scope(k, () => saeGraph(g, parameters, rows, k));
  });
  measureGraph(g, target, reconstructions);
  const own = reconstructions[0].reconstruction;
  g.output('reconstruction', g.reshape(own, ['batch', 'pos', d_model]));
  return g.build();
}

export const encodedSaeEvaluation = (config: SaeConfig, kCount: number): Uint8Array =>
  encodeModel(buildSaeEvaluation(config, kCount));
