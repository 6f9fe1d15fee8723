import type { Command } from 'commander';
import type { Invocation } from '../invocation.ts';
import { showBytes, table } from '../show.ts';

/** A process forgets only the jobs of kinds that it runs: all of them. */
const CONTRACTS = ['activation', 'attribution', 'circuit', 'lorsa', 'qk', 'jobs'] as const;

export function addGc(program: Command, invocation: Invocation): void {
  program
    .command('gc')
    .description('free what no pinned result needs')
    .option('--dry-run', 'say what would be freed, free nothing')
    .action(async ({ dryRun = false }: { dryRun?: boolean }) => {
      const { freed } = await invocation.withHeddle({ contracts: CONTRACTS }, (heddle) =>
        heddle.jobs.CollectGarbage({ dry_run: dryRun }),
      );
      const bytes = freed.reduce((sum, kind) => sum + kind.bytes, 0);
      const rows = freed.map((kind) => [kind.kind, kind.count, showBytes(kind.bytes)]);
      const verb = dryRun ? 'would free' : 'freed';
      const text = `${table(['kind', 'count', 'size'], rows)}\n${verb} ${showBytes(bytes)}`;
      invocation.print({ dry_run: dryRun, freed, bytes }, text);
    });
}
