import { oneToken, workStream } from './names.ts';
import { WORKERS } from './queue-stream.ts';

/** One service, as NATS knows it. */
export interface NatsUser {
  /** Also its name towards NATS, and where its answers come (`_INBOX.NAME`). */
  readonly name: string;
  /** The queues that it works on: nobody else may put into them or take out. */
  readonly queues: readonly string[];
}

export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/**
 * What the adapters of this folder ask of NATS for one service, and nothing more: no stream may be deleted, a queue
 * belongs to its service, and answers for one are not heard by another. The journal, dead letters and blobs are shared:
 * any service may read jobs of the others, and collect what nobody needs.
 */
export function permissionsOf({ name, queues }: NatsUser, prefix = 'heddle'): Permissions {
  const capitals = prefix.toUpperCase();
  const journal = `${capitals}_JOURNAL`;
  const dead = `${capitals}_DEAD`;
  const removed = `${capitals}_REMOVED`;
  const bucket = `${prefix}-blobs`;
  const objects = `OBJ_${bucket}`;
  const api = '$JS.API';
  const works = queues.map((queue) => workStream(prefix, queue));
  const streams = [journal, removed, dead, objects, ...works];
  return {
    publish: [
      `${api}.INFO`,
      ...streams.flatMap((stream) => [
        ...['CREATE', 'UPDATE', 'INFO', 'MSG.GET'].map((verb) => `${api}.STREAM.${verb}.${stream}`),
        `${api}.DIRECT.GET.${stream}`,
        `${api}.DIRECT.GET.${stream}.>`,
      ]),
      ...[journal, objects].map((stream) => `${api}.STREAM.PURGE.${stream}`),
      ...works.flatMap((stream) => [
        `${api}.CONSUMER.CREATE.${stream}.${WORKERS}`,
        `${api}.CONSUMER.DURABLE.CREATE.${stream}.${WORKERS}`,
        `${api}.CONSUMER.INFO.${stream}.${WORKERS}`,
        `${api}.CONSUMER.MSG.NEXT.${stream}.${WORKERS}`,
        `$JS.ACK.${stream}.${WORKERS}.>`,
        `$JS.ACK.*.*.${stream}.${WORKERS}.>`,
      ]),
      `${prefix}.journal.>`,
      `${prefix}.removed.>`,
      `${prefix}.events.>`,
      `$O.${bucket}.>`,
      ...queues.flatMap((queue) => [
        `${prefix}.work.${oneToken(queue)}.>`,
        `${prefix}.dead.${oneToken(queue)}`,
      ]),
    ],
    subscribe: [`_INBOX.${name}.>`, `${prefix}.journaled.>`, `${prefix}.events.>`],
  };
}

/**
 * The accounts of a server's configuration: one for Heddle, with a user for each service and one, `operator`, for the
 * people who look after it (its streams, and the `nats` tool); passwords come from the server's environment.
 */
export function accountsConfig(users: readonly NatsUser[], prefix = 'heddle'): string {
  return `accounts {
  ${prefix.toUpperCase()} {
    jetstream: enabled
    users: [
${users.map((user) => userConfig(user, prefix)).join('\n')}
      { user: operator, password: $${passwordVariable('operator')} }
    ]
  }
  SYS { users: [ { user: system, password: $${passwordVariable('system')} } ] }
}
system_account: SYS
`;
}

/** The environment variable of a NATS server that a user's password is in. */
export function passwordVariable(user: string): string {
  return `NATS_PASSWORD_${user.toUpperCase().replaceAll('-', '_')}`;
}

function userConfig(user: NatsUser, prefix: string): string {
  const { publish, subscribe } = permissionsOf(user, prefix);
  const list = (subjects: readonly string[]) =>
    `[\n${subjects.map((subject) => `            "${subject}"`).join('\n')}\n          ]`;
  return `      {
        user: ${user.name}, password: $${passwordVariable(user.name)}
        permissions {
          publish { allow: ${list(publish)} }
          subscribe { allow: ${list(subscribe)} }
        }
      }`;
}
