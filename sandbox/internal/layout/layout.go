// Package layout names every file, socket and kernel object of one sandbox.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// DirVariable is the environment variable that names the sandbox's directory.
const DirVariable = "OMPIPE_SANDBOX_DIR"

// DefaultDir is used when neither --dir nor DirVariable is given.
const DefaultDir = ".build/clusters/default"

// Layout holds the places of one sandbox. All of them follow from the absolute
// path of its directory, so that leftovers can be found even when the
// directory is gone.
type Layout struct {
	// Dir keeps everything that is written to disk.
	Dir string
	// Run keeps sockets and what containerd holds while it runs.
	Run string
	// ID marks processes, links and control groups as this sandbox's.
	ID string
}

// New returns the layout of the sandbox in dir; nothing is created.
func New(dir string) (Layout, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return Layout{}, fmt.Errorf("resolve the sandbox directory %q: %w", dir, err)
	}
	absolute = resolve(absolute)
	id := identify(absolute)
	return Layout{Dir: absolute, Run: filepath.Join(runBase(), id), ID: id}, nil
}

// resolve follows symbolic links of the part of path that exists, so that two
// spellings of one directory are one sandbox.
func resolve(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(resolve(parent), filepath.Base(path))
}

func identify(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:4])
}

// runBase does not depend on XDG_RUNTIME_DIR: a shell without it must find the
// same sandbox.
func runBase() string {
	if os.Geteuid() == 0 {
		return "/run/ompipe-sandbox"
	}
	return filepath.Join("/tmp", "ompipe-sandbox-"+strconv.Itoa(os.Geteuid()))
}

// Create makes the directories that hold everything else. They are closed to
// other users because keys and the database are inside.
func (l Layout) Create() error {
	for _, dir := range []string{l.Dir, l.LogDir(), l.PKI(), filepath.Dir(l.Run), l.Run} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("create a directory of the sandbox: %w", err)
		}
	}
	return ownedByUs(filepath.Dir(l.Run))
}

// ownedByUs refuses a run directory that somebody else prepared: its name in
// /tmp can be guessed.
func ownedByUs(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user: have it removed, then try again", dir)
	}
	return nil
}

func (l Layout) inDir(name string) string { return filepath.Join(l.Dir, name) }
func (l Layout) inRun(name string) string { return filepath.Join(l.Run, name) }

// StateFile records what was started.
func (l Layout) StateFile() string { return l.inDir("state.json") }

// Kubeconfig is the administrator's.
func (l Layout) Kubeconfig() string { return l.inDir("kubeconfig") }

// PKI holds certificates, keys and the components' kubeconfigs.
func (l Layout) PKI() string { return l.inDir("pki") }

// ComponentKubeconfig is the identity of one component.
func (l Layout) ComponentKubeconfig(component string) string {
	return filepath.Join(l.PKI(), component+".kubeconfig")
}

// LogDir holds one log for each component.
func (l Layout) LogDir() string { return l.inDir("log") }

// Log is the log of one component.
func (l Layout) Log(component string) string {
	return filepath.Join(l.LogDir(), component+".log")
}

// EtcdData is etcd's database.
func (l Layout) EtcdData() string { return l.inDir("etcd") }

// EtcdSocket is where etcd serves its only client, the API server.
func (l Layout) EtcdSocket() string { return l.inRun("etcd.sock") }

// NodeFiles backs the directories that the node believes to be the machine's
// own; see package mounts.
func (l Layout) NodeFiles(name string) string { return filepath.Join(l.Dir, "node", name) }

// KubeletConfig is the merged KubeletConfiguration.
func (l Layout) KubeletConfig() string { return l.inDir("kubelet.yaml") }

// ProxyConfig is the KubeProxyConfiguration.
func (l Layout) ProxyConfig() string { return l.inDir("kube-proxy.yaml") }

// KwokConfig is what kwok is told beside the stages of its release.
func (l Layout) KwokConfig() string { return l.inDir("kwok.yaml") }

// CNIConfig holds the network configuration that containerd reads.
func (l Layout) CNIConfig() string { return l.inDir("cni") }

// ContainerdConfig is containerd's configuration file.
func (l Layout) ContainerdConfig() string { return l.inDir("containerd.toml") }

// ContainerdRoot is the image store; it outlives the cluster.
func (l Layout) ContainerdRoot() string { return l.inDir("containerd") }

// ContainerdState holds what exists only while containers run.
func (l Layout) ContainerdState() string { return l.inRun("containerd") }

// ContainerdSocket is containerd's address.
func (l Layout) ContainerdSocket() string { return l.inRun("containerd.sock") }

// RuncRoot is where runc keeps its containers' state.
func (l Layout) RuncRoot() string { return l.inRun("runc") }

// ControlSocket is where the supervisor listens.
func (l Layout) ControlSocket() string { return l.inRun("control.sock") }

// Link is the host's end of the cable to the node's network namespace.
func (l Layout) Link() string { return "omp" + l.ID }

// Cgroup is the parent of all pods' control groups.
func (l Layout) Cgroup() string { return "ompipe-sandbox-" + l.ID }

// ClusterFiles are what belongs to one cluster and goes with it; the image
// store and the logs stay.
func (l Layout) ClusterFiles() []string {
	return []string{
		l.StateFile(), l.Kubeconfig(), l.PKI(), l.EtcdData(), l.NodeFiles(""), l.KubeletConfig(),
		l.ProxyConfig(), l.KwokConfig(), l.CNIConfig(), l.ContainerdConfig(), l.Run,
	}
}
