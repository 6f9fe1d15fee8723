/** `hf:OWNER/NAME` named in a command of one's own, with nothing running: fetched, used, kept, freed. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type HubServer, launch, startHub, temporaryFolder, until } from '@heddle/testkit';
import { gpt2Config, writeRandomModel } from '@heddle/testkit/random-model';

const MAIN = fileURLToPath(new URL('../../services/embedded/src/main.ts', import.meta.url));
const SIZES = { n_layer: 1, n_head: 2, n_embd: 64, vocab_size: 5000, n_positions: 32 };
const RUN = ['run', 'hf:o/small', '--hooks', 'logits', '--tokens', '1,2,3'];

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let hub: HubServer;
let weights: Buffer;

before(async () => {
  folder = await temporaryFolder();
  const model = join(folder.path, 'model');
  await writeRandomModel(model, gpt2Config(SIZES), 1);
  weights = readFileSync(join(model, 'model.safetensors'));
  const config = readFileSync(join(model, 'config.json'));
  const files = new Map([
    ['config.json', config],
    ['model.safetensors', weights],
  ]);
  hub = await startHub([{ name: 'o/small', commit: '8'.repeat(40), files }]);
});

after(async () => {
  await hub.close();
  await folder.remove();
});

const data = () => join(folder.path, 'data');

function start(...argv: string[]) {
  const env = { HEDDLE_DATA: data(), HF_ENDPOINT: hub.endpoint };
  return launch(MAIN, [...argv, '--json'], { env, cwd: folder.path });
}

async function heddle(...argv: string[]) {
  const command = start(...argv);
  const { code } = await command.exited;
  assert.equal(code, 0, `${argv.join(' ')}: ${command.stderr()}`);
  return JSON.parse(command.lines.join('\n')) as Record<string, unknown>;
}

/** Every file under a folder. */
function filesUnder(path: string): string[] {
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

test('a model that is named is fetched once, through a kill -9, lies on disk once, and goes with its name', async () => {
  const half = weights.length >> 1;
  hub.fault = ({ part, range }) =>
    part === 'cdn' && range !== 'bytes=0-0' ? { stallAfter: half } : undefined;
  const killed = start(...RUN);
  const partial = join(data(), 'partial');
  await until('half of the weights', async () => {
    const names = await Promise.resolve()
      .then(() => readdirSync(partial))
      .catch(() => []);
    return names.some((name) => statSync(join(partial, name)).size === half);
  });
  killed.kill('SIGKILL');
  await killed.exited;
  hub.fault = () => undefined;

  await heddle(...RUN);

  assert.equal(hub.sentBytes('model.safetensors'), weights.length, 'no byte is sent twice');
  const copies = filesUnder(data()).filter((path) => statSync(path).size === weights.length);
  assert.equal(copies.length, 2, 'a blob, and the file that the engine opens');
  assert.equal(new Set(copies.map((path) => statSync(path).ino)).size, 1, 'which are one file');
  hub.requests.length = 0;
  await heddle('run', 'small', '--hooks', 'logits', '--tokens', '1');
  await heddle(...RUN);
  assert.equal(hub.requests.length, 0, 'what was fetched needs no hub');

  const long = new Date(Date.now() - 3_600_000);
  for (const path of filesUnder(join(data(), 'blobs'))) utimesSync(path, long, long);
  await heddle('gc');
  await heddle('run', 'small', '--hooks', 'logits', '--tokens', '1');
  await heddle('model', 'rm', 'small');
  for (const path of filesUnder(join(data(), 'blobs'))) utimesSync(path, long, long);
  await heddle('gc');
  assert.deepEqual(
    filesUnder(data()).filter((path) => statSync(path).size === weights.length),
    [],
  );
});
