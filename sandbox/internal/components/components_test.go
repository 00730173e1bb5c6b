package components

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ompipe/ompipe/sandbox/internal/address"
	"github.com/ompipe/ompipe/sandbox/internal/layout"
	"sigs.k8s.io/yaml"
)

func cluster(t *testing.T) Cluster {
	t.Helper()
	networks, err := address.FreeNetworks(nil)
	if err != nil {
		t.Fatal(err)
	}
	l := layout.Layout{Dir: t.TempDir(), Run: t.TempDir(), ID: "0123"}
	return Cluster{Layout: l, Networks: networks, Port: 7443, Node: true}
}

func find(t *testing.T, c Cluster, name string) Component {
	t.Helper()
	all, err := c.All()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(all, func(one Component) bool { return one.Name == name })
	if at < 0 {
		t.Fatalf("no component %s", name)
	}
	return all[at]
}

func names(t *testing.T, c Cluster) string {
	t.Helper()
	all, err := c.All()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, one := range all {
		found = append(found, one.Name)
	}
	return strings.Join(found, " ")
}

func TestWhichComponentsBelongToACluster(t *testing.T) {
	c := cluster(t)
	if got := names(t, c); got != "etcd apiserver kcm scheduler containerd kubelet proxy" {
		t.Errorf("a node: %s", got)
	}
	c.Node, c.KwokPath = false, "/bin/kwok"
	if got := names(t, c); got != "etcd apiserver kcm scheduler kwok" {
		t.Errorf("a control plane with fake nodes: %s", got)
	}
}

func TestNothingListensBeyondLoopbackAndTheNode(t *testing.T) {
	c := cluster(t)
	for name, want := range map[string][]string{
		APIServer: {"--bind-address=127.0.0.1", "--advertise-address=" + c.Networks.Node.String(), "--authorization-mode=Node,RBAC"},
		Etcd:      {"--listen-client-urls=unix://" + c.Layout.EtcdSocket(), "--listen-peer-urls=unix://etcd:1"},
		KCM:       {"--secure-port=0", "--use-service-account-credentials=true"},
		Scheduler: {"--secure-port=0"},
	} {
		for _, argument := range want {
			if got := find(t, c, name).Arguments; !slices.Contains(got, argument) {
				t.Errorf("%s lacks %s: %v", name, argument, got)
			}
		}
	}
	for _, name := range []string{Containerd, Kubelet, Proxy} {
		if !find(t, c, name).InNode {
			t.Errorf("%s is in the host's network", name)
		}
	}
}

func TestUsersFlagsReplaceOurs(t *testing.T) {
	c := cluster(t)
	c.Extra = map[string][]string{
		APIServer: {"authorization-mode=AlwaysAllow", "--audit-log-path=-"},
		KCM:       {"node-monitor-grace-period=5s"},
	}
	got := find(t, c, APIServer).Arguments
	if slices.Contains(got, "--authorization-mode=Node,RBAC") || !slices.Contains(got, "--authorization-mode=AlwaysAllow") ||
		!slices.Contains(got, "--audit-log-path=-") {
		t.Errorf("apiserver: %v", got)
	}
	if got := find(t, c, KCM).Arguments; !slices.Contains(got, "--node-monitor-grace-period=5s") {
		t.Errorf("kcm: %v", got)
	}
	c.Extra = map[string][]string{Scheduler: {"v"}}
	if _, err := c.All(); err == nil || !strings.Contains(err.Error(), `--scheduler-arg: "v" is not NAME=VALUE`) {
		t.Errorf("a flag without a value: %v", err)
	}
}

func TestProxyLeavesTheMachinesLimitsAlone(t *testing.T) {
	c := cluster(t)
	if err := c.WriteProxyConfig(); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(c.Layout.ProxyConfig())
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Mode      string
		Conntrack struct{ MaxPerCore, Min *int }
	}
	if err := yaml.Unmarshal(written, &config); err != nil {
		t.Fatal(err)
	}
	if config.Mode != "nftables" || config.Conntrack.MaxPerCore == nil || *config.Conntrack.MaxPerCore != 0 || *config.Conntrack.Min != 0 {
		t.Errorf("%s", written)
	}
}

func TestKubeletConfigIsWritten(t *testing.T) {
	c := cluster(t)
	if err := c.WriteKubeletConfig([]byte("maxPods: 7")); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(c.Layout.KubeletConfig())
	if err != nil || !strings.Contains(string(written), "maxPods: 7\n") ||
		!strings.Contains(string(written), "address: "+c.Networks.Node.String()+"\n") {
		t.Errorf("%s, %v", written, err)
	}
}

func TestFakeNodesRepelRealPods(t *testing.T) {
	node := FakeNode(3)
	metadata := node["metadata"].(map[string]any)
	if metadata["name"] != "fake-3" || metadata["annotations"].(map[string]any)[FakeNodeAnnotation] != FakeNodeValue {
		t.Errorf("%v", metadata)
	}
	taint := node["spec"].(map[string]any)["taints"].([]any)[0].(map[string]any)
	if taint["effect"] != "NoSchedule" || taint["key"] != FakeNodeAnnotation {
		t.Errorf("%v", taint)
	}
}

func TestNodeAddressIsNotLoopback(t *testing.T) {
	if node := cluster(t).Networks.Node; node.IsLoopback() || node == (netip.Addr{}) {
		t.Errorf("%v: the kubelet refuses it", node)
	}
}
