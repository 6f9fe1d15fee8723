// A process that calls one method of a server as many customers would, over connections of its own. Argument: the settings as JSON.
// Prints `begun`, then at the end `samples` and all of them as JSON. SIGTERM ends the arrivals, not the calls under way.
import { openChannel } from '@heddle/adapters/grpc';
import type { ContractName } from '@heddle/ports';
import { closedLoop, openLoop, type Sample } from '../load/open-loop.ts';

export interface LoadSettings {
  readonly address: string;
  readonly contract: ContractName;
  readonly method: string;
  readonly request: object;
  /** Given as `client_key` with the number of the call behind it, so that every call starts a job of its own. */
  readonly key?: string;
  readonly connections: number;
  readonly seconds: number;
  readonly timeoutMs: number;
  /** Arrivals a second; or callers that each wait for their answers. */
  readonly ratePerS?: number;
  readonly callers?: number;
  readonly seed: number;
}

type Anything = Record<string, (request: object, options: object) => unknown>;

const settings = JSON.parse(process.argv[2] ?? '') as LoadSettings;
const { address, contract, method, key, connections, seconds, timeoutMs, seed } = settings;
const channels = Array.from({ length: connections }, () =>
  openChannel(address, { ownConnection: true }),
);
await Promise.all(channels.map((channel) => channel.ready(10_000)));

/** A unary answer, or a stream read to its end. */
async function call(index: number): Promise<void> {
  const clients = channels[index % connections]?.clients[contract] as unknown as Anything;
  const named = key === undefined ? {} : { client_key: `${key}${index}` };
  const answer = clients[method]?.({ ...settings.request, ...named }, { timeoutMs });
  if (answer instanceof Promise) await answer;
  else for await (const _ of answer as AsyncIterable<unknown>);
}

const samples: Sample[] = [];
const told = new Set<string>();
/** Of each code the first text: a hundred thousand times the same one says no more. */
function keep({ message, ...sample }: Sample): void {
  const isNew = message !== undefined && !told.has(sample.code);
  told.add(sample.code);
  samples.push(isNew ? { ...sample, message } : sample);
}
const ending = new AbortController();
process.once('SIGTERM', () => ending.abort());
const shared = {
  seconds,
  now: () => performance.now(),
  onSample: keep,
};
process.stdout.write('begun\n');
await (settings.callers === undefined
  ? openLoop(call, { ...shared, seed, ratePerS: settings.ratePerS ?? 1, signal: ending.signal })
  : closedLoop(call, { ...shared, callers: settings.callers }));
process.stdout.write(`samples ${JSON.stringify(samples)}\n`);
for (const channel of channels) channel.close();
