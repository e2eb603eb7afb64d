// Records what Helm's own libraries store for a release from its installation to its end.
//
// It prints one JSON document: for every step the Secrets as they are then. See record.sh.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	goyaml "go.yaml.in/yaml/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"sigs.k8s.io/yaml"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	kubefake "helm.sh/helm/v4/pkg/kube/fake"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// secrets keeps Secrets in memory, as far as the storage driver asks for them.
type secrets struct {
	typed.SecretInterface
	kept map[string]*corev1.Secret
}

var resource = schema.GroupResource{Resource: "secrets"}

func (s *secrets) Create(_ context.Context, secret *corev1.Secret, _ metav1.CreateOptions) (*corev1.Secret, error) {
	if s.kept[secret.Name] != nil {
		return nil, apierrors.NewAlreadyExists(resource, secret.Name)
	}
	s.kept[secret.Name] = secret.DeepCopy()
	return secret, nil
}

func (s *secrets) Update(_ context.Context, secret *corev1.Secret, _ metav1.UpdateOptions) (*corev1.Secret, error) {
	s.kept[secret.Name] = secret.DeepCopy()
	return secret, nil
}

func (s *secrets) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Secret, error) {
	if found := s.kept[name]; found != nil {
		return found.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(resource, name)
}

func (s *secrets) Delete(_ context.Context, name string, _ metav1.DeleteOptions) error {
	delete(s.kept, name)
	return nil
}

func (s *secrets) List(_ context.Context, options metav1.ListOptions) (*corev1.SecretList, error) {
	selector, err := labels.Parse(options.LabelSelector)
	if err != nil {
		return nil, err
	}
	list := &corev1.SecretList{}
	for _, secret := range s.kept {
		if selector.Matches(labels.Set(secret.Labels)) {
			list.Items = append(list.Items, *secret.DeepCopy())
		}
	}
	return list, nil
}

// observation is what Flux digests of a release.
type observation struct {
	Name          string         `json:"name"`
	Version       int            `json:"version"`
	Info          release.Info   `json:"info"`
	ChartMetadata chart.Metadata `json:"chartMetadata"`
	Config        map[string]any `json:"config"`
	Manifest      string         `json:"manifest"`
	Hooks         []release.Hook `json:"hooks"`
	Namespace     string         `json:"namespace"`
	OCIDigest     string         `json:"ociDigest"`
}

func digest(rel *release.Release) string {
	seen := observation{Name: rel.Name, Version: rel.Version, Info: *rel.Info, ChartMetadata: *rel.Chart.Metadata,
		Manifest: rel.Manifest, Namespace: rel.Namespace}
	if len(rel.Config) > 0 {
		seen.Config = rel.Config
	}
	for _, hook := range rel.Hooks {
		test := false
		for _, event := range hook.Events {
			test = test || event == release.HookTest
		}
		if !test {
			seen.Hooks = append(seen.Hooks, *hook)
		}
	}
	hash := sha256.New()
	check(json.NewEncoder(hash).Encode(seen))
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
}

type record struct {
	Secret       string            `json:"secret"`
	Type         string            `json:"type"`
	Labels       map[string]string `json:"labels"`
	Release      string            `json:"release"`
	JSON         string            `json:"json"`
	Digest       string            `json:"digest"`
	ConfigDigest string            `json:"configDigest"`
}

// configDigest digests values as YAML with all keys sorted by their bytes.
func configDigest(values map[string]any) string {
	hash := sha256.New()
	if len(values) > 0 {
		text, err := yaml.Marshal(values)
		check(err)
		var items goyaml.MapSlice
		check(goyaml.Unmarshal(text, &items))
		sortItems(items)
		text, err = goyaml.Marshal(items)
		check(err)
		hash.Write(text)
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
}

func sortItems(value any) {
	switch value := value.(type) {
	case goyaml.MapSlice:
		sort.Slice(value, func(i, j int) bool { return fmt.Sprint(value[i].Key) < fmt.Sprint(value[j].Key) })
		for _, item := range value {
			sortItems(item.Value)
		}
	case []any:
		for _, item := range value {
			sortItems(item)
		}
	}
}

type step struct {
	Step    string   `json:"step"`
	Error   string   `json:"error,omitempty"`
	Records []record `json:"records"`
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func file(name, text string) *common.File { return &common.File{Name: name, Data: []byte(text)} }

func shop(version string) *chart.Chart {
	return &chart.Chart{
		Metadata: &chart.Metadata{
			Name: "shop", Version: version, APIVersion: "v2", AppVersion: "7", Type: "application",
			Description: "a shop <with> signs & \"quotes\" \u2028",
			Keywords:    []string{"a", "b"}, Sources: []string{"https://example.com"},
			Maintainers:  []*chart.Maintainer{{Name: "N", Email: "n@example.com"}},
			Annotations:  map[string]string{"z": "1", "a": "2"},
			Dependencies: []*chart.Dependency{{Name: "db", Version: "1.x", Repository: "", Condition: "db.enabled"}},
		},
		Lock:   &chart.Lock{Digest: "sha256:0", Dependencies: []*chart.Dependency{{Name: "db", Version: "1.2.3", Repository: ""}}},
		Values: map[string]any{"replicas": float64(2), "ratio": 0.25, "big": 1e21, "small": 1e-7, "text": "<a&b>", "list": []any{true, nil, "x"}, "empty": map[string]any{}},
		Schema: []byte(`{"type":"object"}`),
		Templates: []*common.File{
			file("templates/config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  text: {{ .Values.text | quote }}\n  version: \""+version+"\"\n"),
			file("templates/pre.yaml", "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: pre\n  annotations:\n    helm.sh/hook: pre-install,pre-upgrade\n    helm.sh/hook-weight: \"-5\"\n    helm.sh/hook-delete-policy: hook-succeeded\n"),
			file("templates/test.yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: check\n  annotations:\n    helm.sh/hook: test\n    helm.sh/hook-output-log-policy: hook-failed\n"),
			file("templates/NOTES.txt", "Hello {{ .Release.Name }}\n"),
		},
		Files: []*common.File{file("README.md", "# Shop\n")},
	}
}

func main() {
	kept := &secrets{kept: map[string]*corev1.Secret{}}
	fail := &kubefake.FailingKubeClient{PrintingKubeClient: kubefake.PrintingKubeClient{Out: io.Discard}}
	configuration := action.NewConfiguration()
	configuration.Releases = storage.Init(driver.NewSecrets(kept))
	configuration.KubeClient = fail
	configuration.Capabilities = common.DefaultCapabilities
	var steps []step
	note := func(name string, err error) {
		now := step{Step: name}
		if err != nil {
			now.Error = err.Error()
		}
		var names []string
		for name := range kept.kept {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			secret := kept.kept[name]
			found, err := configuration.Releases.Driver.Get(name)
			check(err)
			rel := found.(*release.Release)
			text, err := json.Marshal(rel)
			check(err)
			now.Records = append(now.Records, record{Secret: name, Type: string(secret.Type), Labels: secret.Labels,
				Release: string(secret.Data["release"]), JSON: string(text), Digest: digest(rel), ConfigDigest: configDigest(rel.Config)})
		}
		steps = append(steps, now)
	}

	install := action.NewInstall(configuration)
	install.ReleaseName, install.Namespace = "shop", "market"
	install.Labels = map[string]string{"team": "green"}
	_, err := install.Run(shop("1.0.0"), map[string]any{"replicas": float64(3), "nested": map[string]any{"z": "ü", "a": int64(5)}, "a10": "1e3", "a2": []any{map[string]any{"b": 1.5, "B": "", "a_b": nil}}, "aB": 1e21, "text": "two\nlines <b>"})
	check(err)
	note("install", nil)

	upgrade := func(version string, values map[string]any) error {
		upgrade := action.NewUpgrade(configuration)
		upgrade.Namespace, upgrade.ServerSideApply, upgrade.MaxHistory = "market", "auto", 3
		_, err := upgrade.Run("shop", shop(version), values)
		return err
	}
	check(upgrade("1.1.0", map[string]any{"replicas": float64(4)}))
	note("upgrade", nil)

	test := action.NewReleaseTesting(configuration)
	test.Namespace = "market"
	_, shutdown, err := test.Run("shop")
	check(err)
	check(shutdown())
	note("test", nil)

	fail.UpdateError = errors.New("no <room>")
	note("failed upgrade", upgrade("1.2.0", map[string]any{}))
	fail.UpdateError = nil

	rollback := action.NewRollback(configuration)
	rollback.Version, rollback.ServerSideApply = 2, "auto"
	check(rollback.Run("shop"))
	note("rollback", nil)

	check(upgrade("1.3.0", map[string]any{"replicas": float64(5)}))
	note("upgrade over the limit of history", nil)

	uninstall := action.NewUninstall(configuration)
	uninstall.KeepHistory = true
	_, err = uninstall.Run("shop")
	check(err)
	note("uninstall", nil)

	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	check(encoder.Encode(steps))
}
