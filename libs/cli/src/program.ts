import { Command } from 'commander';
import { addActivations } from './commands/activations.ts';
import { addGc } from './commands/gc.ts';
import { addJob } from './commands/job.ts';
import { addLorsa } from './commands/lorsa/index.ts';
import { addModel } from './commands/model.ts';
import { addQk } from './commands/qk.ts';
import { addReproduce } from './commands/reproduce.ts';
import { addRun } from './commands/run.ts';
import { addToken } from './commands/token.ts';
import { addTokens } from './commands/tokens.ts';
import { addTour } from './commands/tour.ts';
import { addTrace } from './commands/trace.ts';
import { addUp } from './commands/up.ts';
import { addWhy } from './commands/why.ts';
import type { GlobalOptions, Invocation } from './invocation.ts';

const COMMANDS = [
  addUp,
  addTour,
  addModel,
  addTokens,
  addRun,
  addActivations,
  addJob,
  addGc,
  addLorsa,
  addQk,
  addTrace,
  addWhy,
  addReproduce,
  addToken,
];

const CLOSING = `
MODEL is a registered name, a HuggingFace folder, or hf:OWNER/NAME; absent, the bundled model.
Layers, heads and positions count from 0; a head is L.H; lists are 1,4,7-9; hooks take globs.
Exit status: 0 done, 1 failed, 2 wrong usage, 3 refused input, 130 interrupted.`;

/** The command line as commander knows it. Nothing heavy is loaded before a command's own action runs. */
export function buildProgram(invocation: Invocation): Command {
  const program = new Command('heddle')
    .description('takes attention apart: Lorsa, QK subspaces, circuits, exact attribution')
    .addHelpText('after', CLOSING);
  for (const add of COMMANDS) add(program, invocation);
  program.hook('preAction', (_, action) => invocation.use(action.optsWithGlobals<GlobalOptions>()));
  for (const command of [program, ...descendants(program)]) {
    command
      .exitOverride()
      .allowExcessArguments(false)
      .configureOutput({
        writeOut: (text) => invocation.io.stdout(text),
        // Usage errors are said once, by whoever reports them.
        writeErr: () => {},
      });
    if (command.commands.length === 0 || command === program) addGlobals(command);
  }
  return program;
}

/** On the program and on every command: where one writes them is a matter of taste. */
function addGlobals(command: Command): void {
  command
    .option('--json', 'one JSON document on stdout')
    .option('--data <dir>', 'where everything is kept (HEDDLE_DATA; default: .heddle)')
    .option('--server <host:port>', 'a running cluster (HEDDLE_SERVER); https://HOST:PORT with TLS')
    .option('--access-token <token>', 'who you are there (HEDDLE_TOKEN, HEDDLE_TOKEN_FILE)')
    .option('--tls-ca <file>', 'the authority that its certificate is of (HEDDLE_TLS_CA)');
}

function descendants(command: Command): Command[] {
  return command.commands.flatMap((child) => [child, ...descendants(child)]);
}
