import { execFile, spawnSync } from 'node:child_process';
import { open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { temporaryFolder } from '../temporary-folder.ts';

const run = promisify(execFile);
const PIECE = new Uint8Array(4 * 1024 * 1024);

/** A real file system of a fixed size, in memory. */
export interface SmallDisk {
  readonly path: string;
  /** Takes all that is left, to the last block. */
  fill(): Promise<void>;
  /** Gives it back. */
  free(): Promise<void>;
  freeBytes(): Promise<number>;
  remove(): Promise<void>;
}

/** Mounts a disk of so many bytes. Needs the right to mount: root, or a user's own name space (`unshare -rm COMMAND`). */
export async function smallDisk(bytes: number): Promise<SmallDisk> {
  const folder = await temporaryFolder();
  const { path } = folder;
  const options = `size=${bytes},mode=0700`;
  try {
    await run('mount', ['-t', 'tmpfs', '-o', options, 'heddle-test', path]);
  } catch (error) {
    await folder.remove();
    throw error;
  }
  const filler = join(path, 'filler');
  const freeBytes = async (): Promise<number> => {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  };
  mounted.add(path); // a mount would outlive this process
  return {
    path,
    freeBytes,
    fill: async () => {
      const file = await open(filler, 'w');
      try {
        for (;;) {
          const left = await freeBytes();
          if (left === 0) return;
          await file.write(PIECE.subarray(0, Math.min(left, PIECE.length)));
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      } finally {
        await file.close();
      }
    },
    free: () => rm(filler, { force: true }),
    remove: async () => {
      mounted.delete(path);
      await run('umount', ['--lazy', path]);
      await folder.remove();
    },
  };
}

/** Why no disk can be mounted here; undefined when one can. */
export async function missingMount(): Promise<string | undefined> {
  try {
    await (await smallDisk(1024 * 1024)).remove();
    return undefined;
  } catch (error) {
    return `no right to mount a small disk (root, or unshare -rm): ${(error as Error).message.trim()}`;
  }
}

const mounted = new Set<string>();
process.on('exit', () => {
  for (const left of mounted) spawnSync('umount', ['--lazy', left]);
});
