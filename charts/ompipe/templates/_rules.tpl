{{/* Rights, each with what it is for. Tests take away every one of them and show what breaks. */}}

{{/* What the server does with pipelines and runs (crates/client/src/health.rs). */}}
{{- define "ompipe.serverRules" -}}
# Configs of pipelines, whole and masked.
- { apiGroups: [""], resources: [secrets, configmaps], verbs: [get, list, create, update, patch, delete] }
# States of runs, their logs, and why they wait. Of a run that is deleted while the operator holds its Job,
# the pods go first.
- { apiGroups: [""], resources: [pods], verbs: [list, watch, delete] }
- { apiGroups: [""], resources: [pods/log], verbs: [get] }
- { apiGroups: [""], resources: [events], verbs: [list, watch] }
# Runs and schedules. A run that waits for its turn (maxActiveRuns) is patched to start.
- { apiGroups: [batch], resources: [jobs], verbs: [get, list, watch, create, patch, delete] }
- { apiGroups: [batch], resources: [cronjobs], verbs: [get, list, create, patch, delete] }
# The doctor reads the account of the runs, and asks what it may do.
- { apiGroups: [""], resources: [serviceaccounts], verbs: [get] }
- { apiGroups: [authorization.k8s.io], resources: [localsubjectaccessreviews], verbs: [create] }
{{- if include "ompipe.operatorMode" . }}
- { apiGroups: [pipelines.openmetadata.org], resources: [omjobs], verbs: [get, list, watch, create, patch, delete] }
- { apiGroups: [pipelines.openmetadata.org], resources: [cronomjobs], verbs: [get, list, create, patch, delete] }
{{- end }}
{{- end }}

{{/* What the operator does in each namespace that it works in. */}}
{{- define "ompipe.operatorRules" -}}
# Runs and schedules: read, marked as ours, removed after their TTL; schedules make runs.
- { apiGroups: [pipelines.openmetadata.org], resources: [omjobs], verbs: [get, list, watch, create, patch, delete] }
- { apiGroups: [pipelines.openmetadata.org], resources: [cronomjobs], verbs: [list, watch] }
- { apiGroups: [pipelines.openmetadata.org], resources: [omjobs/status, cronomjobs/status], verbs: [patch] }
# Owning what it makes, where OwnerReferencesPermissionEnforcement is on (OpenShift).
- { apiGroups: [pipelines.openmetadata.org], resources: [omjobs/finalizers, cronomjobs/finalizers], verbs: [update] }
- { apiGroups: [""], resources: [pods], verbs: [get, list, watch, create, patch, delete] }
- { apiGroups: [""], resources: [events], verbs: [get, list, create, patch] }
{{- if .Values.omjobOperator.reportJobs }}
# Plain Jobs: read, held until their end is reported.
- { apiGroups: [batch], resources: [jobs], verbs: [get, list, watch, patch] }
{{- end }}
# Diagnostics of a run that failed: the end of its log.
- { apiGroups: [""], resources: [pods/log], verbs: [get] }
# The report of a run that could not report itself: its connection.
- { apiGroups: [""], resources: [secrets], verbs: [get, list] }
- { apiGroups: [""], resources: [configmaps], verbs: [get] }
{{- end }}

{{/* The election, in the release's namespace. A name says nothing to a create. */}}
{{- define "ompipe.leaseRules" -}}
- { apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [{{ include "ompipe.leaseName" . }}], verbs: [get, update] }
- { apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create] }
{{- end }}

{{/* What an exit handler in a run's pod reads, to describe what failed. */}}
{{- define "ompipe.ingestionRules" -}}
- { apiGroups: [""], resources: [pods, events], verbs: [list] }
- { apiGroups: [""], resources: [pods/log], verbs: [get] }
{{- if not (include "ompipe.operatorMode" .) }}
# Whether another attempt of a plain Job follows, and why it was stopped.
- { apiGroups: [batch], resources: [jobs], verbs: [get] }
{{- end }}
{{- end }}

{{/* A Role and its binding: { root, component, account, name, namespace, rules } */}}
{{- define "ompipe.role" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "ompipe.metadata" . | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "ompipe.metadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "ompipe.account" . }}
    namespace: {{ .accountNamespace | default .root.Release.Namespace }}
{{ end }}

{{/* The same for the whole cluster. */}}
{{- define "ompipe.clusterRole" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  {{- include "ompipe.clusterMetadata" . | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  {{- include "ompipe.clusterMetadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ printf "%s-%s" .root.Release.Namespace .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "ompipe.account" . }}
    namespace: {{ .root.Release.Namespace }}
{{ end }}
