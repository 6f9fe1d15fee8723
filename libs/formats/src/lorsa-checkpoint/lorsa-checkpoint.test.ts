import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError, Rng } from '@heddle/core';
import { elementCount, narrowF16, type Tensor, tensor } from '@heddle/tensor';
import { readSafetensors } from '../safetensors/read-safetensors.ts';
import { writeSafetensors } from '../safetensors/write-safetensors.ts';
import {
  type LorsaCheckpointParts,
  lorsaTensorShapes,
  readLorsaCheckpoint,
  writeLorsaCheckpoint,
} from './lorsa-checkpoint.ts';
import {
  expansionFactor,
  type LorsaConfigJson,
  ovHeadsOf,
  readLorsaConfigJson,
} from './lorsa-config-json.ts';

const IN = 'blocks.3.ln1.hook_normalized';
const OUT = 'blocks.3.hook_attn_out';

const REQUIRED = {
  sae_type: 'lorsa',
  d_model: 6,
  expansion_factor: 2,
  hook_point_in: IN,
  hook_point_out: OUT,
  n_qk_heads: 2,
  d_qk_head: 4,
  rotary_dim: 4,
  n_ctx: 8,
};

function parts(changes: Partial<LorsaConfigJson> = {}): LorsaCheckpointParts {
  const { config } = readLorsaConfigJson(
    'config.json',
    JSON.stringify({ ...REQUIRED, ...changes }),
  );
  const rng = new Rng(5);
  const tensors = Object.fromEntries(
    Object.entries(lorsaTensorShapes(config)).map(([name, shape]) => [
      name,
      tensor(
        'f32',
        shape,
        Float32Array.from({ length: elementCount(shape) }, () => rng.normal()),
      ),
    ]),
  );
  return { config, tensors, averageNorms: { [IN]: 2.5, [OUT]: 0.75 } };
}

/** Every tensor of a written file, to be damaged and written again. */
function rewritten(
  bytes: Uint8Array,
  change: (tensors: Record<string, Tensor>) => void,
): ReturnType<typeof readSafetensors> {
  const file = readSafetensors('x', bytes.slice()); // its tensors are views: the damage must stay here
  const tensors = Object.fromEntries(file.names().map((name) => [name, file.tensor(name)]));
  change(tensors);
  return readSafetensors('damaged.safetensors', writeSafetensors(tensors));
}

function refusal(run: () => unknown): OperationError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof OperationError, String(error));
    assert.equal(error.code, 'invalid_argument');
    return error;
  }
  assert.fail('it was accepted');
}

