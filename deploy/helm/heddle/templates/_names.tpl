{{/* Begins every name. Room is left for `-attribution-workers`, and for KEDA's `keda-hpa-` before it. */}}
{{- define "heddle.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 34 | trimSuffix "-" -}}
{{- else if contains "heddle" .Release.Name -}}
{{- .Release.Name | trunc 34 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-heddle" (.Release.Name | trunc 27 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* (root, component) → what selects its pods; never changed, because a Deployment's selector cannot be. */}}
{{- define "heddle.selector" -}}
app.kubernetes.io/name: heddle
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* (root, component) → labels of an object. */}}
{{- define "heddle.labels" -}}
{{- $root := index . 0 -}}
{{ include "heddle.selector" . }}
app.kubernetes.io/part-of: heddle
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "heddle.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "heddle.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* What the code says: ports, streams, the consumer. Made by `node deploy/make.ts`. */}}
{{- define "heddle.facts" -}}
{{- .Files.Get "files/facts.yaml" -}}
{{- end -}}

{{/*
(one map, another) → the first with what the other says, deeply. Sprig's mergeOverwrite will not do: it takes 0, false and ""
for "not said", so that a worker could not have 0 GPUs where its service has 1.
*/}}
{{- define "heddle.over" -}}
{{- $out := deepCopy (index . 0) -}}
{{- range $key, $value := index . 1 -}}
{{- $old := get $out $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $old) -}}
{{- $_ := set $out $key (include "heddle.over" (list $old $value) | fromYaml) -}}
{{- else -}}
{{- $_ := set $out $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $out -}}
{{- end -}}

{{/*
root → {components: [...]}: every Deployment, in one list that all templates walk. Of each service the pods that answer calls
and accept jobs; where KEDA scales, its workers beside them; and the front door.
  component  X | X-workers | explorer         service  what `heddle up --services` is told
  role       front-door | service             work     HEDDLE_WORK
  scaledBy   keda | hpa | nobody              values   as values.yaml has them, merged
*/}}
{{- define "heddle.components" -}}
{{- $facts := include "heddle.facts" . | fromYaml -}}
{{- $mode := .Values.autoscaling.mode -}}
{{- $list := list -}}
{{- range $service, $fact := $facts.services -}}
{{- $values := include "heddle.over" (list $.Values.defaults (get $.Values.services $service)) | fromYaml -}}
{{- $own := omit $values "workers" -}}
{{- $scaledBy := ternary "hpa" "nobody" (or (eq $mode "hpa") (and (eq $mode "keda") $own.hpa.enabled)) -}}
{{- $work := ternary "none" "all" (eq $mode "keda") -}}
{{- $list = append $list (dict "component" $service "service" $service "role" "service" "work" $work "scaledBy" $scaledBy "values" $own) -}}
{{- if eq $mode "keda" -}}
{{- $worker := include "heddle.over" (list (omit $own "hpa" "replicas") $values.workers) | fromYaml -}}
{{- $list = append $list (dict "component" (printf "%s-workers" $service) "service" $service "role" "service" "work" "all" "scaledBy" "keda" "queues" $fact.queues "values" $worker) -}}
{{- end -}}
{{- end -}}
{{- $door := include "heddle.over" (list (omit .Values.defaults "workers") (omit .Values.frontDoor "service" "ingress" "gateway")) | fromYaml -}}
{{- $doorScaledBy := ternary "hpa" "nobody" $door.hpa.enabled -}}
{{- $list = append $list (dict "component" "explorer" "service" "explorer" "role" "front-door" "scaledBy" $doorScaledBy "values" $door) -}}
{{- toYaml (dict "components" $list) -}}
{{- end -}}

{{/* (root, setting, API version) → "true" where a custom resource is to be made: said, or `auto` and the cluster knows it. */}}
{{- define "heddle.wants" -}}
{{- $setting := toString (index . 1) -}}
{{- if or (eq $setting "true") (and (eq $setting "auto") ((index . 0).Capabilities.APIVersions.Has (index . 2))) -}}true{{- end -}}
{{- end -}}
