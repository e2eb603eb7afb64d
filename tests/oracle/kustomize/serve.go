package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/openapi"
)

type question struct {
	Dir      string `json:"dir"`
	Restrict bool   `json:"restrict"`
}

// serve answers one JSON question per line on stdin with one JSON answer per line on stdout. Every build
// starts as in a process of its own, though schemas are global to the library.
func serve() error {
	out := json.NewEncoder(os.Stdout)
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			return err
		}
		a, err := buildWithWarnings(q)
		if err != nil {
			return err
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

// buildWithWarnings takes what the library prints to stderr into the answer.
func buildWithWarnings(q question) (answer, error) {
	file, err := os.CreateTemp("", "oracle-stderr")
	if err != nil {
		return answer{}, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	stderr := os.Stderr
	os.Stderr = file
	a := build(q.Dir, q.Restrict)
	if openapi.GetSchemaVersion() == "using custom schema from file provided" {
		// What came of it may depend on the schemas of builds before; the common case keeps them, because
		// reading them takes longer than a build.
		openapi.ResetOpenAPI()
		if err := file.Truncate(0); err != nil {
			return answer{}, err
		}
		a = build(q.Dir, q.Restrict)
		openapi.ResetOpenAPI()
	}
	os.Stderr = stderr
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return answer{}, err
	}
	text, err := io.ReadAll(file)
	a.Warnings = strings.TrimLeft(string(text), "\x00")
	return a, err
}
