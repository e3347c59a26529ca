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

{{- /* A lake inside the pod would go with it, while its offsets stay committed. */ -}}
{{- define "sluice.lasting" -}}
{{- if not .Values.extraVolumeMounts -}}
{{- $defaults := (.Values.config.defaults | default dict).storage | default dict -}}
{{- range .Values.config.connectors -}}
{{- if hasPrefix "file:" ((.storage | default dict).url | default $defaults.url | default "" | toString) -}}
{{- fail (printf "connector %s writes to a local directory, which goes with the pod: mount a volume there with extraVolumes and extraVolumeMounts" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* A scrape without the token, or one that does not trust the certificate, would fail for ever. */ -}}
{{- define "sluice.scrapable" -}}
{{- $http := (.Values.config.daemon | default dict).http | default dict -}}
{{- if and $http.token (not .Values.serviceMonitor.authorization) -}}
{{- fail "config.daemon.http.token is set: serviceMonitor.authorization must name the Secret that holds it" -}}
{{- end -}}
{{- if and $http.tls (not .Values.serviceMonitor.tlsConfig) -}}
{{- fail "config.daemon.http.tls is set: serviceMonitor.tlsConfig must say whom to trust" -}}
{{- end -}}
{{- end }}
