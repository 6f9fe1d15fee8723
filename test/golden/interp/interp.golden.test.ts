/**
 * libs/interp against numpy (dense matrices, LAPACK): `make.py` beside this file, which imports
 * nothing of ours.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readSafetensors } from '@heddle/formats';
import { whyLogit, whyScore } from '@heddle/interp/attribution';
import {
  augmentedPair,
  type HeadFiring,
  type Question,
  selectSlices,
  type TraceEdge,
  traceAccpp,
  upstreamHeads,
} from '@heddle/interp/circuit';
import {
  type HostActivations,
  HostRun,
  type HostShape,
  type HostWeights,
  ProcessedHost,
} from '@heddle/interp/host';
import { attributeLogits, contrastiveCovariance } from '@heddle/interp/qk';
import { fromRows, type Matrix, matrix } from '@heddle/linalg';
import { type Tensor, tensor } from '@heddle/tensor';

/** fp64 against fp64 on another path; long sums of terms of order ten. */
const TOLERANCE = 1e-9;
const [LAYERS, HEADS, D_MODEL, D_HEAD, D_VOCAB] = [4, 4, 20, 4, 13];

type GoldenEdge = [string, string, TraceEdge['side'], number, number[]];
interface Expected {
  readonly golden: { readonly format: string; readonly remake: string };
  readonly target: number;
  readonly versus: number;
  readonly accpp: Record<string, GoldenEdge[]>;
  readonly why: Record<string, Record<'query' | 'key', Record<string, number>>>;
  readonly sad?: Record<
    string,
    { contributions: number[]; kept: number[]; upstream: Record<string, number> }
  >;
}

function readJson<T extends { golden: { format: string; remake: string } }>(name: string): T {
  const read = JSON.parse(readFileSync(join(import.meta.dirname, name), 'utf8')) as T;
  const { format, remake } = read.golden;
  assert.equal(format, 'heddle.golden.interp.v1', `${name} has another format; run ${remake}`);
  return read;
}

interface GoldenHost {
  readonly run: HostRun;
  readonly expected: Expected;
}

function openHost(kind: 'gpt2' | 'llama'): GoldenHost {
  const file = `${kind}.safetensors`;
  const values = readSafetensors(file, readFileSync(join(import.meta.dirname, file)));
  const maybe = (name: string): Tensor<'f64'> | undefined =>
    values.names().includes(name) ? (values.tensor(name) as Tensor<'f64'>) : undefined;
  const get = (name: string): Tensor<'f64'> => {
    const found = maybe(name);
    assert.ok(found !== undefined, `${file} lacks ${name}`);
    return tensor('f64', found.shape, Float64Array.from(found.data));
  };
  const tokens = Array.from(values.tensor('tokens').data as BigInt64Array, Number);
  const weights = hostOf(kind, get, (name) => maybe(name) !== undefined);
  const activations = activationsOf(tokens, get, kind === 'gpt2');
  return {
    run: new HostRun(new ProcessedHost(weights), activations),
    expected: readJson(`${kind}.json`),
  };
}

