package address

import (
	"errors"
	"net/netip"
)

// Networks are the address ranges of one sandbox, all from one /16 of its own.
type Networks struct {
	// Block contains all the others.
	Block netip.Prefix `json:"block"`
	// Pods is where pods get their addresses.
	Pods netip.Prefix `json:"pods"`
	// Services is where Services get theirs.
	Services netip.Prefix `json:"services"`
	// Host is the host's address as pods see it.
	Host netip.Addr `json:"host"`
	// Node is the node's InternalIP.
	Node netip.Addr `json:"node"`
}

// LinkBits is the prefix length of the network that Host and Node share.
const LinkBits = 30

// The blocks tried, 10.200.0.0/16 upwards: away from 10.0–10.100 of company
// networks and from 172.16/12 of Docker.
const (
	firstBlock = 200
	lastBlock  = 254
)

// FreeNetworks returns the first networks that overlap nothing in use.
func FreeNetworks(used []netip.Prefix) (Networks, error) {
	for octet := firstBlock; octet <= lastBlock; octet++ {
		networks := networksOf(byte(octet))
		if !overlapsAny(networks.Block, used) {
			return networks, nil
		}
	}
	return Networks{}, errors.New("no free network: every 10.200.0.0/16 to 10.254.0.0/16 overlaps a route of this host; " +
		"take unused sandboxes down or remove such routes (ip route)")
}

func networksOf(octet byte) Networks {
	return Networks{
		Block:    netip.PrefixFrom(netip.AddrFrom4([4]byte{10, octet, 0, 0}), 16),
		Pods:     netip.PrefixFrom(netip.AddrFrom4([4]byte{10, octet, 0, 0}), 17),
		Services: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, octet, 128, 0}), 18),
		Host:     netip.AddrFrom4([4]byte{10, octet, 255, 1}),
		Node:     netip.AddrFrom4([4]byte{10, octet, 255, 2}),
	}
}

// overlapsAny ignores default routes, which overlap everything.
func overlapsAny(block netip.Prefix, used []netip.Prefix) bool {
	for _, prefix := range used {
		if prefix.Bits() > 0 && prefix.Overlaps(block) {
			return true
		}
	}
	return false
}

// KubernetesService is the address of the Service kubernetes.default: the
// first of the service network, as the API server takes it.
func (n Networks) KubernetesService() netip.Addr { return n.Services.Addr().Next() }
