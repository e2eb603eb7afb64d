// Program controlplane is a whole Kubernetes control plane in one process, for tests: etcd, API server, controller
// manager, scheduler, and kwok in the place of kubelets. Pods run and Deployments become ready with no container engine.
//
//	controlplane up        one plane, until standard input closes or a signal arrives
//	controlplane version   what is inside
//	etcd, kube-apiserver   when called by these names (a link to this file), or as the first argument
//
// It is not for production: etcd runs without fsync, and the node is imaginary.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	name, arguments := filepath.Base(os.Args[0]), os.Args[1:]
	if name != "etcd" && name != "kube-apiserver" && len(arguments) > 0 {
		name, arguments = arguments[0], arguments[1:]
	}
	switch name {
	case "up":
		if err := up(arguments); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				os.Exit(2)
			}
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
	case "version":
		printVersions()
	case "etcd":
		etcdmain.Main(append([]string{"etcd"}, arguments...))
	case "kube-apiserver":
		os.Args = append([]string{"kube-apiserver"}, arguments...)
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	default:
		fmt.Fprintln(os.Stderr, "usage: controlplane up [flags] | version | etcd … | kube-apiserver …")
		os.Exit(2)
	}
}

// printVersions prints the module versions that decide how a plane behaves, one per line.
func printVersions() {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		fmt.Println("built without module information")
		return
	}
	fmt.Println("go", info.GoVersion)
	for _, module := range info.Deps {
		switch module.Path {
		case "k8s.io/kubernetes", "go.etcd.io/etcd/server/v3", "sigs.k8s.io/kwok":
			fmt.Println(module.Path, module.Version)
		}
	}
}
