{{/* Names, labels and the check of values that belong together. */}}

{{- define "ftjob.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* <release>-<chart>, or one of them if they say the same; 40 characters leave room for what is appended. */}}
{{- define "ftjob.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "ftjob.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "ftjob.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "ftjob.operatorName" -}}
{{ include "ftjob.fullname" . }}-operator
{{- end }}

{{- define "ftjob.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ftjob.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "ftjob.labels" -}}
{{ include "ftjob.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "ftjob.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "ftjob.operatorName" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed with serviceAccount.create=false: name the account that exists" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "ftjob.networkPolicy" -}}
{{ ternary .Values.networkPolicy "Off" (kindIs "string" .Values.networkPolicy) }}
{{- end }}

{{/* Call with (dict "image" .Values.image "root" .). */}}
{{- define "ftjob.image" -}}
{{ .image.repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end }}

{{/* What one value's schema can't see. */}}
{{- define "ftjob.validate" -}}
{{- if or .Values.scope .Values.watchNamespace }}
{{- fail "scope and watchNamespace are no values any more: list the namespaces in watchNamespaces, or leave it empty for all" }}
{{- end }}
{{- if not (or .Values.rbac.clusterRole .Values.watchNamespaces) }}
{{- fail "rbac.clusterRole=false takes away the ClusterRole by which the operator serves all namespaces: list those to serve in watchNamespaces" }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) }}
{{- fail "replicas is more than 1 without leader election, so that several operators would act at once: set leaderElection.enabled=true or replicas=1" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service.enabled) }}
{{- fail "metrics.serviceMonitor needs the Service: set metrics.service.enabled=true" }}
{{- end }}
{{- if eq (int .Values.metrics.port) (int .Values.health.port) }}
{{- fail "metrics.port and health.port are the same: give each a port of its own" }}
{{- end }}
{{- end }}
