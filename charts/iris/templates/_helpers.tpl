{{/* The name of everything of the operator in its namespace. */}}
{{- define "iris.name" -}}
{{ printf "%s-operator" (.Release.Name | trunc 50 | trimSuffix "-") }}
{{- end }}

{{/* What is not bound to the namespace is named after it too. */}}
{{- define "iris.clusterName" -}}
{{ printf "%s:%s" .Release.Namespace (include "iris.name" .) }}
{{- end }}

{{- define "iris.selector" -}}
app.kubernetes.io/name: iris-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "iris.labels" -}}
{{ include "iris.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/*
What the operator may do where it looks after clusters. It reads no Secret that it cannot name: it
neither lists nor watches them. It gives no rights to anybody.
*/}}
{{- define "iris.rules" -}}
- apiGroups: [iris.dev]
  resources: [irisclusters, irisregions, irisedgepools, irisshardmaps, irisrebalances]
  verbs: [get, list, watch]
- apiGroups: [iris.dev]
  # A move is held back from deletion while it is ordered, and removed when its time is over.
  resources: [irisshardmigrations]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [iris.dev]
  resources:
    - irisclusters/status
    - irisregions/status
    - irisedgepools/status
    - irisshardmaps/status
    - irisshardmigrations/status
    - irisrebalances/status
  verbs: [patch]
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, update]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [""]
  # Owners restart one after the other, as their disruption budget allows.
  resources: [pods/eviction]
  verbs: [create]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