function hostOf(
  kind: 'gpt2' | 'llama',
  get: (name: string) => Tensor<'f64'>,
  has: (name: string) => boolean,
): HostWeights {
  const isGpt2 = kind === 'gpt2';
  const shape: HostShape = {
    n_layers: LAYERS,
    n_heads: HEADS,
    n_key_value_heads: isGpt2 ? HEADS : 2,
    d_model: D_MODEL,
    d_head: D_HEAD,
    d_vocab: D_VOCAB,
    norm: isGpt2 ? 'layer' : 'rms',
    normEpsilon: 1e-5,
    attnScale: Array.from({ length: LAYERS }, () => 2),
    rotary: isGpt2
      ? null
      : { layout: 'half_split', dims: 4, amplitude: 1, frequencies: Float64Array.of(1, 0.1) },
  };
  const at = (name: string) => `weights.${name}`;
  const vector = (name: string) => (has(at(name)) ? get(at(name)).data : null);
  const matrices = (name: string): Matrix[] => {
    const { shape: sizes, data } = get(at(name));
    const [count = 0, rows = 0, cols = 0] = sizes;
    return Array.from({ length: count }, (_, i) =>
      matrix(rows, cols, data.slice(i * rows * cols, (i + 1) * rows * cols)),
    );
  };
  const vectors = (name: string): Float64Array[] | null => {
    const all = vector(name);
    return (
      all &&
      Array.from({ length: all.length / D_HEAD }, (_, i) => all.slice(i * D_HEAD, (i + 1) * D_HEAD))
    );
  };
  const W_U = get(at('W_U')).data;
  return {
    shape,
    layer: (l) => ({
      ln1: { gain: get(at(`${l}.ln1.w`)).data, bias: vector(`${l}.ln1.b`) },
      W_Q: matrices(`${l}.W_Q`),
      W_K: matrices(`${l}.W_K`),
      W_V: matrices(`${l}.W_V`),
      W_O: matrices(`${l}.W_O`),
      b_Q: vectors(`${l}.b_Q`),
      b_K: vectors(`${l}.b_K`),
      b_V: vectors(`${l}.b_V`),
      b_O: vector(`${l}.b_O`),
      qNorm: null,
      kNorm: null,
    }),
    unembedding: () => ({
      rows: Float64Array.from(
        { length: D_VOCAB * D_MODEL },
        (_, i) => W_U[(i % D_MODEL) * D_VOCAB + Math.floor(i / D_MODEL)] as number,
      ),
      b_U: null,
      lnFinal: { gain: get(at('ln_final.w')).data, bias: vector('ln_final.b') },
    }),
  };
}

function activationsOf(
  tokens: readonly number[],
  get: (name: string) => Tensor<'f64'>,
  hasPositions: boolean,
): HostActivations {
  const table = (name: string): Matrix => {
    const { shape, data } = get(`activations.${name}`);
    return matrix(shape[0] as number, shape[1] as number, data);
  };
  return {
    tokens,
    embed: table('embed'),
    pos_embed: hasPositions ? table('pos_embed') : null,
    layers: Array.from({ length: LAYERS }, (_, l) => ({
      resid_pre: table(`${l}.resid_pre`),
      v: get(`activations.${l}.v`),
      pattern: get(`activations.${l}.pattern`),
      attn_scores: get(`activations.${l}.attn_scores`),
      mlp_out: table(`${l}.mlp_out`),
    })),
    resid_final: table('resid_final'),
    logits: table('logits'),
  };
}

const close = (a: number, b: number, what: string, tolerance = TOLERANCE): void =>
  assert.ok(Math.abs(a - b) <= tolerance, `${what}: ${a}, expected ${b}`);

const firingOf = (key: string): HeadFiring => {
  const [layer = 0, head = 0, dest = 0, src = 0] = key.split(/[. ]/).map(Number);
  return { layer, head, dest, src };
};

for (const kind of ['gpt2', 'llama'] as const) {
  const { run, expected } = openHost(kind);

  for (const [name, edges] of Object.entries(expected.accpp)) {
    test(`${kind}: ACC++ (${name}) gives the graph that numpy gives: edges, weights, singular vectors`, () => {
      const question: Question = {
        targets: [expected.target],
        versus: name === 'logit versus' ? [expected.versus] : [],
        objective: name === 'probability' ? 'probability' : 'logit',
        position: 8,
      };
      const threshold = { logit: 0.2, probability: 0.15 }[name] ?? ('dynamic' as const);
      const { graph, unexplained } = traceAccpp(run, question, { threshold });
      assert.ok(edges.length >= 5, 'a golden graph with something in it');
      assert.deepEqual(unexplained, []);
      const named = new Map(graph.edges.map((e) => [`${e.from} → ${e.to} ${e.side}`, e]));
      assert.equal(named.size, graph.edges.length);
      assert.deepEqual(
        [...named.keys()].sort(),
        edges.map(([from, to, side]) => `${from} → ${to} ${side}`).sort(),
      );
      for (const [from, to, side, weight, singular] of edges) {
        const edge = named.get(`${from} → ${to} ${side}`);
        close(edge?.weight ?? Number.NaN, weight, `${from} → ${to}`);
        assert.deepEqual(edge?.singular_vectors, singular, `${from} → ${to} ${side}`);
      }
    });
  }

  test(`${kind}: attribution terms of scores are those of numpy, source by source, on both sides`, () => {
    for (const [key, sides] of Object.entries(expected.why)) {
      const { layer, head, dest, src } = firingOf(key);
      const why = whyScore(run, { layer, head, query: dest, key: src });
      for (const side of ['query', 'key'] as const) {
        const ours = new Map<string, number>();
        for (const term of why.sides[side].terms) {
          const name = {
            head: `head ${term.layer} ${term.head} ${term.position}`,
            mlp: `mlp ${term.layer} None None`,
            attn_bias: `attn_bias ${term.layer} None None`,
            token_embedding: 'embedding 0 None None',
            position_embedding: 'embedding 0 None None',
            query_bias: 'bias',
            key_bias: 'bias',
            unembedding_bias: 'none in a score',
          }[term.kind];
          ours.set(name, (ours.get(name) ?? 0) + term.contribution);
        }
        assert.deepEqual([...ours.keys()].sort(), Object.keys(sides[side]).sort());
        for (const [name, value] of Object.entries(sides[side])) {
          close(ours.get(name) ?? Number.NaN, value, `${key} ${side} ${name}`);
        }
        assert.ok(why.sides[side].check.holds);
      }
    }
  });

  test(`${kind}: every logit is the sum of its sources`, () => {
    for (let token = 0; token < D_VOCAB; token++) {
      const { check } = whyLogit(run, { token, position: 8 });
      close(check.sum, check.value, `token ${token}`);
    }
  });
}

