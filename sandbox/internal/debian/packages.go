// Package debian finds the programs that a node needs and installs what is
// missing.
package debian

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// PluginDirs are where distributions put CNI plugins.
var PluginDirs = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// requirement is a program, the package that brings it, and why it is needed.
type requirement struct {
	program string
	pkg     string
	why     string
	found   func(program string) bool
}

var requirements = []requirement{
	{"containerd", "containerd", "runs containers", inPath},
	{"ctr", "containerd", "loads images", inPath},
	{"runc", "runc", "starts containers", inPath},
	{"bridge", "containernetworking-plugins", "connects pods", isPlugin},
	{"host-local", "containernetworking-plugins", "gives pods addresses", isPlugin},
	{"iptables", "iptables", "host ports of pods", inPath},
	{"nft", "nftables", "Services", inPath},
	{"busybox", "busybox-static", "content of the pause and busybox images", isStatic},
}

// Missing is a package to install and what for.
type Missing struct {
	Package string
	Why     string
}

// FindMissing lists the packages that a node needs and this machine lacks.
func FindMissing() []Missing { return findMissing(requirements) }

func findMissing(required []requirement) []Missing {
	var missing []Missing
	for _, one := range required {
		known := slices.ContainsFunc(missing, func(m Missing) bool { return m.Package == one.pkg })
		if !known && !one.found(one.program) {
			missing = append(missing, Missing{one.pkg, one.why})
		}
	}
	return missing
}

// lookUp also searches the directories of system programs, which an ordinary
// user's PATH lacks.
func lookUp(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		path, err := exec.LookPath(filepath.Join(dir, program))
		if err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", program, exec.ErrNotFound)
}

func inPath(program string) bool {
	_, err := lookUp(program)
	return err == nil
}

func isPlugin(program string) bool {
	dir, err := Plugins()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(dir, program))
	return err == nil
}

// Plugins is the directory of the CNI plugins.
func Plugins() (string, error) {
	for _, dir := range PluginDirs {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no CNI plugins in %s", strings.Join(PluginDirs, ", "))
}

func isStatic(program string) bool {
	path, err := lookUp(program)
	if err != nil {
		return false
	}
	binary, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer binary.Close()
	return !slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// Busybox reads the static busybox and the names of its applets.
func Busybox(ctx context.Context) (program []byte, applets []string, err error) {
	path, err := lookUp("busybox")
	if err != nil {
		return nil, nil, err
	}
	program, err = os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	list, err := exec.CommandContext(ctx, path, "--list").Output()
	if err != nil {
		return nil, nil, fmt.Errorf("list busybox's applets: %w", err)
	}
	return program, strings.Fields(string(list)), nil
}

// InstallCommand is what a user can type to install the packages.
func InstallCommand(missing []Missing) string {
	return "apt-get install --no-install-recommends " + strings.Join(names(missing), " ")
}

func names(missing []Missing) []string {
	var all []string
	for _, one := range missing {
		all = append(all, one.Package)
	}
	return all
}

// Install installs the packages with apt-get.
func Install(ctx context.Context, missing []Missing) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing programs, and no apt-get to install them: the node needs what Debian packages as %s",
			strings.Join(names(missing), ", "))
	}
	install := append([]string{"install", "--yes", "--no-install-recommends"}, names(missing)...)
	first := apt(ctx, install...)
	if first == nil {
		return nil
	}
	// A fresh machine or container may have no package lists yet.
	if err := apt(ctx, "update"); err != nil {
		return errors.Join(first, err)
	}
	return apt(ctx, install...)
}

func apt(ctx context.Context, arguments ...string) error {
	command := exec.CommandContext(ctx, "apt-get", append([]string{"--quiet"}, arguments...)...)
	// SYSTEMD_OFFLINE keeps the package's scripts from starting a containerd of
	// the machine's own; the sandbox runs another.
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_OFFLINE=1")
	var output bytes.Buffer
	command.Stdout, command.Stderr = io.Discard, &output
	if err := command.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(output.String()))
	}
	return nil
}
