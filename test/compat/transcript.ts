import { readFileSync, writeFileSync } from 'node:fs';
import { frame, type RawClient, type RawReply } from '../fuzz/requests/raw-client.ts';

/** One call as bytes: what went over the wire and what came back. */
export interface Recorded {
  readonly name: string;
  /** `/heddle.jobs.v1.JobsService/Get` */
  readonly path: string;
  /** Message bodies, without gRPC's framing. */
  readonly requests: readonly Uint8Array[];
  readonly status: number;
  readonly message: string;
  /** google.rpc.Status of the trailers. */
  readonly details: Uint8Array | undefined;
  readonly responses: readonly Uint8Array[];
}

/** Trainings of then take seconds, on a busy machine many. */
const LIMIT_MS = 120_000;

/** Sends bytes and tells what came back. Errors: a call without a status. */
export async function callRaw(
  raw: RawClient,
  { name, path, requests }: Pick<Recorded, 'name' | 'path' | 'requests'>,
): Promise<Recorded> {
  const body = Buffer.concat(requests.map((request) => frame(request)));
  const reply: RawReply = await raw.call({ path, body, limitMs: LIMIT_MS });
  const { status, message, details, messages, broken } = reply;
  // What a job was like while it ran is another story each time: of a watch, how it began and how it ended.
  const responses = path.endsWith('/Watch')
    ? [...messages.slice(0, 1), ...messages.slice(-1)]
    : messages;
  if (status === undefined) throw new Error(`${name}: ${broken}`);
  return { name, path, requests, status, message, details, responses };
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));

/** One call a line, bytes in base64. */
export function writeTranscript(path: string | URL, calls: readonly Recorded[]): void {
  const lines = calls.map(({ requests, details, responses, ...rest }) =>
    JSON.stringify({
      ...rest,
      requests: requests.map(text),
      details: details === undefined ? null : text(details),
      responses: responses.map(text),
    }),
  );
  writeFileSync(path, `${lines.join('\n')}\n`);
}

interface Line extends Omit<Recorded, 'requests' | 'details' | 'responses'> {
  readonly requests: readonly string[];
  readonly details: string | null;
  readonly responses: readonly string[];
}

export function readTranscript(path: string | URL): readonly Recorded[] {
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  return lines.map((line) => {
    const { requests, details, responses, ...rest } = JSON.parse(line) as Line;
    return {
      ...rest,
      requests: requests.map(bytes),
      details: details === null ? undefined : bytes(details),
      responses: responses.map(bytes),
    };
  });
}
