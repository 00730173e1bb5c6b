// Package kubelet writes the KubeletConfiguration of the sandbox's node.
package kubelet

import (
	"fmt"
	"net/netip"
	"os"

	"sigs.k8s.io/yaml"
)

// Settings are what the configuration depends on.
type Settings struct {
	Address             netip.Addr
	Containerd          string
	Cgroup              string
	PluginDir           string
	ClientAuthorityFile string
	CertificateFile     string
	KeyFile             string
}

// Config is the configuration as YAML, with overrides (YAML, may be empty)
// merged over it.
func Config(settings Settings, overrides []byte) ([]byte, error) {
	own, err := Parse(overrides)
	if err != nil {
		return nil, err
	}
	return yaml.Marshal(merge(settings.base(), own))
}

func (s Settings) base() map[string]any {
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",

		"address":             s.Address.String(),
		"healthzPort":         0,
		"tlsCertFile":         s.CertificateFile,
		"tlsPrivateKeyFile":   s.KeyFile,
		"authentication":      s.authentication(),
		"authorization":       map[string]any{"mode": "Webhook"},
		"clusterDomain":       "cluster.local",
		"clusterDNS":          []any{s.Address.String()},
		"volumePluginDir":     s.PluginDir,
		"serializeImagePulls": false,

		"containerRuntimeEndpoint": "unix://" + s.Containerd,
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               "/" + s.Cgroup,

		// The host's name servers cannot be reached from the node, and asking
		// them would cost each lookup a timeout.
		"resolvConf": "",
		// kube-proxy programs nftables; these chains are for iptables.
		"makeIPTablesUtilChains": false,
		// A developer's machine is shared with other work: run with swap,
		// reserve nothing, evict nothing and delete no image unless asked to.
		"failSwapOn":                  false,
		"enforceNodeAllocatable":      []any{},
		"evictionHard":                map[string]any{},
		"imageGCHighThresholdPercent": 100,
		// The machine's own programs matter more than the sandbox's.
		"oomScoreAdj": 0,
		// With control groups of version 2 the kernel would kill the whole container, and with it
		// the supervisor that tells why; with version 1 it is so anyway.
		"singleProcessOOMKill": true,
	}
}

func (s Settings) authentication() map[string]any {
	return map[string]any{
		"anonymous": map[string]any{"enabled": false},
		"webhook":   map[string]any{"enabled": true},
		"x509":      map[string]any{"clientCAFile": s.ClientAuthorityFile},
	}
}

// Parse reads overrides and checks that they are for a kubelet.
func Parse(overrides []byte) (map[string]any, error) {
	var parsed map[string]any
	if err := yaml.UnmarshalStrict(overrides, &parsed); err != nil {
		return nil, fmt.Errorf("the kubelet configuration is not a YAML map: %w", err)
	}
	if kind, given := parsed["kind"]; given && kind != "KubeletConfiguration" {
		return nil, fmt.Errorf("the kubelet configuration has kind %v, want KubeletConfiguration", kind)
	}
	return parsed, nil
}

// merge lays the values of over on those of base: maps key by key, everything
// else as a whole. A null removes the key.
func merge(base, over map[string]any) map[string]any {
	for key, value := range over {
		inner, isMap := value.(map[string]any)
		below, wasMap := base[key].(map[string]any)
		switch {
		case value == nil:
			delete(base, key)
		case isMap && wasMap:
			base[key] = merge(below, inner)
		default:
			base[key] = value
		}
	}
	return base
}

// Write puts the configuration into file.
func Write(file string, settings Settings, overrides []byte) error {
	config, err := Config(settings, overrides)
	if err != nil {
		return err
	}
	return os.WriteFile(file, config, 0o600)
}
