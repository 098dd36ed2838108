{{- /* The name of every object: that of the release, which says that it is Ganymede. */ -}}
{{- define "ganymede.name" -}}
{{- if contains "ganymede" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-ganymede" (.Release.Name | trunc 41 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "ganymede.selector" -}}
app.kubernetes.io/name: ganymede
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ganymede.labels" -}}
{{ include "ganymede.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "ganymede.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ganymede.port" -}}{{ .Values.settings.GANYMEDE_PORT | default 8000 | int }}{{- end -}}

{{- /* 0 is none: metrics then are on the port of the service. */ -}}
{{- define "ganymede.metricsPort" -}}{{ .Values.settings.GANYMEDE_METRICS_PORT | default 0 | int }}{{- end -}}

{{- /* Seconds from the deletion of a pod until it is killed: what it waits, its drain, and 10 s in which its processes end. */ -}}
{{- define "ganymede.graceSeconds" -}}
{{- $drain := 30 -}}
{{- if hasKey .Values.settings "GANYMEDE_DRAIN_TIMEOUT_S" -}}{{- $drain = .Values.settings.GANYMEDE_DRAIN_TIMEOUT_S | ceil | int -}}{{- end -}}
{{- add .Values.stop.preStopSeconds $drain 10 -}}
{{- end -}}

{{- /* A setting as the service reads it. YAML reads on and off as booleans, and Helm large numbers as floats. */ -}}
{{- define "ganymede.setting" -}}
{{- if kindIs "bool" . -}}{{ ternary "on" "off" . }}{{- else if kindIs "string" . -}}{{ . }}{{- else -}}{{ toJson . }}{{- end -}}
{{- end -}}

{{- define "ganymede.env" -}}
{{- $settings := mergeOverwrite (dict "GANYMEDE_HOST" "0.0.0.0" "GANYMEDE_CACHE_DIR" "/tmp/cache") (deepCopy .Values.settings) -}}
{{- $_ := set $settings "GANYMEDE_MODELS_DIR" (.Values.models.url | default "/app/models") -}}
{{- if .Values.keys.secret -}}
{{- $_ := set $settings "GANYMEDE_KEYS_FILE" (printf "/app/keys/%s" .Values.keys.file) -}}
{{- else -}}
{{- $_ := set $settings "GANYMEDE_WITHOUT_KEYS" .Values.keys.without -}}
{{- end -}}
{{- range $name, $value := $settings }}
- name: {{ $name }}
  value: {{ include "ganymede.setting" $value | quote }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Of every container: the restricted standard of pod security, with a file system that is only read. */ -}}
{{- define "ganymede.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end -}}

{{- /* 10001 is the user of the image; the group lets it read Secrets and claims. */ -}}
{{- define "ganymede.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "ganymede.check" -}}
{{- with .Values -}}
{{- if eq (empty .keys.secret) (empty .keys.without) -}}
{{- fail "set keys.secret to a Secret with keys.toml (python -m service key NAME --file keys.toml), or keys.without to anyone-may-use-it; one of the two" -}}
{{- end -}}
{{- if gt (len (compact (list .models.claim .models.image.reference .models.url (ternary "init" "" (not (empty .models.init)))))) 1 -}}
{{- fail "models come from one place: set one of models.claim, models.image.reference, models.url and models.init" -}}
{{- end -}}
{{- if and (or .models.init .models.url) .networkPolicy.enabled (empty .networkPolicy.egress) -}}
{{- fail "models.init and models.url fetch from another host, and the network policy lets pods reach none: say which in networkPolicy.egress; [{}] is every host" -}}
{{- end -}}
{{- if and .metrics.serviceMonitor.enabled (has (toString (.settings.GANYMEDE_METRICS | default "on")) (list "off" "false")) -}}
{{- fail "metrics.serviceMonitor scrapes /metrics, which GANYMEDE_METRICS turns off" -}}
{{- end -}}
{{- end -}}
{{- end -}}
