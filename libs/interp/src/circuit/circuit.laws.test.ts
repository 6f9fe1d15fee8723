import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  composed,
  dot,
  fromRows,
  lowRankSvd,
  type Matrix,
  matrix,
  maxAbs,
  multiplyTransposed,
  rowOf,
  rowTimes,
  toRows,
} from '@heddle/linalg';
import {
  HostRun,
  ProcessedHost,
  softmax,
  TINY_KINDS,
  tinyForward,
  tinyHost,
} from '../host/index.ts';
import {
  accppSteps,
  augmentedPair,
  basisCache,
  headBasis,
  igOfSoftmax,
  igWeights,
  keepLargest,
  localEdit,
  type Question,
  seedsOf,
  selectSlices,
  type TraceGraph,
  traceAccpp,
  traceSad,
  traceSide,
  upstreamHeads,
} from './index.ts';

const TOKENS = [3, 1, 4, 1, 5, 9, 2, 6];
const runs = TINY_KINDS.map((kind) => {
  const model = tinyHost(kind, 23);
  const run = new HostRun(new ProcessedHost(model), tinyForward(model, TOKENS));
  return { kind, model, run };
});
/** About the most probable next token, so that there is something to trace. */
const question = (
  run: HostRun,
  objective: Question['objective'],
  versus: number[] = [],
): Question => {
  const logits = rowOf(run.activations.logits as Matrix, 7);
  return { targets: [logits.indexOf(Math.max(...logits))], versus, objective, position: 7 };
};
const close = (a: number, b: number, tolerance: number, what: string): void =>
  assert.ok(Math.abs(a - b) <= tolerance, `${what}: ${a} against ${b}`);

test('micro example: integrated gradients of two components over three keys', () => {
  const components = [Float64Array.of(3, 1, 0), Float64Array.of(-1, 1, -0.5)];
  const ig = igOfSoftmax(components, 0);
  close(ig[0], 0.544512, 1e-6, 'first');
  close(ig[1], -0.397555, 1e-6, 'second');
  close(ig[0] + ig[1], 0.146957, 1e-6, 'sum');
  close(softmax(Float64Array.of(2, 2, -0.5))[0] - 1 / 3, 0.146954, 1e-6, 'exact');
});

test('integrated gradients: what is the same for every key has none; completeness holds to 1e-3 at scores of ten', () => {
  const scores = Float64Array.of(9, -4, 3, 10);
  for (const target of [0, 3]) {
    const w = igWeights(scores, target);
    close(dot(Float64Array.of(1, 1, 1, 1), w), 0, 1e-15, 'constant');
    close(dot(scores, w), softmax(scores)[target] - 1 / 4, 1e-3, 'completeness');
  }
});

// d_model 3, d_head 2, both biases: the worked example of the method's description.
const W_Q = fromRows([
  [1, 0],
  [0, 1],
  [1, 1],
  [0.5, 0],
]);
const W_K = fromRows([
  [2, 0],
  [0, 1],
  [0, 1],
  [0, 0.25],
]);
const slicesOf = (x_d: number[], x_s: number[]): Float64Array => {
  const { U, S, V } = lowRankSvd(W_Q, W_K);
  const left = rowTimes([...x_d, 1], U);
  const right = rowTimes([...x_s, 1], V);
  return S.map((sigma, k) => left[k] * sigma * right[k]);
};

test('micro example: the augmented matrix, its singular values, and the slices of two scores', () => {
  assert.deepEqual(toRows(multiplyTransposed(W_Q, W_K)), [
    [2, 0, 0, 0],
    [0, 1, 1, 0.25],
    [2, 1, 1, 0.25],
    [1, 0, 0, 0],
  ]);
  const { S } = lowRankSvd(W_Q, W_K);
  close(S[0], 3.213977, 1e-6, 'first');
  close(S[1], 1.671931, 1e-6, 'second');
  const small = slicesOf([1, -1, 2], [0, 1, -1]);
  close(small[0], 0.508662, 1e-6, 'first slice');
  close(small[1], -0.258662, 1e-6, 'second slice');
  close(small[0] + small[1], 0.25, 1e-12, 'score');
  assert.deepEqual(
    selectSlices(small).map(({ k }) => k),
    [0],
  );
  const large = slicesOf([1, -1, 2], [1, 2, 0]);
  close(large[0], 10.8901, 1e-6, 'first slice');
  close(large[1], -1.6401, 1e-6, 'second slice');
});

