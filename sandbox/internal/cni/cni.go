// Package cni describes the pods' network to containerd.
package cni

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// NetworkName is the name of the pods' network.
const NetworkName = "ompipe-sandbox"

// bridge is the bridge's name; it lives in the node's network namespace, so
// every sandbox may use the same.
const bridge = "cni0"

type list struct {
	Version string   `json:"cniVersion"`
	Name    string   `json:"name"`
	Plugins []plugin `json:"plugins"`
}

type plugin struct {
	Type         string          `json:"type"`
	Bridge       string          `json:"bridge,omitempty"`
	IsGateway    bool            `json:"isGateway,omitempty"`
	Hairpin      bool            `json:"hairpinMode,omitempty"`
	Addresses    *addresses      `json:"ipam,omitempty"`
	Capabilities map[string]bool `json:"capabilities,omitempty"`
}

type addresses struct {
	Type   string     `json:"type"`
	Ranges [][]subnet `json:"ranges"`
	Routes []route    `json:"routes"`
}

type subnet struct {
	Subnet netip.Prefix `json:"subnet"`
}

type route struct {
	Destination string `json:"dst"`
}

// Config is the network configuration list: a bridge with addresses from pods,
// and host ports.
func Config(pods netip.Prefix) ([]byte, error) {
	return json.MarshalIndent(list{
		Version: "1.0.0",
		Name:    NetworkName,
		Plugins: []plugin{
			{
				Type: "bridge", Bridge: bridge, IsGateway: true,
				// A pod may reach itself through its own Service.
				Hairpin: true,
				Addresses: &addresses{
					Type: "host-local", Ranges: [][]subnet{{{pods}}}, Routes: []route{{"0.0.0.0/0"}},
				},
			},
			{Type: "portmap", Capabilities: map[string]bool{"portMappings": true}},
		},
	}, "", "  ")
}

// Write puts the configuration into dir, where containerd looks for it.
func Write(dir string, pods netip.Prefix) error {
	config, err := Config(pods)
	if err != nil {
		return fmt.Errorf("write the pods' network configuration: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "10-sandbox.conflist"), config, 0o600)
}
