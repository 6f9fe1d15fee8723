/** `heddle lorsa apply` and `export` as a user types them, on every variant of the published format. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type CommandIo, heddleCommand } from '@heddle/cli';
import { temporaryFolder } from '@heddle/testkit';
import { readTensors, strictForward, strictRead } from '../golden/lorsa/strict-reader.ts';
import { down, up } from './fixtures/served-training.ts';

const GOLDEN = fileURLToPath(new URL('../golden/lorsa/', import.meta.url));
const variants = readdirSync(GOLDEN, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

const data = await temporaryFolder();
const server = await up(data.path);
after(async () => {
  await down(server);
  await data.remove();
});

/** A command line on the running server; its JSON document, or its error's. */
async function heddle(...argv: string[]): Promise<{ status: number; document: Document }> {
  let out = '';
  const io: CommandIo = {
    stdout: (text) => {
      out += text;
    },
    stderr: () => undefined,
    stdin: async () => new Uint8Array(),
    terminal: false,
    environment: { HEDDLE_SERVER: server.address },
    workingDirectory: data.path,
    onInterrupt: () => () => undefined,
    exit: () => assert.fail('a command ends by itself'),
  };
  const alone = {
    findOwner: async () => undefined,
    bringUp: () => assert.fail('there is a server'),
  };
  const status = await heddleCommand([...argv, '--json'], io, alone);
  return { status, document: JSON.parse(out) as Document };
}

interface Document {
  readonly l0: number;
  readonly error?: { readonly code: string; readonly message: string };
}

const read = (path: string) => new Uint8Array(readFileSync(path));

/** The largest difference as a share of the largest value, or of 1 where all are smaller. */
function apart(found: readonly number[] = [], expected: readonly number[] = []): number {
  assert.equal(found.length, expected.length);
  const largest = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 1);
  return found.reduce((m, v, at) => Math.max(m, Math.abs(v - (expected[at] ?? 0))), 0) / largest;
}

const active = (z: readonly number[] = []) => z.map((value) => value !== 0);

for (const name of variants) {
  test(`${name}: apply gives torch's activations and reconstruction to 2e-5 with the same active set`, async () => {
    const values = join(GOLDEN, name, 'values.safetensors');
    const out = join(data.path, `${name}.safetensors`);
    const { status } = await heddle(
      'lorsa',
      'apply',
      join(GOLDEN, name),
      '--input',
      values,
      '--out',
      out,
    );
    assert.equal(status, 0);

    const [expected, found] = [readTensors(read(values)), readTensors(read(out))];
    for (const key of ['feature_acts', 'reconstruction']) {
      assert.deepEqual(found[key]?.shape, expected[key]?.shape);
      const difference = apart(found[key]?.values, expected[key]?.values);
      assert.ok(difference <= 2e-5, `${key}: ${difference}`);
    }
    assert.deepEqual(
      active(found['feature_acts']?.values),
      active(expected['feature_acts']?.values),
    );
  });

  test(`${name}: exported, a strict reader loads it, and its own forward gives the same`, async () => {
    const expected = readTensors(read(join(GOLDEN, name, 'values.safetensors')));
    const { x, y, reconstruction, feature_acts: z } = expected;
    assert.ok(x && y && reconstruction && z);
    const stored = JSON.parse(readFileSync(join(GOLDEN, name, 'config.json'), 'utf8'));
    for (const fold of [false, true]) {
      const out = join(data.path, `${name}-${fold}`);
      const more = fold ? ['--fold'] : [];
      const argv = ['lorsa', 'export', join(GOLDEN, name), '--out', out, ...more];
      const { status, document } = await heddle(...argv);
      if (
        fold &&
        /-wise/.test(stored.norm_activation) &&
        stored.norm_activation !== 'dataset-wise'
      ) {
        assert.equal(document.error?.code, 'FAILED_PRECONDITION', 'each token has its own scale');
        continue;
      }
      assert.equal(status, 0, document.error?.message);

      const config = readFileSync(join(out, 'config.json'), 'utf8');
      const layer = strictRead(config, read(join(out, 'sae_weights.safetensors')));
      const reading = fold ? 'inference' : stored.norm_activation;
      assert.equal(JSON.parse(config).norm_activation, reading);
      const own = strictForward(layer, x, y);
      // A bf16 file's rotary tables have eight bits; ours come from its config.
      const tolerance = name === 'bf16' ? 2e-2 : 2e-5;
      const difference = apart(own.reconstruction, reconstruction.values);
      assert.ok(difference <= tolerance, `fold ${fold}: ${difference}`);
      if (name !== 'bf16') assert.deepEqual(active(own.z), active(z.values));
    }
  });
}

test('a layer as a training leaves it is exported as a file that a strict reader loads', async () => {
  const sizes = [
    '--heads',
    '48',
    '--top-k',
    '8',
    '--steps',
    '100',
    '--batch',
    '8',
    '--context',
    '32',
  ];
  const trained = await heddle('lorsa', 'train', '--layer', '0', ...sizes);
  assert.equal(trained.status, 0, trained.document.error?.message);
  const { job } = trained.document as unknown as { job: string };
  for (const more of [[], ['--fold']]) {
    const out = join(data.path, `trained${more.length}`);
    const { status } = await heddle('lorsa', 'export', job, '--out', out, ...more);
    assert.equal(status, 0);
    const config = readFileSync(join(out, 'config.json'), 'utf8');
    const { metadata } = strictRead(config, read(join(out, 'sae_weights.safetensors')));
    assert.ok(JSON.parse(metadata['heddle'] ?? '{}').model_digest);
  }

  const imported = await heddle('lorsa', 'import', join(data.path, 'trained0'));
  assert.equal(imported.status, 0, imported.document.error?.message);
  const { job: again } = imported.document as unknown as { job: string };
  const measured = await heddle('lorsa', 'eval', again);
  assert.equal(measured.status, 0, measured.document.error?.message);
  const { summary } = measured.document as unknown as { summary: { text: { source: string } } };
  assert.equal(summary.text.source, 'held-out', 'the import forgot what trained the layer');
});
