import { failedPrecondition } from '@heddle/core';
import { JetStreamApiCodes, type StreamConfig, type StreamInfo } from '@nats-io/jetstream';
import { API_CODES, hasApiCode } from './nats-error.ts';
import type { NatsLink } from './nats-link.ts';

/** A stream as this adapter needs it; what is not named is the server's default. */
export type WantedStream = Pick<StreamConfig, 'name' | 'subjects' | 'retention'> &
  Partial<StreamConfig>;

/** What was found, for the start's report. */
export interface StreamReport {
  readonly name: string;
  readonly replicas: number;
  readonly storage: string;
  readonly bytesMax: number;
  /** Replicas that are away or lag at this moment. */
  readonly notCurrent: readonly string[];
}

/** Settings that change what a store means: a stream that has others is refused, never repaired. */
const MEANING = [
  'retention',
  'storage',
  'discard',
  'discard_new_per_subject',
  'max_msgs_per_subject',
  'max_age',
  'allow_direct',
] as const;

/** Budgets, which an operator may raise: set to what is wanted. */
const BUDGETS = ['max_msgs', 'max_bytes'] as const;

/** Makes the stream, or verifies the one that is there. Errors: `failed_precondition` with the setting that differs. */
export async function ensureStream(link: NatsLink, wanted: WantedStream): Promise<StreamInfo> {
  const config = { num_replicas: link.replicas, allow_direct: true, ...wanted };
  const found = await streamInfo(link, config.name);
  if (found === undefined) {
    try {
      return await link.patiently(`making ${config.name}`, () => link.jsm.streams.add(config));
    } catch (error) {
      // Another process was faster, with settings of its own: verified below like any other.
      if (!hasApiCode(error, API_CODES.streamNameInUse)) throw error;
      return ensureStream(link, wanted);
    }
  }
  verify(found, config);
  // A version that came later takes more subjects in the same stream; those that are there stay.
  const missing = config.subjects.filter((subject) => !found.config.subjects.includes(subject));
  const differs = BUDGETS.some((key) => key in config && found.config[key] !== config[key]);
  if (!differs && missing.length === 0) return found;
  const budgets = Object.fromEntries(
    BUDGETS.flatMap((key) => (key in config ? [[key, config[key]]] : [])),
  );
  const subjects = [...found.config.subjects, ...missing];
  link.log.warn('a stream gets this process’s budgets', {
    stream: config.name,
    ...budgets,
    missing,
  });
  return link.patiently(`updating ${config.name}`, () =>
    link.jsm.streams.update(config.name, { ...found.config, ...budgets, subjects }),
  );
}

export async function streamInfo(link: NatsLink, name: string): Promise<StreamInfo | undefined> {
  try {
    return await link.patiently(`looking at ${name}`, () => link.jsm.streams.info(name));
  } catch (error) {
    if (hasApiCode(error, JetStreamApiCodes.StreamNotFound)) return undefined;
    throw error;
  }
}

/** Subjects of a stream under a filter and how many messages each has, as its leader has them. */
export async function subjectCounts(
  link: NatsLink,
  stream: string,
  filter: string,
): Promise<Readonly<Record<string, number>>> {
  const { state } = await link.patiently(`listing ${filter}`, () =>
    link.jsm.streams.info(stream, { subjects_filter: filter }),
  );
  return state.subjects ?? {};
}

export async function subjectsOf(
  link: NatsLink,
  stream: string,
  filter: string,
): Promise<readonly string[]> {
  return Object.keys(await subjectCounts(link, stream, filter));
}

export function reportOf({ config, cluster }: StreamInfo): StreamReport {
  const away = cluster?.replicas?.filter(({ current, offline }) => !current || offline) ?? [];
  return {
    name: config.name,
    replicas: config.num_replicas,
    storage: config.storage,
    bytesMax: config.max_bytes,
    notCurrent: away.map(({ name }) => name),
  };
}

function verify({ config: found }: StreamInfo, wanted: WantedStream): void {
  const refuse = (setting: string, has: unknown, wants: unknown): never => {
    throw failedPrecondition(
      `stream ${wanted.name} has ${setting} ${has}, this Heddle needs ${wants}: change it with the nats tool, or use another prefix`,
      { details: { stream: wanted.name, setting } },
    );
  };
  for (const key of MEANING) {
    if (key in wanted && found[key] !== wanted[key]) refuse(key, found[key], wanted[key]);
  }
  const replicas = wanted.num_replicas ?? 1;
  if (found.num_replicas < replicas) refuse('replicas', found.num_replicas, replicas);
  const foreign = !wanted.subjects.some((subject) => found.subjects.includes(subject));
  if (foreign) refuse('subjects', found.subjects.join(' '), wanted.subjects.join(' '));
}