test('the file holds exactly the names that the reference’s strict loader demands', () => {
  const { weights } = writeLorsaCheckpoint(parts());
  // From formats.md, not from our own table.
  assert.deepEqual(
    [...readSafetensors('x', weights).names()].sort(),
    [
      ...['IGNORE', 'W_K', 'W_O', 'W_Q', 'W_V', 'b_D', 'b_K', 'b_Q', 'b_V'],
      `dataset_average_activation_norm.${OUT}`,
      `dataset_average_activation_norm.${IN}`,
      ...['mask', 'rotary_cos', 'rotary_sin'],
    ].sort(),
  );
  const file = readSafetensors('x', weights);
  assert.deepEqual(file.tensor('IGNORE').shape, []);
  assert.equal(file.tensor('IGNORE').data[0], Number.NEGATIVE_INFINITY);
  assert.equal(file.tensor('mask').dtype, 'bool');
  assert.deepEqual([...file.tensor('mask').data.slice(0, 10)], [1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
  assert.ok(file.header.metadata.has('version'));
});

test('a config without rotary, with query-key norm, jumprelu and no decoder bias changes the names', () => {
  const written = parts({
    positional_embedding_type: 'none',
    use_post_qk_ln: true,
    normalization_type: 'RMS',
    act_fn: 'jumprelu',
    use_decoder_bias: false,
  });
  const names = Object.keys(written.tensors).sort();
  assert.deepEqual(
    names,
    [
      ...['W_K', 'W_O', 'W_Q', 'W_V', 'b_K', 'b_Q', 'b_V', 'ln_k.w', 'ln_q.w'],
      'activation_function.log_jumprelu_threshold',
    ].sort(),
  );
});

test('written and read again, config, numbers and norms are the same to the bit', () => {
  const original = parts({ attn_scale: 3.5, act_fn: 'topk', top_k: 7, NTK_by_parts_factor: 8 });
  const { configText, weights } = writeLorsaCheckpoint(original);
  const read = readLorsaCheckpoint(configText, readSafetensors('x', weights));
  assert.deepEqual(read.config, original.config);
  assert.deepEqual({ ...read.tensors }, original.tensors);
  assert.deepEqual(read.averageNorms, original.averageNorms);
  const { config, tensors, averageNorms } = read;
  const again = writeLorsaCheckpoint({ config, tensors, averageNorms });
  assert.deepEqual(again.weights, weights);
});

test('config.json has every key of the format, and unknown ones are ignored but listed', () => {
  const { configText } = writeLorsaCheckpoint(parts());
  assert.equal(Object.keys(JSON.parse(configText)).length, 30);
  const { config, unknownKeys } = readLorsaConfigJson(
    'config.json',
    JSON.stringify({ ...REQUIRED, skip_bos: true }),
  );
  assert.deepEqual(unknownKeys, ['skip_bos']);
  assert.deepEqual(
    [config.act_fn, config.top_k, config.norm_activation, config.rotary_adjacent_pairs, config.eps],
    ['relu', 50, 'dataset-wise', true, 1e-6],
  );
});

test('a wrong or missing key is refused by name', () => {
  const cases: readonly (readonly [object, string])[] = [
    [{ n_ctx: undefined }, 'n_ctx'],
    [{ sae_type: 'sae' }, 'sae_type'],
    [{ d_model: '6' }, 'd_model'],
    [{ attn_scale: 0 }, 'attn_scale'],
    [{ act_fn: 'layertopk' }, 'act_fn'],
    [{ n_qk_heads: 5 }, 'n_qk_heads'],
    [{ rotary_dim: 3 }, 'rotary_dim'],
    [{ rotary_scale: 2 }, 'rotary_scale'],
    [{ use_post_qk_ln: true }, 'normalization_type'],
    [{ use_post_qk_ln: true, normalization_type: 'LN' }, 'normalization_type'],
  ];
  for (const [change, key] of cases) {
    const text = JSON.stringify({ ...REQUIRED, ...change });
    const error = refusal(() => readLorsaConfigJson('config.json', text));
    assert.equal(error.field, key);
    assert.match(error.message, /^config\.json: /);
  }
  assert.match(refusal(() => readLorsaConfigJson('config.json', '{')).message, /not JSON/);
});

test('every tensor and buffer that is missing, too many, misshapen or not finite is refused by name', () => {
  const { configText, weights } = writeLorsaCheckpoint(parts());
  for (const name of readSafetensors('x', weights).names()) {
    const file = rewritten(weights, (tensors) => delete tensors[name]);
    assert.match(refusal(() => readLorsaCheckpoint(configText, file)).message, new RegExp(name));
  }
  const damages: readonly (readonly [RegExp, (t: Record<string, Tensor>) => void])[] = [
    [/extra/, (t) => Object.assign(t, { extra: t['W_Q'] })],
    [/W_V/, (t) => Object.assign(t, { W_V: { ...t['W_V'], shape: [6, 12] } })],
    [/W_O.*NaN at 3/, (t) => t['W_O']!.data.fill(Number.NaN as never, 3, 4)],
    [/mask is not causal/, (t) => t['mask']!.data.fill(1 as never)],
    [/IGNORE/, (t) => t['IGNORE']!.data.fill(-1e9 as never)],
    [
      /b_D has dtype f64/,
      (t) => Object.assign(t, { b_D: tensor('f64', [6], new Float64Array(6)) }),
    ],
  ];
  for (const [message, damage] of damages) {
    const file = rewritten(weights, damage);
    assert.match(refusal(() => readLorsaCheckpoint(configText, file)).message, message);
  }
});

test('a norm that was never measured is refused under dataset-wise and ignored under inference', () => {
  const { configText, weights } = writeLorsaCheckpoint({ ...parts(), averageNorms: {} });
  const file = readSafetensors('x', weights);
  assert.match(refusal(() => readLorsaCheckpoint(configText, file)).message, /never measured/);
  const folded = parts({ norm_activation: 'inference' });
  const written = writeLorsaCheckpoint({ ...folded, averageNorms: {} });
  const read = readLorsaCheckpoint(written.configText, readSafetensors('x', written.weights));
  assert.deepEqual(read.averageNorms, {});
});

test('fewer query-key heads in the file than in the config are repeated in a row', () => {
  const { configText, weights } = writeLorsaCheckpoint(parts());
  const wider = JSON.stringify({ ...JSON.parse(configText), n_qk_heads: 4 });
  const read = readLorsaCheckpoint(wider, readSafetensors('x', weights));
  const stored = readSafetensors('x', weights).tensor('b_Q').data;
  assert.deepEqual(read.tensors['b_Q']!.shape, [4, 4]);
  [0, 0, 1, 1].forEach((from, head) => {
    assert.deepEqual(
      [...read.tensors['b_Q']!.data.slice(head * 4, head * 4 + 4)],
      [...stored.slice(from * 4, from * 4 + 4)],
    );
  });
});

test('a config that would repeat heads without bound is refused, as is a scalar where heads are', () => {
  const { configText, weights } = writeLorsaCheckpoint(parts());
  const config = JSON.parse(configText);
  const huge = JSON.stringify({ ...config, n_qk_heads: 2 ** 30, expansion_factor: 2 ** 30 });
  const file = readSafetensors('x', weights);
  assert.match(refusal(() => readLorsaCheckpoint(huge, file)).message, /more elements than/);
  const wider = JSON.stringify({ ...config, n_qk_heads: 4 });
  const scalar = rewritten(weights, (t) => {
    t['b_Q'] = tensor('f32', [], Float32Array.of(1));
  });
  assert.match(refusal(() => readLorsaCheckpoint(wider, scalar)).message, /b_Q is \[\]/);
});

test('half-precision weights are widened exactly', () => {
  const { configText, weights } = writeLorsaCheckpoint(parts());
  const values = Float32Array.from({ length: 72 }, (_, i) => (i - 36) / 8);
  const file = rewritten(weights, (t) => {
    t['W_V'] = tensor('f16', [12, 6], narrowF16(values));
  });
  assert.deepEqual(readLorsaCheckpoint(configText, file).tensors['W_V']!.data, values);
});

test('the expansion factor gives back exactly the number of heads', () => {
  for (let d_model = 1; d_model <= 400; d_model++) {
    for (const n of [1, 7, 49, d_model - 1, d_model + 1, 145, 6144, 65535]) {
      if (n < 1) continue;
      const factor = expansionFactor(d_model, n);
      assert.equal(ovHeadsOf({ d_model, expansion_factor: factor } as LorsaConfigJson), n);
    }
  }
});
