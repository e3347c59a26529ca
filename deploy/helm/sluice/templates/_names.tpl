{{- define "sluice.name" -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end }}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* connectors.yaml: what the pod fixes wins over what the values say. */ -}}
{{- define "sluice.config" -}}
{{- $fixed := dict "listen" "0.0.0.0:9464" "scratch_dir" "/var/lib/sluice" -}}
{{- $daemon := merge $fixed (.Values.config.daemon | default dict) -}}
{{- toYaml (merge (dict "version" 1 "daemon" $daemon) (omit .Values.config "daemon")) -}}
{{- end }}

{{- /* Probes and scrapes speak HTTPS where the daemon does. */ -}}
{{- define "sluice.scheme" -}}
{{- if ((.Values.config.daemon | default dict).http | default dict).tls }}, scheme: HTTPS{{ end -}}
{{- end }}
