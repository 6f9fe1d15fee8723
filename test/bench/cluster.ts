/** `npm run bench -- cluster`: what `test/load` asserts, as figures. */

import { measureOverhead } from '../load/fixtures/measure-overhead.ts';
import { measureScaling } from '../load/fixtures/measure-scaling.ts';
import { type Figure, figure } from './figure.ts';

const SHARE_MIN = 0.9;
const CPU_MAX = 1.05;
const WALL_MAX = 1.1;

export async function clusterFigures(): Promise<Figure[]> {
  const scaling = await measureScaling({ rounds: 3, jobSeconds: 24 });
  const rounds = scaling.map(({ result }) => result);
  const pairs = (await measureOverhead({ pairs: 5, jobSeconds: 60 })).map(({ result }) => result);
  const samples = <T>(of: readonly T[], value: (each: T) => number) => of.map(value);
  const speed = (name: string, value: (round: (typeof rounds)[number]) => number): Figure =>
    figure(name, { unit: 'tokens/s', samples: samples(rounds, value) });
  const times = 'times one process';
  return [
    figure('scaling_share', {
      unit: 'of two bare engines',
      samples: samples(rounds, ({ share }) => share),
      target: SHARE_MIN,
    }),
    figure('overhead_cpu', {
      unit: times,
      samples: samples(pairs, ({ embedded, cluster }) => cluster.cpu / embedded.cpu),
      target: CPU_MAX,
      atMost: true,
    }),
    figure('overhead_wall', {
      unit: times,
      samples: samples(pairs, ({ embedded, cluster }) => cluster.wall / embedded.wall),
      target: WALL_MAX,
      atMost: true,
    }),
    speed('bare_engine', ({ bare: [one] }) => one),
    speed('bare_engines_2', ({ bare: [, two] }) => two),
    speed('worker', ({ workers: [one] }) => one),
    speed('workers_2', ({ workers: [, two] }) => two),
  ];
}