test('micro example: slices 6, 5, −4, 2, −1, 0.5 of a score of 8.5: the first two make it', () => {
  const kept = selectSlices(Float64Array.of(6, 5, -4, 2, -1, 0.5));
  assert.deepEqual(
    kept.map(({ contribution }) => contribution),
    [6, 5],
  );
  assert.equal(selectSlices(Float64Array.of(1, 2, 3)).length, 3, 'one sign: all');
  assert.deepEqual(
    selectSlices(Float64Array.of(-6, 1, 2)).map(({ k }) => k),
    [0],
    'a negative score is made by its most negative slice',
  );
});

test('the edge rule keeps the largest heads up to 0.7 of the whole; clean mode skips a side with a negative sum', () => {
  const heads = (weights: number[]) => weights.map((weight, head) => ({ layer: 0, head, weight }));
  const kept = (weights: number[], mode: 'clean' | 'compatible') =>
    keepLargest(heads(weights), mode).map(({ head }) => head);
  assert.deepEqual(kept([1, 5, 3, 1], 'clean'), [1, 2]);
  assert.deepEqual(kept([-5, 1, -2], 'clean'), []);
  assert.deepEqual(kept([-5, 1, -2], 'compatible'), [1]);
});

for (const { kind, run } of runs) {
  const { n_layers, n_heads } = run.host.shape;

  test(`${kind}: slices of the augmented matrix sum to q·k, and their number is d_head`, () => {
    for (const [layer, head, dest, src] of [
      [1, 0, 7, 3],
      [2, 3, 5, 5],
      [0, 1, 4, 0],
    ]) {
      const pair = augmentedPair(run, { layer, head, dest, src });
      const reads = run.head(layer, head);
      const score = dot(reads.query(dest), reads.key(src));
      close(
        pair.contributions.reduce((a, b) => a + b),
        score,
        1e-10,
        `${layer}.${head}`,
      );
      assert.equal(pair.contributions.length, 4);
      const kept = selectSlices(pair.contributions).reduce((sum, s) => sum + s.contribution, 0);
      assert.ok(
        score > 0 ? kept >= score - 1e-12 : kept <= score + 1e-12,
        'what is left nets to ≤ 0',
      );
    }
  });

  test(`${kind}: the head's singular basis gives the score at every pair of positions: one basis for all`, () => {
    for (let layer = 0; layer < n_layers; layer++) {
      for (let head = 0; head < n_heads; head++) {
        const basis = headBasis(run.host, layer, head);
        const reads = run.head(layer, head);
        for (const [dest, src] of [
          [7, 0],
          [7, 6],
          [3, 3],
        ]) {
          const [q, k] = [reads.query(dest), reads.key(src)];
          const inBasis = dot(rowTimes(q, basis.toQuery), rowTimes(k, basis.toKey));
          close(inBasis, dot(q, k), 1e-8 * Math.max(1, Math.abs(dot(q, k))), `${layer}.${head}`);
        }
      }
    }
  });

  test(`${kind}: drops of a side sum to what the attention lost, both sides start from the captured attention and end below the threshold`, () => {
    const basisOf = basisCache(run);
    for (const [layer, head, dest, src] of [
      [1, 2, 7, 2],
      [2, 0, 6, 6],
      [2, 1, 5, 0],
    ]) {
      const captured = run.pattern(layer, head, dest, src);
      const threshold = captured * 0.6;
      for (const side of ['dest', 'src'] as const) {
        const firing = { dest, src, threshold };
        const basis = basisOf(layer, head);
        const traced = traceSide(run, run.head(layer, head), basis, side, firing);
        close(traced.attentionBefore, captured, 1e-9, 'before');
        const lost = traced.removed.reduce((sum, { drop }) => sum + drop, 0);
        close(lost, traced.attentionBefore - traced.attentionAfter, 1e-12, 'drops');
        assert.equal(traced.capped, traced.attentionAfter >= threshold);
        for (const { singularVectors } of traced.removed) {
          assert.equal(new Set(singularVectors).size, singularVectors.length, 'each once');
        }
      }
    }
  });

  test(`${kind}: the components of both seedings sum to the captured logit difference and to the log probability`, () => {
    for (const versus of [[], [2, 6], [0]]) {
      const logit = seedsOf(run, question(run, 'logit', versus));
      close(logit.value, logit.sum, 1e-11 * logit.termsAbsSum, 'logit');
      const probability = seedsOf(run, question(run, 'probability', versus));
      close(probability.value, probability.sum, 1e-3, 'completeness of the gradients');
      for (const { weight } of probability.seeds) assert.ok(weight > 0);
    }
    const logits = rowOf(run.activations.logits as Matrix, 7);
    close(
      seedsOf(run, question(run, 'logit', [2])).value,
      Math.max(...logits) - logits[2],
      1e-12,
      'value',
    );
    close(
      seedsOf(run, question(run, 'probability')).value,
      Math.log(Math.max(...softmax(logits))),
      1e-12,
      'log probability',
    );
  });

  test(`${kind}: a trace is a graph whose edges join its nodes, go upwards in layers, and recurse from heads only`, () => {
    for (const objective of ['logit', 'probability'] as const) {
      const trace = traceAccpp(run, question(run, objective), { threshold: 0.2 });
      checkGraph(trace.graph, run);
      assert.ok(trace.graph.nodes.length > 1, 'there is something to trace');
      assert.equal(trace.graph.nodes.filter(({ kind: k }) => k === 'root').length, 1);
    }
    checkGraph(traceSad(run, question(run, 'logit'), { firing: 0.2 }).graph, run);
  });
}

