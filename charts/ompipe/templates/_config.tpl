{{/* What the values say about runs, in ompipe's own words. */}}

{{/*
The block of the values, with what was pasted from OpenMetadata's chart over it. Since 1.12 that chart has
the settings of its Airflow client below `airflow`, and reads no others.
*/}}
{{- define "ompipe.block" -}}
{{- $pasted := dig "config" "pipelineServiceClientConfig" dict (.Values.openmetadata | default dict) }}
{{- $block := mergeOverwrite (deepCopy .Values.pipelineServiceClientConfig) (deepCopy $pasted) }}
{{- range $key := tuple "hostIp" "verifySsl" "ingestionIpInfoEnabled" }}
{{- $nested := get ($block.airflow | default dict) $key }}
{{- if not (kindIs "invalid" $nested) }}{{ if ne (toString $nested) "" }}{{ $_ := set $block $key $nested }}{{ end }}{{ end }}
{{- end }}
{{- if and $block.k8s.metadataApiEndpoint (not $pasted.metadataApiEndpoint) }}
{{- $_ := set $block "metadataApiEndpoint" $block.k8s.metadataApiEndpoint }}
{{- end }}
{{- $block | toYaml }}
{{- end }}

{{/*
Where runs live. Nobody is moved: a release keeps the namespace that it has, and one of a chart before this
default had its own.
*/}}
{{- define "ompipe.runsNamespace" -}}
{{- (include "ompipe.block" . | fromYaml).k8s.namespace | default (include "ompipe.formerRunsNamespace" .) | default "openmetadata-pipelines" }}
{{- end }}

{{/* Where the runs of this release live by now, as its Deployments say; empty for a new one. */}}
{{- define "ompipe.formerRunsNamespace" -}}
{{- $former := "" }}
{{- range $name := list (include "ompipe.serverName" .) (include "ompipe.operatorName" .) }}
{{- $found := lookup "apps/v1" "Deployment" $.Release.Namespace $name }}
{{- if and $found (not $former) }}
{{- $former = dig "metadata" "annotations" "ompipe/runs-namespace" $.Release.Namespace $found }}
{{- end }}
{{- end }}
{{- $former }}
{{- end }}

{{- define "ompipe.runsAnnotation" -}}
ompipe/runs-namespace: {{ include "ompipe.runsNamespace" . }}
{{- end }}

