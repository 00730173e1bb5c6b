{{/* What the pods of both components have in common: Pod Security "restricted", and a spread over nodes. */}}

{{- define "ompipe.podSecurity" -}}
{{- $ours := dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532 "seccompProfile" (dict "type" "RuntimeDefault") }}
{{- include "ompipe.over" (dict "ours" $ours "given" .) }}
{{- end }}

{{- define "ompipe.containerSecurity" -}}
{{- $ours := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) }}
{{- include "ompipe.over" (dict "ours" $ours "given" .) }}
{{- end }}

{{/* The given keys over ours; an empty text takes a key out, as OpenShift wants it for ids. */}}
{{- define "ompipe.over" -}}
{{- $all := mergeOverwrite .ours (deepCopy .given) }}
{{- range $key, $value := $all }}
{{- if eq (toString $value) "" }}{{ $_ := unset $all $key }}{{ end }}
{{- end }}
{{- $all | toYaml }}
{{- end }}

{{- define "ompipe.spread" -}}
{{- with .values.topologySpreadConstraints }}
{{- toYaml . }}
{{- else }}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "ompipe.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* Where pods go, and what of: { root, component, values } */}}
{{- define "ompipe.placement" -}}
serviceAccountName: {{ include "ompipe.account" . }}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with concat .root.Values.imagePullSecrets (.values.imagePullSecrets | default list) }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "ompipe.podSecurity" .values.podSecurityContext | nindent 2 }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "ompipe.podLabels" -}}
{{- include "ompipe.labels" . }}
{{- with .values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The variables of the operator and of its drain. */}}
{{- define "ompipe.operatorEnv" -}}
{{- $operator := .Values.omjobOperator -}}
- { name: POD_NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
- { name: POD_NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
- { name: POD_UID, valueFrom: { fieldRef: { fieldPath: metadata.uid } } }
{{- $watched := include "ompipe.watched" . | fromYamlArray | join "," }}
{{- if ne $watched .Release.Namespace }}
- { name: WATCH_NAMESPACES, value: {{ $watched | quote }} }
{{- end }}
- { name: LEASE_NAME, value: {{ include "ompipe.leaseName" . | quote }} }
- { name: LEASE_DURATION_SECONDS, value: {{ $operator.leaseDurationSeconds | quote }} }
- { name: REPORT_JOBS, value: {{ $operator.reportJobs | quote }} }
{{- with include "ompipe.allowedServers" . }}
- { name: ALLOWED_SERVERS, value: {{ . | quote }} }
{{- end }}
- { name: POD_POLICY, value: {{ $operator.podPolicy.level | quote }} }
- { name: RESERVED_SERVICE_ACCOUNTS, value: {{ include "ompipe.reservedAccounts" . | quote }} }
{{- with $operator.podPolicy.allowedServiceAccounts }}
- { name: ALLOWED_SERVICE_ACCOUNTS, value: {{ join "," . | quote }} }
{{- end }}
- { name: LOG_FORMAT, value: {{ $operator.logFormat | quote }} }
- { name: LOG_LEVEL, value: {{ $operator.env.logLevel | quote }} }
- { name: RECONCILIATION_THREADS, value: {{ $operator.env.reconciliationThreads | quote }} }
- { name: REQUEUE_DELAY_SECONDS, value: {{ $operator.env.requeueDelaySeconds | quote }} }
- { name: HEALTH_CHECK_PORT, value: {{ $operator.env.healthCheckPort | quote }} }
- { name: METRICS_PORT, value: {{ $operator.env.metricsPort | quote }} }
{{- with $operator.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What the archive of logs adds to a container: its variables, with the credentials in a Secret. */}}
{{- define "ompipe.archiveEnv" -}}
{{- with .Values.logs.archive }}
{{- if .url }}
- { name: LOGS_ARCHIVE_URL, value: {{ .url | quote }} }
{{- range $name, $value := .env }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "ompipe.archiveEnvFrom" -}}
{{- with .Values.logs.archive }}
{{- if and .url .credentialsSecret }}
envFrom:
  - secretRef: { name: {{ .credentialsSecret }} }
{{- end }}
{{- end }}
{{- end }}

{{/* Whether a volume is mounted for the archive: "true" or "". */}}
{{- define "ompipe.archiveVolume" -}}
{{- if and (hasPrefix "file://" .Values.logs.archive.url) .Values.logs.archive.volumeClaim }}true{{ end }}
{{- end }}
