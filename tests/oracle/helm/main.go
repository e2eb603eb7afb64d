// Command oracle is the reference Helm, so that charts can be rendered by it.
//
// With arguments it is `helm` itself: "template NAME CHART …" prints what `helm template` prints.
// With "serve" as the only argument it answers questions as they come; see serve.go.
// With "index FILE" it reads the index of a chart repository, and prints how many charts it has.
// With "facts" as the only argument it prints the facts in our tables as JSON; see facts.go.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"helm.sh/helm/v4/pkg/cmd"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/repo/v1"
)

func main() {
	kube.ManagedFieldsManager = "helm"
	// A controller is Helm's library under a name of its own: a link to this program that is called so.
	if name := filepath.Base(os.Args[0]); strings.HasSuffix(name, "-controller") {
		kube.ManagedFieldsManager = name
	}
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		err = serve()
	case len(os.Args) == 2 && os.Args[1] == "facts":
		err = facts()
	case len(os.Args) == 3 && os.Args[1] == "index":
		err = index(os.Args[2])
	default:
		root, broken := cmd.NewRootCmd(os.Stdout, os.Args[1:], cmd.SetupLogging)
		if broken == nil {
			broken = root.Execute()
		}
		if code, ok := errors.AsType[cmd.CommandError](broken); ok {
			os.Exit(code.ExitCode)
		}
		if broken != nil {
			os.Exit(1)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func index(path string) error {
	file, err := repo.LoadIndexFile(path)
	if err != nil {
		return err
	}
	fmt.Println(len(file.Entries))
	return nil
}
