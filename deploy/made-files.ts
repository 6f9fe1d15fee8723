import { accountsConfig } from '@heddle/adapters/nats';
import { NATS_USERS } from 'heddle';
import { NETWORK_POLICIES } from './kubernetes/network-policies.ts';
import { yaml } from './yaml.ts';

const MADE =
  '# Made by `node deploy/make.ts` of what the code uses; a test compares. Change that, not this.\n';

/** Files of this folder that say what the code says: path from here → text. */
export function madeFiles(): ReadonlyMap<string, string> {
  const policies = NETWORK_POLICIES.map((policy) => `---${yaml(policy)}`);
  return new Map([
    ['nats/accounts.conf', MADE + accountsConfig(NATS_USERS)],
    ['kubernetes/network-policies.yaml', MADE + policies.join('')],
  ]);
}
