import { IMPORT_TIMEOUT_MS } from '@heddle/client';
import { OperationError, present } from '@heddle/core';
import type { ModelInfo } from '@heddle/ports/proto/activation';
import type { Guide } from './guide.ts';

/** (a) Reads and checks every tensor of the model. A model that is registered already is described again. */
export async function importModel(guide: Guide, source: string): Promise<ModelInfo> {
  const { heddle, out, signal } = guide;
  out.chapter('a', source === '' ? 'The bundled model' : `The model in ${source}`);
  const known = (await heddle.activation.DescribeModel({ model: source }, { signal })).model;
  let model = present(known, 'the description of a model');
  // What is in the blob store has its name already.
  if (source !== '' && model.content === '') {
    try {
      const imported = await heddle.activation.ImportModel(
        { source: model.path },
        { signal, timeoutMs: IMPORT_TIMEOUT_MS },
      );
      model = imported.model ?? model;
    } catch (thrown) {
      // A second tour of the same model finds it there.
      if (OperationError.from(thrown).code !== 'already_exists') throw thrown;
    }
  }
  const heads =
    model.n_heads === model.n_key_value_heads
      ? `${model.n_heads} heads`
      : `${model.n_heads} heads on ${model.n_key_value_heads} key/value heads`;
  out.line(
    `${model.family}: ${model.n_layers} layers, ${heads} of ${model.d_head}, d_model ${model.d_model}, ` +
      `vocabulary ${model.d_vocab}, ${(model.parameters / 1e6).toFixed(1)} M parameters (${model.stored_dtype})`,
  );
  out.line(`digest ${model.digest}`);
  return model;
}
