import { notFound } from '@heddle/core';
import type { Safetensors } from '@heddle/formats';
import { writeSafetensors } from '@heddle/formats';
import type { LabelledTensor } from '@heddle/ports';
import type { Command } from 'commander';
import { checkpointReference } from '../../arguments/checkpoint.ts';
import { OutputFile, readTensors } from '../../arguments/files.ts';
import { UsageError } from '../../exit-status.ts';
import type { Invocation } from '../../invocation.ts';
import { jsonText, showNumber, showShape, table } from '../../show.ts';

export function addApply(lorsa: Command, invocation: Invocation): void {
  lorsa
    .command('apply <checkpoint>')
    .description('a checkpoint on given activations, without a host model')
    .requiredOption('--input <file>', 'safetensors with [pos, d_model] or [batch, pos, d_model]')
    .requiredOption('--out <file>', 'write feature_acts and reconstruction')
    .option('--key <name>', 'the tensor to read (default: x, or the only one)')
    .option(
      '--target-key <name>',
      "the layer's output, where the normalisation needs it (default: y)",
    )
    .option('--z-pattern', 'also write z_pattern')
    .option('--pattern', 'also write pattern')
    .action((checkpoint: string, options: ApplyOptions) => apply(invocation, checkpoint, options));
}

interface ApplyOptions {
  readonly input: string;
  readonly key?: string;
  readonly targetKey?: string;
  readonly zPattern?: boolean;
  readonly pattern?: boolean;
  readonly out: string;
}

async function apply(invocation: Invocation, checkpoint: string, options: ApplyOptions) {
  const file = await OutputFile.plan(invocation, options.out);
  const tensors = await readTensors(invocation, options.input, 'input');
  const inputs = inputsOf(tensors, options);
  const start = {
    checkpoint: checkpointReference(invocation, checkpoint),
    z_pattern: options.zPattern ?? false,
    pattern: options.pattern ?? false,
  };
  const applied = await invocation.withHeddle({ contracts: ['lorsa'] }, (heddle) =>
    heddle.applyLorsa(start, inputs, { signal: invocation.signal }),
  );
  const outputs = applied.tensors.map(({ label, tensor }) => [label.name, tensor] as const);
  const { provenance } = applied.end;
  const metadata = { heddle: jsonText({ checkpoint: start.checkpoint, ...provenance }) };
  await file.write(writeSafetensors(Object.fromEntries(outputs), metadata));
  const { l0, fvu = null } = applied.end;
  const shapes = outputs.map(([name, tensor]) => ({ name, shape: tensor.shape }));
  const rows = shapes.map(({ name, shape }) => [name, showShape(shape)]);
  const measured = `L0 ${showNumber(l0)}${fvu === null ? '' : `, FVU ${showNumber(fvu)}`}`;
  invocation.print(
    { out: file.path, tensors: shapes, l0, fvu, provenance },
    `${table(['tensor', 'shape'], rows)}\n${measured}; wrote ${file.path}`,
  );
}

function inputsOf(tensors: Safetensors, { input, key, targetKey }: ApplyOptions): LabelledTensor[] {
  const names = tensors.names();
  const chosen = key ?? (names.length === 1 ? names[0] : 'x');
  if (chosen === undefined || !names.includes(chosen)) {
    const there = names.slice(0, 10).join(', ');
    throw notFound(`${input} has no tensor ${chosen}: name one with --key; there are: ${there}`, {
      field: 'key',
    });
  }
  if (chosen === targetKey) throw new UsageError('--key and --target-key name the same tensor');
  const labelled = (name: string, from: string): LabelledTensor => {
    const tensor = tensors.tensor(from);
    return { label: { name, prompt: 0, axes: [] }, tensor };
  };
  const inputs = [labelled('input', chosen)];
  if (targetKey !== undefined) inputs.push(labelled('target', targetKey));
  else if (chosen !== 'y' && names.includes('y')) inputs.push(labelled('target', 'y'));
  return inputs;
}
