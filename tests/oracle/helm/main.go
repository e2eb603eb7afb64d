// Command oracle is the reference Helm, so that charts can be rendered by it.
//
// With arguments it is `helm` itself: "template NAME CHART …" prints what `helm template` prints.
// With "serve" as the only argument it answers questions as they come; see serve.go.
// With "facts" as the only argument it prints the facts in our tables as JSON; see facts.go.
package main

import (
	"errors"
	"fmt"
	"os"

	"helm.sh/helm/v4/pkg/cmd"
	"helm.sh/helm/v4/pkg/kube"
)

func main() {
	kube.ManagedFieldsManager = "helm"
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		err = serve()
	case len(os.Args) == 2 && os.Args[1] == "facts":
		err = facts()
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
