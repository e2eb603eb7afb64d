{{- define "partials.name" -}}
{{- printf "%s-%s" .Release.Name .Values.name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- define "partials.mark" }}!{{ end -}}
{{- define "partials.labels" -}}
{{- range $key, $value := .Values.labels }}
{{ $key }}: {{ $value | quote }}
{{- end }}
{{- end -}}
{{- define "partials.nested" -}}{{- if gt (int .n) 0 }}({{ include "partials.nested" (dict "n" (sub .n 1)) }}){{ end }}{{- end -}}
