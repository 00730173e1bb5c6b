package integration

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ompipe/ompipe/sandbox/internal/certs"
	"github.com/ompipe/ompipe/sandbox/internal/layout"
)

func TestFakeNodesRunPodsInName(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.must("up", "--control-plane-only", "--fake-nodes", "3")
	b.becomes("True True True", "get", "nodes", "-o",
		`jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`)
	t.Run("a Job", func(t *testing.T) {
		b.create(t, fakeJob)
		b.becomes("1", "get", "job", "nothing", "-o", "jsonpath={.status.succeeded}")
	})
	t.Run("pods that somebody owns", func(t *testing.T) {
		b.create(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: owner}}")
		for name, c := range map[string]struct{ annotations, want string }{
			"succeeds": {"", "Succeeded 0 Completed"},
			"fails":    {endsWith("exit-code", "3"), "Failed 3 Error"},
			"is-killed": {
				endsWith("exit-code", "137") + ", " + endsWith("reason", "OOMKilled") + ", " + endsWith("delay", "0.2s"),
				"Failed 137 OOMKilled",
			},
		} {
			b.create(t, b.fakePod(name, c.annotations))
			b.becomes(c.want, "get", "pod", name, "-o", podEnd)
		}
	})
	t.Run("a deleted pod that is tracked", func(t *testing.T) {
		b.create(t, b.fakePod("tracked", endsWith("delay", "1h")))
		b.becomes("Running", "get", "pod", "tracked", "-o", "jsonpath={.status.phase}")
		b.must("kubectl", "delete", "pod", "tracked", "--wait=false")
		b.becomes("Failed 143 Error", "get", "pod", "tracked", "-o", podEnd)
		b.must("kubectl", "patch", "pod", "tracked", "--type", "merge", "--patch", `{"metadata": {"finalizers": null}}`)
		b.must("kubectl", "wait", "--for=delete", "pod/tracked", "--timeout", patience.String())
	})
	b.refuses("nothing to load images into", "load", "nothing.tar")
}

const podEnd = "jsonpath={.status.phase} {.status.containerStatuses[0].state.terminated.exitCode}" +
	" {.status.containerStatuses[0].state.terminated.reason}"

// endsWith is an annotation that says how a fake pod ends.
func endsWith(what, value string) string {
	return fmt.Sprintf("pod-complete.stage.kwok.x-k8s.io/%s: %q", what, value)
}

// fakePod has an owner that is no Job, and a finalizer.
func (b box) fakePod(name, annotations string) string {
	b.t.Helper()
	uid := b.must("kubectl", "get", "configmap", "owner", "-o", "jsonpath={.metadata.uid}")
	return fmt.Sprintf(fakePod, name, uid, annotations)
}

const fakePod = `
apiVersion: v1
kind: Pod
metadata:
  name: %s
  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: %s, controller: true}]
  finalizers: [sandbox.test/tracking]
  annotations: {%s}
spec:
  restartPolicy: Never
  nodeSelector: {type: kwok}
  tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}]
  containers: [{name: main, image: no.such.image/at:all}]
`

const fakeJob = `
apiVersion: batch/v1
kind: Job
metadata: {name: nothing}
spec:
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {type: kwok}
      tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}]
      containers: [{name: main, image: no.such.image/at:all}]
`

func TestAdmissionIsAsOnAnOrdinaryCluster(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.must("up", "--control-plane-only")
	for name, c := range map[string]struct{ namespace, policy, pod, want string }{
		"pod security": {
			`labels: {pod-security.kubernetes.io/enforce: restricted}`, "", `securityContext: {privileged: true}`,
			"violates PodSecurity",
		},
		"quota": {
			"", `{apiVersion: v1, kind: ResourceQuota, metadata: {name: none}, spec: {hard: {pods: "0"}}}`, "",
			"exceeded quota",
		},
		"limits": {
			"", `{apiVersion: v1, kind: LimitRange, metadata: {name: low}, spec: {limits: [{type: Container, max: {memory: 1Mi}}]}}`,
			`resources: {limits: {memory: 2Mi}}`, "maximum memory usage per Container is 1Mi",
		},
	} {
		t.Run(name, func(t *testing.T) {
			namespace := strings.ReplaceAll(name, " ", "-")
			b.create(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+namespace+", "+c.namespace+"}")
			b.becomes("default", "get", "serviceaccount", "default", "-n", namespace, "-o", "jsonpath={.metadata.name}")
			if c.policy != "" {
				b.create(t, c.policy, "-n", namespace)
			}
			pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: main, image: x, " + c.pod + "}]}"
			// Quotas are refused only once a controller has counted.
			b.eventually("the refusal", func() error {
				output, err := b.kubectl(pod, "create", "--dry-run=server", "-f", "-", "-n", namespace)
				if err == nil || !strings.Contains(output, c.want) {
					return fmt.Errorf("%v: %s", err, output)
				}
				return nil
			})
		})
	}
}

func (b box) create(t *testing.T, object string, arguments ...string) {
	t.Helper()
	if output, err := b.kubectl(object, append([]string{"create", "-f", "-"}, arguments...)...); err != nil {
		t.Fatal(err, output)
	}
}

func TestTheAPIServerAsksWhoOneIs(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.must("up", "--control-plane-only")
	server := b.status().APIServer
	if !strings.HasPrefix(server, "https://127.0.0.1:") {
		t.Errorf("the API server is at %s", server)
	}
	if _, err := http.Get(server + "/api/v1/secrets"); err == nil {
		t.Error("a certificate of an unknown authority was accepted")
	}
	authority, err := os.ReadFile(filepath.Join(b.layout.PKI(), certs.AuthorityFile))
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(authority)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: known}}}
	answer, err := client.Get(server + "/api/v1/secrets")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("secrets for nobody in particular: %s", answer.Status)
	}
}

// TestWithoutRootThereIsAControlPlane runs the program as nobody.
func TestWithoutRootThereIsAControlPlane(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	const nobody = 65534
	home, err := os.MkdirTemp("/tmp", "ompipe-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	program := filepath.Join(home, "sandbox")
	copyProgram(t, program)
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	as := func(arguments ...string) string {
		command := exec.Command(program, arguments...)
		command.Dir = home
		command.Env = append(os.Environ(), "HOME="+home, layout.DirVariable+"="+filepath.Join(home, "box"))
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		output, err := command.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v\n%s", arguments, err, output)
		}
		return string(output)
	}
	defer as("down", "--purge")
	if said := as("up"); !strings.Contains(said, "not root: the control plane alone") {
		t.Errorf("up says %q", said)
	}
	if said := as("status"); !strings.Contains(said, "control plane only") {
		t.Errorf("status says %q", said)
	}
}

func copyProgram(t *testing.T, to string) {
	t.Helper()
	content, err := os.ReadFile(binary())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestAWrongKubeletConfigIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	file := filepath.Join(t.TempDir(), "kubelet.yaml")
	if err := os.WriteFile(file, []byte("- not a mapping\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.refuses("--kubelet-config", "up", "--kubelet-config", file)
	b.refuses("there is no sandbox", "status")
}
