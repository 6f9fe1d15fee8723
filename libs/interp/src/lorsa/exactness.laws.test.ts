import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { lorsaForward } from './forward.reference.ts';
import type { HostAttention } from './initialise.ts';
import { copyHostQK } from './initialise.ts';
import { zeroWeights } from './lorsa-weights.ts';
import { rotaryTable, rotate } from './rotary.ts';
import { randomRows, tinyLorsaConfig } from './tiny-lorsa.ts';

const HEADS = 4;
const KV_HEADS = 2;
const D_HEAD = 4;
const D_MODEL = 6;
const POS = 10;
const ROTARY = { dim: 2, base: 100, layout: 'half' } as const;

/** A grouped-query attention layer with biases everywhere, computed without any of our forward's code. */
function hostOutput(host: Required<Omit<HostAttention, 'q_norm' | 'k_norm'>>, x: Float64Array) {
  const out = new Float64Array(POS * D_MODEL).map((_, at) => host.b_O!.data[at % D_MODEL]!);
  const patterns: number[][][] = [];
  const project = (t: number, W: Float64Array, b: Float64Array, head: number) =>
    Array.from({ length: D_HEAD }, (_, c) => {
      let sum = b[head * D_HEAD + c]!;
      for (let d = 0; d < D_MODEL; d++) {
        sum += x[t * D_MODEL + d]! * W[(head * D_MODEL + d) * D_HEAD + c]!;
      }
      return sum;
    });
  const turn = (row: number[], t: number) => {
    const angle = t; // one pair with frequency 1: dims 0 and 1
    const [a, b] = [row[0]!, row[1]!];
    return [
      a * Math.cos(angle) - b * Math.sin(angle),
      b * Math.cos(angle) + a * Math.sin(angle),
      ...row.slice(2),
    ];
  };
  for (let h = 0; h < HEADS; h++) {
    const kv = Math.floor((h * KV_HEADS) / HEADS);
    const of = (t: number, W: 'W_Q' | 'W_K' | 'W_V', b: 'b_Q' | 'b_K' | 'b_V') =>
      project(t, host[W].data as Float64Array, host[b]!.data as Float64Array, W === 'W_Q' ? h : kv);
    const rows: number[][] = [];
    for (let t = 0; t < POS; t++) {
      const q = turn(of(t, 'W_Q', 'b_Q'), t);
      const scores = Array.from({ length: t + 1 }, (_, s) => {
        const k = turn(of(s, 'W_K', 'b_K'), s);
        return Math.exp(q.reduce((dot, v, c) => dot + v * k[c]!, 0) / 2);
      });
      const total = scores.reduce((a, b) => a + b, 0);
      const row = scores.map((v) => v / total);
      rows.push(row);
      row.forEach((a, s) => {
        of(s, 'W_V', 'b_V').forEach((v, c) => {
          for (let d = 0; d < D_MODEL; d++) {
            out[t * D_MODEL + d]! += a * v * host.W_O.data[(h * D_HEAD + c) * D_MODEL + d]!;
          }
        });
      });
    }
    patterns.push(rows);
  }
  return { out, patterns };
}

test('2 d_head signed unit pairs per head reproduce dense attention, one of each pair firing', () => {
  const rng = new Rng(11);
  const host = {
    W_Q: randomRows(rng, HEADS, D_MODEL, D_HEAD),
    W_K: randomRows(rng, KV_HEADS, D_MODEL, D_HEAD),
    W_V: randomRows(rng, KV_HEADS, D_MODEL, D_HEAD),
    W_O: randomRows(rng, HEADS, D_HEAD, D_MODEL),
    b_Q: randomRows(rng, HEADS, D_HEAD),
    b_K: randomRows(rng, KV_HEADS, D_HEAD),
    b_V: randomRows(rng, KV_HEADS, D_HEAD),
    b_O: randomRows(rng, D_MODEL),
  };
  const x = randomRows(rng, POS, D_MODEL);
  const units = HEADS * D_HEAD * 2;
  const config = tinyLorsaConfig({
    n_qk_heads: HEADS,
    n_ov_heads: units,
    topK: units,
    rotary: ROTARY,
  });
  const inputFactor = 3; // Lorsa sees 3x: the copy must divide by it
  const weights = copyHostQK(config, zeroWeights(config), host, inputFactor);
  for (let i = 0; i < units; i++) {
    const h = Math.floor(i / (2 * D_HEAD));
    const j = Math.floor((i % (2 * D_HEAD)) / 2);
    const sign = i % 2 === 0 ? 1 : -1;
    const kv = Math.floor((h * KV_HEADS) / HEADS);
    weights.b_V.data[i] = sign * host.b_V.data[kv * D_HEAD + j]!;
    for (let d = 0; d < D_MODEL; d++) {
      const at = (kv * D_MODEL + d) * D_HEAD + j;
      weights.W_V.data[i * D_MODEL + d] = (sign * host.W_V.data[at]!) / inputFactor;
      weights.W_O.data[i * D_MODEL + d] = sign * host.W_O.data[(h * D_HEAD + j) * D_MODEL + d]!;
    }
  }
  weights.b_D.data.set(host.b_O.data);

  const scaled = { ...x, data: x.data.map((v) => v * inputFactor) };
  const forward = lorsaForward(config, weights, scaled);
  const expected = hostOutput(host, x.data);

  forward.reconstruction.data.forEach((v, at) => {
    assert.ok(Math.abs(v - expected.out[at]!) < 1e-12, `${at}: ${v}, ${expected.out[at]}`);
  });
  for (let h = 0; h < HEADS; h++) {
    expected.patterns[h]!.forEach((row, t) => {
      row.forEach((a, s) => {
        assert.ok(Math.abs(forward.pattern.data[(h * POS + t) * POS + s]! - a) < 1e-12);
      });
    });
  }
  for (let t = 0; t < POS; t++) {
    const active = forward.featureActs.data.subarray(t * units, (t + 1) * units);
    assert.equal(active.filter((z) => z > 0).length, HEADS * D_HEAD);
  }
});

test('half-split rotary turns coordinate m with m + dim/2, adjacent turns neighbours', () => {
  const row = Float64Array.of(0, 0, 0, 0, 1, 0, 0, 0); // position 1, first coordinate
  for (const [layout, partner] of [
    ['half', 2],
    ['adjacent', 1],
  ] as const) {
    const rotary = { dim: 4, base: 10000, layout };
    const turned = rotate(rotary, rotaryTable(rotary, 2), row, 4);
    assert.ok(Math.abs(turned[4]! - Math.cos(1)) < 1e-15);
    assert.ok(Math.abs(turned[4 + partner]! - Math.sin(1)) < 1e-15);
  }
});
