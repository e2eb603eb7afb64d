{{ define "deep" }}
  {{ .Values.a.b.c }}
{{ end }}{{ define "loop" }}{{ include "loop" . }}{{ end }}