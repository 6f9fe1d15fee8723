/** Nodes are drained and versions rolled out under a release; what serves never falls below what was promised. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type ControlPlane, missingControlPlane, startControlPlane, until } from '@heddle/testkit';
import {
  component,
  type Deployment,
  install,
  isReady,
  type Pod,
  pods,
  type Release,
  upgrade,
} from './fixtures/releases.ts';

const skip = missingControlPlane() ?? false;
const NAMESPACE = 'heddle';
const REPLICAS = 3;
/** What answers calls: two kinds of it are enough to see that budgets are each one's own. */
const WATCHED = ['activation', 'explorer'] as const;
const RELEASE: Release = {
  namespace: NAMESPACE,
  set: {
    'autoscaling.mode': 'off',
    'services.activation.replicas': REPLICAS,
    'frontDoor.replicas': REPLICAS,
  },
};
const NODES = ['a', 'b', 'c'];
const SETTLED_MS = 240_000;

let plane: ControlPlane;

before(async () => {
  if (skip) return;
  plane = await startControlPlane({ keda: false, nodes: NODES.map((name) => ({ name })) });
  // All pods on one node, so that a drain of it could take all of them.
  await plane.kubectl(['cordon', 'b', 'c']);
  await install(plane, RELEASE);
  await ready();
  await plane.kubectl(['uncordon', 'b', 'c']);
});

after(() => plane?.stop());

const of = (all: readonly Pod[], name: string): readonly Pod[] =>
  all.filter((pod) => component(pod) === name);

async function ready(): Promise<void> {
  const enough = async () => {
    const all = (await pods(plane, NAMESPACE)).filter(isReady);
    return WATCHED.every((name) => of(all, name).length === REPLICAS);
  };
  await until('all replicas ready', enough, { withinMs: SETTLED_MS });
}

/** The fewest Ready pods of each component while something is done, by every state that the API server tells of. */
async function fewest(during: () => Promise<unknown>): Promise<ReadonlyMap<string, number>> {
  const path = `/api/v1/namespaces/${NAMESPACE}/pods`;
  const now = new Map<string, Pod>();
  const least = new Map<string, number>();
  const watch = await plane.api.watch<Pod>(path, ({ type, object }) => {
    if (type === 'DELETED') now.delete(object.metadata.name);
    else now.set(object.metadata.name, object);
    for (const name of WATCHED) {
      const count = of([...now.values()], name).filter(isReady).length;
      least.set(name, Math.min(least.get(name) ?? REPLICAS, count));
    }
  });
  for (const pod of watch.now) now.set(pod.metadata.name, pod);
  await during().finally(watch.stop);
  return least;
}

const drain = (node: string, timeout: string): Promise<string> =>
  plane.kubectl([
    'drain',
    node,
    '--ignore-daemonsets',
    '--delete-emptydir-data',
    `--timeout=${timeout}`,
  ]);

test('a drain of the node that all pods stand on takes one pod of each kind at a time, and waits for its successor', {
  skip,
}, async (t) => {
  const least = await fewest(async () => {
    await drain('a', '240s');
    await ready();
  });
  t.diagnostic(
    `fewest ready of ${REPLICAS}: ${[...least].map(([name, count]) => `${name} ${count}`).join(', ')}`,
  );
  for (const name of WATCHED)
    assert.ok((least.get(name) ?? 0) >= REPLICAS - 1, `${name} fell to ${least.get(name)}`);
  await plane.kubectl(['uncordon', 'a']);
});

test('a drain is held while there is no place for successors, and goes on when there is', {
  skip,
}, async () => {
  await plane.kubectl(['cordon', ...NODES]);
  const isTaken = async (): Promise<boolean> => {
    const still = (await pods(plane, NAMESPACE)).filter(isReady);
    return WATCHED.every((name) => of(still, name).length < REPLICAS);
  };
  /** Drains all nodes for so many seconds each; how many were held, or had no time. */
  const drainAll = async (seconds: number): Promise<number> => {
    let held = 0;
    for (const node of NODES) {
      await drain(node, `${seconds}s`).catch((error: Error) => {
        assert.match(error.message, /disruption budget|timed out|timeout/);
        held += 1;
      });
    }
    return held;
  };
  const least = await fewest(async () => {
    // Until each kind has given what its budget lets it, and then once more, which must get nothing.
    for (let seconds = 2; !(await isTaken()); seconds *= 2) {
      assert.ok(seconds * 1000 < SETTLED_MS, 'no pod of a kind was taken');
      await drainAll(seconds);
    }
    assert.ok((await drainAll(4)) > 0, 'no drain was held');
  });
  for (const name of WATCHED) assert.equal(least.get(name), REPLICAS - 1, name);

  await plane.kubectl(['uncordon', ...NODES]);
  await ready();
});

test('a rollout has at least as many pods ready as before, at every moment', {
  skip,
}, async (t) => {
  const before = new Set((await pods(plane, NAMESPACE)).map(({ metadata }) => metadata.name));
  const least = await fewest(async () => {
    await upgrade(plane, { ...RELEASE, set: { ...RELEASE.set, 'image.tag': '9.9.9' } });
    for (const name of WATCHED) {
      const deployment = `deployment/heddle-${name}`;
      await plane.kubectl(['rollout', 'status', deployment, '-n', NAMESPACE, '--timeout=240s']);
    }
    await until(
      'the old ones are gone',
      async () => {
        const names = (await pods(plane, NAMESPACE)).filter((pod) =>
          WATCHED.includes(component(pod) as never),
        );
        return names.every(({ metadata }) => !before.has(metadata.name));
      },
      { withinMs: SETTLED_MS },
    );
  });
  t.diagnostic(
    `fewest ready of ${REPLICAS}: ${[...least].map(([name, count]) => `${name} ${count}`).join(', ')}`,
  );
  for (const name of WATCHED) assert.equal(least.get(name), REPLICAS, name);
});

test('a version that never becomes ready takes nothing away', { skip }, async () => {
  // Nobody has such a node: the new pods wait for ever, as those of an image that does not start do.
  const set = { ...RELEASE.set, 'image.tag': '10.0.0', 'defaults.nodeSelector.nowhere': 'here' };
  const least = await fewest(async () => {
    await upgrade(plane, { ...RELEASE, set });
    await until(
      'the new pods wait',
      async () => {
        const waiting = (await pods(plane, NAMESPACE)).filter(
          ({ status }) => status.phase === 'Pending',
        );
        return WATCHED.every((name) => of(waiting, name).length > 0);
      },
      { withinMs: SETTLED_MS },
    );
  });
  for (const name of WATCHED) assert.ok((least.get(name) ?? REPLICAS) === REPLICAS, name);
  const all = await plane.api.list<Deployment>(`/apis/apps/v1/namespaces/${NAMESPACE}/deployments`);
  const available = (name: string) =>
    all.find((each) => component(each) === name)?.status.availableReplicas;
  for (const name of WATCHED) assert.equal(available(name), REPLICAS, name);
});
