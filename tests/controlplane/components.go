package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controllermanageroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// The components are started from their option types and not from their commands: each command installs a signal
// handler of its own, and only one per process is allowed.

// configureLogging is done once for all components; they share klog.
func configureLogging(verbosity int) {
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	_ = flags.Set("v", strconv.Itoa(verbosity))
}

func (p *plane) startAPIServer(ctx context.Context, failed chan<- error) error {
	arguments := []string{
		"--etcd-servers=" + p.etcdURL,
		"--etcd-prefix=" + p.etcdPrefix,
		"--etcd-compaction-interval=0",
		"--bind-address=127.0.0.1",
		"--tls-cert-file=" + p.files.path("apiserver.crt"),
		"--tls-private-key-file=" + p.files.path("apiserver.key"),
		"--client-ca-file=" + p.files.path("ca.crt"),
		"--requestheader-client-ca-file=" + p.files.path("ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + p.files.path("front-proxy.crt"),
		"--proxy-client-key-file=" + p.files.path("front-proxy.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + p.files.path("service-account.key"),
		"--service-account-signing-key-file=" + p.files.path("service-account.key"),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=Node,RBAC",
		"--allow-privileged=true",
		"--profiling=false",
		// A Service cannot point to 127.0.0.1, so the address of the API server is not published as one.
		"--endpoint-reconciler-type=none",
	}
	if p.auditLog != "" {
		policy := "audit-policy.yaml"
		if p.auditBody {
			policy = "audit-policy-with-bodies.yaml"
		}
		arguments = append(arguments,
			"--audit-policy-file="+p.files.path(policy),
			"--audit-log-path="+p.auditLog,
			"--audit-log-format=json",
			// Written before the answer is complete, so that a test that has its answer finds it in the log.
			"--audit-log-mode=blocking",
			"--audit-log-maxsize=4096",
		)
	}
	o := apiserveroptions.NewServerRunOptions()
	if err := parseFlags("kube-apiserver", o.Flags(), arguments); err != nil {
		return err
	}
	o.SecureServing.Listener = p.listener
	if err := o.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("setting the feature gates: %w", err)
	}
	completed, err := o.Complete(ctx)
	if err != nil {
		return fmt.Errorf("completing the options of kube-apiserver: %w", err)
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return fmt.Errorf("validating the options of kube-apiserver: %w", errors.Join(errs...))
	}
	go func() { failed <- fmt.Errorf("kube-apiserver ended: %w", apiserver.Run(ctx, completed)) }()
	return nil
}

func (p *plane) startControllerManager(ctx context.Context, failed chan<- error) error {
	o, err := controllermanageroptions.NewKubeControllerManagerOptions()
	if err != nil {
		return fmt.Errorf("preparing kube-controller-manager: %w", err)
	}
	known, disabled, aliases := controllermanager.KnownControllers(), controllermanager.ControllersDisabledByDefault(), controllermanager.ControllerAliases()
	err = parseFlags("kube-controller-manager", o.Flags(known, disabled, aliases), []string{
		"--kubeconfig=" + p.files.kubeconfig("controller-manager"),
		"--secure-port=0",
		"--leader-elect=false",
		"--service-account-private-key-file=" + p.files.path("service-account.key"),
		"--root-ca-file=" + p.files.path("ca.crt"),
		"--cluster-signing-cert-file=" + p.files.path("ca.crt"),
		"--cluster-signing-key-file=" + p.files.path("ca.key"),
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		// The imaginary nodes have no heartbeat to watch, no volumes to attach and nothing to scale by; a plane that
		// was paused must not come back to find its pods evicted. For namespaces see namespaces.go.
		"--controllers=*,-node-lifecycle-controller,-taint-eviction-controller,-device-taint-eviction-controller," +
			"-node-ipam-controller,-namespace-controller,-ttl-controller,-persistentvolume-attach-detach-controller," +
			"-persistentvolume-expander-controller,-horizontal-pod-autoscaler-controller," +
			"-legacy-serviceaccount-token-cleaner-controller",
	})
	if err != nil {
		return err
	}
	config, err := o.Config(ctx, known, disabled, aliases)
	if err != nil {
		return fmt.Errorf("configuring kube-controller-manager: %w", err)
	}
	go func() {
		failed <- fmt.Errorf("kube-controller-manager ended: %w", orEnded(controllermanager.Run(ctx, config.Complete())))
	}()
	return nil
}

func (p *plane) startScheduler(ctx context.Context, failed chan<- error) error {
	o := scheduleroptions.NewOptions()
	err := parseFlags("kube-scheduler", *o.Flags, []string{
		"--kubeconfig=" + p.files.kubeconfig("scheduler"),
		"--secure-port=0",
		"--leader-elect=false",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
	})
	if err != nil {
		return err
	}
	config, instance, err := scheduler.Setup(ctx, o)
	if err != nil {
		return fmt.Errorf("configuring kube-scheduler: %w", err)
	}
	go func() { failed <- fmt.Errorf("kube-scheduler ended: %w", scheduler.Run(ctx, config, instance)) }()
	return nil
}

// orEnded makes an error of a component that returns none although it should run for ever.
func orEnded(err error) error {
	if err == nil {
		return errors.New("no error given")
	}
	return err
}

func parseFlags(component string, sets cliflag.NamedFlagSets, arguments []string) error {
	flags := pflag.NewFlagSet(component, pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		flags.AddFlagSet(set)
	}
	if err := flags.Parse(arguments); err != nil {
		return fmt.Errorf("parsing the flags of %s: %w", component, err)
	}
	return nil
}
