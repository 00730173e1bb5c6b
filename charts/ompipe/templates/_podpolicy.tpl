{{/*
The operator's pod policy (crates/core/src/pod_policy.rs) in CEL, so that an OMJob that it would not carry
out is refused when it is made. A test compares the two, case by case.
*/}}

{{- define "ompipe.celList" -}}
[{{ range $i, $one := . }}{{ if $i }}, {{ end }}'{{ $one }}'{{ end }}]
{{- end }}

{{/* What holds of every security context x, of pods and containers alike: { message: condition } */}}
{{- define "ompipe.contextRules" -}}
windowsOptions.hostProcess must not be true: "x.?windowsOptions.?hostProcess.orValue(false) != true"
seccompProfile must not be Unconfined: "x.?seccompProfile.?type.orValue('') != 'Unconfined'"
appArmorProfile must not be Unconfined: "x.?appArmorProfile.?type.orValue('') != 'Unconfined'"
seLinuxOptions must have a container's type, and neither user nor role: "x.?seLinuxOptions.?type.orValue('') in ['', 'container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t'] && x.?seLinuxOptions.?user.orValue('') == '' && x.?seLinuxOptions.?role.orValue('') == ''"
{{- end }}

{{- define "ompipe.containerContextRules" -}}
privileged must not be true: "x.?privileged.orValue(false) != true"
capabilities.add must have none but those of the level baseline: "x.?capabilities.?add.orValue([]).all(added, added in ['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD', 'NET_BIND_SERVICE', 'SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT'])"
procMount must be Default: "x.?procMount.orValue('Default') == 'Default'"
{{- end }}

{{/* What holds of every container c. */}}
{{- define "ompipe.containerRules" -}}
ports.hostPort must not be set: "!has(c.ports) || c.ports == null || c.ports.all(port, port.?hostPort.orValue(0) == 0)"
probes and hooks must name no host: "[c.?livenessProbe, c.?readinessProbe, c.?startupProbe, c.?lifecycle.?postStart, c.?lifecycle.?preStop].all(called, called.?httpGet.?host.orValue('') == '' && called.?tcpSocket.?host.orValue('') == '')"
{{- end }}

{{- define "ompipe.podRules" -}}
hostNetwork must not be true: "p.?hostNetwork.orValue(false) != true"
hostPID must not be true: "p.?hostPID.orValue(false) != true"
hostIPC must not be true: "p.?hostIPC.orValue(false) != true"
volumes.hostPath must not be set: "!has(p.volumes) || p.volumes == null || p.volumes.all(volume, !has(volume.hostPath) || volume.hostPath == null)"
ephemeralContainers must not be set: "!has(p.ephemeralContainers) || p.ephemeralContainers == null || p.ephemeralContainers.size() == 0"
{{- end }}

{{- define "ompipe.podContextRules" -}}
sysctls must concern the pod alone: "x.?sysctls.orValue([]).all(sysctl, sysctl.name in ['kernel.shm_rmid_forced', 'net.ipv4.ip_local_port_range', 'net.ipv4.ip_local_reserved_ports', 'net.ipv4.ip_unprivileged_port_start', 'net.ipv4.ping_group_range', 'net.ipv4.tcp_fin_timeout', 'net.ipv4.tcp_keepalive_intvl', 'net.ipv4.tcp_keepalive_probes', 'net.ipv4.tcp_keepalive_time', 'net.ipv4.tcp_syncookies'])"
{{- end }}

{{/* One validation: { message, expression } */}}
{{- define "ompipe.validation" -}}
- message: {{ .message | quote }}
  expression: {{ .expression | quote }}
{{- end }}

{{- define "ompipe.validations" -}}
{{- $policy := .Values.omjobOperator.podPolicy }}
{{- $reserved := list (include "ompipe.account" (dict "root" . "component" "server")) (include "ompipe.account" (dict "root" . "component" "operator")) }}
{{ include "ompipe.validation" (dict "message" "a run must not have a service account of ompipe" "expression" (printf "request.namespace != '%s' || variables.accounts.all(names, names.all(name, !(name in %s)))" .Release.Namespace (include "ompipe.celList" $reserved))) }}
{{- with $policy.allowedServiceAccounts }}
{{ include "ompipe.validation" (dict "message" (printf "serviceAccountName must be one that runs may have: %s" (join ", " .)) "expression" (printf "variables.accounts.all(names, names.all(name, name in %s))" (include "ompipe.celList" .))) }}
{{- end }}
{{- if ne $policy.level "privileged" }}
{{- range $message, $rule := include "ompipe.podRules" . | fromYaml }}
{{ include "ompipe.validation" (dict "message" (printf "podTemplate.spec.%s" $message) "expression" (printf "variables.specs.all(p, %s)" $rule)) }}
{{- end }}
{{- range $message, $rule := merge (include "ompipe.contextRules" . | fromYaml) (include "ompipe.podContextRules" . | fromYaml) }}
{{ include "ompipe.validation" (dict "message" (printf "securityContext.%s" $message) "expression" (printf "variables.podContexts.all(x, %s)" $rule)) }}
{{- end }}
{{- range $list := tuple "containers" "initContainers" }}
{{- range $message, $rule := merge (include "ompipe.contextRules" $ | fromYaml) (include "ompipe.containerContextRules" $ | fromYaml) }}
{{ include "ompipe.validation" (dict "message" (printf "podTemplate.spec.%s.securityContext.%s" $list $message) "expression" (printf "variables.specs.all(p, !has(p.%s) || p.%s == null || p.%s.all(c, !has(c.securityContext) || c.securityContext == null || [c.securityContext].all(x, %s)))" $list $list $list $rule)) }}
{{- end }}
{{- range $message, $rule := include "ompipe.containerRules" $ | fromYaml }}
{{ include "ompipe.validation" (dict "message" (printf "podTemplate.spec.%s: %s" $list $message) "expression" (printf "variables.specs.all(p, !has(p.%s) || p.%s == null || p.%s.all(c, %s))" $list $list $list $rule)) }}
{{- end }}
{{- end }}
{{ include "ompipe.validation" (dict "message" "an annotation with an AppArmor profile must be runtime/default or localhost/…" "expression" "variables.annotations.all(all, all.all(key, !key.startsWith('container.apparmor.security.beta.kubernetes.io/') || all[key] == 'runtime/default' || all[key].startsWith('localhost/')))") }}
{{- end }}
{{- end }}
