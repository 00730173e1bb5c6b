// Package kwok gets the program that fakes nodes. Its Kubernetes modules are
// other versions than ours, so it is a program of its own and not a dependency.
package kwok

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Version is the release that is built.
const Version = "v0.8.0"

const module = "sigs.k8s.io/kwok/cmd/kwok@" + Version

// Install builds kwok beside this program unless it is there, and returns its
// path.
func Install(ctx context.Context, step func(format string, arguments ...any)) (string, error) {
	ourselves, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the directory to put kwok into: %w", err)
	}
	dir := filepath.Dir(ourselves)
	path := filepath.Join(dir, "kwok")
	if isCurrent(ctx, path) {
		return path, nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", fmt.Errorf("--fake-nodes needs kwok, which is built with Go: install Go, or put kwok %s at %s", Version, path)
	}
	step("building kwok %s, which takes one to two minutes the first time", Version)
	return path, build(ctx, dir)
}

// isCurrent asks the program for its version: a build by `go install` knows the
// module's.
func isCurrent(ctx context.Context, path string) bool {
	output, err := exec.CommandContext(ctx, "go", "version", "-m", path).Output()
	return err == nil && strings.Contains(string(output), "sigs.k8s.io/kwok\t"+Version)
}

func build(ctx context.Context, dir string) error {
	command := exec.CommandContext(ctx, "go", "install", module)
	command.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-buildvcs=false")
	// Outside of any module: ours would impose its versions.
	command.Dir = os.TempDir()
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go install %s: %w: %s", module, err, strings.TrimSpace(string(output)))
	}
	return nil
}
