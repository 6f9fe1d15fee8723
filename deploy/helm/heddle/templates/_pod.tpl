{{/* (root, component) → [REGISTRY/]heddle-X:TAG, the CUDA variant where there is a GPU. */}}
{{- define "heddle.image" -}}
{{- $root := index . 0 -}}
{{- $c := index . 1 -}}
{{- $image := $root.Values.image -}}
{{- $tag := $image.tag | default $root.Chart.AppVersion -}}
{{- $suffix := ternary "-cuda" "" (gt (int $c.values.gpu.count) 0) -}}
{{- if $c.values.image -}}
{{- $c.values.image -}}
{{- else -}}
{{- with $image.registry -}}{{ trimSuffix "/" . }}/{{- end -}}heddle-{{ $c.service }}:{{ $tag }}{{ $suffix }}
{{- end -}}
{{- end -}}

{{- define "heddle.tlsSecret" -}}
{{- $root := index . 0 -}}
{{- $root.Values.tls.secret | default (printf "%s-%s-tls" (include "heddle.fullname" $root) (index . 1)) -}}
{{- end -}}

{{/*
Alive: the page's port answers. Never what health says: that is NOT_SERVING while NATS is away, and a restart would not bring NATS
back. Ready: what gRPC health says, asked there; Kubernetes' gRPC probe speaks no TLS, so with TLS the same answer by HTTPS.
The first answer may take as long as NATS needs to come: parts of a cluster start in any order.
*/}}
{{- define "heddle.probes" -}}
{{- $root := index . 0 -}}
{{- $ports := (include "heddle.facts" $root | fromYaml).ports -}}
{{- $scheme := ternary "HTTPS" "HTTP" $root.Values.tls.enabled -}}
startupProbe:
  httpGet: { path: /healthz, port: http, scheme: {{ $scheme }} }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 120
