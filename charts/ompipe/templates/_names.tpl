{{/* Names and labels. Everything is called after the release, so that releases stand side by side. */}}

{{- define "ompipe.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters, so that every suffix fits into a name of 63. */}}
{{- define "ompipe.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name }}
{{- $full := printf "%s-%s" .Release.Name $name }}
{{- if contains $name .Release.Name }}{{ $full = .Release.Name }}{{ end }}
{{- .Values.fullnameOverride | default $full | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "ompipe.selector" -}}
app.kubernetes.io/name: {{ include "ompipe.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "ompipe.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "ompipe.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The metadata of an object: { root, component, name, namespace?, annotations? } */}}
{{- define "ompipe.metadata" -}}
name: {{ .name }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels:
  {{- include "ompipe.labels" . | nindent 2 }}
{{- with merge (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The same for an object of the whole cluster, whose name says which namespace it is from. */}}
{{- define "ompipe.clusterMetadata" -}}
name: {{ printf "%s-%s" .root.Release.Namespace .name }}
labels:
  {{- include "ompipe.labels" . | nindent 2 }}
{{- with .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "ompipe.serverName" }}{{ include "ompipe.fullname" . }}-server{{ end }}
{{- define "ompipe.operatorName" }}{{ include "ompipe.fullname" . }}-operator{{ end }}
{{- define "ompipe.configName" }}{{ include "ompipe.fullname" . }}-config{{ end }}

{{/* The account of a component: { root, component } */}}
{{- define "ompipe.account" -}}
{{- $given := get .root.Values.serviceAccount .component }}
{{- $asked := "" }}
{{- if eq .component "ingestion" }}{{ $asked = (include "ompipe.block" .root | fromYaml).k8s.serviceAccountName }}{{ end }}
{{- $asked | default $given.name | default (printf "%s-%s" (include "ompipe.fullname" .root) .component) }}
{{- end }}

{{- define "ompipe.leaseName" }}{{ .Values.omjobOperator.leaseName | default (include "ompipe.operatorName" .) }}{{ end }}

{{/* An image with tag or digest: { root, image } */}}
{{- define "ompipe.image" -}}
{{- if .image.digest }}{{ .image.repository }}@{{ .image.digest }}
{{- else }}{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The Secret with the server's credentials. */}}
{{- define "ompipe.credentialsName" -}}
{{- .Values.server.credentials.existingSecret | default (printf "%s-credentials" (include "ompipe.serverName" .)) }}
{{- end }}

{{- define "ompipe.scheme" }}{{ if .Values.server.tls.existingSecret }}https{{ else }}http{{ end }}{{ end }}

{{/* Where OpenMetadata finds the server. */}}
{{- define "ompipe.endpoint" -}}
{{ include "ompipe.scheme" . }}://{{ include "ompipe.serverName" . }}.{{ .Release.Namespace }}:{{ .Values.server.service.port }}{{ .Values.server.basePath | trimSuffix "/" }}
{{- end }}
