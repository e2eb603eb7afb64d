package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// provisioner is the name under which the stages provide volumes.
const provisioner = "bed.nave.dev/volume"

func clientFor(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", kubeconfig, err)
	}
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client from %s: %w", kubeconfig, err)
	}
	return client, nil
}

// seed creates what a real cluster has from its installer: nodes and a default storage class. What is there already
// (a shared etcd, a second start on one folder) is left alone.
func seed(ctx context.Context, client kubernetes.Interface, nodes int) error {
	for n := range nodes {
		name := nodeName(n)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
			},
		}}
		capacity := corev1.ResourceList{
			corev1.ResourceCPU:              resource.MustParse("256"),
			corev1.ResourceMemory:           resource.MustParse("1Ti"),
			corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
			corev1.ResourcePods:             resource.MustParse("10000"),
		}
		node.Status.Capacity, node.Status.Allocatable = capacity, capacity
		if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating node %s: %w", name, err)
		}
	}
	class := &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: "standard", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: provisioner,
	}
	if _, err := client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating storage class standard: %w", err)
	}
	return nil
}

func nodeName(n int) string { return fmt.Sprintf("node-%d", n+1) }

// answers says whether a health check of the API server is passed.
func answers(ctx context.Context, client kubernetes.Interface, path string) error {
	if _, err := client.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// usable says whether a test can begin: the API server is ready (which includes the default roles), pods in the default
// namespace get their service account and its root certificate, and there is a node that takes them.
func usable(ctx context.Context, client kubernetes.Interface, nodes int) error {
	if err := answers(ctx, client, "/readyz"); err != nil {
		return err
	}
	if _, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err != nil {
		return err
	}
	if _, err := client.CoreV1().ConfigMaps("default").Get(ctx, "kube-root-ca.crt", metav1.GetOptions{}); err != nil {
		return err
	}
	for n := range nodes {
		node, err := client.CoreV1().Nodes().Get(ctx, nodeName(n), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(node.Spec.Taints) > 0 {
			return fmt.Errorf("node %s has taint %s", node.Name, node.Spec.Taints[0].Key)
		}
		if !isReady(node) {
			return fmt.Errorf("node %s is not ready", node.Name)
		}
	}
	return nil
}

func isReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
