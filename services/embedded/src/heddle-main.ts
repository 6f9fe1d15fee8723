import { enableCompileCache } from 'node:module';
import type { ClusterHost } from '@heddle/cli';
import type { Extensions } from './bring-up.ts';
import { findOwner } from './data-lock.ts';
import { parentGone } from './orphan.ts';

/** Without the process that started us nobody waits for a result: stop soon, whatever still hangs. */
const ORPHAN_MS = 25_000;

/**
 * What the `heddle` command runs under Node 24: the command line, given the means to find services and to bring them
 * up in this process. Services and adapters are loaded only when something is brought up.
 */
export async function heddleMain(extensions: Extensions = {}): Promise<void> {
  // Stripped types and bytecode, kept between commands: a third of a second less before each. No cache, no harm.
  enableCompileCache();
  const host: ClusterHost = {
    findOwner,
    async bringUp(options) {
      const [{ bringUp }, { readConfig }] = await Promise.all([
        import('./bring-up.ts'),
        import('./config.ts'),
      ]);
      return bringUp(options, readConfig(process.env), extensions);
    },
  };
  void parentGone().then(() => setTimeout(() => process.exit(1), ORPHAN_MS).unref());
  const [{ processIo }, { heddleCommand }] = await Promise.all([
    import('./process-io.ts'),
    import('@heddle/cli'),
  ]);
  process.exitCode = await heddleCommand(process.argv.slice(2), processIo, host);
  process.channel?.unref();
}
