{{/*
Everything that the operator may do, and no more: each line stands for requests that it makes.
docs/install.md says for each what it is for.
*/}}

{{/*
A role and its binding to the operator; a ClusterRole if the namespace is empty.
Call with (dict "root" . "name" … "namespace" … "rules" …).
*/}}
{{- define "ftjob.grant" -}}
{{- $kind := ternary "Role" "ClusterRole" (ne .namespace "") -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "ftjob.labels" .root | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "ftjob.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "ftjob.serviceAccountName" .root }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}

{{/* In the namespaces whose jobs it runs. */}}
{{- define "ftjob.jobRules" -}}
- apiGroups: [ftjob.dev]
  resources: [frameworktrainingjobs]
  verbs: [get, list, watch, delete]
- apiGroups: [ftjob.dev]
  resources: [frameworktrainingjobs/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create]
{{- if eq (include "ftjob.networkPolicy" .) "Job" }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create]
{{- end }}
- apiGroups: [""]
  resources: [configmaps, secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create]
- apiGroups: [scheduling.k8s.io, scheduling.volcano.sh, scheduling.x-k8s.io]
  resources: [podgroups]
  verbs: [get, list, watch, create, delete]
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* What has no namespace, so that only a ClusterRole can grant it. */}}
{{- define "ftjob.clusterRules" -}}
- apiGroups: [kueue.x-k8s.io]
  resources: [resourceflavors, workloadpriorityclasses]
  verbs: [get]
- apiGroups: [scheduling.k8s.io]
  resources: [priorityclasses]
  verbs: [get]
{{- end }}

{{/* In its own namespace: the Lease of the leader, and the key that the jobs' tokens are made from.
Their names are fixed in ftjob.control; `create` can't be limited to a name. */}}
{{- define "ftjob.ownRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [ftjob-operator]
  verbs: [get, update]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [ftjob-agent-key]
  verbs: [get]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end }}

{{/* For people: what `edit` and `view` mean for jobs. */}}
{{- define "ftjob.editRules" -}}
- apiGroups: [ftjob.dev]
  resources: [frameworktrainingjobs]
  verbs: [get, list, watch, create, update, patch, delete, deletecollection]
- apiGroups: [ftjob.dev]
  resources: [frameworktrainingjobs/scale]
  verbs: [get, update, patch]
- apiGroups: [ftjob.dev]
  resources: [frameworktrainingjobs/status]
  verbs: [get]
{{- end }}

{{- define "ftjob.viewRules" -}}
- apiGroups: [ftjob.dev]
  resources: [frameworktrainingjobs]
  verbs: [get, list, watch]
- apiGroups: [ftjob.dev]
  resources: [frameworktrainingjobs/scale, frameworktrainingjobs/status]
  verbs: [get]
{{- end }}
