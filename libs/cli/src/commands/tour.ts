import type { Heddle } from '@heddle/client';
import type { Command } from 'commander';
import { modelReference } from '../arguments/model.ts';
import type { LocalCluster } from '../cluster-host.ts';
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
    return invocation.withHeddle({ contracts: SERVICES }, (heddle) =>
      tell(invocation, options, heddle),
    );
  }
  const cluster = await host.bringUp({ dataDirectory, contracts: SERVICES, standing: true });
  try {
    await tellOwn(invocation, options, cluster);
  } catch (thrown) {
    await cluster.close(0);
    throw thrown;
  }
  if (options.exit) return cluster.close(0);
  invocation.note(`\n${whereToLook(invocation, cluster)}`);
  await untilStopped(invocation, cluster);
}

async function tellOwn(
  invocation: Invocation,
  options: TourOptions,
  { address, access }: LocalCluster,
): Promise<void> {
  const { connect } = await import('@heddle/client');
  const heddle = connect(address, access);
  try {
    const model = modelReference(invocation, options.model);
    if (model.startsWith('hf:')) {
      const { importedFirst } = await import('../import-model.ts');
      await importedFirst(invocation, heddle, ({ activation }) =>
        activation.DescribeModel({ model }),
      );
    }
    await tell(invocation, options, heddle);
  } finally {
    heddle.close();
  }
}

async function tell(invocation: Invocation, { model }: TourOptions, heddle: Heddle): Promise<void> {
  const { tour } = await import('../tour/index.ts');
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
