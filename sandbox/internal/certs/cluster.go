package certs

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/kubeconfig"
)

// Files of the directory that Write fills.
const (
	AuthorityFile         = "ca.crt"
	ServerCertificate     = "apiserver.crt"
	ServerKey             = "apiserver.key"
	KubeletCertificate    = "kubelet.crt"
	KubeletKey            = "kubelet.key"
	ToKubeletCertificate  = "apiserver-kubelet-client.crt"
	ToKubeletKey          = "apiserver-kubelet-client.key"
	ServiceAccountKey     = "service-account.key"
	ServiceAccountPublic  = "service-account.pub"
	keyMode               = 0o600
	kubeconfigSuffix      = ".kubeconfig"
	administratorFileName = "admin"
)

// ToKubeletUser is who the API server is when it calls a kubelet; it is bound
// to the role system:kubelet-api-admin and to nothing else.
const ToKubeletUser = "ompipe-sandbox:apiserver-to-kubelet"

// KwokUser is who kwok is; it may do only what faking nodes needs.
const KwokUser = "ompipe-sandbox:kwok"

// Cluster says what certificates are for.
type Cluster struct {
	// Port is the API server's.
	Port int
	// NodeName and NodeAddress are the kubelet's.
	NodeName    string
	NodeAddress netip.Addr
	// Service is the address of kubernetes.default.
	Service netip.Addr
}

// Local is the API server's URL on the host.
func (c Cluster) Local() string { return fmt.Sprintf("https://127.0.0.1:%d", c.Port) }

// FromNode is the API server's URL in the node's network namespace.
func (c Cluster) FromNode() string { return fmt.Sprintf("https://%s:%d", c.NodeAddress, c.Port) }

// login is one identity that logs in to the API server.
type login struct {
	file   string
	server string
	user   string
	groups []string
}

// logins gives every component what its role needs and no more: the names are
// those that Kubernetes binds to roles itself, except KwokUser.
func (c Cluster) logins() []login {
	return []login{
		{administratorFileName, c.Local(), "admin", []string{"system:masters"}},
		{"kcm", c.Local(), "system:kube-controller-manager", nil},
		{"scheduler", c.Local(), "system:kube-scheduler", nil},
		{"kubelet", c.FromNode(), "system:node:" + c.NodeName, []string{"system:nodes"}},
		{"proxy", c.FromNode(), "system:kube-proxy", nil},
		{"kwok", c.Local(), KwokUser, nil},
	}
}

// Write makes a new authority and fills dir with all certificates, keys and
// kubeconfigs of the cluster. The administrator's kubeconfig goes to admin.
func (c Cluster) Write(dir, admin string, now time.Time) error {
	authority, err := NewAuthority(now)
	if err != nil {
		return err
	}
	target := writer{dir: dir}
	target.put(AuthorityFile, authority.Certificate(), nil)
	c.writeServers(authority, &target)
	c.writeSigningKey(&target)
	for _, one := range c.logins() {
		config, err := one.kubeconfig(authority)
		target.put(one.path(admin), config, err)
	}
	return errors.Join(target.failures...)
}

func (c Cluster) writeServers(authority *Authority, target *writer) {
	loopback := netip.MustParseAddr("127.0.0.1")
	names := []string{
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}
	server, err := authority.Server("kube-apiserver", names, []netip.Addr{loopback, c.NodeAddress, c.Service})
	target.putPair(ServerCertificate, ServerKey, server, err)
	kubelet, err := authority.Server("kubelet", []string{c.NodeName}, []netip.Addr{loopback, c.NodeAddress})
	target.putPair(KubeletCertificate, KubeletKey, kubelet, err)
	toKubelet, err := authority.Client(ToKubeletUser)
	target.putPair(ToKubeletCertificate, ToKubeletKey, toKubelet, err)
}

func (c Cluster) writeSigningKey(target *writer) {
	private, public, err := SigningKey()
	target.put(ServiceAccountKey, private, err)
	target.put(ServiceAccountPublic, public, err)
}

func (l login) kubeconfig(authority *Authority) ([]byte, error) {
	client, err := authority.Client(l.user, l.groups...)
	if err != nil {
		return nil, err
	}
	return kubeconfig.Config{
		Server: l.server, User: l.user, Authority: authority.Certificate(), Certificate: client.Certificate, Key: client.Key,
	}.Encode()
}

func (l login) path(admin string) string {
	if l.file == administratorFileName {
		return admin
	}
	return l.file + kubeconfigSuffix
}

// writer collects failures so that its callers read as a list of files.
type writer struct {
	dir      string
	failures []error
}

func (w *writer) putPair(certificate, key string, pair Pair, err error) {
	w.put(certificate, pair.Certificate, err)
	w.put(key, pair.Key, err)
}

func (w *writer) put(name string, content []byte, err error) {
	if err == nil {
		err = os.WriteFile(w.path(name), content, keyMode)
	}
	if err != nil {
		w.failures = append(w.failures, fmt.Errorf("write %s: %w", name, err))
	}
}

func (w *writer) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(w.dir, name)
}
