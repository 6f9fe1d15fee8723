import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { OperationError, present } from '@heddle/core';
import type { Provider } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';
import * as ort from 'onnxruntime-node';
import { ERROR_TEXT_MAX, STEPS_AHEAD_MAX } from './limits.ts';
import type {
  FromWorker,
  Refusal,
  RunMessage,
  ToWorker,
  WireOutputs,
  WireProgram,
  WireStep,
  WorkerSetup,
} from './protocol.ts';
import { fetchesOf, isReference, lastReads, outputKey } from './run-plan.ts';
import { SessionCache } from './session-cache.ts';
import { fromOrt, toOrt } from './values.ts';

/**
 * The thread that owns ONNX Runtime. `session.run` is synchronous native code behind a Promise, so this thread hears
 * nothing while a step runs; between steps it looks at the shared cancel flag and reads its messages.
 */

const setup = workerData as WorkerSetup;
// What goes wrong is thrown, with its words; the native log would repeat it on stderr.
ort.env.logLevel = 'fatal';

/** What ONNX Runtime and V8 say when memory, not the program, is the trouble. */
const OUT_OF_MEMORY =
  /failed to allocate|bad_alloc|bad allocation|out of memory|allocation failed|invalid (typed array|array buffer) length|integer overflow/i;

function sessionOptions(provider: Provider): ort.InferenceSession.SessionOptions {
  return {
    executionProviders: provider === 'cpu' ? ['cpu'] : [provider, 'cpu'],
    intraOpNumThreads: setup.threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    // One arena per session would keep the peak of every segment; malloc keeps one for all of them.
    enableCpuMemArena: provider !== 'cpu',
    // A pattern asks malloc for a whole run's memory in one piece; outputs that outlive the run then sit in the hole that the
    // next piece needs, and the heap grows by tens of MiB a run.
    enableMemPattern: provider !== 'cpu',
  };
}

async function open(program: WireProgram, provider: Provider): Promise<ort.InferenceSession> {
  // Threads that spin between runs steal the cores of the other sessions of this process.
  const session: Record<string, unknown> = { intra_op: { allow_spinning: '0' } };
  if (program.weightsDirectory !== undefined) {
    session['model_external_initializers_file_folder_path'] = program.weightsDirectory;
  }
  try {
    // The binding takes no shared memory for a model, so the bytes are copied once per session.
    const bytes = new Uint8Array(program.bytes).slice();
    return await ort.InferenceSession.create(bytes, {
      ...sessionOptions(provider),
      extra: { session },
    });
  } catch (thrown) {
    throw weightsError(thrown, program) ?? engineError(thrown, program.digest, 'cannot be opened');
  }
}

/** The weights were read whole when the model was loaded; when they are no more as they were, somebody changed the files. */
function weightsError(thrown: unknown, program: WireProgram): OperationError | undefined {
  const words = thrown instanceof Error ? thrown.message : String(thrown);
  const { weightsDirectory } = program;
  if (weightsDirectory === undefined || !/external (?:initializer|data)/i.test(words))
    return undefined;
  return new OperationError({
    code: 'failed_precondition',
    message: `${weightsDirectory}: the weights were cut, moved or removed since the model was loaded; import it again (${words.slice(0, ERROR_TEXT_MAX)})`,
    retryable: false,
    details: { program: program.digest },
    cause: thrown,
  });
}

function engineError(thrown: unknown, digest: string, what: string): OperationError {
  if (thrown instanceof OperationError) return thrown;
  const words = (thrown instanceof Error ? thrown.message : String(thrown)).slice(
    0,
    ERROR_TEXT_MAX,
  );
  const memory = OUT_OF_MEMORY.test(words);
  return new OperationError({
    code: memory ? 'resource_exhausted' : 'internal',
    message: `program ${digest} ${what}: ${words}`,
    retryable: false,
    details: { program: digest },
    cause: thrown,
  });
}

/** Tries the providers in order; the first that opens and runs the probe serves. */
async function climb(): Promise<{ provider: Provider | undefined; refused: Refusal[] }> {
  const refused: Refusal[] = [];
  for (const provider of setup.providers) {
    try {
      const session = await ort.InferenceSession.create(setup.probe, sessionOptions(provider));
      await session.run({ x: new ort.Tensor('float32', Float32Array.of(1), [1]) });
      await session.release();
      return { provider, refused };
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      refused.push({ provider, reason: reason.slice(0, ERROR_TEXT_MAX) });
    }
  }
  return { provider: undefined, refused };
}

/** `null` asks ONNX Runtime for memory of its own; a tensor is filled in place (1.30 also returns a copy, which nobody keeps). */
const fetchTargets = (step: WireStep, fetches: readonly string[]) =>
  Object.fromEntries(
    fetches.map((name) => {
      const target = step.into[name];
      return [name, target ? toOrt(target) : null];
    }),
  );

/**
 * Gives an output's memory back at once. Left to the garbage collector, the hundreds of MiB that a chain of training steps
 * passes on call for full collections, and every step pays page faults for fresh memory.
 */
function release(value: ort.InferenceSession.OnnxValueMapType[string] | undefined): void {
  const buffer = (value as ort.Tensor | undefined)?.data as
    | { readonly buffer?: unknown }
    | undefined;
  if (buffer?.buffer instanceof ArrayBuffer) buffer.buffer.transfer(0);
}

type Cache = SessionCache<WireProgram, ort.InferenceSession>;

