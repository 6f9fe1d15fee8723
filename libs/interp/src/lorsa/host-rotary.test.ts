import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationError } from '@heddle/core';
import { rotaryOfHost } from './host-rotary.ts';
import { rotaryFrequencies } from './rotary.ts';

const positions = (frequencies: ArrayLike<number>, amplitude = 1) => ({
  dims: frequencies.length * 2,
  frequencies: Array.from(frequencies),
  amplitude,
});
const plain = { dim: 8, base: 500000, layout: 'half' } as const;
const scaling = { factor: 8, lowFreqFactor: 1, highFreqFactor: 4, oldContextLength: 64 };

test('base and llama3 scaling are taken from the host’s config and fit its frequencies', () => {
  const json = {
    rope_theta: 500000,
    rope_scaling: {
      rope_type: 'llama3',
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 64,
    },
  };
  const scaled = { ...plain, scaling };
  assert.deepEqual(rotaryOfHost(positions(rotaryFrequencies(scaled)), json), scaled);
  assert.deepEqual(
    rotaryOfHost(positions(rotaryFrequencies(plain)), { rope_theta: 500000 }),
    plain,
  );
  const neox = { ...plain, base: 10000 };
  assert.deepEqual(rotaryOfHost(positions(rotaryFrequencies(neox)), {}), neox);
});

test('a scaling that the format cannot say is refused, never approximated', () => {
  const frequencies = rotaryFrequencies(plain);
  const cases = [
    [positions(frequencies.map((f) => f / 2)), { rope_theta: 500000 }],
    [positions(frequencies, 1.1), { rope_theta: 500000 }],
  ] as const;
  for (const [host, json] of cases) {
    assert.throws(
      () => rotaryOfHost(host, json),
      (error: OperationError) => error.code === 'unimplemented',
    );
  }
});
