package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/yaml"
)

// A field of a built-in type that leads to a list which is merged by keys.
type tableField struct {
	Name string `json:"name"`
	// Whether it is such a list; else it is a map of type Type.
	List bool     `json:"list"`
	Keys []string `json:"keys"`
	// The type of the map, or of the list's elements; empty when that leads nowhere.
	Type string `json:"type,omitempty"`
}

type tableKind struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Type       string `json:"type"`
}

type tables struct {
	Kinds         []tableKind             `json:"kinds"`
	Types         map[string][]tableField `json:"types"`
	ClusterScoped [][2]string             `json:"clusterScoped"`
	Namespaced    [][2]string             `json:"namespaced"`
	// The default configuration of the transformers, by field.
	Defaults map[string]any `json:"defaults"`
}

// printTables writes the facts that our own tables hold. What the library does not export is read from
// its source, which `go list` finds; so it runs in the directory of this module.
func printTables() error {
	t := tables{Types: map[string][]tableField{}, Defaults: map[string]any{}}
	definitions := openapi.Schema().Definitions
	leads := map[string]bool{}
	// What leads to a merged list, until nothing new does.
	for again := true; again; {
		again = false
		for name, definition := range definitions {
			if !leads[name] && len(fieldsOf(definition, leads)) > 0 {
				leads[name], again = true, true
			}
		}
	}
	pending := []string{}
	for name, definition := range definitions {
		for _, kind := range kindsOf(definition) {
			if leads[name] {
				kind.Type = name
				t.Kinds = append(t.Kinds, kind)
				pending = append(pending, name)
			}
		}
	}
	for len(pending) > 0 {
		name := pending[0]
		pending = pending[1:]
		if _, done := t.Types[name]; done {
			continue
		}
		t.Types[name] = fieldsOf(definitions[name], leads)
		for _, field := range t.Types[name] {
			if field.Type != "" {
				pending = append(pending, field.Type)
			}
		}
	}
	sort.Slice(t.Kinds, func(i, j int) bool {
		a, b := t.Kinds[i], t.Kinds[j]
		return a.APIVersion < b.APIVersion || a.APIVersion == b.APIVersion && a.Kind < b.Kind
	})
	if err := t.readScopes(); err != nil {
		return err
	}
	if err := t.readDefaults(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(t)
}

func kindsOf(definition spec.Schema) (kinds []tableKind) {
	list, _ := definition.Extensions["x-kubernetes-group-version-kind"].([]any)
	for _, item := range list {
		text := func(key string) string { s, _ := item.(map[string]any)[key].(string); return s }
		version := text("version")
		if group := text("group"); group != "" {
			version = group + "/" + version
		}
		kinds = append(kinds, tableKind{APIVersion: version, Kind: text("kind")})
	}
	return kinds
}

func fieldsOf(definition spec.Schema, leads map[string]bool) (fields []tableField) {
	for name, property := range definition.Properties {
		strategy, _ := property.Extensions["x-kubernetes-patch-strategy"].(string)
		field := tableField{Name: name, Keys: []string{}}
		if target := referenceOf(property); leads[target] {
			field.Type = target
		}
		for _, part := range strings.Split(strategy, ",") {
			field.List = field.List || part == "merge"
		}
		field.List = field.List && property.Type.Contains("array")
		switch {
		case field.List:
			field.Type = ""
			if property.Items != nil && property.Items.Schema != nil {
				if target := referenceOf(*property.Items.Schema); leads[target] {
					field.Type = target
				}
			}
			if keys, found := property.Extensions["x-kubernetes-list-map-keys"].([]any); found {
				for _, key := range keys {
					field.Keys = append(field.Keys, fmt.Sprint(key))
				}
			} else if key, found := property.Extensions["x-kubernetes-patch-merge-key"].(string); found {
				field.Keys = append(field.Keys, key)
			}
		case field.Type == "":
			continue
		}
		fields = append(fields, field)
	}
	sort.Slice(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
	return fields
}

func referenceOf(schema spec.Schema) string {
	return strings.TrimPrefix(schema.Ref.String(), "#/definitions/")
}

func moduleDir(module string) (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	return strings.TrimSpace(string(out)), err
}

// readScopes reads the map that says which kinds have a namespace.
func (t *tables) readScopes() error {
	dir, err := moduleDir("sigs.k8s.io/kustomize/kyaml")
	if err != nil {
		return err
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, "openapi/openapi.go"), nil, 0)
	if err != nil {
		return err
	}
	object := file.Scope.Lookup("precomputedIsNamespaceScoped")
	if object == nil {
		return fmt.Errorf("precomputedIsNamespaceScoped is not where it was")
	}
	for _, element := range object.Decl.(*ast.ValueSpec).Values[0].(*ast.CompositeLit).Elts {
		pair := element.(*ast.KeyValueExpr)
		var kind [2]string
		for i, field := range pair.Key.(*ast.CompositeLit).Elts {
			text, err := strconv.Unquote(field.(*ast.KeyValueExpr).Value.(*ast.BasicLit).Value)
			if err != nil {
				return err
			}
			kind[i] = text
		}
		if pair.Value.(*ast.Ident).Name == "true" {
			t.Namespaced = append(t.Namespaced, kind)
		} else {
			t.ClusterScoped = append(t.ClusterScoped, kind)
		}
	}
	for _, list := range [][][2]string{t.Namespaced, t.ClusterScoped} {
		sort.Slice(list, func(i, j int) bool {
			return list[i][0] < list[j][0] || list[i][0] == list[j][0] && list[i][1] < list[j][1]
		})
	}
	return nil
}

// readDefaults reads the texts that configure the transformers.
func (t *tables) readDefaults() error {
	dir, err := moduleDir("sigs.k8s.io/kustomize/api")
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "internal/konfig/builtinpluginconsts/*.go"))
	if err != nil {
		return err
	}
	constants := map[string]ast.Expr{}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for name, object := range file.Scope.Objects {
			if value, found := object.Decl.(*ast.ValueSpec); found && object.Kind == ast.Con {
				constants[name] = value.Values[0]
			}
		}
	}
	for name, value := range constants {
		// This one is a part of another.
		if !strings.HasSuffix(name, "FieldSpecs") || name == "metadataLabelsFieldSpecs" {
			continue
		}
		text, err := textOf(value, constants)
		if err != nil {
			return err
		}
		if err := yaml.Unmarshal([]byte(text), &t.Defaults); err != nil {
			return err
		}
	}
	return nil
}

// textOf is the value of a constant text: a literal, another constant, or both joined.
func textOf(value ast.Expr, constants map[string]ast.Expr) (string, error) {
	switch value := value.(type) {
	case *ast.BasicLit:
		return strconv.Unquote(value.Value)
	case *ast.Ident:
		return textOf(constants[value.Name], constants)
	case *ast.BinaryExpr:
		left, err := textOf(value.X, constants)
		if err != nil {
			return "", err
		}
		right, err := textOf(value.Y, constants)
		return left + right, err
	}
	return "", fmt.Errorf("a constant is no text: %T", value)
}
