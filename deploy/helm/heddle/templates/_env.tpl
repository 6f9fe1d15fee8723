{{/* NATS: its addresses, where not said, are those of the official chart in this namespace. */}}
{{- define "heddle.natsNamespace" -}}
{{- .Values.nats.namespace | default .Release.Namespace -}}
{{- end -}}

{{- define "heddle.natsUrl" -}}
{{- $scheme := ternary "tls" "nats" .Values.nats.tls.enabled -}}
{{- .Values.nats.url | default (printf "%s://%s.%s.svc:4222" $scheme .Values.nats.name (include "heddle.natsNamespace" .)) -}}
{{- end -}}

{{- define "heddle.natsMonitoring" -}}
{{- .Values.nats.monitoringEndpoint | default (printf "%s-headless.%s.svc:8222" .Values.nats.name (include "heddle.natsNamespace" .)) -}}
{{- end -}}

{{- define "heddle.natsMonitors" -}}
{{- if .Values.nats.monitors -}}
{{- join "," .Values.nats.monitors -}}
{{- else if not .Values.nats.url -}}
{{- $list := list -}}
{{- range $i := until (int .Values.nats.replicas) -}}
{{- $list = append $list (printf "http://%s-%d.%s-headless.%s.svc:8222" $.Values.nats.name $i $.Values.nats.name (include "heddle.natsNamespace" $)) -}}
{{- end -}}
{{- join "," $list -}}
{{- end -}}
{{- end -}}

{{/* Who answers what; the same value for the whole cluster, because a process asks itself what it answers itself. */}}
{{- define "heddle.peers" -}}
{{- $facts := include "heddle.facts" . | fromYaml -}}
{{- $list := list -}}
{{- range $service, $_ := $facts.services -}}
{{- $list = append $list (printf "%s=dns:///%s-%s-pods:%d" $service (include "heddle.fullname" $) $service (int $facts.ports.grpc)) -}}
{{- end -}}
{{- join "," $list -}}
{{- end -}}

{{- define "heddle.blobs" -}}
{{- $blobs := .Values.blobs -}}
{{- if eq $blobs.kind "s3" -}}
{{- printf "s3://%s" $blobs.s3.bucket -}}{{- with $blobs.s3.prefix -}}/{{ . }}{{- end -}}
{{- else if eq $blobs.kind "volume" -}}/blobs
{{- else -}}nats
{{- end -}}
{{- end -}}

