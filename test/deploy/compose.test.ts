import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readConfig } from 'heddle';
import { parse } from 'yaml';
import { IMAGES, imageName } from '../../deploy/docker/images.ts';
import { BASE_IMAGES } from '../containers/base-images.ts';

const DEPLOY = fileURLToPath(new URL('../../deploy', import.meta.url));
const COMPOSE = join(DEPLOY, 'compose');
/** What `heddle up` drains in, and the engine's own word for it. */
const DRAIN_S = 20;

interface Service {
  readonly image: string;
  readonly user?: string;
  readonly read_only?: boolean;
  readonly restart?: string;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly networks?: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly stop_grace_period?: string;
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>;
}

/** What compose makes of `${NAME:-default}` where nothing is set. */
const withDefaults = (text: string): string => text.replace(/\$\{\w+:-([^}]*)\}/g, '$1');

const read = <T>(path: string): T =>
  parse(withDefaults(readFileSync(join(COMPOSE, path), 'utf8')), { merge: true }) as T;

const { services, networks } = read<Compose>('compose.yaml');
/** Makes others' volumes, as root, and ends. */
const ONCE = 'volumes';
const standing = Object.entries(services).filter(([name]) => name !== ONCE);
const ours = (name: string): Service => {
  const found = services[name];
  assert.ok(found, name);
  return found;
};

test('compose runs our six images, of this version, and others at a version that the tests run', () => {
  for (const name of IMAGES) assert.equal(ours(name).image, imageName(name));
  const others = new Set(
    standing.filter(([name]) => !IMAGES.includes(name as 'qk')).map(([, { image }]) => image),
  );
  const ran = BASE_IMAGES.map(({ name }) => name).filter((name) => !name.startsWith('node:'));
  for (const name of ran) assert.ok(others.delete(name), `${name}: ${[...others]}`);
  assert.deepEqual(
    [...others].map((name) => name.split(':')[0]),
    ['grafana/grafana'],
  );
});

test('with gpu.yaml every engine is its cuda image and has a GPU, and nothing else changes', () => {
  const gpu = read<Compose>('gpu.yaml').services;
  const engines = IMAGES.filter((name) => name !== 'explorer');
  assert.deepEqual(Object.keys(gpu), engines);
  for (const name of engines) {
    assert.equal(gpu[name]?.image, imageName(name, { variant: 'cuda' }));
    assert.match(
      JSON.stringify(gpu[name]),
      /"devices":.*"driver":"nvidia".*"capabilities":.*"gpu"/,
    );
  }
});

test('nothing in compose is root, writes to its image, or can get at more than it has', () => {
  for (const [name, service] of standing) {
    assert.match(service.user ?? '', /^[1-9]\d*:\d+$/, name);
    assert.equal(service.read_only, true, name);
    assert.deepEqual(service.cap_drop, ['ALL'], name);
    assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name);
    assert.equal(service.restart, 'unless-stopped', name);
  }
});

test('what keeps is on a network that leads nowhere; the front door is not on it; ports open on loopback alone', () => {
  assert.equal(networks['stores']?.internal, true);
  for (const name of ['nats', 's3']) assert.deepEqual(ours(name).networks, ['stores']);
  assert.deepEqual(ours('explorer').networks, ['services']);
  for (const [name, { ports = [] }] of standing) {
    for (const port of ports) assert.match(port, /^127\.0\.0\.1:/, name);
  }
  const open = standing.filter(([, { ports }]) => ports !== undefined).map(([name]) => name);
  assert.deepEqual(open, ['explorer', 'prometheus', 'grafana']);
});

test('every variable of our processes is one that they read, and names what compose has', () => {
  for (const name of IMAGES) {
    const { environment = {}, stop_grace_period: grace = '' } = ours(name);
    const config = readConfig({ ...environment, HEDDLE_SERVICES: name });
    assert.deepEqual(config.unread, [], name);
    const peers = [...config.peers].map(([peer, [address]]) => `${peer} ${address}`);
    const there = IMAGES.filter((each) => each !== 'explorer');
    assert.deepEqual(
      peers,
      there.map((each) => `${each} dns:///${each}:7411`),
    );
    assert.ok(
      Number(/^(\d+)s$/.exec(grace)?.[1]) > DRAIN_S,
      `${name} is killed before it has drained`,
    );
    const keeps = name === 'explorer' ? undefined : ['nats://nats:4222'];
    assert.deepEqual(config.stores.nats?.servers, keeps, name);
  }
  assert.match(readFileSync(join(COMPOSE, 'nats.conf'), 'utf8'), /sync_interval: always/);
});

test('Prometheus asks every process, by rules that are there', () => {
  interface Scrape {
    readonly rule_files: readonly string[];
    readonly scrape_configs: readonly {
      readonly job_name: string;
      readonly static_configs: readonly {
        readonly targets: readonly string[];
        readonly labels: Readonly<Record<string, string>>;
      }[];
    }[];
  }
  const { rule_files, scrape_configs } = read<Scrape>('prometheus.yaml');
  const targets =
    scrape_configs.find(({ job_name }) => job_name === 'heddle')?.static_configs ?? [];
  assert.deepEqual(
    targets.map(({ targets: [target], labels }) => `${target} ${labels['service']}`),
    IMAGES.map((name) => `${name}:7412 ${name}`),
  );
  for (const path of rule_files) {
    const here = path.replace('/etc/prometheus/rules/', '../observability/rules/');
    assert.ok(existsSync(join(COMPOSE, here)), here);
  }
});

test('Grafana shows the dashboards that there are, from the Prometheus that there is', () => {
  const { environment = {}, volumes = [] } = ours('grafana');
  const dashboards = readdirSync(join(DEPLOY, 'observability/dashboards'));
  const home = environment['GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH']?.split('/').at(-1) ?? '';
  assert.ok(dashboards.includes(home), `${home} of ${dashboards}`);
  const [from = '', to = ''] =
    volumes.find((each) => each.includes('dashboards'))?.split(':') ?? [];
  assert.ok(existsSync(join(COMPOSE, from)), from);
  const provider = read<{ providers: { options: { path: string } }[] }>(
    'grafana/dashboards/heddle.yaml',
  );
  assert.deepEqual(
    provider.providers.map(({ options }) => options.path),
    [to],
  );
  const source = read<{ datasources: { url: string }[] }>('grafana/datasources/prometheus.yaml');
  assert.deepEqual(
    source.datasources.map(({ url }) => url),
    ['http://prometheus:9090'],
  );
});

test('all that compose mounts of the repository is there', () => {
  for (const [name, { volumes = [] }] of standing) {
    for (const [path = ''] of volumes.map((each) => each.split(':'))) {
      if (path.startsWith('.')) assert.ok(existsSync(join(COMPOSE, path)), `${name}: ${path}`);
    }
  }
});