function checkGraph({ nodes, edges }: TraceGraph, run: HostRun): void {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  assert.equal(byId.size, nodes.length, 'names are unique');
  for (const edge of edges) {
    const [from, to] = [byId.get(edge.from), byId.get(edge.to)];
    assert.ok(from !== undefined && to !== undefined, `${edge.from} → ${edge.to}`);
    assert.ok(from.layer < to.layer, `${edge.from} → ${edge.to}`);
    assert.ok(to.kind === 'head' || to.kind === 'root');
    if (edge.side === 'dest') assert.equal(from.dest, to.dest);
    if (edge.side === 'src') assert.equal(from.dest, to.src);
    assert.equal(edge.side === 'seed', to.kind === 'root');
  }
  for (const node of nodes) {
    if (node.kind === 'head' && node.src !== null) {
      const attention = run.pattern(node.layer, node.head as number, node.dest, node.src);
      assert.equal(node.weight, attention);
    }
    if (node.kind !== 'head') assert.equal(node.dest, node.src);
    assert.ok(node.kind === 'root' || edges.some(({ from }) => from === node.id), node.id);
  }
}

test('the traces of the tiny hosts are not empty: heads are explained on both sides by heads and others', () => {
  let sides = new Set<string>();
  let kinds = new Set<string>();
  for (const { run } of runs) {
    const { graph } = traceAccpp(run, question(run, 'logit'), { threshold: 0.15 });
    sides = sides.union(new Set(graph.edges.map(({ side }) => side)));
    kinds = kinds.union(new Set(graph.nodes.map(({ kind }) => kind)));
  }
  assert.deepEqual([...sides].sort(), ['dest', 'seed', 'src']);
  for (const kind of ['head', 'mlp', 'embedding', 'root']) assert.ok(kinds.has(kind), kind);
});

test('flipping the joint sign of a singular pair changes neither slices nor upstream contributions', () => {
  const { run } = runs[0];
  const firing = { layer: 2, head: 1, dest: 6, src: 3 };
  const pair = augmentedPair(run, firing);
  const flip = ({ rows, cols, data }: Matrix) =>
    matrix(
      rows,
      cols,
      data.map((value, i) => (i % cols < 2 ? -value : value)),
    );
  const svd = { U: flip(pair.svd.U), S: pair.svd.S, V: flip(pair.svd.V) };
  assert.ok(
    maxAbs(composed(svd).data.map((value, i) => value - composed(pair.svd).data[i])) < 1e-13,
  );
  for (const side of ['dest', 'src'] as const) {
    const [a, b] = [pair, { ...pair, svd }].map((p) =>
      upstreamHeads(run, firing, p, side, 'clean'),
    );
    assert.deepEqual(
      a.map(({ layer, head }) => `${layer}.${head}`),
      b.map(({ layer, head }) => `${layer}.${head}`),
    );
    a.forEach(({ weight }, i) => {
      close(weight, b[i].weight, 1e-12, side);
    });
  }
});

