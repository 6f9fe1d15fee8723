import { present } from '@heddle/core';
import { type Model, type StoredWeight, weightOf } from '@heddle/models';
import type { Tensor } from '@heddle/tensor';
import { hostFromModel, hostLayerRoles, hostUnembeddingRoles } from './host-from-model.ts';
import { ProcessedHost } from './processed-host.ts';

/** What of a model a question reads. */
export interface HostScope {
  /** Blocks 0 to this − 1. */
  readonly layers: number;
  readonly logits: boolean;
}

/**
 * A processed host with the asked layers ready, read layer by layer, so that the stored form of
 * only one is in memory beside the processed ones. `pulse` is called between layers and may throw
 * to stop.
 */
export async function readHost(
  model: Model,
  scope: HostScope,
  read: (role: string) => Promise<Tensor<'f32'>>,
  pulse: () => Promise<void> = async () => {},
): Promise<ProcessedHost> {
  const atHand = new Map<string, Tensor<'f32'>>();
  const take = async (roles: readonly string[]) => {
    for (const role of roles) atHand.set(role, await read(role));
  };
  const stored = ({ role }: StoredWeight) => present(atHand.get(role), `weight ${role}`);
  const host = new ProcessedHost(hostFromModel(model, stored));
  for (let layer = 0; layer < scope.layers; layer++) {
    const roles = hostLayerRoles(model, layer);
    await take(roles);
    host.layer(layer);
    for (const role of roles) atHand.delete(role);
    await pulse();
  }
  if (scope.logits)
    await take(hostUnembeddingRoles(model).map((role) => weightOf(model, role).role));
  return host;
}
