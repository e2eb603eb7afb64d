//go:build ignore

// Records what Go's text/template gives for the templates below: go run record.go > language.json
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"text/template"
)

const data = `{"name":"demo","n":3,"f":1.5,"big":12345678,"t":true,"no":false,"nil":null,"empty":"","list":["a","b","c"],"nums":[3,1,2],
"mixed":["a",1,null,true,{"k":"v"}],"map":{"b":2,"a":1,"c":{"d":"deep"}},"el":[],"em":{},"html":"<a href=\"x\">'&'</a>","uni":"grüße ☃","items":[{"name":"x","port":80},{"name":"y"}]}`

// A case: what is defined in earlier texts, the template, and the option.
type test struct {
	Defs     []string `json:"defs,omitempty"`
	Template string   `json:"template"`
	Missing  string   `json:"missingkey,omitempty"`
	Output   *string  `json:"output,omitempty"`
	Error    *string  `json:"error,omitempty"`
}

func funcs(t func() *template.Template) template.FuncMap {
	return template.FuncMap{
		"list": func(v ...any) []any { return v },
		"strs": func(v ...string) []string { return v },
		"dict": func(v ...any) map[string]any {
			m := map[string]any{}
			for i := 0; i+1 < len(v); i += 2 {
				m[v[i].(string)] = v[i+1]
			}
			return m
		},
		"smap": func(v ...string) map[string]string {
			m := map[string]string{}
			for i := 0; i+1 < len(v); i += 2 {
				m[v[i]] = v[i+1]
			}
			return m
		},
		"set":   func(m map[string]any, k string, v any) map[string]any { m[k] = v; return m },
		"i64":   func(n int64) int64 { return n },
		"i8":    func(n int8) int8 { return n },
		"u8":    func(n uint8) uint8 { return n },
		"u64":   func(n uint64) uint64 { return n },
		"bytes": func(s string) []byte { return []byte(s) },
		"add":   func(a, b int) int { return a + b },
		"half":  func(f float64) float64 { return f / 2 },
		"neg":   func(b bool) bool { return !b },
		"up":    strings.ToUpper,
		"none":  func() any { return nil },
		"nilm":  func() map[string]any { return nil },
		"nils":  func() []string { return nil },
		"fail":  func(s string) (string, error) { return "", fmt.Errorf("%s", s) },
		"two":   func(a string, b ...int) string { return fmt.Sprint(a, b) },
		"lists": func(v []any) int { return len(v) },
		"maps":  func(v map[string]any) int { return len(v) },
		"fn":    func() any { return func(a int, b ...string) string { return fmt.Sprint(a, b) } },
		"include": func(name string, data any) (string, error) {
			var b bytes.Buffer
			err := t().ExecuteTemplate(&b, name, data)
			return b.String(), err
		},
		"tpl": func(text string, data any) (string, error) {
			c, err := t().Clone()
			if err != nil {
				return "", err
			}
			// As Helm binds its functions anew.
			own := c
			own.Funcs(funcs(func() *template.Template { return own }))
			c, err = c.New("set").Parse(text)
			if err != nil {
				return "", fmt.Errorf("cannot parse template %q: %w", text, err)
			}
			var b bytes.Buffer
			if err := c.Execute(&b, data); err != nil {
				return "", fmt.Errorf("error during tpl function execution for %q: %w", text, err)
			}
			return b.String(), nil
		},
	}
}