test('SAD: slices, selection and upstream contributions are those of the augmented matrix in numpy', () => {
  const { run, expected } = openHost('gpt2');
  const pairs = Object.entries(expected.sad ?? {});
  assert.ok(pairs.length >= 3);
  for (const [key, golden] of pairs) {
    const firing = firingOf(key);
    const pair = augmentedPair(run, firing);
    golden.contributions.forEach((value, k) => {
      close(pair.contributions[k] as number, value, `${key} slice ${k}`);
    });
    const kept = selectSlices(pair.contributions).map(({ k }) => k);
    assert.deepEqual(kept.toSorted(), golden.kept, key);
    for (const side of ['src', 'dest'] as const) {
      for (const mode of ['clean', 'compatible'] as const) {
        for (const { layer, head, weight } of upstreamHeads(run, firing, pair, side, mode)) {
          const value = golden.upstream[`${side} ${mode} ${layer}.${head}`];
          close(weight, value ?? Number.NaN, `${key} ${side} ${mode} ${layer}.${head}`);
        }
      }
    }
  }
});

interface GoldenFit {
  readonly C_plus: number[][];
  readonly C_minus: number[][];
  readonly singular_values: number[];
  readonly rank: number;
}
interface GoldenQk extends Record<'balanced' | 'paper', GoldenFit> {
  readonly golden: { readonly format: string; readonly remake: string };
  readonly q: number[][];
  readonly plus: number[][][];
  readonly minus: number[][][];
  readonly attribution: Record<'keys' | 'order' | 'lexical' | 'terms', number[][]> & {
    readonly query: number[];
  };
}

test('QK covariance, singular values and rank in both weightings, and the attribution of logits, are those of numpy', () => {
  const golden = readJson<GoldenQk>('qk.json');
  const vectors = (rows: number[][] = []) => rows.map((row) => Float64Array.from(row));
  const samples = golden.q.map((query, i) => ({
    query: Float64Array.from(query),
    positive: vectors(golden.plus[i]),
    negative: vectors(golden.minus[i]),
  }));
  for (const weighting of ['balanced', 'paper'] as const) {
    const fit = contrastiveCovariance(samples, { weighting });
    const expected = golden[weighting];
    for (const side of ['C_plus', 'C_minus'] as const) {
      expected[side].flat().forEach((value, i) => {
        close(fit[side].data[i] as number, value, `${weighting} ${side}`);
      });
    }
    expected.singular_values.forEach((value, k) => {
      close(fit.svd.S[k] as number, value, `${weighting} σ${k}`);
    });
    assert.equal(fit.rank, expected.rank);
  }
  const { query, keys, order, lexical, terms } = golden.attribution;
  const ours = attributeLogits(Float64Array.from(query), fromRows(keys), [
    { name: 'order', basis: fromRows(order) },
    { name: 'lexical', basis: fromRows(lexical) },
  ]);
  terms.forEach((row, f) => {
    row.forEach((value, s) => {
      close(ours.terms[f]?.byKey[s] ?? Number.NaN, value, `term ${f} of key ${s}`);
    });
  });
});
