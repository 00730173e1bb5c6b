// Package components says how each program of the cluster is started.
package components

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/address"
	"github.com/ompipe/ompipe/sandbox/internal/layout"
)

// Names of components, as users type them.
const (
	Etcd       = "etcd"
	APIServer  = "apiserver"
	KCM        = "kcm"
	Scheduler  = "scheduler"
	Containerd = "containerd"
	Kubelet    = "kubelet"
	Proxy      = "proxy"
	Kwok       = "kwok"
)

// NodeName is the name of the only real node.
const NodeName = "sandbox"

// KubeletPort is the kubelet's usual port; it is in the node's network
// namespace, where nobody else is.
const KubeletPort = 10250

// Component is one program of the cluster.
type Component struct {
	// Name is what users call it.
	Name string
	// Program is what it runs as: a program inside this binary, unless Path is
	// given.
	Program string
	// Path is the program's file when it is not this binary.
	Path      string
	Arguments []string
	// InNode puts it into the node's network namespace.
	InNode bool
	// Grace is how long it may take to end by itself.
	Grace time.Duration
}

// Cluster is what the components' arguments depend on.
type Cluster struct {
	Layout   layout.Layout
	Networks address.Networks
	// Port is the API server's.
	Port int
	// Node is false for a control plane without a node.
	Node bool
	// KwokPath is the kwok binary, empty without fake nodes.
	KwokPath string
	// Extra holds users' flags, NAME=VALUE, by component.
	Extra map[string][]string
}

const defaultGrace = 10 * time.Second

// All returns the components of the cluster.
func (c Cluster) All() ([]Component, error) {
	all := []Component{c.etcd()}
	for _, one := range []struct {
		name, program string
		flags         flags
	}{
		{APIServer, "kube-apiserver", c.apiserver()},
		{KCM, "kube-controller-manager", c.controllerManager()},
		{Scheduler, "kube-scheduler", c.scheduler()},
	} {
		extra, err := parseFlags(c.Extra[one.name])
		if err != nil {
			return nil, fmt.Errorf("--%s-arg: %w", one.name, err)
		}
		all = append(all, Component{
			Name: one.name, Program: one.program, Grace: defaultGrace,
			Arguments: one.flags.override(extra).arguments(),
		})
	}
	if c.Node {
		all = append(all, c.containerd(), c.kubelet(), c.proxy())
	}
	if c.KwokPath != "" {
		all = append(all, c.kwok())
	}
	return all, nil
}

func (c Cluster) pki(name string) string { return filepath.Join(c.Layout.PKI(), name) }
