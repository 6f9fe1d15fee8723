import type { Command } from 'commander';
import { modelReference } from '../arguments/model.ts';
import { addTokenizeOptions, type PromptOptions, tokenizeOptions } from '../arguments/prompts.ts';
import { UsageError } from '../exit-status.ts';
import type { Invocation } from '../invocation.ts';
import { table, visible } from '../show.ts';

export function addTokens(program: Command, invocation: Invocation): void {
  const command = program
    .command('tokens')
    .description('token ids and strings of a text')
    .argument('<words...>', '[MODEL] TEXT; TEXT - is standard input')
    .usage('[options] [MODEL] TEXT');
  addTokenizeOptions(command).action(async (words: readonly string[], options: PromptOptions) => {
    const [model, text] = words.length === 1 ? [undefined, words[0]] : words;
    if (words.length > 2 || text === undefined) {
      throw new UsageError('tokens takes [MODEL] TEXT: put the text in quotes');
    }
    await showTokens(invocation, model, text, options);
  });
}

async function showTokens(
  invocation: Invocation,
  model: string | undefined,
  text: string,
  options: PromptOptions,
): Promise<void> {
  const decoder = new TextDecoder();
  const prompt = { text: text === '-' ? decoder.decode(await invocation.io.stdin()) : text };
  const request = {
    model: modelReference(invocation, model),
    prompt,
    options: tokenizeOptions(options),
  };
  const { tokens } = await invocation.withHeddle({ contracts: ['activation'] }, (heddle) =>
    heddle.activation.Tokenize(request, { signal: invocation.signal }),
  );
  const document = {
    text: prompt.text,
    ids: tokens.map(({ id }) => id),
    tokens: tokens.map((token) => token.text),
  };
  const rows = tokens.map((token, position) => [position, token.id, visible(token.text)]);
  invocation.print(document, table(['pos', 'id', 'token'], rows));
}
