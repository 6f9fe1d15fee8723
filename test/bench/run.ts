/**
 * `npm run bench -- NAME [--json]`: measures what README.md says under that name, several times each, and prints it.
 * Exits 0 whatever the figures say: numbers are for reading, and a busy machine is no failure.
 */

import { CASES, type CaptureSamples, type Case, measureCapture } from './capture.ts';
import { clusterFigures } from './cluster.ts';
import { type Figure, figure, median } from './figure.ts';
import {
  type BackendName,
  type Clock,
  type LorsaSamples,
  measureLorsa,
  stepFlops,
  type Width,
} from './lorsa.ts';
import { machine } from './machine.ts';
import { measureTracing, TRACED_MAX, UNRECORDED_MAX } from './tracing.ts';
import { measureTransport, SHARE_OF_TCP_MIN } from './transport.ts';

const BENCHES: Readonly<Record<string, () => Promise<Figure[]>>> = {
  capture: async () => captureFigures(await measureCapture()),
  cluster: clusterFigures,
  lorsa: async () => [
    ...lorsaFigures(await measureLorsa(1)),
    ...lorsaTwoThreads(await measureLorsa(2, 5)),
  ],
  tracing: async () => {
    const { untraced_us, traced, unrecorded } = await measureTracing();
    const most = (samples: readonly number[], target: number) => ({
      ...{ unit: 'times untraced', samples, target, atMost: true },
    });
    return [
      figure('traced', most(traced, TRACED_MAX)),
      figure('unrecorded', most(unrecorded, UNRECORDED_MAX)),
      figure('untraced', { unit: 'CPU µs a call', samples: untraced_us }),
    ];
  },
  transport: async () => {
    const { share_of_tcp, grpc_gb_per_s, tcp_gb_per_s } = await measureTransport();
    return [
      figure('share_of_tcp', { unit: 'ratio', samples: share_of_tcp, target: SHARE_OF_TCP_MIN }),
      figure('grpc', { unit: 'GB/s', samples: grpc_gb_per_s }),
      figure('tcp', { unit: 'GB/s', samples: tcp_gb_per_s }),
    ];
  },
};

function captureFigures(samples: CaptureSamples): Figure[] {
  const { flops, cpuSeconds, wallSeconds, tokens, productFlops } = samples;
  const { productCpuSeconds, productWallSeconds } = samples;
  const names = Object.keys(CASES) as Case[];
  const sharesOf = (name: Case, seconds: readonly number[], productSeconds: readonly number[]) => {
    const rate = productFlops / median(productSeconds);
    return seconds.map((s) => flops[name] / s / rate);
  };
  const unit = 'share of the sgemm rate';
  const shares = names.map((name) =>
    figure(name, {
      unit,
      samples: sharesOf(name, wallSeconds[name], productWallSeconds),
      target: CASES[name].target,
    }),
  );
  const charged = names.map((name) =>
    figure(`${name}_cpu`, {
      unit,
      samples: sharesOf(name, cpuSeconds[name], productCpuSeconds),
    }),
  );
  const speeds = names.map((name) =>
    figure(`${name}_speed`, {
      unit: 'tokens/s',
      samples: wallSeconds[name].map((seconds) => tokens / seconds),
    }),
  );
  const sgemm = productWallSeconds.map((seconds) => productFlops / seconds / 1e9);
  return [...shares, ...charged, ...speeds, figure('sgemm', { unit: 'GFLOP/s', samples: sgemm })];
}

const LORSA_TARGETS = { graph: 0.55, sparse: 0.38, over: { 4096: 1.8, 16384: 4.5 } } as const;

/** The four figures with a target, by one clock. */
function lorsaShares(samples: LorsaSamples, clock: Clock): Figure[] {
  const { step, product, productFlops } = samples;
  const of = (name: BackendName, width: Width) => step[name][width].map((s) => s[clock]);
  const rate = productFlops / median(product.map((s) => s[clock]));
  const share = (name: BackendName) =>
    figure(`${name}_share`, {
      unit: 'share of the sgemm rate',
      samples: of(name, 4096).map((seconds) => stepFlops(name, 4096) / seconds / rate),
      target: LORSA_TARGETS[name],
    });
  const over = (width: Width) => {
    const sparse = of('sparse', width);
    return figure(`sparse_over_graph_${width}`, {
      unit: 'times as fast',
      samples: of('graph', width).map((seconds, i) => seconds / (sparse[i] ?? 0)),
      target: LORSA_TARGETS.over[width],
    });
  };
  return [share('graph'), share('sparse'), over(4096), over(16384)];
}

function lorsaFigures(samples: LorsaSamples): Figure[] {
  const { product, productFlops, step, kernels } = samples;
  const ms = (name: BackendName, width: Width) =>
    figure(`${name}_${width}`, {
      unit: 'ms a step',
      samples: step[name][width].map(({ wall }) => 1000 * wall),
    });
  const parts = [...kernels].map(([name, samples]) =>
    figure(`kernel_${name}`, { unit: 'ms', samples }),
  );
  const sgemm = product.map(({ wall }) => productFlops / wall / 1e9);
  return [
    ...lorsaShares(samples, 'wall'),
    ...untargeted(lorsaShares(samples, 'cpu'), 'cpu'),
    ...[ms('graph', 4096), ms('sparse', 4096), ms('graph', 16384), ms('sparse', 16384)],
    ...parts,
    figure('sgemm', { unit: 'GFLOP/s', samples: sgemm }),
  ];
}

const untargeted = (figures: readonly Figure[], suffix: string): Figure[] =>
  figures.map((of) => ({ ...of, name: `${of.name}_${suffix}`, target: null, meets: null }));

/** The same with two threads in the engine and two in the kernels: reported, without a target. */
function lorsaTwoThreads(samples: LorsaSamples): Figure[] {
  return untargeted(
    lorsaFigures(samples).filter(({ name }) => !/^kernel_|_cpu$/.test(name)),
    '2t',
  );
}

function print(name: string, figures: readonly Figure[]): void {
  console.log(`${name} on ${machine()}\n`);
  const show = (x: number): string => (Math.abs(x) >= 100 ? x.toFixed(0) : x.toPrecision(3));
  for (const { name, unit, median, min, max, target, meets } of figures) {
    const verdict = target === null ? '' : `  target ${target}: ${meets ? 'met' : 'MISSED'}`;
    const range = `${show(min)} … ${show(max)}`;
    console.log(
      `${name.padEnd(26)} ${show(median).padStart(8)} ${unit.padEnd(24)} ${range.padEnd(18)}${verdict}`,
    );
  }
}

const args = process.argv.slice(2);
const json = args.includes('--json');
const [name, ...more] = args.filter((arg) => arg !== '--json');
const bench = name === undefined ? undefined : BENCHES[name];
if (name === undefined || bench === undefined || more.length > 0) {
  console.error(`usage: npm run bench -- ${Object.keys(BENCHES).join('|')} [--json]`);
  process.exitCode = 2;
} else {
  const figures = await bench();
  if (json) console.log(JSON.stringify({ name, machine: machine(), figures }));
  else print(name, figures);
}
