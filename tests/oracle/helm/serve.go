package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/cmd"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
)

// A question is a command line ("args"), or a chart on disk with values to be rendered "repeat" times with
// the library, the first of which is not counted.
type question struct {
	Args   []string       `json:"args"`
	Chart  string         `json:"chart"`
	Values map[string]any `json:"values"`
	Repeat int            `json:"repeat"`
}

type answer struct {
	Text  string `json:"text"`
	Error string `json:"error,omitempty"`
	// Of one rendering, loading of the chart included; only for "repeat".
	Nanoseconds int64 `json:"nanoseconds,omitempty"`
}

// serve answers one JSON question per line on stdin with one JSON answer per line on stdout.
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
		a := answer{}
		if q.Args != nil {
			a = command(q.Args)
		} else {
			a = repeat(q)
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func command(args []string) (a answer) {
	defer func() {
		if r := recover(); r != nil {
			a.Error = fmt.Sprintf("panic: %v", r)
		}
	}()
	var out bytes.Buffer
	root, err := cmd.NewRootCmd(&out, args, func(bool) {})
	if err != nil {
		return answer{Error: err.Error()}
	}
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(io.Discard)
	if err := root.Execute(); err != nil {
		return answer{Text: out.String(), Error: err.Error()}
	}
	return answer{Text: out.String()}
}

func repeat(q question) answer {
	var text string
	render := func() error {
		chart, err := loader.Load(q.Chart)
		if err != nil {
			return err
		}
		client := action.NewInstall(action.NewConfiguration())
		client.DryRunStrategy = action.DryRunClient
		client.ReleaseName, client.Namespace, client.Replace = "release-name", "default", true
		client.APIVersions = common.VersionSet{}
		release, err := client.Run(chart, q.Values)
		if err != nil {
			return err
		}
		text = release.(*releasev1.Release).Manifest
		return nil
	}
	if err := render(); err != nil {
		return answer{Error: err.Error()}
	}
	start := time.Now()
	for range q.Repeat {
		if err := render(); err != nil {
			return answer{Error: err.Error()}
		}
	}
	return answer{Text: text, Nanoseconds: time.Since(start).Nanoseconds() / int64(max(q.Repeat, 1))}
}
