import type { CollectedRun } from '@heddle/client';
import { writeSafetensors } from '@heddle/formats';
import { type Tensor, tensor } from '@heddle/tensor';
import { jsonText } from './show.ts';

/**
 * What `heddle run --out` writes: `p{i}/{hook name}` without a batch axis and `p{i}/tokens`, i64, for prompt number i;
 * the provenance as JSON under `heddle` in `__metadata__`.
 */
export function runFile({ start, tensors, end }: CollectedRun): Uint8Array {
  const entries: Record<string, Tensor> = {};
  start.prompts.forEach(({ tokens }, i) => {
    const ids = BigInt64Array.from(tokens?.ids ?? [], BigInt);
    entries[`p${i}/tokens`] = tensor('i64', [ids.length], ids);
  });
  for (const { label, tensor: t } of tensors) entries[`p${label.prompt}/${label.name}`] = t;
  return writeSafetensors(entries, { heddle: jsonText(end.provenance) });
}
