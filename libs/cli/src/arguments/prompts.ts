import { invalidArgument } from '@heddle/core';
import { readJsonl } from '@heddle/formats';
import type { Init } from '@heddle/ports';
import type { Prompt, TokenizeOptions } from '@heddle/ports/proto/common';
import type { Command } from 'commander';
import { UsageError } from '../exit-status.ts';
import type { Invocation } from '../invocation.ts';
import { readText } from './files.ts';
import { collect, parseList } from './lists.ts';

export interface PromptOptions {
  readonly text?: readonly string[];
  readonly tokens?: readonly (readonly number[])[];
  readonly input?: string;
  readonly bos?: boolean;
  /** Commander's spelling of --no-special. */
  readonly special?: boolean;
}

export function addTokenizeOptions(command: Command): Command {
  return command
    .option('--bos', 'prepend the BOS token')
    .option('--no-special', 'add no special tokens');
}

export function addPromptOptions(
  command: Command,
  { input }: { readonly input: boolean },
): Command {
  command
    .option('--text <text>', 'a prompt (repeatable)', collect(String))
    .option('--tokens <ids>', 'a prompt as token ids: 1,2,3 (repeatable)', collect(parseList));
  if (input) command.option('--input <file>', 'prompts, one JSON document a line; - is stdin');
  return addTokenizeOptions(command);
}

export function tokenizeOptions({ bos, special }: PromptOptions): Init<TokenizeOptions> {
  if (bos && special === false) throw new UsageError('--bos and --no-special exclude each other');
  return { bos: bos ?? false, no_special: special === false };
}

/**
 * The prompts of the options in the order text, tokens, input. Errors: usage when there are none,
 * naming the options that the command has.
 */
export async function promptsOf(
  invocation: Invocation,
  { text = [], tokens = [], input }: PromptOptions,
  otherwise = 'give --text or --tokens',
): Promise<Init<Prompt>[]> {
  const prompts: Init<Prompt>[] = [
    ...text.map((t) => ({ text: t })),
    ...tokens.map((ids) => ({ tokens: { ids } })),
  ];
  if (input !== undefined) prompts.push(...(await readPrompts(invocation, input)));
  else if (prompts.length === 0) {
    throw new UsageError(`there is no prompt: ${otherwise}`);
  }
  return prompts;
}

async function readPrompts(invocation: Invocation, path: string): Promise<Init<Prompt>[]> {
  const lines = readJsonl(path, await readText(invocation, path, 'input'));
  if (lines.length === 0) throw invalidArgument(`${path} has no prompts`, { field: 'input' });
  return lines.map(({ line, value }) => {
    const prompt = promptFrom(value);
    if (prompt !== undefined) return prompt;
    const wanted = 'one JSON object with "text" or "tokens", and perhaps "id"';
    throw invalidArgument(`${path}:${line}: expected ${wanted}`, { field: `input[${line - 1}]` });
  });
}

/** `{"text"}` or `{"tokens"}`, perhaps `"id"`, a string or a number; other members are the caller's business. Undefined: it is not one. */
export function promptFrom(value: unknown): Init<Prompt> | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { text, tokens, id = '' } = value as Readonly<Record<string, unknown>>;
  const isId = typeof id === 'string' || Number.isFinite(id);
  if (!isId || (text === undefined) === (tokens === undefined)) return undefined;
  const label = String(id);
  if (typeof text === 'string') return { id: label, text };
  return isPlaces(tokens) ? { id: label, tokens: { ids: tokens } } : undefined;
}

/** A list of numbers that count from 0. */
export function isPlaces(value: unknown): value is number[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((n) => Number.isInteger(n) && n >= 0 && n < 2 ** 31)
  );
}

/** Exactly one prompt. */
export async function promptOf(
  invocation: Invocation,
  options: PromptOptions,
): Promise<Init<Prompt>> {
  const [prompt, ...more] = await promptsOf(invocation, options);
  if (prompt === undefined || more.length > 0) throw new UsageError('give exactly one prompt');
  return prompt;
}