class Runner {
  private readonly cache: Cache;
  private readonly port: NonNullable<typeof parentPort>;
  private unacknowledged = 0;
  private wake: (() => void) | undefined;

  constructor(cache: Cache, port: NonNullable<typeof parentPort>) {
    this.cache = cache;
    this.port = port;
  }

  acknowledge(): void {
    this.unacknowledged = Math.max(0, this.unacknowledged - 1);
    this.wake?.();
  }

  async run(message: RunMessage): Promise<void> {
    this.unacknowledged = 0;
    try {
      const outputs = await this.steps(message);
      const moved = message.stream ? [] : outputs;
      this.send({ type: 'done', outputs: moved, usage: this.cache.usage() }, moved);
    } catch (thrown) {
      const { code, message: words, details } = OperationError.from(thrown);
      const error = { code, message: words, details };
      this.send({ type: 'failed', error, usage: this.cache.usage() }, []);
    }
  }

  private async steps({ steps, stream, cancelled }: RunMessage): Promise<WireOutputs[]> {
    const reads = lastReads(steps);
    const fetches = fetchesOf(steps, reads);
    const alive = new Map<string, ort.Tensor>();
    const kept: WireOutputs[] = [];
    const flag = new Int32Array(cancelled);
    const handed = new Set(
      steps.flatMap(({ keep }, at) => keep.map((name) => outputKey(at, name))),
    );
    for (const [index, step] of steps.entries()) {
      await this.room(flag, step.waits ? 1 : STEPS_AHEAD_MAX);
      if (Atomics.load(flag, 0) !== 0) {
        throw new OperationError({ code: 'cancelled', message: `cancelled before step ${index}` });
      }
      const results = await this.step(step, present(fetches[index], 'fetches'), alive);
      for (const [name, value] of Object.entries(results)) {
        if (reads.has(outputKey(index, name))) alive.set(outputKey(index, name), value);
      }
      for (const [key, last] of reads) {
        if (last !== index) continue;
        if (!handed.has(key)) release(alive.get(key));
        alive.delete(key);
      }
      for (const name of Object.keys(step.into)) {
        const key = outputKey(index, name);
        if (!handed.has(key) && !reads.has(key)) release(results[name]);
      }
      const outputs = Object.fromEntries(
        step.keep.map((name) => [name, fromOrt(present(results[name], name) as ort.Tensor)]),
      );
      if (stream) this.stream(index, outputs, alive, steps[index + 1]?.waits ?? false);
      else kept.push(outputs);
    }
    return kept;
  }

  private async step(
    step: WireStep,
    fetches: readonly string[],
    alive: ReadonlyMap<string, ort.Tensor>,
  ): Promise<ort.InferenceSession.OnnxValueMapType> {
    if (fetches.length === 0) return {}; // nobody asks for it: it is not even opened
    const { program } = step;
    const session = await this.cache.get(program);
    const feeds: Record<string, ort.Tensor> = {};
    for (const [name, feed] of Object.entries(step.feeds)) {
      feeds[name] = isReference(feed)
        ? present(alive.get(outputKey(feed.step, feed.output)), `${feed.step}/${feed.output}`)
        : toOrt(feed as Tensor);
    }
    try {
      return await session.run(feeds, fetchTargets(step, fetches));
    } catch (thrown) {
      throw engineError(thrown, program.digest, 'failed');
    }
  }

  /** Hands a step's outputs over now; what a later step still reads leaves as a copy, for a transfer detaches it here. */
  private stream(
    step: number,
    outputs: WireOutputs,
    alive: ReadonlyMap<string, ort.Tensor>,
    awaited: boolean,
  ): void {
    const leaving = Object.fromEntries(
      Object.entries(outputs).map(([name, value]) => [
        name,
        alive.has(outputKey(step, name)) ? { ...value, data: value.data.slice() as never } : value,
      ]),
    );
    // A step that keeps nothing is told for progress only, and holds nobody back but who waits for it.
    const counted = awaited || Object.keys(leaving).length > 0;
    if (counted) this.unacknowledged++;
    this.send({ type: 'step', step, outputs: leaving, counted }, [leaving]);
  }

  private async room(flag: Int32Array, unacknowledgedMax: number): Promise<void> {
    while (this.unacknowledged >= unacknowledgedMax && Atomics.load(flag, 0) === 0) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      this.wake = undefined;
    }
  }

  private send(message: FromWorker, moved: readonly WireOutputs[]): void {
    const buffers = new Set<ArrayBuffer>();
    for (const outputs of moved) {
      for (const value of Object.values(outputs)) buffers.add(value.data.buffer as ArrayBuffer);
    }
    this.port.postMessage(message, [...buffers]);
  }
}

async function main(): Promise<void> {
  const port = present(parentPort, 'the parent port');
  const { provider, refused } = await climb();
  if (provider === undefined) {
    port.postMessage({ type: 'unserved', refused } satisfies FromWorker);
    return;
  }
  const cache: Cache = new SessionCache({
    budgetBytes: setup.cacheBytes,
    open: (program) => open(program, provider),
    release: (session) => session.release(),
  });
  const runner = new Runner(cache, port);
  port.on('message', (message: ToWorker) => {
    if (message.type === 'run') void runner.run(message);
    else if (message.type === 'acknowledge') runner.acknowledge();
    else void cache.clear().then(() => port.close());
  });
  const version = `onnxruntime-node ${ort.env.versions.node ?? ort.env.versions.common}`;
  port.postMessage({ type: 'ready', provider, refused, version } satisfies FromWorker);
}

if (!isMainThread) await main();
