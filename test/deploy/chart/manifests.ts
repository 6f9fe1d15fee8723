import type { ICertificate } from '@kubernetes-models/cert-manager/cert-manager.io/v1/Certificate';
import type { IScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject';
import type { IPrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule';
import type { IServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor';
import type { IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import type { IHorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler';
import type { IIngress } from 'kubernetes-models/networking.k8s.io/v1/Ingress';
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import type { IConfigMap } from 'kubernetes-models/v1/ConfigMap';
import type { IContainer } from 'kubernetes-models/v1/Container';
import type { IPersistentVolumeClaim } from 'kubernetes-models/v1/PersistentVolumeClaim';
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec';
import type { IService } from 'kubernetes-models/v1/Service';
import type { IServiceAccount } from 'kubernetes-models/v1/ServiceAccount';

interface Kinds {
  Certificate: ICertificate;
  ConfigMap: IConfigMap;
  Deployment: IDeployment;
  HorizontalPodAutoscaler: IHorizontalPodAutoscaler;
  Ingress: IIngress;
  NetworkPolicy: INetworkPolicy;
  PersistentVolumeClaim: IPersistentVolumeClaim;
  PodDisruptionBudget: IPodDisruptionBudget;
  PrometheusRule: IPrometheusRule;
  ScaledObject: IScaledObject;
  Service: IService;
  ServiceAccount: IServiceAccount;
  ServiceMonitor: IServiceMonitor;
}

/** What every document of a rendered chart has; the rest its kind says. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Record<string, string> };
}

export type Labels = Readonly<Record<string, string>>;

/** All of a kind. What they really look like, `schema.ts` checks. */
export function ofKind<K extends keyof Kinds>(
  manifests: readonly Manifest[],
  kind: K,
): readonly (Kinds[K] & Manifest)[] {
  return manifests.filter((manifest) => manifest.kind === kind) as (Kinds[K] & Manifest)[];
}

/** A Deployment, and of its pods what checks ask for again and again. */
export interface Workload {
  readonly name: string;
  /** lorsa, lorsa-workers, explorer. */
  readonly component: string;
  /** As `heddle up --services` is told by the name of the component. */
  readonly service: string;
  readonly isWorker: boolean;
  readonly isDoor: boolean;
  readonly deployment: IDeployment & Manifest;
  readonly labels: Labels;
  readonly pod: IPodSpec;
  readonly container: IContainer;
  /** Literal values alone. */
  readonly env: Readonly<Record<string, string>>;
}

export function workloads(manifests: readonly Manifest[]): readonly Workload[] {
  return ofKind(manifests, 'Deployment').map((deployment) => {
    const template = deployment.spec?.template;
    const pod = template?.spec;
    const container = pod?.containers[0];
    if (pod === undefined || container === undefined) throw new Error('a Deployment without a pod');
    const labels = template?.metadata?.labels ?? {};
    const component = labels['app.kubernetes.io/component'] ?? '';
    const literal = (container.env ?? []).filter(({ value }) => value !== undefined);
    return {
      name: deployment.metadata.name,
      component,
      service: component.replace(/-workers$/, ''),
      isWorker: component.endsWith('-workers'),
      isDoor: component === 'explorer',
      deployment,
      labels,
      pod,
      container,
      env: Object.fromEntries(literal.map(({ name, value = '' }) => [name, value])),
    };
  });
}

/** Whether labels have all of a selector. An empty selector selects everything. */
export function selects(selector: Labels | undefined, labels: Labels): boolean {
  return Object.entries(selector ?? {}).every(([name, value]) => labels[name] === value);
}
