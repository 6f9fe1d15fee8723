import type { Log } from '@heddle/ports';
import type { Command } from 'commander';
import { DONE, INTERRUPTED } from './exit-status.ts';
import type { Invocation } from './invocation.ts';

/**
 * Runs a command as one span, whose parts are its calls and what they begin in services; of the span that `TRACEPARENT` names, if
 * it names one. Where nobody asked for traces, that is told by the variables alone. `up` is no piece of work: its services have
 * traces of their own.
 */
export async function inTrace(
  invocation: Invocation,
  program: Command,
  argv: readonly string[],
  run: () => Promise<number>,
): Promise<number> {
  const { environment } = invocation.io;
  const isAsked = Object.keys(environment).some((name) => /^OTEL_EXPORTER_OTLP_/.test(name));
  const path = isAsked ? pathOf(program, argv) : [];
  if (path.length === 0 || path[0] === 'up') return run();
  const { openTracing } = await import('@heddle/adapters/otel');
  const log = notes(invocation);
  const options = { environment, serviceName: 'heddle-cli', log, isCommand: true };
  const tracing = await openTracing(options);
  if (tracing === undefined) return run();
  invocation.tracing = tracing;
  const span = tracing.begin({ name: ['heddle', ...path].join(' ') });
  try {
    const status = await span.within(run);
    span.set({ 'process.exit.code': status });
    const code = status === INTERRUPTED ? 'cancelled' : 'unknown';
    span.end(status === DONE ? undefined : { code, message: `exit status ${status}` });
    return status;
  } finally {
    await tracing.close();
  }
}

/** The words of a command line that name the command, and not what it works on. */
function pathOf(program: Command, argv: readonly string[]): readonly string[] {
  const path: string[] = [];
  let command: Command | undefined = program;
  for (const word of argv) {
    const next: Command | undefined = command.commands.find((each) => each.name() === word);
    if (next === undefined) continue;
    path.push(word);
    command = next;
  }
  return path;
}

/** A person is told what goes wrong with traces, and nothing else about them. */
function notes(invocation: Invocation): Log {
  const log: Log = {
    debug: () => undefined,
    info: () => undefined,
    warn: (message, { problem }: { readonly problem?: unknown } = {}) =>
      invocation.note(`heddle: ${message}${problem ? ` (${String(problem)})` : ''}`),
    error: () => undefined,
    child: () => log,
  };
  return log;
}
