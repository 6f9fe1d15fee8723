import { type Context, containerComplaints } from './containers.ts';
import type { Manifest } from './manifests.ts';
import { monitoringComplaints } from './monitoring.ts';
import { networkComplaints } from './network.ts';
import { scalingComplaints } from './scaling.ts';

/** Where a rendered chart says other than the code; empty: it fits. */
export function codeComplaints(
  manifests: readonly Manifest[],
  context: Context = {},
): readonly string[] {
  return [
    ...containerComplaints(manifests, context),
    ...networkComplaints(manifests),
    ...scalingComplaints(manifests),
    ...monitoringComplaints(manifests),
  ];
}