func run(c test) test {
	set := template.New("set")
	set.Funcs(funcs(func() *template.Template { return set }))
	if c.Missing != "" {
		set.Option("missingkey=" + c.Missing)
	}
	var d any
	if err := json.Unmarshal([]byte(data), &d); err != nil {
		panic(err)
	}
	fail := func(err error) test { s := err.Error(); c.Error = &s; return c }
	for i, def := range c.Defs {
		if _, err := set.New(fmt.Sprintf("def%d", i)).Parse(def); err != nil {
			return fail(err)
		}
	}
	t, err := set.New("dir/a.yaml").Parse(c.Template)
	if err != nil {
		return fail(err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		return fail(err)
	}
	s := b.String()
	c.Output = &s
	return c
}

func main() {
	var cases []test
	for _, t := range templates() {
		cases = append(cases, run(test{Template: t}))
	}
	for _, t := range []string{"{{.nope}}", "{{.nope.x}}", "{{.map.nope}}", "{{.nil.x}}", "{{.map.c.nope.x}}", "{{len .nope}}", "{{index .map \"nope\"}}", "{{with .nope}}y{{else}}n{{end}}", "{{(smap \"a\" \"b\").nope}}|", "{{.nope | print}}", "{{up .nope}}", "{{range .nope}}{{else}}none{{end}}"} {
		for _, m := range []string{"default", "zero", "error"} {
			cases = append(cases, run(test{Template: t, Missing: m}))
		}
	}
	for _, c := range []test{
		{Defs: []string{`{{define "x"}}1{{end}}`, `{{define "x"}}2{{end}}`}, Template: `{{template "x"}}`},
		{Defs: []string{`{{define "x"}}1{{end}}`, `{{define "x"}}  {{/* c */}} {{end}}`}, Template: `{{template "x"}}`},
		{Defs: []string{`{{define "x"}}  {{end}}`, `{{define "x"}}2{{end}}`}, Template: `[{{template "x"}}]`},
		{Defs: []string{`{{define "x"}}{{.nope.y}}{{end}}`}, Template: "a\n  {{template \"x\" .map}}"},
		{Defs: []string{"{{define \"x\"}}\n{{fail .}}{{end}}"}, Template: "a\n  {{include \"x\" .name | up}}"},
		{Defs: []string{`{{define "x"}}{{include "y" .}}{{end}}{{define "y"}}{{.a.b.c}}{{end}}`}, Template: `{{include "x" .map}}`},
		{Defs: []string{`{{define "x"}}<{{.}}>{{end}}`}, Template: `{{tpl "{{template \"x\" .name}}{{define \"z\"}}z{{end}}{{template \"z\"}}" .}}{{include "z" .}}`},
		{Defs: []string{`{{define "x"}}old{{end}}`}, Template: `{{tpl "{{define \"x\"}}new{{end}}{{include \"x\" .}}" .}}{{tpl "{{define \"x\"}} {{end}}{{template \"x\" .}}" .}}{{template "x"}}`},
		{Template: `{{tpl "{{ .bad" .}}`},
		{Template: `{{tpl "a{{ fail \"boo\" }}" .}}`},
		{Template: `{{tpl "" .}}{{tpl "{{tpl .name .}}" .}}`},
		{Template: `{{include "nope" .}}`},
		{Template: `{{define "dir/a.yaml"}}x{{end}}`},
		{Template: `{{define "dir/a.yaml"}}x{{end}}y`},
	} {
		cases = append(cases, run(c))
	}
	// One case per line.
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprintf(out, "{\"go\": %q,\n\"data\": %s,\n\"cases\": [\n", runtime.Version(), strings.ReplaceAll(data, "\n", " "))
	for i, c := range cases {
		var line bytes.Buffer
		enc := json.NewEncoder(&line)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(c); err != nil {
			panic(err)
		}
		comma := ","
		if i == len(cases)-1 {
			comma = ""
		}
		fmt.Fprintf(out, "%s%s\n", bytes.TrimSpace(line.Bytes()), comma)
	}
	fmt.Fprintln(out, "]}")
}

func templates() []string {
	list := strings.Split(strings.TrimSpace(language), "\n")
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], "⏎", "\n")
	}
	// Every verb and many flags over every kind of value.
	values := []string{"1", "-42", "0", "(u8 200)", "(u64 18446744073709551615)", "(i64 -9223372036854775808)", "1.5", "-0.0", "1e21", "1e20", "123456789.0", "1e-7", "0.000123", "100000.0", "1000000.0", "\"str\"", "\"\"", "\"q\\\"ü\\n\\x00\\u200b\"", "true", "nil", "(list 1 \"a\" nil 2.5)", "(list)", "(strs \"x\" \"y\")", "(dict \"b\" 1 \"a\" (list nil) \"c\" nil)", "(smap \"k\" \"v\")", "(bytes \"hi\\xff\")", "1+2i", "'x'", "(nils)", "(nilm)"}
	for _, verb := range strings.Split("v|+v|#v|T|t|d|+d|5d|-5d|05d|.3d|b|o|O|x|X|#x|#o|c|q|#q|+q|U|#U|e|E|f|F|g|G|.2f|8.3f|08.2f|-8.2f|.3g|#g|+.1e|s|5s|-5s|.2s|05s|x|% x|# x|w|p|z|%|6.2f%%|!|ü", "|") {
		for _, value := range values {
			if verb == "p" && !strings.ContainsAny(value, "1\"tn") || verb == "p" && strings.HasPrefix(value, "(") {
				continue // addresses
			}
			list = append(list, fmt.Sprintf("{{printf \"[%%%s]\" %s}}", verb, value))
		}
	}
	for _, verb := range []string{"x", ".3x", "X", "b", ".0f", ".1f", ".10g", "g", ".0e", "#.3g", "#x"} {
		for _, value := range []string{"0.0", "0.5", "1.5", "2.5", "0.25", "0.35", "1e300", "5e-324", "3.14159265358979", "1e23", "9007199254740993.0", "0.1", "99.95", "65504.0"} {
			list = append(list, fmt.Sprintf("{{printf \"%%%s\" %s}}", verb, value))
		}
	}
	// Every comparison of every pair of kinds.
	for _, f := range []string{"eq", "ne", "lt", "ge"} {
		ops := []string{"1", "1.0", "\"a\"", "true", "nil", "(u8 1)", "(i64 2)", "(list 1)", "(dict)", "(nilm)", "(nils)", "1i", ".name", ".n", ".nil", ".nope"}
		for _, a := range ops {
			for _, b := range ops {
				list = append(list, fmt.Sprintf("{{%s %s %s}}", f, a, b))
			}
		}
	}
	return list
}

