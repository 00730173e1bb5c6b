// Package kwok gets the program that fakes nodes. Its Kubernetes modules are
// other versions than ours, so it is a program of its own and not a dependency.
package kwok

import (
	"context"
	_ "embed" // the stages of pods
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Version is the release that is built.
const Version = "v0.8.0"

const module = "sigs.k8s.io/kwok"

// stages are the parts of a node's life that kwok is told to act out; its own
// release manifests hold the same files.
var stages = []string{
	"node/fast/node-initialize.yaml", "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
}

// Config is the rest of what kwok is told: the life of pods, and how many it
// moves at a time.
//
//go:embed pods.yaml
var Config []byte

// Stages is the file beside the program with the stages of its release.
func Stages(program string) string { return program + "-node-stages.yaml" }

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
	// The stages come first: a program that is there counts as installed.
	if err := collectStages(ctx, Stages(path)); err != nil {
		return "", err
	}
	return path, build(ctx, dir)
}

// isCurrent asks the program for its version: a build by `go install` knows the
// module's.
func isCurrent(ctx context.Context, path string) bool {
	output, err := exec.CommandContext(ctx, "go", "version", "-m", path).Output()
	if err != nil || !strings.Contains(string(output), module+"\t"+Version) {
		return false
	}
	_, err = os.Stat(Stages(path))
	return err == nil
}

func build(ctx context.Context, dir string) error {
	_, err := run(ctx, dir, "go", "install", module+"/cmd/kwok@"+Version)
	return err
}

// collectStages copies the stages from the module into one file.
func collectStages(ctx context.Context, target string) error {
	answer, err := run(ctx, filepath.Dir(target), "go", "mod", "download", "-json", module+"@"+Version)
	if err != nil {
		return err
	}
	var downloaded struct{ Dir string }
	if err := json.Unmarshal(answer, &downloaded); err != nil {
		return fmt.Errorf("read where kwok's sources are: %w", err)
	}
	var all []byte
	for _, stage := range stages {
		content, err := os.ReadFile(filepath.Join(downloaded.Dir, "kustomize", "stage", stage))
		if err != nil {
			return fmt.Errorf("read a stage of kwok: %w", err)
		}
		all = append(append(all, "---\n"...), content...)
	}
	return os.WriteFile(target, all, 0o644)
}

// run returns what the command prints; programs it installs go to bin.
func run(ctx context.Context, bin string, name string, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=-buildvcs=false")
	// Outside of any module: ours would impose its versions.
	command.Dir = os.TempDir()
	output, err := command.Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		return nil, fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(string(failed.Stderr)))
	}
	return output, err
}
