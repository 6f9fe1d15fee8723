import type { ContractName, Contracts, Role } from '@heddle/ports';
import { CONTRACTS, SERVICES } from './contracts.ts';

/**
 * What each method asks of whoever calls it from outside. `read` looks, `run` starts work and steers one's own, `admin`
 * removes what others use. Whose jobs one sees is not decided here but by who asks.
 */
export const METHOD_ROLES: {
  readonly [C in ContractName]: { readonly [M in keyof Contracts[C]]: Role };
} = {
  activation: {
    ImportModel: 'run',
    StartImportModel: 'run',
    UploadModel: 'run',
    ListModels: 'read',
    DescribeModel: 'read',
    RemoveModel: 'admin',
    ListHooks: 'read',
    Tokenize: 'read',
    Run: 'run',
    StartCacheActivations: 'run',
  },
  attribution: { StartWhy: 'run' },
  circuit: { StartTrace: 'run' },
  jobs: {
    Get: 'read',
    List: 'read',
    Watch: 'read',
    Cancel: 'run',
    Pause: 'run',
    Resume: 'run',
    Result: 'read',
    ReadArtifact: 'read',
    Rerun: 'run',
    Pin: 'run',
    CollectGarbage: 'admin',
  },
  lorsa: {
    StartTrain: 'run',
    StartSweep: 'run',
    StartBaseline: 'run',
    StartEvaluate: 'run',
    StartAnalysis: 'run',
    ListHeads: 'read',
    DescribeHead: 'read',
    StartImport: 'run',
    Export: 'read',
    Apply: 'run',
    DescribeCheckpoint: 'read',
  },
  qk: { StartFit: 'run', StartScan: 'run' },
};

const BY_PATH: ReadonlyMap<string, Role> = new Map(
  CONTRACTS.flatMap((contract) =>
    Object.entries<Role>(METHOD_ROLES[contract]).map(
      ([method, role]) => [`/${SERVICES[contract]}/${method}`, role] as const,
    ),
  ),
);

/** What a probe asks before anybody has a token: the only thing that is answered to everybody. */
const OPEN = /^\/grpc\.health\.v1\.Health\//;

/**
 * The role that a path needs; undefined: none. What is in no contract (reflection, a method of a newer client) is told
 * to everybody who may look.
 */
export function roleOf(path: string): Role | undefined {
  if (OPEN.test(path)) return undefined;
  return BY_PATH.get(path) ?? 'read';
}
