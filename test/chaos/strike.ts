import { type ClusterProcess, freeze, type TcpProxy, thaw, until } from '@heddle/testkit';
import { ACK_WAIT_MS, type Ground } from './ground.ts';
import type { Schedule } from './schedule.ts';

/** What was hit, and where the target's journal stood then. */
export interface Blow {
  readonly victim: string;
  readonly sequence: number;
  /** When the fault had happened. */
  readonly atMs: number;
}

/** Who works on the target now. */
interface Held {
  readonly task: number;
  readonly claim: string;
  readonly process: ClusterProcess;
}

/** Others take over within the ack wait and a pull; when none is free, the victim itself comes back. */
const TAKEOVER_MS = 4_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Makes the fault happen and ends it again. Undefined: it would have come too late or too early for the target. */
export async function strike(
  ground: Ground,
  schedule: Schedule,
  target: string,
): Promise<Blow | undefined> {
  switch (schedule.fault) {
    case 'service': {
      const { processes } = ground.cluster;
      const process = processes[schedule.victim % processes.length];
      return process && killed(ground, schedule, target, process);
    }
    case 'worker': {
      const held = await holder(ground, target);
      return held && killed(ground, schedule, target, held.process);
    }
    case 'nats':
      return during(ground, target, 'nats-server', async () => {
        await ground.nats.kill();
        return async () => {
          await pause(schedule.awayMs);
          await ground.nats.restart();
        };
      });
    case 'disk':
      return filled(ground, schedule, target);
    case 'zombie':
    case 'cut':
      return lostFromSight(ground, schedule, target);
    default:
      return undefined;
  }
}

/** Notes where the journal stands, does it, notes when it was done, and undoes it. */
async function during(
  ground: Ground,
  target: string,
  victim: string,
  fault: () => Promise<() => Promise<void>>,
): Promise<Blow> {
  const { sequence } = await ground.story(target);
  const undo = await fault();
  const atMs = Date.now();
  await undo();
  return { victim, sequence, atMs };
}

async function killed(
  ground: Ground,
  { awayMs }: Schedule,
  target: string,
  process: ClusterProcess,
): Promise<Blow> {
  await ground.tally(); // what it has counted dies with it
  return during(ground, target, process.name, async () => {
    await process.kill('SIGKILL');
    return async () => {
      await pause(awayMs);
      await ground.startAgain(process);
    };
  });
}

async function filled(ground: Ground, { victim, awayMs }: Schedule, target: string): Promise<Blow> {
  const name = victim % 2 === 0 ? 'nats' : 'blobs';
  const disk = ground.disks[name];
  return during(ground, target, `disk of ${name}`, async () => {
    await disk.fill();
    return async () => {
      await pause(awayMs);
      await disk.free();
      if (name === 'nats') await ground.reviveNats();
    };
  });
}

/** Frozen, or alone on its side of a cut: for longer than the ack wait, and in either case it does not know. */
async function lostFromSight(
  ground: Ground,
  schedule: Schedule,
  target: string,
): Promise<Blow | undefined> {
  const held = await holder(ground, target);
  if (held === undefined) return undefined;
  const { process } = held;
  const proxy = ground.proxyOf(process);
  const stop = async (): Promise<void> => {
    if (schedule.fault === 'zombie') await freeze(process);
    else proxy.cut();
  };
  const goOn = (): void => {
    if (schedule.fault === 'zombie') thaw(process);
    proxy.heal();
  };
  if (schedule.moment === 'time') {
    return during(ground, target, process.name, async () => {
      await stop();
      return async () => {
        await pause(schedule.awayMs);
        goOn();
      };
    });
  }
  if (!(await nextAppend(ground, proxy, target))) return undefined;
  return during(ground, target, `${process.name} at an append`, async () => {
    await stop();
    return async () => {
      try {
        await Promise.all([pause(ACK_WAIT_MS * 1.2), takenOver(ground, target, held)]);
      } finally {
        goOn();
      }
    };
  });
}

/** Cuts the worker off just before its next event for the target gets out. False: the target ended without one. */
async function nextAppend(ground: Ground, proxy: TcpProxy, target: string): Promise<boolean> {
  const trap = proxy.cutBefore(`HPUB heddle.journal.job.${target} `);
  let over = false;
  void trap.happened.then(() => {
    over = true;
  });
  while (!over) {
    if ((await ground.story(target)).end !== undefined) trap.disarm();
    await pause(20);
  }
  return trap.happened;
}

async function takenOver(ground: Ground, target: string, { task, claim }: Held): Promise<void> {
  const gone = async (): Promise<boolean> => {
    const { running, end } = await ground.story(target);
    return end !== undefined || running.get(task) !== claim;
  };
  await until(`somebody takes over ${target}`, gone, { withinMs: TAKEOVER_MS }).catch(
    () => undefined,
  );
}

async function holder(ground: Ground, target: string): Promise<Held | undefined> {
  const { running, end } = await ground.story(target);
  if (end !== undefined) return undefined;
  for (const [task, claim] of running) {
    const process = ground.holderOf(claim);
    if (process?.alive) return { task, claim, process };
  }
  return undefined;
}
