{{/* How many pods of a component a drain of nodes may take at a time: { root, component, values, name } */}}
{{- define "ompipe.disruptionBudget" -}}
{{- if and .values.podDisruptionBudget.enabled (gt (int .values.replicas) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "ompipe.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  # A pod that does not work anyway holds nobody up.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "ompipe.selector" . | nindent 6 }}
{{- end }}
{{- end }}
