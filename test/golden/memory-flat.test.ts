import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

interface Flat {
  readonly samples: readonly { readonly runs: number; readonly rss: number }[];
  readonly evictions: number;
}

/** V8 enlarges its young generation once, at a time of its own choosing, and then leaves buffers longer: fixed here. */
const FLAGS = [
  '--disable-warning=ExperimentalWarning',
  '--min-semi-space-size=2',
  '--max-semi-space-size=2',
];

/**
 * Theil-Sen slope: the median over all pairs of samples. A leak raises every pair; a heap that grows once by some MiB and
 * stays, as V8's do at times of their own choosing, raises few.
 */
function slope(samples: Flat['samples']): number {
  const slopes = samples.flatMap((a, i) =>
    samples.slice(i + 1).map((b) => (b.rss - a.rss) / (b.runs - a.runs)),
  );
  return slopes.sort((a, b) => a - b)[slopes.length >> 1] ?? Number.NaN;
}

test('10,000 runs with hooks, changing lengths and 200 evictions leave memory flat: below 1 KiB a run', () => {
  const script = fileURLToPath(new URL('./memory-flat-run.ts', import.meta.url));
  const child = spawnSync(process.execPath, [...FLAGS, script], {
    encoding: 'utf8',
    timeout: 300_000,
  });
  assert.equal(child.status, 0, child.stderr);
  const { samples, evictions } = JSON.parse(child.stdout) as Flat;

  const bytesPerRun = slope(samples);

  const mib = samples.map(({ rss }) => Math.round(rss / 2 ** 20)).join(' ');
  console.log(
    `RSS slope ${bytesPerRun.toFixed(0)} bytes a run, ${evictions} evictions; MiB: ${mib}`,
  );
  assert.ok(evictions >= 200, `${evictions} evictions`);
  assert.ok(bytesPerRun < 1024, `${bytesPerRun} bytes a run; RSS in MiB: ${mib}`);
});
