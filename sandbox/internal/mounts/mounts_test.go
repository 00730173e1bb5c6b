package mounts

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ompipe/ompipe/sandbox/internal/layout"
)

const childVariable = "MOUNTS_TEST_DIR"

// TestMain lets the test binary be the process that lives in the namespace.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

func child(dir string) int {
	if err := SetUp(layout.Layout{Dir: dir, Run: filepath.Join(dir, "run")}); err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	if err := os.WriteFile("/var/lib/kubelet/probe", nil, 0o600); err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	value, _ := os.ReadFile("/proc/sys/kernel/panic_on_oops")
	os.Stdout.Write(value)
	return 0
}

func TestTheMachineIsNotTouched(t *testing.T) {
	if err := SetUp(layout.Layout{}); err == nil || !strings.Contains(err.Error(), "mount namespace") {
		t.Fatalf("SetUp in the machine's own namespace: %v", err)
	}
	before := machineState(t)
	dir := t.TempDir()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childVariable+"="+dir)
	command.SysProcAttr = &syscall.SysProcAttr{Unshareflags: Namespace}
	output, err := command.CombinedOutput()
	if os.Geteuid() != 0 {
		if err == nil {
			t.Fatal("a mount namespace without root")
		}
		return
	}
	if err != nil || strings.TrimSpace(string(output)) != tunables["/proc/sys/kernel/panic_on_oops"] {
		t.Fatalf("%s, %v", output, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node", "kubelet", "probe")); err != nil {
		t.Errorf("the node wrote elsewhere: %v", err)
	}
	if after := machineState(t); after != before {
		t.Errorf("the machine's mounts or settings changed:\n%s\nnow:\n%s", before, after)
	}
}

func machineState(t *testing.T) string {
	t.Helper()
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	state := string(mountinfo)
	for _, tunable := range slices.Sorted(maps.Keys(tunables)) {
		value, _ := os.ReadFile(tunable)
		state += string(value)
	}
	return state
}
