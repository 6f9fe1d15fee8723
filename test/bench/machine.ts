import { arch, cpus, platform, totalmem } from 'node:os';

/** The machine, in words: numbers of two machines are not compared. */
export function machine(): string {
  const all = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  const model = all[0]?.model.trim() ?? 'unknown CPU';
  return `${all.length} x ${model}, ${memory} GiB, ${platform()} ${arch()}, Node ${process.versions.node}`;
}
