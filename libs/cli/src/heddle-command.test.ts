import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { makeTokenKey } from '@heddle/adapters/tokens';
import { OperationError, resourceExhausted } from '@heddle/core';
import { readSafetensors, writeSafetensors } from '@heddle/formats';
import { tensor } from '@heddle/tensor';
import type { Command } from 'commander';
import { CASES, type Case } from './command-cases.ts';
import { type FakeCluster, type FakeIo, fakeCluster, fakeIo } from './fake-cluster.ts';
import { heddleCommand } from './heddle-command.ts';
import { Invocation } from './invocation.ts';
import { buildProgram } from './program.ts';
import { jsonText } from './show.ts';

let cluster: FakeCluster;
const tokenKey = JSON.stringify((await makeTokenKey()).privateKey);
let directory: string;

before(async () => {
  cluster = await fakeCluster();
});
after(() => cluster.close());
beforeEach(() => {
  Object.assign(cluster, { owned: false, failure: undefined, endless: false, waits: '' });
  cluster.calls.length = 0;
  cluster.broughtUp.length = 0;
  directory = mkdtempSync(join(tmpdir(), 'heddle-cli-'));
  const x = tensor('f32', [1, 2], Float32Array.of(1, 2));
  writeFileSync(join(directory, 'x.safetensors'), writeSafetensors({ x }));
  const contrast = { text: 'x', query: 1, positive: [0], negative: [1], feature: 'f' };
  writeFileSync(join(directory, 'contrast.jsonl'), `${JSON.stringify(contrast)}\n`);
  writeFileSync(join(directory, 'key.json'), tokenKey);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

async function run(argv: readonly string[], io: FakeIo = fakeIo(directory)): Promise<Ran> {
  const status = await heddleCommand(argv, io, cluster.host);
  return { status, out: io.out.join(''), err: io.err.join('') };
}

/** The only document on stdout. */
function documentOf({ out }: Ran): Record<string, unknown> {
  assert.match(out, /^\{.*\}\n$/, 'one line with one JSON document');
  return JSON.parse(out) as Record<string, unknown>;
}

function assertError(ran: Ran, code: string): void {
  const { error } = documentOf(ran) as { error: Record<string, unknown> };
  assert.deepEqual(Object.keys(error).sort(), ['code', 'details', 'field', 'message']);
  assert.equal(error['code'], code);
  assert.ok(String(error['message']).length > 8);
  assert.match(ran.err, /^heddle: [^\n]+\n$/m, 'a sentence on stderr');
}

const COMMANDS = ['lorsa ', 'job ', 'qk ', 'gc', 'up'];

const nameOf = ({ argv }: Case) =>
  argv
    .filter((word) => /^[a-z]+$/.test(word))
    .slice(0, 2)
    .join(' ');

test('the table has every command that the program has', () => {
  const leaves = (command: Command, path: string[]): string[] =>
    command.commands.length === 0
      ? [path.join(' ')]
      : command.commands.flatMap((child) => leaves(child, [...path, child.name()]));
  const program = buildProgram(new Invocation(fakeIo('/'), cluster.host));
  const there = leaves(program, []).filter((name) => !['up', 'tour'].includes(name));
  const tabled = there.filter((name) => CASES.some(({ argv }) => argv.join(' ').startsWith(name)));
  assert.deepEqual(tabled, there);
});

for (const item of CASES) {
  test(`${nameOf(item)}: done is 0; --json is one document, its text is for people`, async () => {
    const text = await run(item.argv);
    assert.equal(text.status, 0, text.err);
    assert.ok(text.out.length > 1);
    assert.throws(() => JSON.parse(text.out), 'text, not JSON');

    const json = await run([...item.argv, '--json']);
    assert.equal(json.status, 0, json.err);
    documentOf(json);
    assert.equal(json.err, '', 'no progress where stderr is no terminal');
    assert.equal(cluster.broughtUp.length, item.local ? 0 : 2, 'services came up in process');
  });

  test(`${nameOf(item)}: wrong usage is 2, before any service is touched`, async () => {
    for (const argv of [[...item.argv, '--frobnicate'], ...(item.wrong ?? [])]) {
      const ran = await run([...argv, '--json']);
      assert.equal(ran.status, 2, `${argv.join(' ')}: ${ran.err}`);
      assertError(ran, 'INVALID_ARGUMENT');
    }
    assert.deepEqual(cluster.broughtUp, []);
  });

  test(`${nameOf(item)}: commands that it tells to go on with reach what it reached`, async () => {
    const folder = join(directory, 'it is mine');
    for (const given of [
      ['--server', cluster.address],
      ['--data', folder],
    ] as const) {
      const shown = given[1] === folder ? `--data '${folder}'` : given.join(' ');
      const { out, err } = await run([...item.argv, ...given]);
      for (const [, rest = ''] of `${out}${err}`.matchAll(/\bheddle (\S+ \S+ .*)/g)) {
        const isCommand = COMMANDS.some((name) => rest.includes(name));
        assert.ok(!isCommand || rest.startsWith(shown) || item.local, rest);
      }
    }
  });

  if (!item.local) {
    test(`${nameOf(item)}: refused input is 3 and names the field, a failure is 1`, async () => {
      const details = { limit: 3, estimate: 10 };
      cluster.failure = resourceExhausted('ten is more than three', { field: 'hooks[0]', details });
      const refused = await run([...item.argv, '--json']);
      assert.equal(refused.status, 3);
      assertError(refused, 'RESOURCE_EXHAUSTED');
      const { error } = documentOf(refused) as { error: Record<string, unknown> };
      assert.equal(error['field'], 'hooks[0]');
      assert.deepEqual(error['details'], { estimate: 10, limit: 3 });

      cluster.failure = new OperationError({ code: 'internal', message: 'a broken invariant' });
      const failed = await run([...item.argv, '--json']);
      assert.equal(failed.status, 1);
      assertError(failed, 'INTERNAL');
      assert.deepEqual(leftovers(item), [], 'nothing half-written stays');
    });
  }

  if (item.out) {
    test(`${nameOf(item)}: --out is whole or not there, and a folder that is not is 3 at once`, async () => {
      assert.equal((await run(item.argv)).status, 0);
      assert.ok(readFileSync(join(directory, item.out ?? '')).length > 0);
      assert.deepEqual(leftovers(item), [item.out]);

      cluster.calls.length = 0;
      const nowhere = item.argv.map((word) => (word === item.out ? `no/${word}` : word));
      const ran = await run([...nowhere, '--json']);
      assert.equal(ran.status, 3);
      assertError(ran, 'NOT_FOUND');
      assert.deepEqual(cluster.calls, [], 'nothing was computed for it');
    });
  }

  if (item.input) {
    test(`${nameOf(item)}: an input file that is missing or damaged is 3`, async () => {
      writeFileSync(join(directory, item.input ?? ''), '{"damaged');
      const damaged = await run([...item.argv, '--json']);
      assert.equal(damaged.status, 3, damaged.err);
      rmSync(join(directory, item.input ?? ''));
      const missing = await run([...item.argv, '--json']);
      assert.equal(missing.status, 3);
      assertError(missing, 'NOT_FOUND');
    });
  }

  if (item.job) {
    test(`${nameOf(item)}: --detach needs a running cluster, and names heddle up`, async () => {
      const alone = await run([...item.argv, '--detach', '--json']);
      assert.equal(alone.status, 3);
      assertError(alone, 'FAILED_PRECONDITION');
      assert.match(alone.err, /heddle up/);
      assert.deepEqual(cluster.broughtUp, []);

      cluster.owned = true;
      const detached = await run([...item.argv, '--detach', '--json']);
      assert.equal(detached.status, 0, detached.err);
      assert.equal(documentOf(detached)['job'], 'fake-1');
      assert.ok(!cluster.calls.includes('Watch'));
    });

    test(`${nameOf(item)}: Ctrl-C cancels the job and is 130`, async () => {
      cluster.endless = true;
      const io = fakeIo(directory);
      const running = run([...item.argv, '--json'], io);
      while (!cluster.calls.includes('Watch'))
        await new Promise((resolve) => setImmediate(resolve));
      io.interrupt();
      const ran = await running;
      assert.equal(ran.status, 130);
      assertError(ran, 'CANCELLED');
      assert.ok(cluster.calls.includes('Cancel'));
    });
  }
}

/** Files in the directory beside the inputs. */
const leftovers = (item: Case) =>
  readdirSync(directory).filter(
    (name) => !['x.safetensors', 'contrast.jsonl', 'key.json'].includes(name) || name === item.out,
  );

test('a command that names another repeats the options that it was given, and no token', async () => {
  const given = ['--server', cluster.address, '--access-token', 'abc', '--data', "o'clock"];
  const { out } = await run(['lorsa', 'train', '--layer', '0', ...given]);
  const heddle = `heddle --server ${cluster.address} --data 'o'\\''clock'`;
  assert.ok(out.includes(`${heddle} lorsa eval fake-1\n`), out);
  assert.doesNotMatch(out, /abc/);
  const plain = await run(['lorsa', 'train', '--layer', '0']);
  assert.match(plain.out, /: heddle lorsa eval fake-1\n/);
});

test('a job that waits for something is said to, once', async () => {
  cluster.waits = 'the blob store does not answer';
  const { err } = await run(['job', 'watch', 'fake-1']);
  assert.deepEqual(err.match(/job fake-1 waits: the blob store does not answer/g)?.length, 1);
  const quiet = await run(['job', 'watch', 'fake-1', '--json']);
  assert.equal(quiet.err, '');
});

test('wrong usage points at the help of the command that was meant', async () => {
  assert.match((await run(['job', 'show'])).err, /see `heddle job show --help`/);
  assert.match((await run(['lorsa', 'train', '--top-k', '0'])).err, /`heddle lorsa train --help`/);
  assert.match((await run(['qk'])).err, /`heddle qk --help`/);
  assert.match((await run(['frob'])).err, /`heddle --help`/);
});

test('lorsa says in its one line what it has', async () => {
  const { out } = await run(['--help']);
  const said = /\n {2}lorsa +low-rank sparse attention: ([^[]*?)\n {2}\S/.exec(out)?.[1] ?? '';
  const there = buildProgram(new Invocation(fakeIo('/'), cluster.host)).commands.find(
    (command) => command.name() === 'lorsa',
  );
  const verbs = there?.commands.map((command) => command.name());
  assert.deepEqual(said.split(/,\s+/), verbs);
});

test('a job is started once its service is back; on a data directory, where nobody starts it again, its absence is told', async () => {
  const away = new OperationError({ code: 'unavailable', message: 'the process is starting' });
  cluster.failure = away;
  const io = fakeIo(directory);
  const argv = ['why', '--text', 'x', '--next-token'];
  const running = run([...argv, '--server', cluster.address], io);
  while (!io.err.join('').includes('asking again')) await new Promise((r) => setTimeout(r, 5));
  cluster.failure = undefined;
  assert.equal((await running).status, 0);

  cluster.failure = away;
  const alone = await run(argv);
  assert.equal(alone.status, 1);
  assert.doesNotMatch(alone.err, /asking again/);
});

test('a second Ctrl-C leaves at once', async () => {
  cluster.endless = true;
  const io = fakeIo(directory);
  const running = run(['why', '--text', 'x', '--next-token'], io);
  while (!cluster.calls.includes('Watch')) await new Promise((resolve) => setImmediate(resolve));
  io.interrupt();
  io.interrupt();
  assert.deepEqual(io.exits, [130]);
  await running;
});

test('Ctrl-C in the middle of a call is 130 too', async () => {
  cluster.endless = true;
  const io = fakeIo(directory);
  const running = run(['run', '--hooks', 'a', '--text', 'x', '--json'], io);
  while (!cluster.calls.includes('Run')) await new Promise((resolve) => setImmediate(resolve));
  io.interrupt();
  const ran = await running;
  assert.equal(ran.status, 130);
  assertError(ran, 'CANCELLED');
});

test('--help and no command: 0 with the commands, 2 with the same', async () => {
  const help = await run(['--help']);
  assert.equal(help.status, 0);
  assert.match(help.out, /Exit status/);
  const nothing = await run([]);
  assert.equal(nothing.status, 2);
  assert.match(nothing.err, /Commands:/);
  assert.equal((await run(['qk', '--help'])).status, 0);
  const gradient = (await run(['run', '--help'])).out;
  for (const form of ['logit[POS, TOKEN]', 'logprob[POS, TOKEN]', 'HOOK[INDEX, ...]', 'id:N']) {
    assert.ok(gradient.includes(form), `run --help says ${form}: the proto refers to it`);
  }
});

test('a command goes to --server, else HEDDLE_SERVER, else the owner of the data directory', async () => {
  assert.equal((await run(['model', 'ls', '--server', cluster.address])).status, 0);
  const io = { ...fakeIo(directory), environment: { HEDDLE_SERVER: cluster.address } };
  assert.equal((await run(['model', 'ls'], io)).status, 0);
  cluster.owned = true;
  assert.equal((await run(['model', 'ls'])).status, 0);
  assert.deepEqual(cluster.broughtUp, []);
});

test('run --out has p{i}/{hook} and p{i}/tokens, and the provenance in its metadata', async () => {
  const argv = ['run', '--hooks', 'a.hook', '--tokens', '1-2', '--out', 'f.safetensors'];
  assert.equal((await run(argv)).status, 0);
  const bytes = readFileSync(join(directory, 'f.safetensors'));
  const file = readSafetensors('f', new Uint8Array(bytes));
  assert.deepEqual([...file.names()].sort(), ['p0/a.hook', 'p0/tokens']);
  assert.deepEqual(file.tensor('p0/tokens').data, BigInt64Array.of(1n, 2n));
  assert.equal(file.tensor('p0/a.hook').data[3], Number.NEGATIVE_INFINITY);
  const provenance = JSON.parse(file.header.metadata.get('heddle') ?? '');
  assert.match(provenance.request_json, /a\.hook/);

  const again = await run(['reproduce', 'f.safetensors', '--json']);
  assert.equal(again.status, 0, again.err);
  assert.equal(documentOf(again)['equal'], true);
});

test('hooks may be named in several options, and JSON has the fields of the contract alone', () => {
  const program = buildProgram(new Invocation(fakeIo('/'), cluster.host));
  const command = program.commands.find((each) => each.name() === 'run');
  command?.parseOptions(['--hooks', 'a.*,b', '--hooks', 'c']);
  assert.deepEqual(command?.opts()['hooks'], ['a.*', 'b', 'c']);
  assert.equal(jsonText({ seed: 0, _seed: 'seed', _other: 'seed' }), '{"seed":0,"_other":"seed"}');
});

test('values that are not finite are null in JSON', async () => {
  const ran = await run(['run', '--hooks', 'a.hook', '--text', 'x', '--json']);
  const { tensors } = documentOf(ran) as { tensors: [{ values: unknown[]; not_finite: number }] };
  assert.deepEqual(tensors[0].values, [1, 0, 0.25, null]);
  assert.equal(tensors[0].not_finite, 1);
});

test('prompts come from standard input too, and a bad line is 3 with its number', async () => {
  const argv = ['run', '--hooks', 'a', '--input', '-', '--json'];
  const lines = '{"text":"x","id":"one"}\n\n{"tokens":[1,2],"id":2}\n';
  const good = await run(argv, fakeIo(directory, lines));
  assert.equal(good.status, 0, good.err);
  const { prompts } = documentOf(good) as { prompts: unknown[] };
  assert.equal(prompts.length, 2);

  const bad = await run(argv, fakeIo(directory, '{"text":"x"}\n{"text":1}\n'));
  assert.equal(bad.status, 3);
  assert.match(bad.err, /-:2: expected/);
});

test('interventions are read strictly', async () => {
  const argv = ['run', '--hooks', 'a', '--text', 'x', '--intervene', 'i.json', '--json'];
  const write = (value: unknown) => writeFileSync(join(directory, 'i.json'), JSON.stringify(value));
  write([
    {
      hook: 'a',
      kind: 'add',
      value: [
        [1, 2],
        [3, 4],
      ],
      positions: [0],
    },
  ]);
  assert.equal((await run(argv)).status, 0);
  for (const wrong of [
    {},
    [{ hook: 'a', kind: 'explode' }],
    [{ hook: 'a', kind: 'add', value: [[1], [2, 3]] }],
    [{ hook: 'a', kind: 'add', value: [null] }],
    [{ hook: 'a', kind: 'zero', positions: [-1] }],
    [{ hook: 'a', kind: 'zero', wehre: 1 }],
    [{ hook: 'a', kind: 'scale' }],
    [{ hook: 'a', kind: 'scale', value: 2 }],
    [{ hook: 'a', kind: 'zero', factor: 2 }],
    [{ hook: 'a', kind: 'add', factor: 2 }],
    [{ hook: 'a', kind: 'add' }],
  ]) {
    write(wrong);
    const ran = await run(argv);
    assert.equal(ran.status, 3, JSON.stringify(wrong));
    assertError(ran, 'INVALID_ARGUMENT');
  }
});

test('an export into a folder that takes none is 3 at once', { timeout: 20_000 }, async () => {
  const ran = await run(['lorsa', 'export', 'run-1', '--out', '/proc/heddle', '--json']);
  assert.equal(ran.status, 3, ran.err);
});
