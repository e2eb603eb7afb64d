package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/namespace/deletion"
)

const (
	// How long a namespace rests before it is emptied. The namespace controller of Kubernetes waits five seconds, so
	// that API servers that do not know yet refuse what is created meanwhile; here is only one, and it knows at once.
	namespaceRest = 200 * time.Millisecond
	// How soon to look again when something is left. The other one estimates this from the grace periods of pods, of
	// which the imaginary kubelet makes no use.
	namespaceAgain = 200 * time.Millisecond
	// The most to wait when finalizers keep something for long.
	namespaceAtMost = 5 * time.Second
)

// startNamespaces empties namespaces that are being deleted, by the deleter of Kubernetes but with the patience of a
// test: its controller takes ten seconds for a namespace with one pod.
func (p *plane) startNamespaces(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", p.files.kubeconfig("controller-manager"))
	if err != nil {
		return fmt.Errorf("reading a kubeconfig for the namespace controller: %w", err)
	}
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client for the namespace controller: %w", err)
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client for the namespace controller: %w", err)
	}
	deleter := deletion.NewNamespacedResourcesDeleter(ctx, client.CoreV1().Namespaces(), metadataClient, client.CoreV1(),
		client.Discovery().ServerPreferredNamespacedResources, corev1.FinalizerKubernetes)

	queue := workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[string](namespaceAgain, namespaceAtMost))
	enqueue := func(object any) {
		if namespace, ok := object.(*corev1.Namespace); ok && namespace.DeletionTimestamp != nil {
			queue.AddAfter(namespace.Name, namespaceRest)
		}
	}
	informer := informers.NewSharedInformerFactory(client, 0).Core().V1().Namespaces().Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue,
		// Status updates of a namespace that is on its way come from the deleter itself; looking at them again at
		// once would be the busy loop that the rate limit is there to prevent.
		UpdateFunc: func(before, after any) {
			if before.(*corev1.Namespace).DeletionTimestamp == nil {
				enqueue(after)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watching namespaces: %w", err)
	}
	go informer.Run(ctx.Done())
	go func() {
		<-ctx.Done()
		queue.ShutDown()
	}()
	// A few at a time: tests that end together delete theirs together.
	for range 4 {
		go func() {
			for emptyNext(ctx, queue, deleter) {
			}
		}()
	}
	return nil
}

func emptyNext(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string], deleter deletion.NamespacedResourcesDeleterInterface) bool {
	name, shutdown := queue.Get()
	if shutdown {
		return false
	}
	defer queue.Done(name)
	err := deleter.Delete(ctx, name)
	if err == nil {
		queue.Forget(name)
		return true
	}
	var remaining *deletion.ResourcesRemainingError
	if !errors.As(err, &remaining) {
		klog.ErrorS(err, "Emptying a namespace", "namespace", name)
	}
	queue.AddRateLimited(name)
	return true
}