const language = `plain
{{.name}}
{{ .name }}|{{.n}}|{{.f}}|{{.big}}|{{.t}}|{{.nil}}|{{.nope}}|{{.list}}|{{.map}}|{{.mixed}}
{{.}}
{{nil}}
{{.nil | print}}
{{print nil}}{{print .nil .nope}}
{{.name.x}}
{{.nope.x}}
{{.nope.x.y}}
{{.map.c.d}} {{.map.c.nope.x}}
{{(.nope).x.y}}
{{(index .map "zz").x}}
{{.n.x}}
{{.list.x}}
{{(list 1).x}}
{{1.x}}
{{"a".x}}
{{nil.x}}
{{.x.y 1}}
{{.name 1}}
{{1 | .name}}
{{.map.a 1}}
{{range .list}}[{{.}}]{{end}}
{{range $v := .list}}{{$v}},{{end}}
{{range $i, $v := .list}}{{$i}}={{$v}},{{end}}
{{range $k, $v := .map}}{{$k}}={{$v}};{{end}}
{{range .el}}x{{else}}empty{{end}}
{{range .em}}x{{else}}empty{{end}}
{{range .nope}}x{{else}}none{{end}}
{{range .nil}}x{{else}}none{{end}}
{{range 3}}{{.}}{{end}}
{{range $i := 3}}{{$i}}{{end}}
{{range $i, $j := 3}}{{$i}}{{end}}
{{range 0}}x{{else}}zero{{end}}
{{range -2}}x{{else}}neg{{end}}
{{range (u8 2)}}{{printf "%T" .}}{{end}}
{{range .n}}x{{end}}
{{range .name}}x{{end}}
{{range .t}}x{{end}}
{{range .f}}x{{end}}
{{range bytes "ab"}}{{printf "%T%v" . .}}{{end}}
{{range .list}}{{if eq . "b"}}{{break}}{{end}}{{.}}{{end}}
{{range .list}}{{if eq . "b"}}{{continue}}{{end}}{{.}}{{end}}|{{.name}}
{{range .list}}{{with .}}{{if eq . "b"}}{{break}}{{end}}{{end}}{{.}}{{end}}|{{.name}}
{{range $i, $e := .items}}{{range $.list}}{{if eq . "b"}}{{break}}{{end}}{{$i}}{{.}}{{end}};{{end}}
{{break}}
{{continue}}
{{range .list}}{{break 1}}{{end}}
{{$i := 9}}{{range $i = .list}}{{$i}}{{end}}{{$i}}
{{$i := 9}}{{$v := 8}}{{range $i, $v = .list}}{{$i}}{{$v}}{{end}}{{$i}}{{$v}}
{{range $i, $v := .map}}{{$x := $v}}{{$x}}{{end}}
{{range $a, $b, $c := .list}}{{end}}
{{range $a, 1 := .list}}{{end}}
{{range .mixed}}{{.k}}{{end}}
{{range .items}}{{.name}}:{{.port}};{{end}}
{{if .t}}y{{else}}n{{end}}{{if .no}}y{{else}}n{{end}}{{if .nope}}y{{else}}n{{end}}{{if 0}}y{{else}}n{{end}}{{if 0.0}}y{{else}}n{{end}}{{if ""}}y{{else}}n{{end}}{{if .el}}y{{else}}n{{end}}{{if .em}}y{{else}}n{{end}}{{if nilm}}y{{else}}n{{end}}{{if list 0}}y{{else}}n{{end}}
{{if .no}}1{{else if .nope}}2{{else if .t}}3{{else}}4{{end}}
{{if $x := .name}}{{$x}}{{else}}{{$x}}{{end}}
{{if $x := .no}}{{$x}}{{else if $y := .t}}{{$x}}{{$y}}{{end}}
{{if $x := .name}}{{end}}{{$x}}
{{with .map}}{{.a}}{{with .c}}{{.d}}{{end}}{{.b}}{{end}}{{.name}}
{{with .nope}}{{.}}{{else}}{{.name}}{{end}}
{{with .nope}}{{.}}{{else with .map}}{{.a}}{{else}}z{{end}}
{{with $x := .name}}{{$x}}{{.}}{{$.name}}{{end}}
{{with .nope}}{{else if .t}}y{{end}}
{{if .t}}{{else with .map}}y{{end}}
{{$x := 1}}{{if true}}{{$x = 2}}{{$x := 3}}{{$x}}{{end}}{{$x}}
{{$x := 1}}{{$y := $x}}{{$x = 5}}{{$x}}{{$y}}
{{$x}}
{{$x = 1}}
{{$x := 1 | printf "%d-%d" 2}}{{$x}}
{{$m := dict "a" 1}}{{$n := set $m "b" 2}}{{$m}}{{$n.b}}
{{$.name}}{{$.map.a}}{{$.nope.x}}
{{$x, $y := 1}}
{{1 | 2}}
{{"a" | "b"}}
{{.name | .map}}
{{.name 1 2}}
{{(up "a") 1}}
{{1 2}}
{{$x := 1}}{{$x 2}}
{{"a" | up | printf "%s-%s" "b"}}
{{up "a" "b"}}
{{up}}
{{"a" | up "b"}}
{{up 1}}
{{up .n}}
{{up .nil}}
{{up .nope}}
{{up nil}}
{{.nope | up}}
{{.n | up}}
{{.list | up}}
{{up (list)}}
{{add 1 2}}{{add 1 .n}}
{{add 1 "2"}}
{{add 1 2.0}}{{add 'a' 0x10}}
{{add 1 2.5}}
{{half 3}}{{half 2.5}}{{half 'a'}}
{{half "x"}}
{{half .n}}
{{neg true}}{{neg .t}}
{{neg 1}}
{{i8 300}}|{{u8 300}}|{{u8 -1}}
{{u64 1.5}}
{{i64 .n}}
{{lists .list}}{{lists nil}}{{lists .nope}}
{{lists .nil}}
{{lists 1}}
{{lists .map}}
{{maps .map}}{{maps nil}}
{{maps (smap)}}
{{two}}
{{two "a"}}{{two "a" 1 2}}{{1 | two "a"}}{{"x" | two}}
{{two "a" "b"}}
{{two "a" nil}}
{{"s" | two "a" 1}}
{{none}}|{{print none}}|{{none.x}}
{{none.x.y}}
{{up none}}
{{print up}}
{{fail "no"}}
a{{⏎⏎fail "x"}}
⏎⏎  {{ .name }}{{ .nope.x }}
{{nofunc 1}}
{{and}}
{{and 1}}{{and 1 2}}{{and 0 2}}{{or 0 2}}{{or 0 "" nil}}|{{and nil}}|{{or .nope .nil}}|{{and .t .name}}
{{or 1 (fail "x")}}{{and 0 (fail "x")}}
{{and 1 (fail "x")}}
{{1 | or 0}}{{1 | and 0}}{{nil | or}}
{{.name | or .nope}}{{.name | and .nope}}|
{{not 1}}{{not .nope}}{{not .nil}}{{not ""}}
{{not}}
{{len .list}}{{len .map}}{{len .name}}{{len .uni}}{{len (bytes "abc")}}{{len nilm}}{{len nils}}
{{len 1}}
{{len nil}}
{{len .nil}}
{{len .nope}}
{{.nil | len}}
{{index .list 1}}{{index .map "a"}}{{index .map "c" "d"}}{{index .mixed 4 "k"}}{{index .name 0}}{{index (bytes "a") 0}}{{index .list}}
{{index .list 3}}
{{index .list 4}}
{{index .list -1}}
{{index .list "a"}}
{{index .list nil}}
{{index .list 1.0}}
{{index .map 1}}
{{index .map nil}}
{{index .map "zz"}}|{{index (smap "a" "b") "zz"}}|
{{index .n 1}}
{{index nil 1}}
{{index .nope 1}}
{{index .nil 1}}
{{index .map "zz" "y"}}
{{index .name 9}}
{{index .name 4}}
{{index .list (u8 1)}}{{index .list (i64 2)}}
{{slice .name 1}}{{slice .name 1 2}}{{slice .name}}{{slice .list 1 2}}{{slice .list 1 2 3}}{{slice (bytes "abc") 1}}
{{slice .name 1 2 3}}
{{slice .name 3 2}}
{{slice .name 9}}
{{slice .list 0 9}}
{{slice .list 1 2 3 4}}
{{slice .n 1}}
{{slice nil 1}}
{{slice .list 2 3 1}}
{{print 1 2 "a" "b" 3 4.5 true nil (list 1)}}|{{println 1 "a"}}|{{print}}|{{println}}|{{print "a" 1 2 "b"}}
{{html .html}}|{{js .html}}|{{urlquery .html}}|{{html 1 "<" nil}}|{{html nil}}|{{js "a\u2028=\\\x00é"}}|{{urlquery "a b&c=ü/~"}}|{{html "\x00"}}|{{html .list}}
{{call fn 1 "a" "b"}}{{call fn 2}}
{{call fn "x"}}
{{call fn}}
{{call fn 1 2}}
{{call .name}}
{{call nil}}
{{call .n 1}}
{{.name | call}}
{{3 | call fn}}
{{eq 1 2 3 1}}{{eq 1 2 3}}
{{eq}}
{{eq 1}}
{{eq .name "demo"}}{{ne .name "demo"}}{{.name | eq "demo"}}
{{eq .n 3}}
{{lt "a" "b"}}{{lt 1 2}}{{lt 1.5 2.5}}{{le 1 1}}{{gt 2 1}}{{ge 1 2}}
{{lt 1}}
{{printf}}
{{printf 1}}
{{printf "%d"}}|{{printf "%d %d" 1}}|{{printf "x" 1 "a" nil}}|{{printf "%"}}|{{printf "%d%%" 5}}|{{printf "%-"}}|{{printf "%5"}}
{{printf "%[2]d %[1]d" 1 2}}|{{printf "%[3]d" 1}}|{{printf "%[x]d" 1}}|{{printf "%[1" 1}}|{{printf "%[1]*d" 5 6}}|{{printf "%*d" 5 42}}|{{printf "%-*d|" 5 42}}|{{printf "%*d" -5 42}}|{{printf "%.*f" 2 3.14159}}|{{printf "%*d" "a" 1}}|{{printf "%.*d" -1 1}}|{{printf "%[1]d %d" 1 2}}|{{printf "%[2]*[1]d" 2 5}}|{{printf "%[3]*.[2]*[1]f" 12.0 2 6}}|{{printf "%.[2]*[1]f" 12.0 2}}|{{printf "%[1]2d" 1}}|{{printf "%[1].2d" 1}}
{{printf "%99999999d" 1}}|{{printf "%.d" 5}}|{{printf "%.d" 0}}|{{printf "%5.d|" 0}}|{{printf "%+05d" 7}}|{{printf "% d" 7}}|{{printf "%x" -255}}|{{printf "%#x" "hi"}}|{{printf "% X" "hi"}}|{{printf "%#o" 8}}|{{printf "%08b" 5}}|{{printf "%c%c" 65 0x1F600}}|{{printf "%q" 65}}|{{printf "%q" 0x200b}}|{{printf "%U" 0x1F600}}|{{printf "%#U" 0x1F600}}|{{printf "%c" -1}}|{{printf "%.3s" "grüße"}}|{{printf "%5.1s|" "ü"}}|{{printf "%-8q|" "a"}}|{{printf "%+q" "ü"}}|{{printf "%#q" "a` + "`" + `b"}}|{{printf "%#q" "ab"}}
{{printf "%s %v %d" (list 1 "a") (dict "k" (list 1 2)) (list 1 2)}}|{{printf "%5d|%q" (list 1 2) (list "a" "b")}}|{{printf "%x" (strs "hi" "yo")}}|{{printf "%s" (bytes "hi")}}|{{printf "%x" (bytes "hi")}}|{{printf "%d" (bytes "hi")}}|{{printf "%q" (bytes "hi")}}|{{printf "%t" (bytes "hi")}}|{{printf "%t" "x"}}|{{printf "%.2f" "x"}}|{{printf "%d" 1.5}}|{{printf "%s" 1}}|{{printf "%s" nil}}|{{printf "%d" nil}}|{{printf "%s" (list nil)}}|{{printf "%d" (list nil "a")}}
{{1}}{{-1}}{{+1}}{{1_000}}{{0x1F}}{{0b101}}{{0o17}}{{017}}{{1e3}}{{1.5e-3}}{{0x1p4}}{{'a'}}{{'\n'}}{{'\x41'}}{{'\u00e9'}}{{'é'}}|{{1i}}|{{1+2i}}|{{1e1000}}
{{9223372036854775808}}
{{18446744073709551616}}
{{1.}}{{.5}}{{1e+2}}{{0.1}}{{100000000.0}}{{1e100}}{{123456.789}}{{1e5}}{{1e6}}{{1e-5}}
{{0_1}}{{1__0}}
{{0x}}
{{089}}
{{1a}}
{{1.2.3}}
{{'ab'}}
{{''}}
{{'a}}
{{"a}}
{{` + "`" + `a}}
{{"\q"}}
{{"a\tb\x41\u00e9\U0001F600\101\\\""}}|{{` + "`" + `raw\n"x"` + "`" + `}}
{{` + "`" + `a⏎b` + "`" + `}}{{.nope.x}}
{{"a⏎b"}}
{{true}}{{false}}{{true | printf "%v"}}
{{/* c */}}a{{- /* c */ -}} b {{/* c⏎d */ -}} e
{{/* c }}
{{/* c */ x}}
a {{- 1 -}} b
a {{-1}} b
a{{- "x" }}  {{ "y" -}}  b⏎⏎{{- 1 }}
{{- 3 -}} x {{- -}}
  {{- if .t -}}  yes  {{- else -}}  no  {{- end -}}  z
{{
{{ 1
{{ 1 }
{{ }}
{{}}
{{ | }}
{{1 |}}
{{| 1}}
{{(1}}
{{1)}}
{{(1) 2}}
{{()}}
{{((1))}}{{(add 1 (add 2 3))}}{{(dict "a" 1).a}}{{(dict "a" (dict "b" 2)).a.b}}
{{if}}x{{end}}
{{if .t}}x
{{if .t}}x{{else}}y{{else}}z{{end}}
{{end}}
{{else}}
{{if .t}}{{define "x"}}{{end}}{{end}}
{{define "x"}}{{define "y"}}{{end}}{{end}}
{{define x}}{{end}}
{{define "x" 1}}{{end}}
{{define "x"}}
{{define "x"}}{{else}}{{end}}
{{define "x"}}1{{end}}{{define "x"}}2{{end}}
{{define "x"}}[{{.}}{{$}}]{{end}}{{template "x"}}{{template "x" .name}}{{template "x" 1 | printf "%d"}}
{{$v := 1}}{{define "x"}}{{$v}}{{end}}
{{template "nope"}}
{{template nope}}
{{template "x" 1 2}}
{{template}}
{{block "b" .name}}<{{.}}>{{end}}{{template "b" 2}}
{{block "b"}}x{{end}}
{{define "r"}}{{if .}}{{.}}{{template "r" (slice . 1)}}{{end}}{{end}}{{template "r" "abc"}}
{{.a-b}}
{{$a-b}}
{{a-b}}
{{.a b}}
{{,}}
{{!}}
{{☃}}
{{.grün}}|{{.ключ}}
{{"ü" | printf "%q"}}{{printf "%d" (len "ü")}}{{index "ü" 0}}{{slice "ü" 0 1 | printf "%q"}}
{{ .name	|	print }}
{{.name|print}}{{.name|print|len}}
{{range .list}}
{{with $x := 1}}{{$x}}{{end}}{{$x}}
{{.map.a.b}}
{{.uni}}{{html .uni}}
{{.name.}}
{{..name}}
{{. name}}
{{.list.0}}
{{$.}}
{{:= 1}}
{{$x := }}
{{$x : 1}}
{{$x :=1}}{{$x}}
{{x := 1}}
{{.x := 1}}
{{range $i, $v := .list}}{{else}}{{$i}}{{end}}
{{range $i, $v := .el}}{{else}}{{$i}}{{$v}}{{end}}
{{range := .list}}{{end}}
{{and ($x := 1) $x}}{{$x}}
{{print ($y := 2) $y}}
{{with dict "a" nil}}{{.a}}|{{.a.b}}{{end}}
{{range dict "a" nil}}{{.}}|{{.b}}{{end}}
{{range list nil}}{{.}}{{up .}}{{end}}
{{range list nil}}{{len .}}{{end}}
{{range strs "a"}}{{.x}}{{end}}
{{range smap "a" "b"}}{{.x}}{{end}}
{{(smap "a" "b").a.x}}
{{$x := .nil}}{{$x.y}}|{{len $x}}
{{$x := .map}}{{$x.nope.y}}
{{printf "%v" .nil}}|{{printf "%v" .nope}}|{{printf "%d" .n}}|{{printf "%T %T %T" .n .list .map}}
{{template "x" .}}{{define "x"}}{{range .list}}{{template "y" .}}{{end}}{{end}}{{define "y"}}({{.}}){{end}}
`
