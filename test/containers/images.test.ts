/** What is in our images, and what is not. */

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { VERSION } from '@heddle/core';
import { docker, inspect } from './docker.ts';
import { buildOurImages, IMAGES, imageName, missingContainers, NODE_IMAGE } from './our-images.ts';

/** A cold build installs packages; a warm one compares files. */
const BUILD_TIMEOUT_MS = 8 * 60_000;
const MIB = 2 ** 20;
/** Over the base image. An engine's is ONNX Runtime (45 MiB), the bundled model and packages. */
const ENGINE_MIB_MAX = 100;
const FRONT_DOOR_MIB_MAX = 40;

interface Image {
  readonly Size: number;
  readonly Config: {
    readonly User: string;
    readonly Env: readonly string[];
    readonly Labels: Readonly<Record<string, string>>;
    readonly ExposedPorts: Readonly<Record<string, unknown>>;
    readonly Volumes: Readonly<Record<string, unknown>>;
    readonly Entrypoint: readonly string[];
    readonly Cmd: readonly string[];
    readonly StopSignal: string;
    readonly Healthcheck: { readonly Test: readonly string[] };
  };
  readonly RootFS: { readonly Layers: readonly string[] };
}

const missing = await missingContainers([NODE_IMAGE]);
const can = missing === undefined ? { timeout: 60_000 } : { skip: missing };
const images = new Map<string, Image>();

const image = (service: string): Image => {
  const found = images.get(service);
  assert.ok(found);
  return found;
};

/** What a command in a container of this image prints, as the user that it gives. */
const inside = (service: (typeof IMAGES)[number], command: string): Promise<string> =>
  docker('run', '--rm', '--entrypoint', 'sh', imageName(service), '-c', command);

before(
  async () => {
    if (missing !== undefined) return;
    await buildOurImages();
    for (const service of IMAGES) images.set(service, await inspect<Image>(imageName(service)));
  },
  { timeout: BUILD_TIMEOUT_MS },
);

test(
  'an image is small: its base, ONNX Runtime where it computes, packages and a model of 5 MB',
  can,
  async (t) => {
    const base = (await inspect<Image>(NODE_IMAGE.name)).Size;
    for (const service of IMAGES) {
      const over = (image(service).Size - base) / MIB;
      const limit = service === 'explorer' ? FRONT_DOOR_MIB_MAX : ENGINE_MIB_MAX;
      t.diagnostic(
        `${imageName(service)}: ${(image(service).Size / MIB).toFixed(0)} MiB, ${over.toFixed(0)} over ${NODE_IMAGE.name}`,
      );
      assert.ok(over > 0 && over < limit, `${service}: ${over} MiB over its base, limit ${limit}`);
    }
  },
);

test('all engines are the same layers: a node that has one has all', can, () => {
  const [first, ...others] = IMAGES.filter((service) => service !== 'explorer');
  assert.ok(first);
  for (const service of others) {
    assert.deepEqual(image(service).RootFS.Layers, image(first).RootFS.Layers);
  }
});

test(
  'an image says who runs it, where it listens, how it is stopped and asked, and what it is',
  can,
  () => {
    for (const service of IMAGES) {
      const { Config } = image(service);
      assert.match(Config.User, /^[1-9]\d*:[1-9]\d*$/, 'a number: runAsNonRoot cannot read names');
      assert.deepEqual(Object.keys(Config.ExposedPorts).sort(), ['7411/tcp', '7412/tcp']);
      assert.deepEqual(Object.keys(Config.Volumes), ['/data']);
      assert.equal(Config.StopSignal, 'SIGTERM');
      assert.equal(
        Config.Entrypoint[0],
        'node',
        'no shell stands between a signal and the program',
      );
      assert.deepEqual(Config.Cmd, ['up']);
      assert.equal(Config.Healthcheck.Test[0], 'CMD');
      assert.ok(Config.Env.includes(`HEDDLE_SERVICES=${service}`), `${Config.Env}`);
      const label = (name: string) => Config.Labels[`org.opencontainers.image.${name}`];
      assert.equal(label('title'), `heddle-${service}`);
      assert.equal(label('version'), VERSION);
      assert.equal(label('licenses'), 'Apache-2.0');
    }
  },
);

test(
  'no image has compilers, tests, another Node, or anything that its user may change',
  can,
  async () => {
    for (const service of ['lorsa', 'explorer'] as const) {
      const modules = (await inside(service, 'ls /app/node_modules /app/node_modules/@*')).split(
        '\n',
      );
      const unwanted =
        /^(typescript|biome|@biomejs|assemblyscript|testcontainers|testkit|node-.*x64|fast-check|prebuild.*|buf)$/;
      assert.deepEqual(
        modules.filter((name) => unwanted.test(name)),
        [],
      );
      const tests = await inside(
        service,
        'find /app/libs /app/services -name "*.test.ts" | head -3',
      );
      assert.equal(tests, '');
      const writable = 'find /app /opt /usr /etc -writable -not -type l 2>/dev/null | head -3';
      assert.equal(await inside(service, writable), '');
    }
  },
);

test(
  'an engine has ONNX Runtime for its own platform alone, the front door has none',
  can,
  async () => {
    const find = 'find /app/node_modules -name "libonnxruntime.*" -o -name "onnxruntime*.dll"';
    const [found, ...others] = (await inside('attribution', find)).split('\n');
    assert.match(found ?? '', /napi-v6\/linux\/(x64|arm64)\/libonnxruntime\.so/);
    assert.deepEqual(others, []);
    assert.equal(await inside('explorer', find), '');
  },
);
