package kubelet

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var settings = Settings{
	Address:             netip.MustParseAddr("10.200.255.2"),
	Containerd:          "/run/c.sock",
	Cgroup:              "ompipe-sandbox-1",
	ClientAuthorityFile: "/pki/ca.crt",
}

func config(t *testing.T, overrides string) map[string]any {
	t.Helper()
	written, err := Config(settings, []byte(overrides))
	if err != nil {
		t.Fatal(err)
	}
	var parsed map[string]any
	if err := yaml.Unmarshal(written, &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestTheKubeletIsClosedToStrangers(t *testing.T) {
	got := config(t, "")
	want := map[string]any{
		"anonymous": map[string]any{"enabled": false},
		"webhook":   map[string]any{"enabled": true},
		"x509":      map[string]any{"clientCAFile": "/pki/ca.crt"},
	}
	if !reflect.DeepEqual(got["authentication"], want) {
		t.Errorf("authentication %v", got["authentication"])
	}
	if !reflect.DeepEqual(got["authorization"], map[string]any{"mode": "Webhook"}) {
		t.Errorf("authorization %v", got["authorization"])
	}
	if got["cgroupRoot"] != "/ompipe-sandbox-1" || got["containerRuntimeEndpoint"] != "unix:///run/c.sock" {
		t.Errorf("%v", got)
	}
}

func TestOnlyTheProcessThatUsesTooMuchMemoryIsKilled(t *testing.T) {
	if got := config(t, "")["singleProcessOOMKill"]; got != true {
		t.Errorf("singleProcessOOMKill %v", got)
	}
}

func TestOverridesAreMergedOver(t *testing.T) {
	got := config(t, `
kind: KubeletConfiguration
containerLogMaxSize: 1Mi
evictionHard: {memory.available: 500Mi}
authentication: {webhook: {cacheTTL: 1s}}
enforceNodeAllocatable: [pods]
clusterDNS: null
`)
	want := map[string]any{
		"anonymous": map[string]any{"enabled": false},
		"webhook":   map[string]any{"enabled": true, "cacheTTL": "1s"},
		"x509":      map[string]any{"clientCAFile": "/pki/ca.crt"},
	}
	if !reflect.DeepEqual(got["authentication"], want) {
		t.Errorf("nested maps: %v", got["authentication"])
	}
	if got["containerLogMaxSize"] != "1Mi" || !reflect.DeepEqual(got["evictionHard"], map[string]any{"memory.available": "500Mi"}) {
		t.Errorf("new keys: %v, %v", got["containerLogMaxSize"], got["evictionHard"])
	}
	if !reflect.DeepEqual(got["enforceNodeAllocatable"], []any{"pods"}) {
		t.Errorf("lists are replaced: %v", got["enforceNodeAllocatable"])
	}
	if _, there := got["clusterDNS"]; there {
		t.Error("null did not remove the key")
	}
}

func TestBadOverridesAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ overrides, want string }{
		"a list":          {"- a", "not a YAML map"},
		"a repeated key":  {"a: 1\na: 2", "already"},
		"of another kind": {"kind: Pod", "KubeletConfiguration"},
		"broken":          {"{a: ", "not a YAML map"},
	} {
		if _, err := Config(settings, []byte(c.overrides)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