{{/*
Runs in the release's own namespace: the pod says which that is, so that manifests that were rendered once
(deploy/) work in any.
*/}}
{{- define "ompipe.namespaceEnv" -}}
{{- if eq (include "ompipe.runsNamespace" .) .Release.Namespace }}
- { name: K8S_NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
{{- end }}
{{- end }}

{{/* Whether runs are OMJobs: "true" or "". */}}
{{- define "ompipe.operatorMode" -}}
{{- if (include "ompipe.block" . | fromYaml).k8s.useOMJobOperator }}true{{ end }}
{{- end }}

{{/*
The parameters of the client. OpenMetadata's chart nests the ids and the seccomp profile, and cannot say
null, so an empty text means null there.
*/}}
{{- define "ompipe.parameters" -}}
{{- $k8s := (include "ompipe.block" . | fromYaml).k8s }}
{{- $parameters := omit $k8s "className" "securityContext" "rbac" "metadataApiEndpoint" }}
{{- range $key, $value := omit ($k8s.securityContext | default dict) "seccompProfile" }}
{{- $_ := set $parameters $key $value }}
{{- end }}
{{- $seccomp := dig "seccompProfile" dict ($k8s.securityContext | default dict) | default dict }}
{{- if hasKey $seccomp "type" }}{{ $_ := set $parameters "seccompProfileType" $seccomp.type }}{{ end }}
{{- with $seccomp.localhostProfile }}{{ $_ := set $parameters "seccompLocalhostProfile" . }}{{ end }}
{{- range tuple "runAsUser" "runAsGroup" "fsGroup" "seccompProfileType" }}
{{- if eq (toString (get $parameters .)) "" }}
{{- if hasKey $parameters . }}{{ $_ := set $parameters . nil }}{{ end }}
{{- end }}
{{- end }}
{{- $runs := include "ompipe.runsNamespace" . }}
{{- /* A short name of OpenMetadata is one of the release's namespace, wherever the runs are. */}}
{{- $host := (urlParse (include "ompipe.block" . | fromYaml).metadataApiEndpoint).host | default "" }}
{{- if and (not $parameters.namespace) (ne $runs .Release.Namespace) (not (contains "." $host)) (kindIs "map" ($parameters.podTemplate | default dict)) }}
{{- $dns := dict "spec" (dict "dnsConfig" (dict "searches" (list (printf "%s.svc.cluster.local" .Release.Namespace)))) }}
{{- $_ := set $parameters "podTemplate" (mergeOverwrite $dns ($parameters.podTemplate | default dict)) }}
{{- end }}
{{- $parameters = omit $parameters "namespace" }}
{{- if ne $runs .Release.Namespace }}{{ $_ := set $parameters "namespace" $runs }}{{ end }}
{{- $_ := set $parameters "serviceAccountName" (include "ompipe.account" (dict "root" . "component" "ingestion")) }}
{{- if and .Values.exitHandler.enabled (not $parameters.exitHandlerImage) }}
{{- $_ := set $parameters "exitHandlerImage" (include "ompipe.image" (dict "root" . "image" .Values.exitHandler.image)) }}
{{- end }}
{{- $parameters | toYaml }}
{{- end }}

{{/* The section `server:`. */}}
{{- define "ompipe.serverSection" -}}
{{- $server := .Values.server }}
{{- $section := dict "credentials" (dict "file" (printf "/etc/ompipe/credentials/%s" $server.credentials.key)) "logFormat" $server.logFormat }}
{{- if $server.tls.existingSecret }}
{{- $_ := set $section "tls" (dict "certificateFile" "/etc/ompipe/tls/tls.crt" "privateKeyFile" "/etc/ompipe/tls/tls.key") }}
{{- end }}
{{- with $server.basePath }}{{ $_ := set $section "basePath" . }}{{ end }}
{{- with $server.openMetadataVersion }}{{ $_ := set $section "openMetadataVersion" . }}{{ end }}
{{- if $server.kubernetesAuthentication }}{{ $_ := set $section "kubernetesAuthentication" true }}{{ end }}
{{- if not $server.pipelineMetrics }}{{ $_ := set $section "pipelineMetrics" false }}{{ end }}
{{- if or (not $server.ui.enabled) $server.ui.actions }}{{ $_ := set $section "ui" $server.ui }}{{ end }}
{{- mergeOverwrite $section (deepCopy $server.extraConfig) | toYaml }}
{{- end }}

{{/*
The whole configuration file. What concerns the OpenMetadata server alone is left out. ompipe resolves
variables in that file, so those that stand in values are escaped.
*/}}
{{- define "ompipe.config" -}}
{{- $block := include "ompipe.block" . | fromYaml -}}
pipelineServiceClientConfiguration:
  metadataApiEndpoint: {{ $block.metadataApiEndpoint | quote }}
  verifySSL: {{ $block.verifySsl | quote }}
  {{- with $block.caCertificate }}
  sslConfig: { caCertificate: {{ . | quote }} }
  {{- end }}
  {{- with $block.hostIp }}
  hostIp: {{ . | quote }}
  {{- end }}
  {{- if $block.ingestionIpInfoEnabled }}
  ingestionIpInfoEnabled: true
  {{- end }}
  parameters:
    {{- include "ompipe.parameters" . | replace "${" "$${" | nindent 4 }}
server:
  {{- include "ompipe.serverSection" . | replace "${" "$${" | nindent 2 }}
{{- end }}

{{/* Namespaces that the operator works in, as a list; ["ALL"] is the whole cluster. */}}
{{- define "ompipe.watched" -}}
{{- $listed := .Values.omjobOperator.watchNamespaces }}
{{- if not $listed }}
{{- $listed = splitList "," (.Values.omjobOperator.env.watchNamespaces | default "" | nospace) | compact }}
{{- end }}
{{- $listed | default (list (include "ompipe.runsNamespace" .)) | uniq | sortAlpha | toYaml }}
{{- end }}

{{/* Servers that the operator may report to, separated by commas; empty is every server. */}}
{{- define "ompipe.allowedServers" -}}
{{- $listed := .Values.omjobOperator.reporting.allowedServers }}
{{- if and (not $listed) .Values.server.enabled }}
{{- $listed = list (include "ompipe.block" . | fromYaml).metadataApiEndpoint }}
{{- end }}
{{- join "," ($listed | default list) }}
{{- end }}

{{/* ompipe's own accounts, which no run may have. The pod says its namespace, so that rendered manifests work in any. */}}
{{- define "ompipe.reservedAccounts" -}}
{{- $accounts := list (printf "$(POD_NAMESPACE)/%s" (include "ompipe.account" (dict "root" . "component" "operator"))) }}
{{- if .Values.server.enabled }}
{{- $accounts = append $accounts (printf "$(POD_NAMESPACE)/%s" (include "ompipe.account" (dict "root" . "component" "server"))) }}
{{- end }}
{{- join "," ($accounts | uniq) }}
{{- end }}

{{/* Whether Roles are made: "true" or "". OpenMetadata's chart has a switch of its own for that. */}}
{{- define "ompipe.makesRoles" -}}
{{- if and .Values.rbac.create (dig "rbac" "enabled" true (include "ompipe.block" . | fromYaml).k8s) }}true{{ end }}
{{- end }}

{{/*
Who may call the server where nobody is listed: the namespaces of the release and of the runs, and that of
OpenMetadata, where it is known. Empty is everybody.
*/}}
{{- define "ompipe.callers" -}}
{{- $host := (urlParse (include "ompipe.block" . | fromYaml).metadataApiEndpoint).host | default "" | regexFind "^[^:]*" }}
{{- $parts := splitList "." $host }}
{{- $is_service := or (le (len $parts) 2) (eq (index (append $parts "") 2) "svc") }}
{{- $named := .Values.networkPolicy.openMetadataNamespace }}
{{- if and (not $named) $is_service (gt (len $parts) 1) }}{{ $named = index $parts 1 }}{{ end }}
{{- if or $named $is_service }}
{{- range list .Release.Namespace (include "ompipe.runsNamespace" .) $named | compact | uniq }}
- namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: {{ . }} } }
{{- end }}
{{- end }}
{{- end }}
