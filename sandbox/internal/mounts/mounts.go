// Package mounts gives the node its own view of the machine's directories.
//
// The supervisor lives in a mount namespace of its own. Kubelet and containerd
// write to fixed places below /var and /run; in that namespace these are
// directories of the sandbox, so that sandboxes do not meet each other or a
// kubelet of the machine. The kernel drops every mount, those of pods included,
// with the last process of the namespace.
package mounts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ompipe/ompipe/sandbox/internal/layout"
	"golang.org/x/sys/unix"
)

// directories are replaced in the node's view; each is backed by the directory
// of the same base name below the sandbox's node files.
var directories = []string{
	"/var/lib/kubelet",
	"/var/lib/cni",
	"/var/log/pods",
	"/var/log/containers",
}

// shims is where containerd puts the sockets of its shims.
const shims = "/run/containerd"

// tunables are kernel settings that the kubelet insists on. In the node's view
// they are plain files with the wanted values, so the kubelet is content and
// the machine keeps its own: with panic_on_oops a laptop would reboot at a
// driver's fault.
var tunables = map[string]string{
	"/proc/sys/vm/overcommit_memory":      "1",
	"/proc/sys/vm/panic_on_oom":           "0",
	"/proc/sys/kernel/panic":              "10",
	"/proc/sys/kernel/panic_on_oops":      "1",
	"/proc/sys/kernel/keys/root_maxkeys":  "1000000",
	"/proc/sys/kernel/keys/root_maxbytes": "25000000",
}

// Namespace is what a process needs to be started with before it may call
// SetUp.
const Namespace = unix.CLONE_NEWNS

// SetUp lays the node's view over the machine's. The calling process must have
// been started in a mount namespace of its own by a parent that still lives.
func SetUp(l layout.Layout) error {
	if err := refuseSharedNamespace(); err != nil {
		return err
	}
	// Pods may ask for mount propagation, which needs a shared root. It is
	// shared within this namespace only.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts within the node: %w", err)
	}
	for _, directory := range directories {
		if err := replaceDirectory(l.NodeFiles(filepath.Base(directory)), directory); err != nil {
			return err
		}
	}
	if err := replaceDirectory(filepath.Join(l.Run, "shims"), shims); err != nil {
		return err
	}
	return replaceTunables(filepath.Join(l.Run, "tunables"))
}

// refuseSharedNamespace guards against laying the node's view over the whole
// machine: a process that was given a namespace does not share its parent's.
func refuseSharedNamespace() error {
	ours, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	parents, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err != nil {
		return err
	}
	if ours == parents {
		return errors.New("not in a mount namespace of its own")
	}
	return nil
}

func replaceDirectory(source, target string) error {
	for _, directory := range []string{source, target} {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return fmt.Errorf("create a directory of the node: %w", err)
		}
	}
	return bind(source, target)
}

func replaceTunables(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for target, value := range tunables {
		source := filepath.Join(dir, filepath.Base(target))
		if err := os.WriteFile(source, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := bind(source, target); err != nil {
			return err
		}
	}
	return nil
}

func bind(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s over %s: %w", source, target, err)
	}
	return nil
}
