import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { TestEvent } from 'node:test/reporters';

/** What a tier's run comes down to; one JSON line, read by `run.ts`. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skips: readonly { readonly name: string; readonly reason: string }[];
  readonly slowest: readonly { readonly name: string; readonly seconds: number }[];
}

/** Where what runs just now is written, one test a line, for whoever ends a tier that hangs; unset: nowhere. */
export const RUNNING = 'HEDDLE_TEST_RUNNING';

/** What has begun and not ended, by its place in the sources; a loop makes several tests at one place. */
class Running {
  private readonly begun = new Map<string, string>();
  private readonly path = process.env[RUNNING];

  note(event: TestEvent): void {
    if (event.type !== 'test:dequeue' && event.type !== 'test:complete') return;
    const { name, file = '', line = 0 } = event.data;
    const place = `${relative(process.cwd(), file)}:${line} ${name}`;
    if (event.type === 'test:dequeue') this.begun.set(place, new Date().toISOString());
    else this.begun.delete(place);
    if (this.path === undefined) return;
    const lines = [...this.begun].map(([what, since]) => `${what} (since ${since})\n`);
    writeFileSync(this.path, lines.join(''));
  }
}

/** A `node:test` reporter that counts leaves: a suite is not a test. */
async function* tally(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  let passed = 0;
  let failed = 0;
  const skips: { name: string; reason: string }[] = [];
  const times: { name: string; seconds: number }[] = [];
  const running = new Running();
  for await (const event of source) {
    running.note(event);
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { name, skip, todo, details } = event.data;
    if (details.type === 'suite') continue;
    if (skip !== undefined && skip !== false) skips.push({ name, reason: String(skip) });
    else if (todo !== undefined && todo !== false) skips.push({ name, reason: `todo: ${todo}` });
    else if (event.type === 'test:pass') passed++;
    else failed++;
    times.push({ name, seconds: details.duration_ms / 1000 });
  }
  times.sort((a, b) => b.seconds - a.seconds);
  const result: Tally = { passed, failed, skips, slowest: times.slice(0, 3) };
  yield `${JSON.stringify(result)}\n`;
}

// The runner takes a reporter only as a default export.
// biome-ignore lint/style/noDefaultExport: node:test's contract for reporters
export default tally;
