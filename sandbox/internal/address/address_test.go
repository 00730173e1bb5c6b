package address

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

func TestFreePortCanBeBound(t *testing.T) {
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
}

func prefixes(texts ...string) []netip.Prefix {
	var parsed []netip.Prefix
	for _, text := range texts {
		parsed = append(parsed, netip.MustParsePrefix(text))
	}
	return parsed
}

func TestFreeNetworksAvoidsWhatIsUsed(t *testing.T) {
	for name, c := range map[string]struct {
		used []netip.Prefix
		want string
	}{
		"nothing used":           {nil, "10.200.0.0/16"},
		"a default route":        {prefixes("0.0.0.0/0"), "10.200.0.0/16"},
		"another sandbox":        {prefixes("10.200.0.0/17", "10.200.255.0/30"), "10.201.0.0/16"},
		"one address":            {prefixes("10.200.77.1/32"), "10.201.0.0/16"},
		"a wider network":        {prefixes("10.192.0.0/12"), "10.208.0.0/16"},
		"only the middle is out": {prefixes("10.201.0.0/16"), "10.200.0.0/16"},
	} {
		got, err := FreeNetworks(c.used)
		if err != nil || got.Block != netip.MustParsePrefix(c.want) {
			t.Errorf("%s: %v, %v; want %s", name, got.Block, err, c.want)
		}
	}
	if _, err := FreeNetworks(prefixes("10.0.0.0/8")); err == nil {
		t.Error("no error although all of 10/8 is used")
	}
}

func TestNetworksOfOneSandboxAreApart(t *testing.T) {
	n := networksOf(200)
	link := netip.PrefixFrom(n.Host, LinkBits).Masked()
	if !link.Contains(n.Node) {
		t.Errorf("node %v is not on the host's link %v", n.Node, link)
	}
	ranges := []netip.Prefix{n.Pods, n.Services, link}
	for i, one := range ranges {
		if !n.Block.Overlaps(one) || one != one.Masked() {
			t.Errorf("%v is not a network of block %v", one, n.Block)
		}
		for _, other := range ranges[i+1:] {
			if one.Overlaps(other) {
				t.Errorf("%v overlaps %v", one, other)
			}
		}
	}
	if got := n.KubernetesService().String(); got != "10.200.128.1" {
		t.Errorf("KubernetesService = %s", got)
	}
}
