package components

import (
	"strconv"

	"github.com/ompipe/ompipe/sandbox/internal/certs"
)

// etcd listens on Unix sockets only: it asks nobody who they are, and all of
// the cluster's secrets are in it.
func (c Cluster) etcd() Component {
	// etcd insists on host:port for what it advertises; with one member, and
	// with the API server told the socket, nobody uses it.
	const advertised = "unix://etcd:1"
	return Component{
		Name: Etcd, Program: "etcd", Grace: defaultGrace,
		Arguments: flags{
			{"name", "sandbox"},
			{"data-dir", c.Layout.EtcdData()},
			{"listen-client-urls", "unix://" + c.Layout.EtcdSocket()},
			{"advertise-client-urls", advertised},
			{"listen-peer-urls", advertised},
			{"initial-advertise-peer-urls", advertised},
			{"initial-cluster", "sandbox=" + advertised},
			// The only member need not wait a second for others to stand.
			{"heartbeat-interval", "20"},
			{"election-timeout", "100"},
			// The cluster does not outlive the machine, so neither must writes.
			{"unsafe-no-fsync", "true"},
			{"log-level", "warn"},
		}.arguments(),
	}
}

func (c Cluster) apiserver() flags {
	const issuer = "https://kubernetes.default.svc.cluster.local"
	return flags{
		{"etcd-servers", "unix://" + c.Layout.EtcdSocket()},
		{"bind-address", "127.0.0.1"},
		{"secure-port", strconv.Itoa(c.Port)},
		// Pods reach this address: the supervisor listens there, inside the
		// node's network namespace, and forwards to 127.0.0.1.
		{"advertise-address", c.Networks.Node.String()},
		{"service-cluster-ip-range", c.Networks.Services.String()},
		{"tls-cert-file", c.pki(certs.ServerCertificate)},
		{"tls-private-key-file", c.pki(certs.ServerKey)},
		{"client-ca-file", c.pki(certs.AuthorityFile)},
		{"kubelet-certificate-authority", c.pki(certs.AuthorityFile)},
		{"kubelet-client-certificate", c.pki(certs.ToKubeletCertificate)},
		{"kubelet-client-key", c.pki(certs.ToKubeletKey)},
		{"kubelet-preferred-address-types", "InternalIP"},
		{"service-account-issuer", issuer},
		{"service-account-key-file", c.pki(certs.ServiceAccountPublic)},
		{"service-account-signing-key-file", c.pki(certs.ServiceAccountKey)},
		{"authorization-mode", "Node,RBAC"},
		// Beside those that are on by default: LimitRanger, ResourceQuota,
		// ServiceAccount, PodSecurity and others.
		{"enable-admission-plugins", "NodeRestriction"},
		{"allow-privileged", "true"},
	}
}

func (c Cluster) controllerManager() flags {
	return flags{
		{"kubeconfig", c.Layout.ComponentKubeconfig(KCM)},
		{"use-service-account-credentials", "true"},
		{"service-account-private-key-file", c.pki(certs.ServiceAccountKey)},
		{"root-ca-file", c.pki(certs.AuthorityFile)},
		{"leader-elect", "false"},
		// Serves nothing that the sandbox needs.
		{"secure-port", "0"},
		// Each controller asks for a token of its own before it starts; at the
		// usual 20 requests a second that is most of the time of a start.
		{"kube-api-qps", "200"},
		{"kube-api-burst", "400"},
	}
}

func (c Cluster) scheduler() flags {
	return flags{
		{"kubeconfig", c.Layout.ComponentKubeconfig(Scheduler)},
		{"leader-elect", "false"},
		{"secure-port", "0"},
	}
}