test('SAD: without a cut, upstream contributions sum to the selected slices’ share that heads bring', () => {
  // All heads together, each weighed by √σ e_k w_k, against the same projection of their summed
  // output.
  const { run } = runs[0];
  const firing = { layer: 2, head: 2, dest: 7, src: 4 };
  const pair = augmentedPair(run, firing);
  const compatible = upstreamHeads(run, firing, pair, 'src', 'compatible');
  const clean = upstreamHeads(run, firing, pair, 'src', 'clean');
  const shift = compatible[0].weight - clean[0].weight;
  for (const { layer, head, weight } of clean) {
    const other = compatible.find((c) => c.layer === layer && c.head === head);
    if (other) close(other.weight - weight, shift, 1e-12, 'the constant 1 moves all heads alike');
  }
  assert.ok(Math.abs(shift) > 1e-9);
});

test('a local edit on all singular vectors takes the whole component out of the query or the key, and nothing else', () => {
  let edits = 0;
  for (const { kind, run } of runs) {
    const basisOf = basisCache(run);
    const { graph } = traceAccpp(run, question(run, 'logit'), { threshold: 0.1 }, basisOf);
    const byId = new Map(graph.nodes.map((node) => [node.id, node]));
    for (const edge of graph.edges) {
      const [from, to] = [byId.get(edge.from), byId.get(edge.to)];
      if (edge.side === 'seed' || from?.kind !== 'head' || to?.src === undefined) continue;
      const whole = { ...edge, singular_vectors: [0, 1, 2, 3] };
      const edit = localEdit(run, graph, whole, basisOf);
      const reads = run.head(edit.layer, edit.head);
      const weight = run.pattern(from.layer, from.head as number, from.dest, from.src as number);
      const output = rowOf(run.headOutput(from.layer, from.head as number), from.src as number);
      const vector = output.map((value) => -value * weight);
      const expected =
        edge.side === 'dest'
          ? Array.from({ length: to.dest + 1 }, (_, s) =>
              dot(reads.toQuery(vector, to.dest), reads.key(s)),
            )
          : Array.from({ length: 8 - edit.position }, (_, t) =>
              dot(reads.query(edit.position + t), reads.toKey(vector, edit.position)),
            );
      assert.equal(edit.change.length, expected.length);
      expected.forEach((value, i) => {
        close(edit.change[i], value / reads.attnScale, 1e-9, `${kind} ${edge.from} → ${edge.to}`);
      });
      edits++;
    }
  }
  assert.ok(edits > 10, 'edges to look at');
});

test('a head without full column rank is refused by name', () => {
  const model = tinyHost('gpt2', 1);
  const flat = model.layers[1].W_Q[2].data;
  for (let i = 0; i < flat.length; i += 4) flat[i + 3] = flat[i];
  assert.throws(() => headBasis(new ProcessedHost(model), 1, 2), /head 1\.2: .*full column rank/);
});

test('a position outside of the prompt and a token outside of the vocabulary are refused by field, for both objectives', () => {
  const { run } = runs[0];
  for (const objective of ['logit', 'probability'] as const) {
    const asked = question(run, objective);
    assert.throws(() => traceAccpp(run, { ...asked, position: 8 }), { field: 'position' });
    assert.throws(() => traceAccpp(run, { ...asked, targets: [11] }), { field: 'targets' });
    assert.throws(() => traceAccpp(run, { ...asked, versus: [-1] }), { field: 'targets' });
  }
});

test('a trace in steps pauses before each side of each firing, and gives the same graph', () => {
  for (const { run } of runs) {
    const asked = question(run, 'logit');
    const steps = accppSteps(run, asked, { threshold: 0.1 });
    const seen: number[] = [];
    let step = steps.next();
    for (; !step.done; step = steps.next()) seen.push(step.value);
    const whole = traceAccpp(run, asked, { threshold: 0.1 });
    assert.deepEqual(step.value, whole);
    const explained = whole.graph.nodes.filter(({ kind, layer }) => kind === 'head' && layer > 0);
    assert.ok(seen.length <= 2 * explained.length && seen.length > 0);
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    );
  }
});
