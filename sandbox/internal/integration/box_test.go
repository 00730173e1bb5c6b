package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/await"
	"github.com/ompipe/ompipe/sandbox/internal/cgroup"
	"github.com/ompipe/ompipe/sandbox/internal/cluster"
	"github.com/ompipe/ompipe/sandbox/internal/layout"
	"github.com/ompipe/ompipe/sandbox/internal/process"
)

// repository is where the sources are.
const repository = "../../.."

// binary is the program under test, as `make sandbox` builds it.
func binary() string {
	if dir := os.Getenv("OMPIPE_BUILD"); dir != "" {
		return filepath.Join(dir, "bin", "sandbox")
	}
	path, err := filepath.Abs(filepath.Join(repository, ".build", "bin", "sandbox"))
	if err != nil {
		panic(err)
	}
	return path
}

// TestMain builds the program: a stale one would be tested otherwise.
func TestMain(m *testing.M) {
	build := exec.Command(filepath.Join(repository, "sandbox", "build"))
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox/build:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// patience bounds every single wait; all of them are over in seconds on a
// machine that is not overloaded.
const patience = 2 * time.Minute

// box is a sandbox in a directory of its own.
type box struct {
	t      *testing.T
	layout layout.Layout
}

// newBox names a sandbox that is not up; it is gone when the test ends.
func newBox(t *testing.T) box {
	t.Helper()
	l, err := layout.New(filepath.Join(t.TempDir(), "box"))
	if err != nil {
		t.Fatal(err)
	}
	b := box{t, l}
	t.Cleanup(func() {
		if output, err := b.run("down", "--purge"); err != nil {
			t.Errorf("down: %v: %s", err, output)
		}
	})
	return b
}

func (b box) command(arguments ...string) *exec.Cmd {
	command := exec.Command(binary(), arguments...)
	command.Env = append(os.Environ(), layout.DirVariable+"="+b.layout.Dir)
	return command
}

// run returns what the program prints, reports included.
func (b box) run(arguments ...string) (string, error) {
	output, err := b.command(arguments...).CombinedOutput()
	return string(output), err
}

// must is run for what has to succeed.
func (b box) must(arguments ...string) string {
	b.t.Helper()
	output, err := b.run(arguments...)
	if err != nil {
		b.t.Fatalf("sandbox %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return output
}

// refuses is run for what has to fail, and say so with this text.
func (b box) refuses(saying string, arguments ...string) {
	b.t.Helper()
	output, err := b.run(arguments...)
	if err == nil || !strings.Contains(output, saying) {
		b.t.Errorf("sandbox %s: %v, want a failure that says %q:\n%s", strings.Join(arguments, " "), err, saying, output)
	}
}

// kubectl applies nothing from files, so its input is always a literal.
func (b box) kubectl(input string, arguments ...string) (string, error) {
	command := b.command(append([]string{"kubectl"}, arguments...)...)
	command.Stdin = strings.NewReader(input)
	output, err := command.CombinedOutput()
	return string(output), err
}

func (b box) status() cluster.Status {
	b.t.Helper()
	// Unhealthy sandboxes have a status too.
	output, _ := b.command("status", "--output", "json").Output()
	var status cluster.Status
	if err := json.Unmarshal(output, &status); err != nil {
		b.t.Fatalf("status: %v: %s", err, output)
	}
	return status
}

func (b box) component(name string) cluster.ComponentStatus {
	b.t.Helper()
	for _, one := range b.status().Components {
		if one.Name == name {
			return one
		}
	}
	b.t.Fatalf("no component %s", name)
	return cluster.ComponentStatus{}
}

// eventually waits until check has no complaint.
func (b box) eventually(what string, check func() error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	if err := await.Until(ctx, what, func(context.Context) error { return check() }); err != nil {
		b.t.Fatal(err)
	}
}

// becomes waits until kubectl prints exactly this.
func (b box) becomes(want string, arguments ...string) {
	b.t.Helper()
	b.eventually(strings.Join(arguments, " "), func() error {
		if output, err := b.kubectl("", arguments...); err != nil || strings.TrimSpace(output) != want {
			return fmt.Errorf("%q, %v", output, err)
		}
		return nil
	})
}

// leftNothing finds whatever a sandbox that is down still holds.
func (b box) leftNothing() {
	b.t.Helper()
	if processes, err := process.Marked(b.layout.ID); err != nil || len(processes) > 0 {
		b.t.Errorf("processes are left: %v, %v", processes, err)
	}
	if there, err := cgroup.Exists(b.layout.Cgroup()); err != nil || there {
		b.t.Errorf("a control group is left: %v, %v", there, err)
	}
	if _, err := net.InterfaceByName(b.layout.Link()); err == nil {
		b.t.Errorf("link %s is left", b.layout.Link())
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), b.layout.Run) {
		b.t.Errorf("mounts are left, or cannot be read: %v", err)
	}
	for _, file := range b.layout.ClusterFiles() {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			b.t.Errorf("%s is left: %v", file, err)
		}
	}
}

// needsRoot fails rather than skips: a suite that leaves the node out proves
// nothing of it.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a node needs root: run the tests as root")
	}
}
