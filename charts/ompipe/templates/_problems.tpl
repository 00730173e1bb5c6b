{{/*
What the schema cannot say in a sentence. Every problem is told at once, each with its key and the remedy.
*/}}

{{/* Whether an image's name has a tag or a digest: "true" or "". A port of a registry is none. */}}
{{- define "ompipe.hasTag" -}}
{{- if regexMatch "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$" . }}true{{ end }}
{{- end }}

{{- define "ompipe.problems" -}}
{{- $block := include "ompipe.block" . | fromYaml }}
{{- $credentials := .Values.server.credentials }}
{{- if not (or .Values.server.enabled .Values.omjobOperator.enabled) }}
- server.enabled, omjobOperator.enabled: both are false, so there is nothing to install. Enable one of them.
{{- end }}
{{- if .Values.server.enabled }}
{{- if and (not $credentials.existingSecret) (not (and $credentials.username $credentials.password)) }}
- server.credentials: missing. Give existingSecret, a Secret with one user:password in each line of its key {{ $credentials.key | quote }}, or username and password. OpenMetadata has to send the same ones.
{{- end }}
{{- if and $credentials.existingSecret (or $credentials.username $credentials.password) }}
- server.credentials: existingSecret and username or password contradict each other. Leave one of them out.
{{- end }}
{{- if or (contains ":" $credentials.username) (contains "\n" $credentials.username) }}
- server.credentials.username: must hold neither a colon nor a line break, since the file has lines user:password.
{{- end }}
{{- if contains "\n" $credentials.password }}
- server.credentials.password: must hold no line break, since the file has lines user:password.
{{- end }}
{{- if and .Values.server.basePath (not (hasPrefix "/" .Values.server.basePath)) }}
- server.basePath: {{ .Values.server.basePath | quote }} must begin with a slash, as in /ompipe.
{{- end }}
{{- if not $block.metadataApiEndpoint }}
- pipelineServiceClientConfig.metadataApiEndpoint: missing. Give the OpenMetadata server's API as pods reach it, such as http://openmetadata:8585/api.
{{- end }}
{{- if not $block.k8s.ingestionImage }}
- pipelineServiceClientConfig.k8s.ingestionImage: missing. Give the image of your OpenMetadata release, with its tag.
{{- else if not (include "ompipe.hasTag" $block.k8s.ingestionImage) }}
- pipelineServiceClientConfig.k8s.ingestionImage: {{ $block.k8s.ingestionImage | quote }} has no tag. Add that of your OpenMetadata release, as in {{ $block.k8s.ingestionImage }}:1.12.14.
{{- end }}
{{- end }}
{{- range $key, $image := dict "image" .Values.image "exitHandler.image" .Values.exitHandler.image }}
{{- if not $image.repository }}
- {{ $key }}.repository: missing.
{{- else if include "ompipe.hasTag" $image.repository }}
- {{ $key }}.repository: {{ $image.repository | quote }} holds a tag or digest. Put that into {{ $key }}.tag or {{ $key }}.digest.
{{- end }}
{{- end }}
{{- $archive := .Values.logs.archive }}
{{- if and $archive.url (not .Values.omjobOperator.enabled) }}
- logs.archive.url: is set while omjobOperator.enabled is false. The operator archives logs: enable it, or leave the URL out.
{{- end }}
{{- if and (hasPrefix "file://" $archive.url) (not $archive.volumeClaim) }}
- logs.archive.volumeClaim: missing. {{ $archive.url }} is a directory: give a PersistentVolumeClaim that all replicas can mount.
{{- end }}
{{- if and (hasPrefix "file://" $archive.url) (not (or (eq $archive.url "file:///var/lib/ompipe/archive") (hasPrefix "file:///var/lib/ompipe/archive/" $archive.url))) }}
- logs.archive.url: {{ $archive.url | quote }} is not on the volume, which is mounted at /var/lib/ompipe/archive. Give file:///var/lib/ompipe/archive or a directory below it.
{{- end }}
{{- if and $archive.volumeClaim (not (hasPrefix "file://" $archive.url)) }}
- logs.archive.volumeClaim: is for a URL that begins with file://. Leave it out.
{{- end }}
{{- $watched := include "ompipe.watched" . | fromYamlArray }}
{{- if and (has "ALL" $watched) (gt (len $watched) 1) }}
- omjobOperator.watchNamespaces: must be either [ALL] or names of namespaces, not both.
{{- end }}
{{- if and .Values.server.enabled .Values.omjobOperator.enabled (include "ompipe.operatorMode" .) (not (has "ALL" $watched)) (not (has (include "ompipe.runsNamespace" .) $watched)) }}
- omjobOperator.watchNamespaces: lacks {{ include "ompipe.runsNamespace" . }}, where k8s.useOMJobOperator puts runs. No operator would carry them out: add it.
{{- end }}
{{- end }}

{{/* What was given and changes nothing here, for the notes. */}}
{{- define "ompipe.notices" -}}
{{- $block := include "ompipe.block" . | fromYaml }}
{{- with .Values.omjobOperator.image }}
- omjobOperator.image is not used: it names the image of OpenMetadata's own operator. The image of this one is `image`.
{{- end }}
{{- with .Values.omjobOperator.env.pollingIntervalSeconds }}
- omjobOperator.env.pollingIntervalSeconds is not used: the operator watches, it does not poll.
{{- end }}
{{- with .Values.omjobOperator.healthCheck }}
- omjobOperator.healthCheck is not used: the probes are always on.
{{- end }}
{{- range $key := keys (omit $block "k8s" "metadataApiEndpoint" "verifySsl" "caCertificate" "hostIp" "ingestionIpInfoEnabled" "airflow") | sortAlpha }}
- pipelineServiceClientConfig.{{ $key }} is not used: it concerns the OpenMetadata server alone.
{{- end }}
{{- range $key := keys (omit ($block.airflow | default dict) "verifySsl" "hostIp" "ingestionIpInfoEnabled") | sortAlpha }}
- pipelineServiceClientConfig.airflow.{{ $key }} is not used: it concerns the OpenMetadata server alone.
{{- end }}
{{- range $key := keys (omit (dig "config" dict (.Values.openmetadata | default dict)) "pipelineServiceClientConfig") | sortAlpha }}
- openmetadata.config.{{ $key }} is not used: it belongs to OpenMetadata's chart.
{{- end }}
{{- range $key := keys (omit (.Values.openmetadata | default dict) "config") | sortAlpha }}
- openmetadata.{{ $key }} is not used: it belongs to OpenMetadata's chart.
{{- end }}
{{- if and .Values.server.enabled (hasSuffix ":latest" (toString $block.k8s.ingestionImage)) }}
- pipelineServiceClientConfig.k8s.ingestionImage is {{ $block.k8s.ingestionImage }}. A worker of another release than the OpenMetadata server may fail to read its config: give the tag of your release.
{{- end }}
{{- if and (include "ompipe.operatorMode" .) (not .Values.omjobOperator.enabled) }}
- k8s.useOMJobOperator is on and omjobOperator.enabled is off: another operator has to watch namespace {{ include "ompipe.runsNamespace" . }}.
{{- end }}
{{- end }}
