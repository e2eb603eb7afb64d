package main

import (
	"fmt"
	"net/url"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// startEtcd runs a one-member etcd on a free port and returns its client URL.
//
// Writes are not flushed to disk and the log is small: what a test leaves behind is worth nothing, and a machine that
// starts several planes should not wait for its disk.
func startEtcd(dir string, failed chan<- error) (string, error) {
	wal.SegmentSizeBytes = 4 << 20
	anyPort := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	config := embed.NewConfig()
	config.Dir = dir
	config.Name = "default"
	config.ListenClientUrls, config.AdvertiseClientUrls = anyPort, anyPort
	config.ListenPeerUrls, config.AdvertisePeerUrls = anyPort, anyPort
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.UnsafeNoFsync = true
	config.QuotaBackendBytes = 8 << 30
	// Its gateway would dial the advertised port, which is not the real one.
	config.EnableGRPCGateway = false
	config.LogLevel = "error"
	config.LogOutputs = []string{"stderr"}
	// A single member elects itself; the default of a second is time spent waiting for nobody.
	config.TickMs, config.ElectionMs = 10, 100

	server, err := embed.StartEtcd(config)
	if err != nil {
		return "", fmt.Errorf("starting etcd: %w", err)
	}
	go func() { failed <- fmt.Errorf("etcd ended: %w", <-server.Err()) }()
	<-server.Server.ReadyNotify()
	return "http://" + server.Clients[0].Addr().String(), nil
}
