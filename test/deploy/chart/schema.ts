import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Manifest } from './manifests.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Groups that are no part of Kubernetes itself, and who has models of them. */
const MODELS: Readonly<Record<string, string>> = {
  'keda.sh': '@kubernetes-models/keda',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
  'cert-manager.io': '@kubernetes-models/cert-manager',
  'gateway.networking.k8s.io': '@kubernetes-models/gateway-api',
};

/** `kubernetes-models/apps/v1/Deployment`. */
function modelOf({ apiVersion, kind }: Manifest): string {
  const [group = ''] = apiVersion.split('/');
  return `${MODELS[group] ?? 'kubernetes-models'}/${apiVersion}/${kind}`;
}

const nameOf = ({ kind, metadata: { name } }: Manifest): string => `${kind} ${name}`;

type Model = new (manifest: Manifest) => { validate(): void };

/** What the OpenAPI schemas of the API server and of the operators say against the manifests: types, required fields, patterns. */
export async function modelComplaints(manifests: readonly Manifest[]): Promise<readonly string[]> {
  const complaints: string[] = [];
  for (const manifest of manifests) {
    const found = (await import(modelOf(manifest))) as Record<string, Model>;
    const Kind = found[manifest.kind];
    if (Kind === undefined) throw new Error(`${modelOf(manifest)} has no ${manifest.kind}`);
    try {
      new Kind(manifest).validate();
    } catch (thrown) {
      complaints.push(`${nameOf(manifest)}: ${(thrown as Error).message}`);
    }
  }
  return complaints;
}

/**
 * Fields that Kubernetes does not know, which the models let pass and an API server only warns of: each manifest as a typed
 * constant, and the compiler's excess property checks. `folder` is scratch.
 */
export function unknownFields(manifests: readonly Manifest[], folder: string): readonly string[] {
  const lines = manifests.map((manifest, index) => {
    // Absolute: the scratch folder has no packages beside it.
    const model = join(ROOT, 'node_modules', modelOf(manifest));
    const text = JSON.stringify(manifest);
    return `import type { I${manifest.kind} as T${index} } from '${model}';\nexport const d${index}: T${index} = ${text};\n`;
  });
  const file = join(folder, 'manifests.ts');
  writeFileSync(file, lines.join(''));
  const flags = ['--noEmit', '--strict', '--skipLibCheck', '--types', '', '--ignoreConfig'];
  const modules = ['--target', 'esnext', '--module', 'esnext', '--moduleResolution', 'bundler'];
  try {
    execFileSync(join(ROOT, 'node_modules/.bin/tsc'), [...flags, ...modules, file], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
    return [];
  } catch (thrown) {
    const { stdout = '' } = thrown as { stdout?: string };
    return stdout
      .split('\n')
      .filter((line) => /error TS/.test(line))
      .map((line) => {
        const number = Number(/\((\d+),/.exec(line)?.[1] ?? 0);
        const manifest = manifests[Math.floor((number - 1) / 2)];
        const where = manifest === undefined ? '?' : nameOf(manifest);
        return `${where}: ${line.replace(/^.*error /, '')}`;
      });
  }
}
