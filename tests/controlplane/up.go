package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
)

// options is what was typed after `up`.
type options struct {
	name       string
	dir        string
	port       int
	etcd       string
	auditLog   string
	auditBody  bool
	nodes      int
	watchStdin bool
	verbosity  int
}

// plane is one control plane while it starts.
type plane struct {
	options
	etcdURL    string
	etcdPrefix string
	listener   net.Listener
	url        string
	files      files
}

// ready is the line printed once, when the plane can be used.
type ready struct {
	Name       string `json:"name"`
	URL        string `json:"url"`
	Kubeconfig string `json:"kubeconfig"`
	CA         string `json:"ca"`
	Etcd       string `json:"etcd"`
	AuditLog   string `json:"auditLog,omitempty"`
	Pid        int    `json:"pid"`
	// Milliseconds from the start of the process, by phase; what is slow is what to look at.
	Millis map[string]int64 `json:"millis"`
}

func parse(arguments []string) (options, error) {
	var o options
	set := flag.NewFlagSet("up", flag.ContinueOnError)
	set.StringVar(&o.name, "name", "plane", "name of the plane, used for its kubeconfig context")
	set.StringVar(&o.dir, "dir", "", "folder for all data; removed at exit (default: a new temporary folder)")
	set.IntVar(&o.port, "port", 0, "port of the API server on 127.0.0.1 (default: any free one)")
	set.StringVar(&o.etcd, "etcd", "embedded", "'embedded', or the client URL of an etcd to share; each plane then keeps to a prefix of its name")
	set.StringVar(&o.auditLog, "audit-log", "", "file for the audit log: metadata level, one JSON object per line")
	set.BoolVar(&o.auditBody, "audit-bodies", false, "record the bodies of writes as well")
	set.IntVar(&o.nodes, "nodes", 1, "number of imaginary nodes")
	set.BoolVar(&o.watchStdin, "watch-stdin", true, "stop when standard input closes or the parent dies")
	set.IntVar(&o.verbosity, "v", 0, "verbosity of the logs on standard error")
	if err := set.Parse(arguments); err != nil {
		return o, err
	}
	if set.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	if o.nodes < 0 || o.nodes > 1000 {
		return o, fmt.Errorf("--nodes is %d, expected 0 to 1000", o.nodes)
	}
	return o, nil
}

// up brings one plane up, says so on standard output, and lives until it is told to end.
//
// The order follows what needs what: certificates and etcd at the same time, then the API server, then everybody who
// talks to it. Whichever component fails first ends the process: half a plane would only confuse a test.
func up(arguments []string) error {
	started := time.Now()
	o, err := parse(arguments)
	if err != nil {
		return err
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "controlplane-"); err != nil {
			return fmt.Errorf("creating a temporary folder: %w", err)
		}
	} else if err = os.MkdirAll(o.dir, 0o700); err != nil {
		return fmt.Errorf("creating the data folder: %w", err)
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return fmt.Errorf("resolving the data folder: %w", err)
	}
	if o.watchStdin {
		if err = dieWithParent(); err != nil {
			return err
		}
	}
	ended := watchForEnd(o.watchStdin)
	defer os.RemoveAll(o.dir)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- run(ctx, o, started) }()
	select {
	case err = <-result:
		return err
	case reason := <-ended:
		fmt.Fprintln(os.Stderr, "stopping:", reason)
		return nil
	}
}

// run starts the components and returns when the first of them ends.
func run(ctx context.Context, o options, started time.Time) error {
	p := &plane{options: o, etcdURL: o.etcd, etcdPrefix: "/registry"}
	millis := map[string]int64{}
	phase := func(name string) { millis[name] = time.Since(started).Milliseconds() }

	// The listener is opened before anything else, so that the port is ours and the address is known to the certificates.
	var err error
	if p.listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port))); err != nil {
		return fmt.Errorf("listening for the API server: %w", err)
	}
	p.url = "https://" + p.listener.Addr().String()

	// Five components can each fail once.
	failed := make(chan error, 5)
	if o.etcd == "embedded" {
		if p.etcdURL, err = startEtcd(filepath.Join(o.dir, "etcd"), failed); err != nil {
			return err
		}
	} else {
		p.etcdPrefix = "/planes/" + o.name
	}
	if p.files, err = writeFiles(o.dir, o.name, p.url); err != nil {
		return err
	}
	phase("etcd")

	configureLogging(o.verbosity)
	if err = p.startAPIServer(ctx, failed); err != nil {
		return err
	}
	admin, err := clientFor(p.files.kubeconfig("admin"))
	if err != nil {
		return err
	}
	// To answer at all is enough for users of system:masters, which all components are.
	if err = waitFor(ctx, failed, "the API server to serve", func() error { return answers(ctx, admin, "/livez/ping") }); err != nil {
		return err
	}
	phase("api-server")

	if err = p.startScheduler(ctx, failed); err != nil {
		return err
	}
	if err = p.startKwok(ctx); err != nil {
		return err
	}
	if err = seed(ctx, admin, o.nodes); err != nil {
		return err
	}
	// The controller manager gives up when the API server is not healthy within ten seconds, and on a busy machine the
	// default roles take longer. It would not do anything before that anyway.
	if err = waitFor(ctx, failed, "the API server to be ready", func() error { return answers(ctx, admin, "/readyz") }); err != nil {
		return err
	}
	if err = p.startControllerManager(ctx, failed); err != nil {
		return err
	}
	if err = p.startNamespaces(ctx); err != nil {
		return err
	}
	phase("started")

	if err = waitFor(ctx, failed, "the plane to be usable", func() error { return usable(ctx, admin, o.nodes) }); err != nil {
		return err
	}
	phase("ready")

	line, err := json.Marshal(ready{
		Name: o.name, URL: p.url, Kubeconfig: p.files.kubeconfig("admin"), CA: p.files.path("ca.crt"),
		Etcd: p.etcdURL, AuditLog: o.auditLog, Pid: os.Getpid(), Millis: millis,
	})
	if err != nil {
		return fmt.Errorf("writing the ready line: %w", err)
	}
	fmt.Println(string(line))

	select {
	case err = <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// waitFor asks every 50 ms until the condition holds, for at most two minutes.
func waitFor(ctx context.Context, failed <-chan error, what string, condition func() error) error {
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case failure := <-failed:
			return failure
		case <-deadline:
			return fmt.Errorf("waiting for %s: %w", what, err)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func init() {
	// The components ask for deprecated kinds on purpose; their warnings say nothing about a test.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
}
