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
	if output, err := b.kubectl(fakeJob, "apply", "-f", "-"); err != nil {
		t.Fatal(err, output)
	}
	b.becomes("1", "get", "job", "nothing", "-o", "jsonpath={.status.succeeded}")
	b.refuses("nothing to load images into", "load", "nothing.tar")
}

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
