import type { Command } from 'commander';
import { modelReference } from '../arguments/model.ts';
import { InterruptedError } from '../exit-status.ts';
import type { Invocation } from '../invocation.ts';
import { showProgress } from '../progress.ts';
import { table } from '../show.ts';
import type { TourOutput } from '../tour/index.ts';
import { SERVICES, untilStopped, whereToLook } from './up.ts';

interface TourOptions {
  readonly model?: string;
  readonly exit?: boolean;
}

export function addTour(program: Command, invocation: Invocation): void {
  program
    .command('tour')
    .description('the main job: from a model to its circuits, then stays up')
    .option('--model <model>', 'MODEL (default: the bundled one)')
    .option('--exit', 'end after the tour')
    .action((options: TourOptions) => guide(invocation, options));
}

/** On the cluster that runs already, if one does; else on one of its own, which then stays up. */
async function guide(invocation: Invocation, options: TourOptions) {
  const { dataDirectory, host } = invocation;
  const elsewhere = invocation.server !== undefined || (await host.findOwner(dataDirectory));
  if (elsewhere) {
    return invocation.withHeddle({ contracts: SERVICES }, ({ address }) =>
      tell(invocation, options, address),
    );
  }
  const cluster = await host.bringUp({ dataDirectory, contracts: SERVICES, standing: true });
  try {
    await tell(invocation, options, cluster.address);
  } catch (thrown) {
    await cluster.close(0);
    throw thrown;
  }
  if (options.exit) return cluster.close(0);
  invocation.note(`\n${whereToLook(invocation, cluster)}`);
  await untilStopped(invocation, cluster);
}

async function tell(invocation: Invocation, { model }: TourOptions, address: string) {
  const [{ tour }, { connect }] = await Promise.all([
    import('../tour/index.ts'),
    import('@heddle/client'),
  ]);
  const heddle = connect(address);
  const out = await tourOutput(invocation);
  try {
    const report = await tour(heddle, {
      model: modelReference(invocation, model),
      out,
      signal: invocation.signal,
    });
    if (invocation.json) invocation.print(report, '');
  } catch (thrown) {
    throw invocation.signal.aborted ? new InterruptedError('interrupted') : thrown;
  } finally {
    heddle.close();
  }
}

/** The tour's story on stdout; with --json silent, the report follows. */
async function tourOutput(invocation: Invocation): Promise<TourOutput> {
  const { io, json } = invocation;
  let bar = await showProgress(io, json);
  const say = async (text: string) => {
    bar.stop();
    if (!json) io.stdout(`${text}\n`);
    bar = await showProgress(io, json);
  };
  const line = (text: string) => void say(text);
  return {
    chapter: (letter, title) => line(`\n(${letter}) ${title}`),
    line,
    table: (head, rows) => line(table(head, rows)),
    progress: (done, total, unit, message) => bar.update(done, total, unit, message),
  };
}
