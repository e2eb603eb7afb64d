// Command oracle builds kustomizations with the reference library.
//
// Directories come as arguments, or one per line on stdin after the argument "-". Each answer is one
// JSON line on stdout: {"dir":…,"yaml":…} or {"dir":…,"error":…}. Flags before the directories:
//
//	-restrict     files must be in or below the directory of their kustomization file
//	-repeat N     build the first directory once, then everything N times in this one process, and print only
//	              nanoseconds per build of the latter
//
// With "tables" as the only argument it prints the facts in our tables; see tables.go.
// With "serve" as the only argument it answers questions as they come; see serve.go.
// With "yaml" as the only argument it reads a JSON list of YAML texts from stdin instead and prints
// what sigs.k8s.io/yaml makes of each: {"json":…,"yaml":…} or {"error":…}.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

type answer struct {
	Dir   string `json:"dir"`
	Yaml  string `json:"yaml,omitempty"`
	Error string `json:"error,omitempty"`
	// What the library printed to stderr; only "serve" takes it.
	Warnings string `json:"warnings,omitempty"`
}

func build(dir string, restrict bool) (a answer) {
	a.Dir = dir
	defer func() {
		if r := recover(); r != nil {
			a.Error = fmt.Sprintf("panic: %v", r)
		}
	}()
	o := krusty.MakeDefaultOptions()
	// What the command line does when nothing is asked for.
	o.Reorder = krusty.ReorderOptionUnspecified
	if !restrict {
		o.LoadRestrictions = types.LoadRestrictionsNone
	}
	m, err := krusty.MakeKustomizer(o).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	text, err := m.AsYaml()
	if err != nil {
		a.Error = err.Error()
		return a
	}
	a.Yaml = string(text)
	return a
}

func rewrite(out *json.Encoder) error {
	raw, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var texts []string
	if err := json.Unmarshal(raw, &texts); err != nil {
		return err
	}
	for _, text := range texts {
		line := map[string]string{}
		if j, err := yaml.YAMLToJSON([]byte(text)); err != nil {
			line["error"] = err.Error()
		} else if y, err := yaml.JSONToYAML(j); err != nil {
			line["error"] = err.Error()
		} else {
			line["json"], line["yaml"] = string(j), string(y)
		}
		if err := out.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func run() error {
	buffered := bufio.NewWriter(os.Stdout)
	defer buffered.Flush()
	out := json.NewEncoder(buffered)
	args := os.Args[1:]
	if len(args) == 1 && args[0] == "tables" {
		return printTables()
	}
	if len(args) == 1 && args[0] == "serve" {
		return serve()
	}
	if len(args) == 1 && args[0] == "yaml" {
		return rewrite(out)
	}
	restrict, repeat := false, 0
	var dirs []string
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "-restrict":
			restrict = true
		case "-repeat":
			i++
			n, err := strconv.Atoi(args[i])
			if err != nil {
				return err
			}
			repeat = n
		case "-":
			lines := bufio.NewScanner(os.Stdin)
			for lines.Scan() {
				dirs = append(dirs, lines.Text())
			}
		default:
			dirs = append(dirs, args[i])
		}
	}
	if repeat > 0 && len(dirs) > 0 {
		// What is done once per process, such as reading the built-in schema, is not what a warm process costs.
		if a := build(dirs[0], restrict); a.Error != "" {
			return fmt.Errorf("%s: %s", dirs[0], a.Error)
		}
		start := time.Now()
		for i := 0; i < repeat; i++ {
			for _, dir := range dirs {
				if a := build(dir, restrict); a.Error != "" {
					return fmt.Errorf("%s: %s", dir, a.Error)
				}
			}
		}
		fmt.Fprintln(buffered, time.Since(start).Nanoseconds()/int64(repeat*len(dirs)))
		return nil
	}
	for _, dir := range dirs {
		if err := out.Encode(build(dir, restrict)); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
