package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"os"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/apis/v1alpha1"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
	"sigs.k8s.io/kwok/pkg/log"
	kwokclient "sigs.k8s.io/kwok/pkg/utils/client"
	"sigs.k8s.io/yaml"
)

var (
	//go:embed stages/stages.yaml
	stagesYAML []byte
	// podState is the one place that decides what happens to a pod next; the stages say how.
	//go:embed stages/pod-state.jq
	podState string
)

// startKwok plays kubelet and volume provisioner for every node of the plane.
func (p *plane) startKwok(ctx context.Context) error {
	stages, err := loadStages()
	if err != nil {
		return err
	}
	clients, err := kwokclient.NewClientset("", p.files.kubeconfig("kwok"))
	if err != nil {
		return fmt.Errorf("making a client for kwok: %w", err)
	}
	config, err := clients.ToRESTConfig()
	if err != nil {
		return fmt.Errorf("reading the kubeconfig of kwok: %w", err)
	}
	dynamicClient, err := clients.ToDynamicClient()
	if err != nil {
		return fmt.Errorf("making a client for kwok: %w", err)
	}
	mapper, err := clients.ToRESTMapper()
	if err != nil {
		return fmt.Errorf("making a mapper for kwok: %w", err)
	}
	restClient, err := rest.RESTClientFor(config)
	if err != nil {
		return fmt.Errorf("making a client for kwok: %w", err)
	}
	typedClient, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client for kwok: %w", err)
	}
	controller, err := controllers.NewController(controllers.Config{
		Clock:                      clock.RealClock{},
		DynamicClient:              dynamicClient,
		RESTClient:                 restClient,
		RESTMapper:                 mapper,
		ImpersonatingDynamicClient: clients.ToImpersonatingDynamicClient(),
		ImpersonatingTypedClient:   clients.ToImpersonatingTypedClient(),
		TypedClient:                typedClient,
		ManageAllNodes:             true,
		CIDR:                       "10.244.0.0/16",
		NodeIP:                     "10.0.0.1",
		PodPlayStageParallelism:    4,
		NodePlayStageParallelism:   1,
		PodsOnNodeSyncParallelism:  1,
		LocalStages:                stages,
		ID:                         p.name,
	})
	if err != nil {
		return fmt.Errorf("preparing kwok: %w", err)
	}
	level := log.Level(slog.LevelWarn)
	if p.verbosity > 0 {
		level = log.Level(slog.LevelDebug)
	}
	if err := controller.Start(log.NewContext(ctx, log.NewLogger(os.Stderr, level))); err != nil {
		return fmt.Errorf("starting kwok: %w", err)
	}
	return nil
}

// loadStages reads the stages by the kind they are for. They stand in one file of several documents; `@pod-state@` in it
// is where the query goes.
func loadStages() (map[internalversion.StageResourceRef][]*internalversion.Stage, error) {
	quoted, err := yaml.Marshal(podState)
	if err != nil {
		return nil, fmt.Errorf("quoting stages/pod-state.jq: %w", err)
	}
	indented := bytes.ReplaceAll(bytes.TrimSpace(quoted), []byte("\n"), []byte("\n        "))
	text := bytes.ReplaceAll(stagesYAML, []byte("@pod-state@"), indented)

	stages := map[internalversion.StageResourceRef][]*internalversion.Stage{}
	for number, document := range bytes.Split(text, []byte("\n---\n")) {
		var stage v1alpha1.Stage
		if err := yaml.UnmarshalStrict(document, &stage); err != nil {
			return nil, fmt.Errorf("reading document %d of stages/stages.yaml: %w", number+1, err)
		}
		internal, err := internalversion.ConvertToInternalStage(&stage)
		if err != nil {
			return nil, fmt.Errorf("converting stage %s: %w", stage.Name, err)
		}
		stages[internal.Spec.ResourceRef] = append(stages[internal.Spec.ResourceRef], internal)
	}
	return stages, nil
}
