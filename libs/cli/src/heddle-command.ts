import { OperationError } from '@heddle/core';
import { type Command, CommanderError } from 'commander';
import type { ClusterHost, CommandIo } from './cluster-host.ts';
import { DONE, errorDocument, exitStatusOf, InterruptedError, UsageError } from './exit-status.ts';
import { inTrace } from './in-trace.ts';
import { Invocation } from './invocation.ts';
import { buildProgram } from './program.ts';

/** Runs one command line and says its exit status. Nothing that a command does escapes as an exception. */
export async function heddleCommand(
  argv: readonly string[],
  io: CommandIo,
  host: ClusterHost,
): Promise<number> {
  const invocation = new Invocation(io, host);
  const stopListening = io.onInterrupt(() => invocation.interrupt());
  try {
    const program = buildProgram(invocation);
    return await inTrace(invocation, program, argv, () => run(invocation, program, argv));
  } finally {
    stopListening();
  }
}

async function run(
  invocation: Invocation,
  program: Command,
  argv: readonly string[],
): Promise<number> {
  const { io } = invocation;
  try {
    if (argv.length === 0) {
      io.stderr(program.helpInformation());
      throw new UsageError('say a command');
    }
    await program.parseAsync([...argv], { from: 'user' });
    return DONE;
  } catch (thrown) {
    const error = thrown instanceof CommanderError ? usageOf(thrown) : thrown;
    if (error === undefined) return DONE;
    const reason = heardInterrupt(invocation, error) ? interrupted : error;
    return fail(reason, argv, { io, program });
  }
}

const interrupted = new InterruptedError('interrupted');

/** A call that was cancelled because of Ctrl-C says so in its own words. */
function heardInterrupt({ signal }: Invocation, error: unknown): boolean {
  const ours = error instanceof InterruptedError || error instanceof UsageError;
  return signal.aborted && !ours && OperationError.from(error).code === 'cancelled';
}

/** Commander's word for wrong usage as ours; undefined when it had only shown help or the version. */
function usageOf({ code, message }: CommanderError): UsageError | undefined {
  if (code === 'commander.helpDisplayed' || code === 'commander.version') return undefined;
  if (code === 'commander.help') return new UsageError('say which subcommand');
  return new UsageError(message.replace(/^error: /, '').replaceAll('\n', ' '));
}

interface Asked {
  readonly io: CommandIo;
  readonly program: Command;
}

/** The command that was meant, as far as its words say: what its help says is nearer than everybody's. */
function meant(program: Command, argv: readonly string[]): string {
  const names = [program.name()];
  let command = program;
  for (const word of argv) {
    const next = command.commands.find((each) => each.name() === word);
    if (next === undefined) continue;
    command = next;
    names.push(word);
  }
  return names.join(' ');
}

function fail(thrown: unknown, argv: readonly string[], { io, program }: Asked): number {
  const document = errorDocument(thrown);
  const { message, field } = document.error;
  const help = `${meant(program, argv)} --help`;
  const hint = thrown instanceof UsageError ? ` (see \`${help}\`)` : '';
  const where = field === null || message.includes(field) ? '' : ` [${field}]`;
  io.stderr(`heddle: ${message.replaceAll('\n', ' ')}${where}${hint}\n`);
  if (asksForJson(argv)) io.stdout(`${JSON.stringify(document)}\n`);
  return exitStatusOf(thrown);
}

/** Also when the rest of the line could not be understood; what stands after `--` is no option. */
function asksForJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return (end === -1 ? argv : argv.slice(0, end)).includes('--json');
}
