package components

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/ompipe/ompipe/sandbox/internal/certs"
	"github.com/ompipe/ompipe/sandbox/internal/kubelet"
	"github.com/ompipe/ompipe/sandbox/internal/kwok"
	"sigs.k8s.io/yaml"
)

func (c Cluster) containerd() Component {
	return Component{
		Name: Containerd, Program: "containerd", Path: "containerd", InNode: true, Grace: defaultGrace,
		Arguments: []string{"--config", c.Layout.ContainerdConfig()},
	}
}

func (c Cluster) kubelet() Component {
	return Component{
		Name: Kubelet, Program: "kubelet", InNode: true, Grace: defaultGrace,
		Arguments: flags{
			{"config", c.Layout.KubeletConfig()},
			{"kubeconfig", c.Layout.ComponentKubeconfig(Kubelet)},
			{"hostname-override", NodeName},
			{"node-ip", c.Networks.Node.String()},
		}.arguments(),
	}
}

func (c Cluster) proxy() Component {
	return Component{
		Name: Proxy, Program: "kube-proxy", InNode: true, Grace: defaultGrace,
		Arguments: flags{{"config", c.Layout.ProxyConfig()}}.arguments(),
	}
}

// kwok moves pods and nodes through their lives without running anything. It
// touches only nodes that say they are fake.
func (c Cluster) kwok() Component {
	return Component{
		Name: Kwok, Program: "kwok", Path: c.KwokPath, Grace: defaultGrace,
		Arguments: flags{
			{"kubeconfig", c.Layout.ComponentKubeconfig(Kwok)},
			{"config", kwok.Stages(c.KwokPath)},
			{"config", c.Layout.KwokConfig()},
			{"manage-all-nodes", "false"},
			{"manage-nodes-with-annotation-selector", FakeNodeAnnotation + "=" + FakeNodeValue},
			{"node-lease-duration-seconds", "40"},
		}.arguments(),
	}
}

// WriteKubeletConfig writes the file that the kubelet reads, with a user's
// YAML merged over ours.
func (c Cluster) WriteKubeletConfig(overrides []byte) error {
	return kubelet.Write(c.Layout.KubeletConfig(), kubelet.Settings{
		Address:             c.Networks.Node,
		Containerd:          c.Layout.ContainerdSocket(),
		Cgroup:              c.Layout.Cgroup(),
		PluginDir:           filepath.Join(c.Layout.Run, "volume-plugins"),
		ClientAuthorityFile: c.pki(certs.AuthorityFile),
		CertificateFile:     c.pki(certs.KubeletCertificate),
		KeyFile:             c.pki(certs.KubeletKey),
	}, overrides)
}

// WriteKwokConfig writes the file that kwok reads beside its own stages.
func (c Cluster) WriteKwokConfig() error {
	return os.WriteFile(c.Layout.KwokConfig(), kwok.Config, 0o600)
}

// WriteProxyConfig writes the file that kube-proxy reads.
func (c Cluster) WriteProxyConfig() error {
	config, err := yaml.Marshal(c.proxyConfig())
	if err != nil {
		return fmt.Errorf("write kube-proxy's configuration: %w", err)
	}
	return os.WriteFile(c.Layout.ProxyConfig(), config, 0o600)
}

func (c Cluster) proxyConfig() map[string]any {
	return map[string]any{
		"apiVersion":       "kubeproxy.config.k8s.io/v1alpha1",
		"kind":             "KubeProxyConfiguration",
		"mode":             "nftables",
		"hostnameOverride": NodeName,
		"clusterCIDR":      c.Networks.Pods.String(),
		"clientConnection": map[string]any{"kubeconfig": c.Layout.ComponentKubeconfig(Proxy)},
		// Answers then come back through the node even between pods on one
		// bridge, whether or not the kernel shows bridged packets to nftables.
		"nftables": map[string]any{"masqueradeAll": true},
		// Limits of the whole machine are not ours to set.
		"conntrack": map[string]any{
			"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
		},
		"oomScoreAdj":        0,
		"healthzBindAddress": "127.0.0.1:10256",
	}
}
