// Package network builds the network of the node: a namespace of its own,
// joined to the host by one virtual cable.
//
// Everything that a node adds to a machine's network (the pods' bridge, the
// packet filter rules of Services, sysctls) stays inside. The host's firewall
// does not apply to pods, several sandboxes do not meet, and the kernel removes
// all of it when the last process of the node has ended.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"

	"github.com/ompipe/ompipe/sandbox/internal/address"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// nodeLink is the node's end of the cable.
const nodeLink = "eth0"

// Node is the network namespace of the node.
type Node struct {
	namespace netns.NsHandle
}

// Create makes the namespace and connects it to the host by a link of the
// given name. Pods and Services are routed to it.
func Create(link string, networks address.Networks) (*Node, error) {
	namespace, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("create a network namespace: %w", err)
	}
	node := &Node{namespace: namespace}
	if err := node.connect(link, networks); err != nil {
		node.Close()
		return nil, fmt.Errorf("connect the network namespace: %w", err)
	}
	return node, nil
}

// newNamespace runs on a thread that is never given back: the Go runtime ends
// a locked thread with its goroutine, so no other goroutine lands in the
// namespace by accident.
func newNamespace() (netns.NsHandle, error) {
	var namespace netns.NsHandle
	err := onOwnThread(func() (err error) {
		namespace, err = netns.New()
		return err
	})
	return namespace, err
}

func onOwnThread(work func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- work()
	}()
	return <-done
}

// within runs work on a thread inside the namespace.
func (n *Node) within(work func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(n.namespace); err != nil {
			return fmt.Errorf("enter the node's network namespace: %w", err)
		}
		return work()
	})
}

// Start starts the command inside the namespace.
func (n *Node) Start(command *exec.Cmd) error {
	return n.within(command.Start)
}

// Listen opens a TCP socket inside the namespace; it stays there whoever
// accepts from it.
func (n *Node) Listen(at netip.AddrPort) (net.Listener, error) {
	var listener net.Listener
	err := n.within(func() (err error) {
		listener, err = net.Listen("tcp", at.String())
		return err
	})
	return listener, err
}

// ListenPacket opens a UDP socket inside the namespace.
func (n *Node) ListenPacket(at netip.AddrPort) (net.PacketConn, error) {
	var connection net.PacketConn
	err := n.within(func() (err error) {
		connection, err = net.ListenPacket("udp", at.String())
		return err
	})
	return connection, err
}

// Close lets go of the namespace; it ends with the last process inside.
func (n *Node) Close() { _ = n.namespace.Close() }

func (n *Node) connect(link string, networks address.Networks) error {
	cable := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: link},
		PeerName:      nodeLink,
		PeerNamespace: netlink.NsFd(int(n.namespace)),
	}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("add link %s: %w", link, err)
	}
	if err := n.setUpNode(networks); err != nil {
		return fmt.Errorf("inside: %w", err)
	}
	return setUpHost(link, networks)
}

func (n *Node) setUpNode(networks address.Networks) error {
	inside, err := netlink.NewHandleAt(n.namespace)
	if err != nil {
		return err
	}
	defer inside.Close()
	return errors.Join(
		raise(inside, "lo"),
		assign(inside, nodeLink, networks.Node),
		raise(inside, nodeLink),
		n.within(forwardPackets),
	)
}

// forwardPackets makes the node a router between host and pods. The file
// belongs to the network namespace of the thread that opens it.
func forwardPackets() error {
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1\n"), 0o644)
}

func setUpHost(link string, networks address.Networks) error {
	host, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer host.Close()
	return errors.Join(
		assign(host, link, networks.Host),
		raise(host, link),
		route(host, networks.Pods, networks.Node),
		route(host, networks.Services, networks.Node),
	)
}

func raise(handle *netlink.Handle, name string) error {
	link, err := handle.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := handle.LinkSetUp(link); err != nil {
		return fmt.Errorf("set link %s up: %w", name, err)
	}
	return nil
}

func assign(handle *netlink.Handle, name string, ip netip.Addr) error {
	link, err := handle.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	network := &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(address.LinkBits, ip.BitLen())}
	if err := handle.AddrAdd(link, &netlink.Addr{IPNet: network}); err != nil {
		return fmt.Errorf("give %v to link %s: %w", ip, name, err)
	}
	return nil
}

func route(handle *netlink.Handle, to netip.Prefix, via netip.Addr) error {
	destination := &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())}
	if err := handle.RouteAdd(&netlink.Route{Dst: destination, Gw: via.AsSlice()}); err != nil {
		return fmt.Errorf("route %v via %v: %w", to, via, err)
	}
	return nil
}
