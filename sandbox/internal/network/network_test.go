package network

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ompipe/ompipe/sandbox/internal/address"
)

func TestUsedKnowsTheLoopbackNetwork(t *testing.T) {
	used, err := Used()
	if err != nil {
		t.Fatal(err)
	}
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	for _, prefix := range used {
		if prefix == loopback {
			return
		}
	}
	t.Fatalf("%v lacks %v", used, loopback)
}

func TestRemovingALinkThatDoesNotExist(t *testing.T) {
	if err := RemoveLink("omp-no-such"); err != nil {
		t.Fatal(err)
	}
}

func TestAppendNetworkMasksAndIgnoresDefaultRoutes(t *testing.T) {
	_, network, _ := net.ParseCIDR("10.1.2.3/8")
	network.IP = net.ParseIP("10.1.2.3")
	got := appendNetwork(appendNetwork(nil, nil), network)
	if len(got) != 1 || got[0] != netip.MustParsePrefix("10.0.0.0/8") {
		t.Fatalf("%v", got)
	}
}

// TestHostAndNodeReachEachOther makes a real namespace; without root it checks
// that the refusal is reported.
func TestHostAndNodeReachEachOther(t *testing.T) {
	used, err := Used()
	if err != nil {
		t.Fatal(err)
	}
	networks, err := address.FreeNetworks(used)
	if err != nil {
		t.Fatal(err)
	}
	node, err := Create("omptest", networks)
	if os.Geteuid() != 0 {
		if err == nil {
			t.Fatal("a network namespace without root")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	t.Cleanup(func() { _ = RemoveLink("omptest") })
	inside := netip.AddrPortFrom(networks.Node, 7000)
	listener, err := node.Listen(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connection, err := net.Dial("tcp", inside.String())
	if err != nil {
		t.Fatalf("from host to node: %v", err)
	}
	connection.Close()
	childrenRunInside(t, node)
}

func childrenRunInside(t *testing.T, node *Node) {
	t.Helper()
	output := &strings.Builder{}
	command := exec.Command("cat", "/proc/net/dev")
	command.Stdout = output
	if err := node.Start(command); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil || strings.Contains(output.String(), "omptest") ||
		!strings.Contains(output.String(), nodeLink) {
		t.Fatalf("links that a child sees: %s, %v", output, err)
	}
}