{{/* (root, component) → {variables: {NAME: value}}; what nothing reads, the program warns of. */}}
{{- define "heddle.variables" -}}
{{- $root := index . 0 -}}
{{- $c := index . 1 -}}
{{- $v := $root.Values -}}
{{- $own := $c.values -}}
{{- $env := dict "HEDDLE_HOST" "0.0.0.0" "HEDDLE_DATA" "/data" "HEDDLE_LOG_LEVEL" $v.logLevel "HEDDLE_PEERS" (include "heddle.peers" $root) -}}
{{- if $v.tls.enabled -}}
{{- $_ := set $env "HEDDLE_TLS_DIR" "/etc/heddle/tls" -}}
{{- $_ := set $env "HEDDLE_TLS_PEERS" ($v.tls.peers | join "," | default (printf "%s-*.%s.svc" (include "heddle.fullname" $root) $root.Release.Namespace)) -}}
{{- end -}}
{{- with $v.tracing.endpoint -}}
{{- $_ := set $env "OTEL_EXPORTER_OTLP_ENDPOINT" . -}}
{{- $_ := set $env "OTEL_RESOURCE_ATTRIBUTES" "k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),k8s.node.name=$(NODE_NAME)" -}}
{{- $_ := set $env "OTEL_TRACES_SAMPLER" "parentbased_traceidratio" -}}
{{- $_ := set $env "OTEL_TRACES_SAMPLER_ARG" (toString $v.tracing.ratio) -}}
{{- end -}}
{{- if eq $c.role "front-door" -}}
{{- $jwks := $v.tokens.jwks -}}
{{- if or $jwks.url $jwks.secret -}}
{{- $_ := set $env "HEDDLE_TOKENS_JWKS" ($jwks.url | default (printf "/etc/heddle/tokens/%s" $jwks.key)) -}}
{{- $_ := set $env "HEDDLE_TOKENS_ISSUER" $v.tokens.issuer -}}
{{- $_ := set $env "HEDDLE_TOKENS_AUDIENCE" $v.tokens.audience -}}
{{- $_ := set $env "HEDDLE_TOKENS_TENANT_CLAIM" $v.tokens.tenantClaim -}}
{{- $_ := set $env "HEDDLE_TOKENS_ROLE_CLAIM" $v.tokens.roleClaim -}}
{{- $roles := list -}}
{{- range $name, $role := $v.tokens.roles -}}{{- $roles = append $roles (printf "%s=%s" $name $role) -}}{{- end -}}
{{- $_ := set $env "HEDDLE_TOKENS_ROLES" (join "," $roles) -}}
{{- end -}}
{{- else -}}
{{- $_ := set $env "HEDDLE_WORK" $c.work -}}
{{- $_ := set $env "HEDDLE_PROVIDERS" (ternary "cuda" "cpu" (gt (int $own.gpu.count) 0)) -}}
{{- $_ := set $env "HEDDLE_THREADS" (toString $own.threads) -}}
{{- $_ := set $env "HEDDLE_CACHE_GIB" (toString $own.weightsGib) -}}
{{- $_ := set $env "HEDDLE_MODELS_GIB" (toString $own.scratch.modelsGib) -}}
{{- $_ := set $env "HEDDLE_BLOBS_CACHE_GIB" (toString $own.scratch.blobsGib) -}}
{{- $_ := set $env "HEDDLE_MODEL_ROOTS" $v.models.mountPath -}}
{{- with $v.models.hubEndpoint -}}{{- $_ := set $env "HF_ENDPOINT" . -}}{{- end -}}
{{- $_ := set $env "HEDDLE_NATS" (include "heddle.natsUrl" $root) -}}
{{- $_ := set $env "HEDDLE_NATS_MONITORS" (include "heddle.natsMonitors" $root) -}}
{{- $_ := set $env "HEDDLE_NATS_REPLICAS" (toString $v.nats.replicas) -}}
{{- $_ := set $env "HEDDLE_NATS_SYNC_ALWAYS" (ternary "1" "0" $v.nats.syncAlways) -}}
{{- $_ := set $env "HEDDLE_NATS_PREFIX" $v.nats.prefix -}}
{{- $_ := set $env "HEDDLE_JOURNAL_GIB" (toString $v.nats.journalGib) -}}
{{- if eq $v.nats.auth.kind "password" -}}
{{- $_ := set $env "HEDDLE_NATS_USER" $c.service -}}
{{- $_ := set $env "HEDDLE_NATS_PASSWORD_FILE" "/etc/heddle/nats/password" -}}
{{- else if eq $v.nats.auth.kind "creds" -}}
{{- $_ := set $env "HEDDLE_NATS_CREDS" "/etc/heddle/nats/user.creds" -}}
{{- else if eq $v.nats.auth.kind "nkey" -}}
{{- $_ := set $env "HEDDLE_NATS_NKEY" "/etc/heddle/nats/user.nk" -}}
{{- end -}}
{{- if $v.nats.tls.enabled -}}
{{- $folder := ternary "/etc/heddle/nats-tls" "/etc/heddle/tls" (ne $v.nats.tls.secret "") -}}
{{- $_ := set $env "HEDDLE_NATS_CA" (printf "%s/ca.crt" $folder) -}}
{{- if $v.nats.tls.clientCertificate -}}
{{- $_ := set $env "HEDDLE_NATS_CERT" (printf "%s/tls.crt" $folder) -}}
{{- $_ := set $env "HEDDLE_NATS_KEY" (printf "%s/tls.key" $folder) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $env "HEDDLE_BLOBS" (include "heddle.blobs" $root) -}}
{{- $_ := set $env "HEDDLE_BLOBS_GIB" (toString $v.blobs.gib) -}}
{{- if eq $v.blobs.kind "s3" -}}
{{- with $v.blobs.s3.endpoint -}}{{- $_ := set $env "HEDDLE_S3_ENDPOINT" . -}}{{- end -}}
{{- with $v.blobs.s3.region -}}{{- $_ := set $env "AWS_REGION" . -}}{{- end -}}
{{- end -}}
{{- if $v.quotas -}}{{- $_ := set $env "HEDDLE_QUOTAS" "/etc/heddle/quotas/quotas.json" -}}{{- end -}}
{{- end -}}
{{- range $name, $value := $v.env -}}{{- $_ := set $env $name (toString $value) -}}{{- end -}}
{{- range $name, $value := $own.env -}}{{- $_ := set $env $name (toString $value) -}}{{- end -}}
{{- toYaml (dict "variables" $env) -}}
{{- end -}}

{{/* (root, component) → the container's env: what is said here, then what secrets say. */}}
{{- define "heddle.env" -}}
{{- $root := index . 0 -}}
{{- $c := index . 1 -}}
{{- with $root.Values.tracing }}
{{- if .endpoint }}
# Before those that name them.
- name: POD_NAMESPACE
  valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: NODE_NAME
  valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
{{- with .headersSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: { secretKeyRef: { name: {{ . | quote }}, key: headers } }
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := (include "heddle.variables" . | fromYaml).variables }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- if ne $c.role "front-door" }}
{{- with $root.Values.blobs }}
{{- if and (eq .kind "s3") .s3.secret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom: { secretKeyRef: { name: {{ .s3.secret | quote }}, key: {{ .s3.accessKey | quote }} } }
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: { secretKeyRef: { name: {{ .s3.secret | quote }}, key: {{ .s3.secretKey | quote }} } }
{{- end }}
{{- end }}
{{- with $root.Values.models.hubTokenSecret }}
- name: HF_TOKEN
  valueFrom: { secretKeyRef: { name: {{ . | quote }}, key: {{ $root.Values.models.hubTokenKey | quote }} } }
{{- end }}
{{- end }}
{{- with concat $root.Values.extraEnv $c.values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
