package main

import (
	"encoding/json"
	"os"

	"helm.sh/helm/v4/pkg/chart/common"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
)

// facts prints what a rendering knows of a cluster when there is none, and the orders of kinds.
func facts() error {
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", " ")
	return out.Encode(map[string]any{
		"kubeVersion":    common.DefaultCapabilities.KubeVersion.Version,
		"helmVersion":    common.DefaultCapabilities.HelmVersion,
		"apiVersions":    common.DefaultCapabilities.APIVersions,
		"installOrder":   releaseutil.InstallOrder,
		"uninstallOrder": releaseutil.UninstallOrder,
	})
}