livenessProbe:
  httpGet: { path: /healthz, port: http, scheme: {{ $scheme }} }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  {{- if $root.Values.tls.enabled }}
  httpGet: { path: /readyz, port: http, scheme: HTTPS }
  {{- else }}
  grpc: { port: {{ int $ports.grpc }} }
  {{- end }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{/* (root, component) → requests and limits; a GPU is asked for by the name that the device plugin gives it. */}}
{{- define "heddle.resources" -}}
{{- $own := (index . 1).values -}}
{{- $resources := deepCopy $own.resources -}}
{{- if gt (int $own.gpu.count) 0 -}}
{{- $gpu := dict $own.gpu.resource (toString $own.gpu.count) -}}
{{- $resources = include "heddle.over" (list (dict "limits" (dict) "requests" (dict)) $resources) | fromYaml -}}
{{- $resources = include "heddle.over" (list $resources (dict "limits" $gpu "requests" $gpu)) | fromYaml -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* (root, component) → where it mounts what. */}}
{{- define "heddle.mounts" -}}
{{- $v := (index . 0).Values -}}
{{- $c := index . 1 -}}
- { name: data, mountPath: /data }
- { name: tmp, mountPath: /tmp }
{{- if $v.tls.enabled }}
- { name: tls, mountPath: /etc/heddle/tls, readOnly: true }
{{- end }}
{{- if eq $c.role "front-door" }}
{{- if $v.tokens.jwks.secret }}
- { name: tokens, mountPath: /etc/heddle/tokens, readOnly: true }
{{- end }}
{{- else }}
{{- if ne $v.nats.auth.kind "none" }}
- { name: nats, mountPath: /etc/heddle/nats, readOnly: true }
{{- end }}
{{- if and $v.nats.tls.enabled $v.nats.tls.secret }}
- { name: nats-tls, mountPath: /etc/heddle/nats-tls, readOnly: true }
{{- end }}
{{- if $v.quotas }}
- { name: quotas, mountPath: /etc/heddle/quotas, readOnly: true }
{{- end }}
{{- if $v.models.claim }}
- { name: models, mountPath: {{ $v.models.mountPath | quote }}, readOnly: true }
{{- end }}
{{- if eq $v.blobs.kind "volume" }}
- { name: blobs, mountPath: /blobs }
{{- end }}
{{- end }}
{{- with $v.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* (root, component) → the volumes of these mounts. A secret is not read by others than its user: mode 0440 (288) and the pod's group. */}}
{{- define "heddle.volumes" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
{{- $c := index . 1 -}}
{{- $scratch := $c.values.scratch -}}
- name: data
  {{- if $scratch.storageClass }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        storageClassName: {{ $scratch.storageClass | quote }}
        resources: { requests: { storage: {{ $scratch.size | quote }} } }
  {{- else }}
  emptyDir: { sizeLimit: {{ $scratch.size | quote }} }
  {{- end }}
- name: tmp
  emptyDir: { sizeLimit: 256Mi }
{{- if $v.tls.enabled }}
- name: tls
  secret: { secretName: {{ include "heddle.tlsSecret" (list $root $c.service) | quote }}, defaultMode: 288 }
{{- end }}
{{- if eq $c.role "front-door" }}
{{- with $v.tokens.jwks.secret }}
- name: tokens
  secret: { secretName: {{ . | quote }}, defaultMode: 288 }
{{- end }}
{{- else }}
{{- with $v.nats.auth }}
{{- if ne .kind "none" }}
- name: nats
  secret:
    secretName: {{ .secret | quote }}
    defaultMode: 288
    items:
      {{- if eq .kind "password" }}
      - { key: {{ $c.service }}, path: password }
      {{- else if eq .kind "creds" }}
      - { key: {{ $c.service }}.creds, path: user.creds }
      {{- else }}
      - { key: {{ $c.service }}.nk, path: user.nk }
      {{- end }}
{{- end }}
{{- end }}
{{- if and $v.nats.tls.enabled $v.nats.tls.secret }}
- name: nats-tls
  secret: { secretName: {{ $v.nats.tls.secret | quote }}, defaultMode: 288 }
{{- end }}
{{- if $v.quotas }}
- name: quotas
  configMap: { name: {{ include "heddle.fullname" $root }}-quotas }
{{- end }}
{{- with $v.models.claim }}
- name: models
  persistentVolumeClaim: { claimName: {{ . | quote }}, readOnly: true }
{{- end }}
{{- if eq $v.blobs.kind "volume" }}
- name: blobs
  persistentVolumeClaim:
    claimName: {{ $v.blobs.volume.claim | default (printf "%s-blobs" (include "heddle.fullname" $root)) | quote }}
{{- end }}
{{- end }}
{{- with $v.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* (root, component) → where its pods may and should stand. */}}
{{- define "heddle.placement" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
{{- $c := index . 1 -}}
{{- $own := $c.values -}}
{{- $hasGpu := gt (int $own.gpu.count) 0 -}}
{{- $selector := $own.nodeSelector -}}
{{- $tolerations := $own.tolerations -}}
{{- if $hasGpu -}}
{{- $selector = include "heddle.over" (list $selector $own.gpu.nodeSelector) | fromYaml -}}
{{- $tolerations = concat $tolerations $own.gpu.tolerations -}}
{{- end -}}
{{- if and $hasGpu $own.gpu.runtimeClassName }}
runtimeClassName: {{ $own.gpu.runtimeClassName | quote }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $selector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.topologySpread }}
topologySpreadConstraints:
  {{- range . }}
  - maxSkew: {{ int .maxSkew }}
    topologyKey: {{ .topologyKey | quote }}
    whenUnsatisfiable: {{ .whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "heddle.selector" (list $root $c.component) | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* (root, component) → the pod template of its Deployment. */}}
{{- define "heddle.pod" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
{{- $c := index . 1 -}}
{{- $own := $c.values -}}
{{- $ports := (include "heddle.facts" $root | fromYaml).ports -}}
metadata:
  labels:
    {{- include "heddle.selector" (list $root $c.component) | nindent 4 }}
    app.kubernetes.io/part-of: heddle
    app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
    heddle.dev/role: {{ $c.role }}
    {{- with $own.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $own.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "heddle.serviceAccount" $root }}
  automountServiceAccountToken: false
  # Kubernetes would set HEDDLE_PORT and more for a Service of our name.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ int $own.terminationGracePeriodSeconds }}
  {{- with $v.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . | quote }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- toYaml $v.podSecurityContext | nindent 4 }}
  {{- include "heddle.placement" . | trim | nindent 2 }}
  containers:
    - name: heddle
      image: {{ include "heddle.image" . | quote }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: [up, --services, {{ $c.service }}]
      ports:
        - { name: grpc, containerPort: {{ int $ports.grpc }} }
        - { name: http, containerPort: {{ int $ports.http }} }
      env:
        {{- include "heddle.env" . | trim | nindent 8 }}
      {{- include "heddle.probes" . | nindent 6 }}
      {{- if and (ne $c.scaledBy "keda") (gt (int $own.preStopSeconds) 0) }}
      # Until everybody has heard that this pod ends, calls still come: they are answered, and only then it is told to stop.
      lifecycle: { preStop: { sleep: { seconds: {{ int $own.preStopSeconds }} } } }
      {{- end }}
      resources:
        {{- include "heddle.resources" . | nindent 8 }}
      securityContext:
        {{- toYaml $v.securityContext | nindent 8 }}
      volumeMounts:
        {{- include "heddle.mounts" . | nindent 8 }}
  volumes:
    {{- include "heddle.volumes" . | nindent 4 }}
{{- end -}}
