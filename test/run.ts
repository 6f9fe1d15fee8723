// Runs the tiers of the pyramid and closes with what ran, how long it took, and what could not run.
//   npm test [-- --quick] [-- --tiers unit,laws] [-- --name PATTERN]

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Outcome, runTier } from './run-tier.ts';
import { TIERS } from './tiers.ts';

/** All tiers together end in this time, whatever hangs, so that somebody is told what it was. */
const ALL_SECONDS = Number(process.env['HEDDLE_TEST_SECONDS'] || Number.POSITIVE_INFINITY);

/** Names in `test/QUARANTINES.md`: lines `- NAME — COMMAND THAT FAILED`. */
function quarantined(): readonly string[] {
  return readFileSync(new URL('./QUARANTINES.md', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('- '))
    .map((line) => line.slice(2).split(' — ')[0]?.trim() ?? '');
}

function close(outcomes: readonly Outcome[]): number {
  const strict = process.env['HEDDLE_TEST_STRICT'] === '1';
  const allowed = quarantined();
  const skips = outcomes.flatMap((o) => o.tally.skips);
  // What this machine cannot have, as parts of the reasons, separated by `|`.
  const excuses = (process.env['HEDDLE_TEST_EXCUSE'] ?? '').split('|').filter(Boolean);
  const unexcused = skips.filter(
    ({ name, reason }) =>
      !allowed.some((test) => name.includes(test)) &&
      !excuses.some((excuse) => reason.includes(excuse)),
  );
  const broken = outcomes.filter((o) => o.exit !== 0 || o.tally.failed > 0);
  const lines = ['', '── tiers ──'];
  for (const { tier, seconds, files, exit, tally } of outcomes) {
    const state = exit === 0 ? 'ok' : 'FAILED';
    const counts = `${String(tally.passed).padStart(5)} passed ${String(tally.failed).padStart(3)} failed`;
    const where = `${String(files).padStart(4)} files`;
    lines.push(
      `${tier.name.padEnd(11)} ${state.padEnd(6)} ${seconds.toFixed(1).padStart(7)} s ${where} ${counts} ${String(tally.skips.length).padStart(3)} skipped   ${tier.promise}`,
    );
  }
  for (const skip of skips) lines.push(`skipped: ${skip.name}: ${skip.reason}`);
  if (strict) for (const skip of unexcused) lines.push(`not in QUARANTINES.md: ${skip.name}`);
  const passed = outcomes.reduce((sum, o) => sum + o.tally.passed, 0);
  const failed = outcomes.reduce((sum, o) => sum + o.tally.failed, 0);
  lines.push('', `${passed} passed, ${failed} failed, ${skips.length} skipped`, '');
  process.stdout.write(lines.join('\n'));
  if (passed === 0) return 1;
  return broken.length > 0 || (strict && unexcused.length > 0) ? 1 : 0;
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    tiers: { type: 'string' },
    name: { type: 'string' },
  },
});
const wanted = values.tiers?.split(',');
const unknown = wanted?.filter((name) => !TIERS.some((tier) => tier.name === name)) ?? [];
if (unknown.length > 0) {
  process.stderr.write(
    `no tier ${unknown.join(', ')}; there are ${TIERS.map((t) => t.name).join(', ')}\n`,
  );
  process.exit(2);
}
const outcomes: Outcome[] = [];
for (const tier of TIERS) {
  const asked = wanted ? wanted.includes(tier.name) : !tier.named && (tier.quick || !values.quick);
  if (!asked) continue;
  process.stdout.write(`\n── ${tier.name}: ${tier.promise} ──\n`);
  const left = ALL_SECONDS - performance.now() / 1000;
  outcomes.push(await runTier(tier, values.name, left));
}
process.exitCode = close(outcomes);
