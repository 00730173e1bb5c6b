package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Used lists the networks that this host routes to or has addresses in.
func Used() ([]netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list this host's routes: %w", err)
	}
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list this host's addresses: %w", err)
	}
	var used []netip.Prefix
	for _, route := range routes {
		used = appendNetwork(used, route.Dst)
	}
	for _, address := range addresses {
		used = appendNetwork(used, address.IPNet)
	}
	return used, nil
}

func appendNetwork(used []netip.Prefix, network *net.IPNet) []netip.Prefix {
	if network == nil {
		return used
	}
	ip, ok := netip.AddrFromSlice(network.IP)
	if !ok {
		return used
	}
	bits, _ := network.Mask.Size()
	return append(used, netip.PrefixFrom(ip.Unmap(), bits).Masked())
}

// RemoveLink removes the host's end of a node's cable, and with it the other
// end and the host's routes. A link that does not exist is no error.
func RemoveLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("remove link %s: %w", name, err)
	}
	return nil
}
