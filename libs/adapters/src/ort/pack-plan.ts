import { assert } from '@heddle/core';
import type { Feed, Plan, Program } from '@heddle/ports';
import type { DataByDType, DType, Tensor } from '@heddle/tensor';
import type { WireFeed, WireProgram, WireStep } from './protocol.ts';

type Data = DataByDType[DType];

/** Programs repeat; their bytes cross to the worker as shared memory, made once per program. */
const shared = new WeakMap<Program, WireProgram>();

function packProgram(program: Program): WireProgram {
  const known = shared.get(program);
  if (known) return known;
  const bytes = new SharedArrayBuffer(program.bytes.byteLength);
  new Uint8Array(bytes).set(program.bytes);
  const { digest, weightsDirectory, residentBytes } = program;
  const packed = { digest, bytes, weightsDirectory, residentBytes };
  shared.set(program, packed);
  return packed;
}

/**
 * A plan as the worker reads it. Structured clone copies the whole buffer under a view, so views of larger memory are cut out
 * first; memory that is already shared is read in place.
 */
export function packPlan(plan: Plan): readonly WireStep[] {
  const cut = new Map<Data, Data>();
  const packFeed = (feed: Feed, index: number): WireFeed => {
    if ('step' in feed) {
      assert(feed.step < index && feed.step >= 0, () => `step ${index} reads step ${feed.step}`);
      return feed;
    }
    return { ...feed, data: own(feed, cut) };
  };
  return plan.steps.map((step, index) => ({
    program: packProgram(step.program),
    keep: step.keep,
    into: sharedTargets(step.into ?? {}),
    waits: step.waits ?? false,
    feeds: Object.fromEntries(
      Object.entries(step.feeds).map(([name, feed]) => [name, packFeed(feed, index)]),
    ),
  }));
}

/** What is written into must be memory that both threads see; a copy would be filled and lost. */
function sharedTargets(into: Readonly<Record<string, Tensor>>): Readonly<Record<string, Tensor>> {
  for (const [name, { data }] of Object.entries(into)) {
    assert(isShared(data), () => `${name} is to be written into memory that is not shared`);
  }
  return into;
}

const isShared = (data: Data): boolean =>
  (data.buffer as ArrayBufferLike) instanceof SharedArrayBuffer;

function own({ data }: Tensor, cut: Map<Data, Data>): Data {
  const whole = data.byteLength === data.buffer.byteLength;
  if (whole || isShared(data)) return data;
  const known = cut.get(data);
  if (known) return known;
  const copy = data.slice();
  cut.set(data, copy);
  return copy;
}
