/**
 * What a landing answers and leaves, as bytes: run once against its checkout (with its packages installed), and committed.
 * README.md says what each file is.
 *
 *   node test/compat/record.ts CHECKOUT FOLDER
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Contract } from './contract.ts';
import { exportData } from './export-data.ts';
import { heddleUp, TODAY, type Up } from './heddle-up.ts';
import {
  type Call,
  CHECKPOINT,
  FATES,
  getOf,
  KILLED,
  KILLED_ID,
  MIDWAY_STEPS_MIN,
  PAUSED,
  PAUSED_ID,
  pauseOf,
  SCENARIO,
  TAKEN_OVER,
  TINY_MODEL,
} from './scenario.ts';
import { callRaw, type Recorded, writeTranscript } from './transcript.ts';

const DESCRIPTORS = 'libs/adapters/src/grpc/gen/heddle.binpb';

class Recorder {
  readonly contract: Contract;
  readonly folder: string = mkdtempSync(join(tmpdir(), 'heddle-record-'));
  private readonly checkout: string;
  private up: Up | undefined;

  constructor(checkout: string, contract: Contract) {
    this.checkout = checkout;
    this.contract = contract;
    cpSync(join(TODAY, 'test/golden/models', TINY_MODEL), join(this.folder, TINY_MODEL), {
      recursive: true,
    });
  }

  async open(): Promise<Up> {
    this.up = await heddleUp(this.checkout, this.folder);
    return this.up;
  }

  async call({ name, path, requests }: Call): Promise<Recorded> {
    if (this.up === undefined) throw new Error('not open');
    const bytes = requests.map((request) => this.contract.encodeRequest(path, request));
    const recorded = await callRaw(this.up.raw, { name, path, requests: bytes });
    console.log(`${path.split('/').at(-1)}, ${name}: ${recorded.status} ${recorded.message}`);
    return recorded;
  }

  async calls(scenario: readonly Call[]): Promise<Recorded[]> {
    const calls: Recorded[] = [];
    for (const call of scenario) calls.push(await this.call(call));
    return calls;
  }

  /** Until a training has left its first checkpoints behind it. */
  async midway(id: string): Promise<void> {
    for (;;) {
      const { path, responses } = await this.call(getOf(id));
      const { job } = this.contract.decodeResponse(path, responses[0] ?? new Uint8Array());
      const { progress } = job as { progress: { done: number; unit: string } | null };
      if (progress?.unit === 'steps' && progress.done >= MIDWAY_STEPS_MIN) return;
    }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}

async function recordCalls(checkout: string, contract: Contract, out: string): Promise<void> {
  const recorder = new Recorder(checkout, contract);
  const up = await recorder.open();
  const calls: Recorded[] = [];
  for (const call of SCENARIO) {
    const recorded = await recorder.call(call);
    calls.push(recorded);
    if (call.name !== 'the checkpoint') continue;
    const parts = recorded.responses.map((part) => contract.decodeResponse(call.path, part));
    const bytes = parts.map(({ data }) => (data as Uint8Array | undefined) ?? new Uint8Array());
    for (const where of [recorder.folder, out]) {
      writeFileSync(join(where, CHECKPOINT), Buffer.concat(bytes));
    }
  }
  await up.down();
  recorder.remove();
  writeTranscript(join(out, 'calls.jsonl'), calls);
}

/** A data directory whose process was killed, and what the landing itself makes of it afterwards. */
async function recordData(checkout: string, contract: Contract, out: string): Promise<void> {
  const recorder = new Recorder(checkout, contract);
  const up = await recorder.open();
  await recorder.calls(FATES);
  await recorder.call(PAUSED);
  await recorder.midway(PAUSED_ID);
  await recorder.call(pauseOf(PAUSED_ID));
  await recorder.call(KILLED);
  await recorder.midway(KILLED_ID);
  await up.kill();
  exportData(recorder.folder, out);

  const next = await recorder.open();
  writeTranscript(join(out, 'taken-over.jsonl'), await recorder.calls(TAKEN_OVER));
  await next.down();
  recorder.remove();
}

const [checkout = '', out = ''] = process.argv.slice(2).map((path) => resolve(path));
mkdirSync(out, { recursive: true });
const descriptors = readFileSync(join(checkout, DESCRIPTORS));
writeFileSync(join(out, 'descriptors.binpb'), descriptors);
const contract = new Contract(descriptors);
await recordCalls(checkout, contract, out);
await recordData(checkout, contract, out);
