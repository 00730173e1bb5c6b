{{/* What the values say about runs, in ompipe's own words. */}}

{{/* The block of the values, with what was pasted from OpenMetadata's chart over it. */}}
{{- define "ompipe.block" -}}
{{- $pasted := dig "config" "pipelineServiceClientConfig" dict (.Values.openmetadata | default dict) }}
{{- mergeOverwrite (deepCopy .Values.pipelineServiceClientConfig) (deepCopy $pasted) | toYaml }}
{{- end }}

{{- define "ompipe.runsNamespace" -}}
{{- (include "ompipe.block" . | fromYaml).k8s.namespace | default .Release.Namespace }}
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
The parameters of the client. OpenMetadata's chart nests the ids, and cannot say null: an empty text
stands for that.
*/}}
{{- define "ompipe.parameters" -}}
{{- $k8s := (include "ompipe.block" . | fromYaml).k8s }}
{{- $parameters := omit $k8s "className" "securityContext" "rbac" }}
{{- range $key, $value := $k8s.securityContext | default dict }}
{{- $_ := set $parameters $key $value }}
{{- end }}
{{- range tuple "runAsUser" "runAsGroup" "fsGroup" "seccompProfileType" }}
{{- if eq (toString (get $parameters .)) "" }}
{{- if hasKey $parameters . }}{{ $_ := set $parameters . nil }}{{ end }}
{{- end }}
{{- end }}
{{- $runs := include "ompipe.runsNamespace" . }}
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
{{- mergeOverwrite $section (deepCopy $server.extraConfig) | toYaml }}
{{- end }}

{{/* The whole configuration file. What concerns the OpenMetadata server alone is left out. */}}
{{- define "ompipe.config" -}}
{{- $block := include "ompipe.block" . | fromYaml -}}
pipelineServiceClientConfiguration:
  metadataApiEndpoint: {{ $block.metadataApiEndpoint | quote }}
  verifySSL: {{ $block.verifySsl | quote }}
  {{- with $block.hostIp }}
  hostIp: {{ . | quote }}
  {{- end }}
  {{- if $block.ingestionIpInfoEnabled }}
  ingestionIpInfoEnabled: true
  {{- end }}
  parameters:
    {{- include "ompipe.parameters" . | nindent 4 }}
server:
  {{- include "ompipe.serverSection" . | nindent 2 }}
{{- end }}

{{/* Namespaces that the operator works in, as a list; ["ALL"] is the whole cluster. */}}
{{- define "ompipe.watched" -}}
{{- $listed := .Values.omjobOperator.watchNamespaces }}
{{- if not $listed }}
{{- $listed = splitList "," (.Values.omjobOperator.env.watchNamespaces | default "" | nospace) | compact }}
{{- end }}
{{- $listed | default (list (include "ompipe.runsNamespace" .)) | uniq | sortAlpha | toYaml }}
{{- end }}

{{/* Whether Roles are made: "true" or "". OpenMetadata's chart has a switch of its own for that. */}}
{{- define "ompipe.makesRoles" -}}
{{- if and .Values.rbac.create (dig "rbac" "enabled" true (include "ompipe.block" . | fromYaml).k8s) }}true{{ end }}
{{- end }}
